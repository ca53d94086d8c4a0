"""The configuration of one SeqBoat layer, shared by both twins, and its initial values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from implementations.common.config import Config
from implementations.common.initializers import Keys, cut_normal
from implementations.ema.config import EMAConfig
from implementations.ops.convolution import Method
from implementations.s4.config import S4DConfig

MASKED = -5e4
"""The score of a masked key under softmax, as in the authors' code."""

DEVIATION = 0.02
"""Of the initial kernels, of gamma and of the relative bias, all cut at two deviations."""


@dataclass(frozen=True)
class SeqBoatConfig(Config):
    """One SeqBoat layer (arXiv 2306.11197; authors' code: fairseq/modules/seqboat_unit.py of renll/SeqBoat at 5a34aed).

    d_model: model width D. query_size: z, width of the shared representation of queries and keys. value_size: h, width
    of the values. mixer: what stands below, a multi-head EMA ("ema") or S4D ("s4d"); state_size, truncation (EMA only)
    and convolution: see `EMAConfig` and `S4DConfig`. bidirectional: mixer and attention see both sides.
    window: working memory w, counted in active tokens: a query sees itself, those up to w before it and, where
    bidirectional, up to w after it; None for all active tokens ("SeqBoat-full"). attention: softmax of scores /
    sqrt(z); "relu2" and "laplace" of scores / w (both sides: / 2w) or, without a window, of scores / number of keys,
    which are those up to the query where causal. bias: "simple", one scalar per distance of the original positions,
    farther than max_positions - 1 clamped; "local", one per distance among the active tokens; "rotary", queries and
    keys turned by original positions. always_act: no configurator, every token is active. initial_temperature: the
    temperature starts at so many sqrt(D); its logarithm is learned. act_bias: added to the logit of staying inactive,
    before the temperature. norm: epsilon 1e-5 in all. prenorm: normalise before the layer, else after it. dropout: of
    the mixer's output and of the layer's; attention_dropout: of the attention's weights; hidden_dropout: of values.
    feature_dropout: one mask for all positions, in place of one for each element. bn_momentum: share of the old running
    statistic kept. capacities: compressed lengths that are compiled for, the whole length, its half and so on
    (`implementations.ops.routing`); they decide the work, never a result.

    Behind flags, as the authors' code does and the paper does not say, all off by default because a result then depends
    on padding or on batch mates. mask_padding False lets padded inputs into the batch's statistics and into the layer's
    output at padded positions (mixer, configurator and attention never let them in). density_threshold: compress
    nothing in a batch one row of which is active at this share of its positions or more, so that windows count original
    positions in all rows; the authors' runs have 1.0 with a window and 0.9 without. masked_keys "leak": under laplace a
    masked key of the query's block of w, the one before and (both sides) the one after keeps the weight laplace(0) =
    0.0061; it may be empty, beyond the end (value 0 or -1) or, where causal, ahead. Under softmax that shows only where
    no key is left. No published recipe used laplace.
    """

    architecture: ClassVar[str | None] = "seqboat"

    d_model: int = 128
    query_size: int = 64
    value_size: int = 256
    state_size: int = 16
    mixer: Literal["ema", "s4d"] = "ema"
    truncation: int | None = None
    bidirectional: bool = True
    window: int | None = 128
    attention: Literal["softmax", "relu2", "laplace"] = "softmax"
    bias: Literal["simple", "local", "rotary"] = "simple"
    max_positions: int = 1024
    always_act: bool = False
    initial_temperature: float = 0.3
    act_bias: float = 0.0
    norm: Literal["layer", "scale", "rms", "batch"] = "layer"
    prenorm: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    feature_dropout: bool = False
    bn_momentum: float = 0.9
    mask_padding: bool = True
    density_threshold: float | None = None
    masked_keys: Literal["none", "leak"] = "none"
    capacities: int = 4
    convolution: Method = "auto"

    def validate(self) -> None:
        for field in ("d_model", "query_size", "value_size", "state_size", "max_positions", "capacities"):
            self.require(getattr(self, field) >= 1, field, "expected at least 1")
        self.require(self.window is None or self.window >= 1, "window", "expected at least 1, or None for all tokens")
        self.require((self.truncation or 0) >= 0, "truncation", "expected a number of lags, or None or 0 for all")
        self.require(self.mixer == "ema" or not self.truncation, "truncation", "expected None: S4D is not truncated")
        self.require(self.mixer == "ema" or self.state_size % 2 == 0, "state_size", "expected an even number for S4D")
        even = self.bias != "rotary" or self.query_size % 2 == 0
        self.require(even, "query_size", "expected an even number: a rotary bias turns pairs")
        local = self.bias != "local" or self.window is not None
        self.require(local, "bias", "expected 'simple' or 'rotary' where window is None")
        self.require(self.initial_temperature > 0, "initial_temperature", "expected a positive number")
        for field in ("dropout", "attention_dropout", "hidden_dropout"):
            self.require(0 <= getattr(self, field) < 1, field, f"expected 0 <= {field} < 1")
        self.require(0 <= self.bn_momentum < 1, "bn_momentum", "expected 0 <= bn_momentum < 1")
        share = self.density_threshold
        self.require(share is None or 0 < share <= 1, "density_threshold", "expected None or a share above 0, up to 1")
        leaks = self.masked_keys == "none" or self.window is not None
        self.require(leaks, "masked_keys", "expected 'none' where window is None")

    @property
    def causal(self) -> bool:
        """Whether the layer can stream: it looks at no later position."""
        return not (self.bidirectional or self.density_threshold is not None or self.masked_keys == "leak")

    @property
    def streaming(self) -> dict[str, Any]:
        """The fields that decide whether the layer streams, with the values with which it does."""
        return {"bidirectional": False, "density_threshold": None, "masked_keys": "none"}

    @property
    def routed(self) -> bool:
        """Whether the layer chooses its tokens: then the twins give the rates with `return_activity`."""
        return not self.always_act

    @property
    def ema(self) -> EMAConfig:
        """The config of the moving average."""
        return EMAConfig(
            d_model=self.d_model,
            state_size=self.state_size,
            bidirectional=self.bidirectional,
            truncation=self.truncation,
            initialization="cut_normal",
            convolution=self.convolution,
        )

    @property
    def s4d(self) -> S4DConfig:
        """The config of S4D where it replaces the average; both directions count the present position, as there."""
        return S4DConfig(
            d_model=self.d_model,
            state_size=self.state_size,
            bidirectional=self.bidirectional,
            reverse_offset=0,
            initialization="lin",
            scan=self.convolution,
        )

    @property
    def block(self) -> int:
        """w, of a layer that has a window."""
        assert self.window is not None
        return self.window

    @property
    def around(self) -> int:
        """Blocks of w that a query's keys come from: the one before, its own and, both sides, the one after."""
        return 3 if self.bidirectional else 2

    @property
    def distances(self) -> int:
        """Longest distance of the relative bias, plus one."""
        return 3 * self.block if self.bias == "local" else self.max_positions

    @property
    def inactive_bias(self) -> float:
        """What is added to the logit of staying inactive, which the authors hold in float32."""
        return float(np.float32(self.act_bias))

    @property
    def chooses_tokens(self) -> bool:
        """Whether the work depends on the values: only the active tokens reach attention."""
        return not self.always_act

    def dense_count(self, length: int) -> int:
        """The fewest active tokens of `length` at which `density_threshold` holds, by the authors' float32 division."""
        shares = np.arange(length + 1, dtype=np.float32) / np.float32(length)
        return int(np.argmax(shares >= np.float32(self.density_threshold)))


def initial_kernel(keys: Keys, in_features: int, out_features: int) -> np.ndarray:
    """A kernel (in, out) of the projections."""
    return cut_normal(keys.child("kernel"), (in_features, out_features), DEVIATION)


def initial_attention(config: SeqBoatConfig, keys: Keys) -> dict[str, np.ndarray]:
    """gamma and beta (2, z), queries first; the bias's table (2 M - 1,); and log_temperature (1,)."""
    size = config.query_size
    values = {"gamma": cut_normal(keys.child("gamma"), (2, size), DEVIATION), "beta": np.zeros((2, size))}
    if config.bias != "rotary":
        values["table"] = cut_normal(keys.child("table"), (2 * config.distances - 1,), DEVIATION)
    if not config.always_act:
        values["log_temperature"] = np.full(1, math.log(config.initial_temperature * config.d_model**0.5))
    return values
