"""The configuration of one Mega layer, shared by both twins, and its initial values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from implementations.common.config import Config
from implementations.common.initializers import Keys, normal
from implementations.ema.config import EMAConfig
from implementations.ops.convolution import Method

DEVIATION = 0.02
"""Of the initial kernels, of gamma and of the relative bias."""

LAPLACE_MEAN, LAPLACE_DEVIATION = 0.707107, 0.282095
"""The function 0.5 (1 + erf((s - mean) / (deviation sqrt 2))): close to relu(s)^2 around s = sqrt(1/2)."""


@dataclass(frozen=True)
class MegaConfig(Config):
    """One Mega layer: gated attention behind a multi-head EMA, then a feed-forward block (arXiv 2209.10655; authors'
    code: moving_average_gated_attention.py and normalized_feedforward_network.py, in renll/SeqBoat at 5a34aed).

    d_model: model width D. query_size: z, width of the shared representation of queries and keys. value_size: v, width
    of the values. feedforward_size: hidden width of the feed-forward block, none where 0. state_size, truncation,
    convolution: see `EMAConfig`. bidirectional: both the EMA and the attention see both sides. chunk_size: attention
    inside consecutive chunks of so many positions only (Mega-chunk), over the whole sequence where None. attention:
    softmax of scores / sqrt(z); "relu2" and "laplace" of scores / number of keys, which is the number of genuine ones
    where bidirectional and of all up to the query where causal. bias: "simple", one scalar per distance, or "rotary",
    the product of two learned vectors rotated by the positions. max_positions: longest sequence of the simple bias of
    whole sequences; a chunk has chunk_size. norm: epsilon 1e-5 in all. prenorm: normalise before each block, else after
    each residual sum. dropout: of the EMA's and both blocks' outputs; attention_dropout: of the attention's weights;
    hidden_dropout: of values and of the hidden layer. feature_dropout: one mask for all positions, in place of one for
    each element. bn_momentum: share of the old running statistic kept.
    mask_padding: keep padded positions out of the batch's statistics; the authors let them in (False). Neither the EMA
    nor the attention ever lets them in.
    """

    architecture: ClassVar[str | None] = "mega"

    d_model: int = 128
    query_size: int = 64
    value_size: int = 256
    feedforward_size: int = 256
    state_size: int = 16
    bidirectional: bool = True
    chunk_size: int | None = None
    truncation: int | None = None
    attention: Literal["softmax", "relu2", "laplace"] = "softmax"
    bias: Literal["simple", "rotary"] = "simple"
    max_positions: int = 1024
    norm: Literal["layer", "scale", "rms", "batch"] = "layer"
    prenorm: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    feature_dropout: bool = False
    bn_momentum: float = 0.9
    mask_padding: bool = True
    convolution: Method = "auto"

    def validate(self) -> None:
        for field in ("d_model", "query_size", "value_size", "state_size", "max_positions"):
            self.require(getattr(self, field) >= 1, field, "expected at least 1")
        self.require(self.feedforward_size >= 0, "feedforward_size", "expected at least 0 (0: no feed-forward block)")
        self.require((self.chunk_size or 1) >= 1, "chunk_size", "expected at least 1, or None for whole sequences")
        self.require(self.chunk_size != 0, "chunk_size", "expected at least 1, or None for whole sequences")
        self.require((self.truncation or 0) >= 0, "truncation", "expected a number of lags, or None or 0 for all")
        even = self.bias != "rotary" or self.query_size % 2 == 0
        self.require(even, "query_size", "expected an even number: a rotary bias turns pairs")
        for field in ("dropout", "attention_dropout", "hidden_dropout"):
            self.require(0 <= getattr(self, field) < 1, field, f"expected 0 <= {field} < 1")
        self.require(0 <= self.bn_momentum < 1, "bn_momentum", "expected 0 <= bn_momentum < 1")

    @property
    def causal(self) -> bool:
        """Whether the layer can stream: it looks at no later position."""
        return not self.bidirectional

    @property
    def positions(self) -> int:
        """Longest distance of the simple bias, plus one."""
        return self.chunk_size or self.max_positions

    @property
    def longest(self) -> int | None:
        """The longest sequence that the layer takes, None for any."""
        return self.max_positions if self.bias == "simple" and self.chunk_size is None else None

    @property
    def ema(self) -> EMAConfig:
        """The config of the moving average."""
        return EMAConfig(
            d_model=self.d_model,
            state_size=self.state_size,
            bidirectional=self.bidirectional,
            truncation=self.truncation,
            convolution=self.convolution,
        )

    @property
    def parts(self) -> tuple[int, int, int]:
        """Where the projection of the EMA is cut: update gate (D), z, reset gate (v), and the candidate's part (D)."""
        first = self.d_model
        return first, first + self.query_size, first + self.query_size + self.value_size


def initial_kernel(keys: Keys, in_features: int, out_features: int) -> np.ndarray:
    """A kernel (in, out) of the projections, normal of deviation 0.02."""
    return normal(keys.child("kernel"), (in_features, out_features), DEVIATION)


def initial_attention(config: MegaConfig, keys: Keys) -> dict[str, np.ndarray]:
    """gamma and beta (2, z), queries first; and the relative bias: table (2 M - 1,), or left and right (z,)."""
    size = config.query_size
    values = {"gamma": normal(keys.child("gamma"), (2, size), DEVIATION), "beta": np.zeros((2, size))}
    if config.bias == "simple":
        values["table"] = normal(keys.child("table"), (2 * config.positions - 1,), DEVIATION)
    else:
        values["left"] = normal(keys.child("left"), (size,), DEVIATION)
        values["right"] = normal(keys.child("right"), (size,), DEVIATION)
    return values
