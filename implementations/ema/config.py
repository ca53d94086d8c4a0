"""The configuration of a multi-head EMA, shared by both twins, and its initial values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from implementations.common.config import Config
from implementations.common.initializers import Keys, cut_normal, normal
from implementations.ops.convolution import Method

Initialization = Literal["normal", "cut_normal"]


@dataclass(frozen=True)
class EMAConfig(Config):
    """A multi-head EMA (arXiv 2209.10655, section 3.1; authors' code: the copy in renll/SeqBoat at 5a34aed).

    d_model: model width D. state_size: N, moving averages ("heads") per feature. bidirectional: a second set of
    averages from the right; both count the present position, as in the authors' code. truncation: lags that the kernel
    keeps, all of them where None or 0. residual: add omega x, with one trained omega per feature; the authors' `step`
    leaves it out while their forward pass, stepping included, adds it. activation: "silu" at the end, which Mega's own
    file applies inside and SeqBoat's copy leaves to the caller. initialization: normal (Mega), or cut at two deviations
    (SeqBoat). convolution: the algorithm of the kernel mode.

    Padded positions never enter the averages. Whole sequence, segments and single tokens give the same numbers, with
    truncation too: the state is then the last inputs, where the authors' stepping drops the truncation.
    """

    architecture: ClassVar[str | None] = "ema"
    mask_padding: ClassVar[bool] = True

    d_model: int = 128
    state_size: int = 16
    bidirectional: bool = False
    truncation: int | None = None
    residual: bool = True
    activation: Literal["none", "silu"] = "none"
    initialization: Initialization = "normal"
    convolution: Method = "auto"

    def validate(self) -> None:
        self.require(self.d_model >= 1, "d_model", "expected at least 1")
        self.require(self.state_size >= 1, "state_size", "expected at least 1")
        self.require((self.truncation or 0) >= 0, "truncation", "expected a number of lags, or None or 0 for all")

    @property
    def causal(self) -> bool:
        """Whether the layer can stream: it looks at no later position."""
        return not self.bidirectional

    @property
    def averages(self) -> int:
        """Rows of the parameters: D, or 2D where bidirectional, the ones from the right last."""
        return 2 * self.d_model if self.bidirectional else self.d_model

    def taps(self, length: int) -> int:
        """Lags of the kernel for a sequence of `length` positions."""
        return min(self.truncation or length, length)

    def state_shape(self, batch: int) -> tuple[int, int, int]:
        """The averages (B, D, N); with truncation the last K - 1 inputs (B, K - 1, D), oldest first."""
        if self.truncation:
            return batch, self.truncation - 1, self.d_model
        return batch, self.d_model, self.state_size


def initial_ema(config: EMAConfig, keys: Keys) -> dict[str, np.ndarray]:
    """Initial values as the authors' code draws them; E = D, or 2D where bidirectional.

    delta, alpha (E, N) of deviation 0.2, beta (E, N) of deviation 0.02 around 1, -1, 1, ..., gamma (E, N) and omega
    (D,) of deviation 1.
    """
    draw = normal if config.initialization == "normal" else cut_normal
    shape = (config.averages, config.state_size)
    signs = np.where(np.arange(config.state_size) % 2 == 0, 1.0, -1.0)
    values = {
        "delta": draw(keys.child("delta"), shape, 0.2),
        "alpha": draw(keys.child("alpha"), shape, 0.2),
        "beta": signs + draw(keys.child("beta"), shape, 0.02),
        "gamma": draw(keys.child("gamma"), shape, 1.0),
    }
    if config.residual:
        values["omega"] = draw(keys.child("omega"), (config.d_model,), 1.0)
    return values
