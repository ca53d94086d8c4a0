"""The configurations of the Block-Recurrent Transformer, shared by both twins, and their initial values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import numpy as np

from implementations.common.config import Config
from implementations.common.conventions import Activation
from implementations.common.initializers import Keys, lecun_normal, normal
from implementations.ops.attention import Method
from implementations.transformer.config import TransformerConfig

DEVIATION = 0.1
"""Standard deviation of the initial states and of the biases of gates."""

GATE_VARIANCE = 0.1
"""Variance of a gate's initial kernel, relative to the lecun-normal one."""


@dataclass(frozen=True)
class BlockRecurrentConfig(Config):
    """One recurrent layer (arXiv 2203.07852); switches default to google-research/meliad@cc1aef5.

    d_model, heads, head_width, d_ff, activation: D, H, K, the width of the feed-forward parts and their function.
    window: W, the length of a block and the reach of a token. states: S.
    gate: "fixed" (g c + (1 - g) z with one learned g per feature) or "lstm" (f c + i z from the input of z).
    configuration of the states' direction: "dual" (gates behind attention and behind the feed-forward part), "single"
    (one gate, behind the feed-forward part that reads attention), "skip" (one gate, no feed-forward part).
    tanh: z passes through tanh in configuration "single" (official code) or under the gate "lstm" (paper).
    z_bias: z = h W + b as in the paper; the official code has no b.
    read_previous: the states read the keys of the previous block too, 2 W in all (official code), or of their own only.
    include_self, attend_start: as in `TransformerConfig`; the official code excludes a token from its own window and
    attends to the W zero keys before a document. qk_norm: queries and keys of length one and logits times a learned
    scale per head, which multiplies the relative bias too; without it queries are divided by sqrt(K).
    absolute_scale: the magnitude of that scale; the first release (fc4b036) has its sign, which starts positive.
    positions, buckets, max_distance: T5's relative bias of tokens to tokens; nothing else has positions.
    truncate_gradient: the state returned has no gradient (truncated backpropagation through time). It is cut where it
    leaves and not where it enters, so that the gradient reaches the learned initial states that `reset` puts there.
    dropout: of the normalised tokens and of what the feed-forward part gives; attention_dropout: of the weights of a
    token's window, one mask for all blocks and sequences. The direction of the states has none. The authors repeat one
    mask over every 128 positions and over the batch; here each element has its own.
    mask_padding: padded tokens are seen by nothing. method: the kernel, see `implementations.ops.attention`.
    """

    architecture: ClassVar[str | None] = "block_recurrent"

    d_model: int = 128
    heads: int = 4
    head_width: int = 32
    d_ff: int = 512
    activation: Activation = "relu"
    window: int = 64
    states: int = 64
    gate: Literal["fixed", "lstm"] = "fixed"
    configuration: Literal["dual", "single", "skip"] = "skip"
    tanh: Literal["single", "lstm"] = "single"
    z_bias: bool = False
    read_previous: bool = True
    include_self: bool = False
    attend_start: bool = True
    qk_norm: bool = True
    absolute_scale: bool = True
    positions: Literal["none", "t5"] = "t5"
    buckets: int = 32
    max_distance: int = 128
    truncate_gradient: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    mask_padding: bool = True
    method: Method = "auto"

    def validate(self) -> None:
        for name in ("d_model", "heads", "head_width", "d_ff", "window", "states"):
            self.require(getattr(self, name) >= 1, name, "expected at least 1")
        self.require(self.buckets >= 2 and self.buckets % 2 == 0, "buckets", "expected an even number")
        rule = f"expected more than {self.buckets // 2}, the distances that have a bucket of their own"
        self.require(self.max_distance > self.buckets // 2, "max_distance", rule)
        for name in ("dropout", "attention_dropout"):
            self.require(0 <= getattr(self, name) < 1, name, f"expected 0 <= {name} < 1")

    @property
    def causal(self) -> bool:
        """Always."""
        return True

    @property
    def cached(self) -> int:
        """How many tokens' keys and values the state keeps, and the states read: 2 W, or W."""
        return 2 * self.window if self.read_previous else self.window

    @property
    def z_tanh(self) -> bool:
        """Whether z passes through tanh."""
        return self.configuration == "single" if self.tanh == "single" else self.gate == "lstm"

    @property
    def sliding(self) -> TransformerConfig:
        """The sliding window layer that this one is without its states."""
        return TransformerConfig(
            d_model=self.d_model,
            heads=self.heads,
            head_width=self.head_width,
            d_ff=self.d_ff,
            activation=self.activation,
            norm="rms",
            biases=False,
            attention="window",
            window=self.window,
            causal=True,
            include_self=self.include_self,
            attend_start=self.attend_start,
            positions=self.positions,
            buckets=self.buckets,
            max_distance=self.max_distance,
            qk_norm=self.qk_norm,
            dropout=self.dropout,
            mask_padding=self.mask_padding,
            method=self.method,
        )


@dataclass(frozen=True)
class FeedbackConfig(Config):
    """A stack in which every layer reads the states of a recurrent one (arXiv 2203.07852, feedback).

    recurrent: the recurrent layers; the others are their sliding window layers with a second query, for the states.
    depth: layers in all. recurrent_layers: which of them recur, counted from the end where negative; of several, the
    last is the one that the other layers read.
    """

    architecture: ClassVar[str | None] = "block_recurrent_feedback"

    recurrent: BlockRecurrentConfig = field(default_factory=BlockRecurrentConfig)
    depth: int = 4
    recurrent_layers: tuple[int, ...] = (-3,)

    def validate(self) -> None:
        self.require(self.depth >= 1, "depth", "expected at least 1")
        rule = f"expected at least one index, each from -{self.depth} to {self.depth - 1} and none twice"
        known = range(-self.depth, self.depth)
        named = all(isinstance(i, int) and i in known for i in self.recurrent_layers)
        self.require(named and len(self.recurrent_layers) > 0, "recurrent_layers", rule)
        self.require(len(set(self.indices)) == len(self.recurrent_layers), "recurrent_layers", rule)

    @classmethod
    def of_width(cls, d_model: int, **fields: Any) -> Self:
        """A stack whose layers have width D and these fields of `BlockRecurrentConfig`."""
        return cls(recurrent=BlockRecurrentConfig.of_width(d_model, **fields))

    @property
    def indices(self) -> tuple[int, ...]:
        """The recurrent layers, counted from the first layer, in order."""
        return tuple(sorted(i % self.depth for i in self.recurrent_layers))

    @property
    def d_model(self) -> int:
        """D."""
        return self.recurrent.d_model

    @property
    def window(self) -> int:
        """W, the tokens of a block."""
        return self.recurrent.window

    @property
    def causal(self) -> bool:
        """Always."""
        return True

    @property
    def dropout(self) -> float:
        """Above zero where a layer drops anything."""
        return max(self.recurrent.dropout, self.recurrent.attention_dropout)

    @property
    def mask_padding(self) -> bool:
        """Whether padded tokens are seen by nothing."""
        return self.recurrent.mask_padding


def initial_bias(config: BlockRecurrentConfig, keys: Keys) -> np.ndarray:
    """The table of the relative bias, (H, buckets): normal of deviation buckets^-1/2 (meliad, position_t5)."""
    return normal(keys, (config.heads, config.buckets), config.buckets**-0.5)


def initial_states(config: BlockRecurrentConfig, keys: Keys) -> np.ndarray:
    """The states before a document, (S, D): small, but not so small that Adafactor would keep them there."""
    return normal(keys, (config.states, config.d_model), DEVIATION)


def identifiers(config: BlockRecurrentConfig, keys: Keys) -> np.ndarray:
    """The learned state IDs, (S, D), standard normal."""
    return normal(keys, (config.states, config.d_model))


def gate_kernel(keys: Keys, in_features: int, out_features: int) -> np.ndarray:
    """The kernel of an input or forget gate."""
    return GATE_VARIANCE**0.5 * lecun_normal(keys, (in_features, out_features))


def gate_bias(keys: Keys, features: int) -> np.ndarray:
    """The bias of any gate."""
    return normal(keys, (features,), DEVIATION)
