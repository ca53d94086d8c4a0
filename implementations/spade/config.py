"""The configurations of one SPADE layer and of several, shared by both twins, and their initial values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from implementations.common.config import Config
from implementations.common.conventions import Activation
from implementations.common.initializers import Keys, normal
from implementations.mega.config import MegaConfig
from implementations.ops.attention import Method
from implementations.s4.config import S4Config


@dataclass(frozen=True)
class SpadeConfig(Config):
    """One SPADE layer (arXiv 2212.08136; authors' code microsoft/EfficientLongSequenceModeling at 0819294).

    d_model, heads, d_ff, activation: D, H with K = D / H, width and function of the feed-forward part.
    global_branch: the bottom layer, where S4 and local attention read the same input; else local attention only.
    attention: "window" (each token sees itself and window - 1 tokens before it and, where not causal, as many after
    it), "chunk" (the tokens of its own chunk of `window` positions; of the chunks beside it too with `neighbours`), or
    "mega" (Mega's gated attention in such chunks, arXiv 2209.10655; mega_query_size, mega_value_size, mega_state_size,
    mega_attention, mega_bias: see `MegaConfig`). The released code has windows only; chunks follow the paper's text.
    combine: "concat" projects [LN(S4); LN(local)] to D (published), "add" weighs them, combine_weight for S4, and
    "stack" lets local attention read what S4 gives, without norms. s4_state_size, s4_dt_min, s4_dt_max,
    s4_truncated_length: see `S4Config`; s4_copies is its `n_ssm`.
    s4_output: what S4's output passes: "none", convolution and D x only (released code, the default), or GELU and a
    "linear" map or "glu", as in the S4 block that the paper's text refers to. s4_frozen: S4 keeps its initial values,
    no gradient reaches them (an optimizer that decays weights needs a group of rate 0 for them).
    positions: "t5" adds a relative bias of this layer's own to the logits (buckets, max_distance), "shared" one that
    another layer lends at the call (released code: every layer but the first), "none" nothing; Mega has its own.
    prenorm: normalise before each part (released language model), else after each residual sum (encoder-decoder).
    epsilon: of all norms; 1e-5 in the language model, 1e-6 in the encoder-decoder. dropout: of what is added to the
    residual; hidden_dropout: inside the feed-forward part; the authors drop attention weights too, ours only in Mega
    (attention_dropout). mask_padding: S4 sees zeros at padded positions; the authors' language model shows it what is
    there (False). Attention never sees padding. method: the kernel, see `implementations.ops.attention`.
    """

    architecture: ClassVar[str | None] = "spade"

    d_model: int = 128
    heads: int = 4
    d_ff: int = 512
    activation: Activation = "relu"
    causal: bool = False
    global_branch: bool = True
    attention: Literal["window", "chunk", "mega"] = "window"
    window: int = 128
    neighbours: bool = False
    combine: Literal["concat", "add", "stack"] = "concat"
    combine_weight: float = 0.5
    s4_state_size: int = 64
    s4_copies: int | None = None
    s4_dt_min: float = 0.001
    s4_dt_max: float = 0.1
    s4_truncated_length: int | None = None
    s4_output: Literal["none", "linear", "glu"] = "none"
    s4_frozen: bool = False
    positions: Literal["none", "t5", "shared"] = "t5"
    buckets: int = 32
    max_distance: int = 128
    mega_query_size: int = 64
    mega_value_size: int = 256
    mega_state_size: int = 16
    mega_attention: Literal["softmax", "relu2", "laplace"] = "softmax"
    mega_bias: Literal["simple", "rotary"] = "simple"
    prenorm: bool = True
    epsilon: float = 1e-5
    dropout: float = 0.0
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    mask_padding: bool = True
    method: Method = "auto"

    def validate(self) -> None:
        for field in ("d_model", "heads", "d_ff", "window", "max_distance"):
            self.require(getattr(self, field) >= 1, field, "expected at least 1")
        self.require(self.d_model % self.heads == 0, "heads", f"expected a divisor of d_model = {self.d_model}")
        chunk = self.attention == "chunk"
        self.require(chunk or not self.neighbours, "neighbours", "expected False unless attention is 'chunk'")
        self.require(0 <= self.combine_weight <= 1, "combine_weight", "expected 0 <= combine_weight <= 1")
        mega = self.attention == "mega"
        lent = self.positions == "shared"
        self.require(not (lent and mega), "positions", "expected 't5' or 'none' where attention is 'mega'")
        smallest = 2 if self.causal else 4
        fits = self.buckets >= smallest and self.buckets % smallest == 0
        self.require(fits, "buckets", f"expected a multiple of {smallest}")
        exact = self.buckets // smallest
        rule = f"expected more than {exact}, the distances that have a bucket of their own"
        self.require(self.max_distance > exact, "max_distance", rule)
        self.require(self.epsilon > 0, "epsilon", "expected a positive number")
        for field in ("dropout", "hidden_dropout", "attention_dropout"):
            self.require(0 <= getattr(self, field) < 1, field, f"expected 0 <= {field} < 1")
        only = "expected 0 unless attention is 'mega'"
        self.require(mega or self.attention_dropout == 0, "attention_dropout", only)
        if self.global_branch:
            _ = self.s4
        if mega:
            _ = self.mega

    @property
    def head_width(self) -> int:
        """K."""
        return self.d_model // self.heads

    @property
    def owns_bias(self) -> bool:
        """Whether the layer has a relative bias that it can lend."""
        return self.positions == "t5" and self.attention != "mega"

    @property
    def cached(self) -> int:
        """How many tokens before a segment its queries may need."""
        return self.window * (1 + self.neighbours)

    @property
    def s4(self) -> S4Config:
        """The bank of the global branch."""
        return S4Config(
            d_model=self.d_model,
            state_size=self.s4_state_size,
            n_ssm=self.s4_copies,
            dt_min=self.s4_dt_min,
            dt_max=self.s4_dt_max,
            B_clip=None,
            bidirectional=not self.causal,
            truncated_length=self.s4_truncated_length,
        )

    @property
    def mega(self) -> MegaConfig:
        """Mega's gated attention: beside S4 its norm is the branch's norm, else it is the layer's."""
        return MegaConfig(
            d_model=self.d_model,
            query_size=self.mega_query_size,
            value_size=self.mega_value_size,
            feedforward_size=0,
            state_size=self.mega_state_size,
            bidirectional=not self.causal,
            chunk_size=self.window,
            attention=self.mega_attention,
            bias=self.mega_bias,
            prenorm=self.prenorm and not self.global_branch,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            hidden_dropout=self.hidden_dropout,
        )


@dataclass(frozen=True)
class SpadeStackConfig(Config):
    """`depth` SPADE layers that act as one: `bottom` first, `upper` above it, so that equal stacks go around any model.

    first: the index of the first bottom layer, which in the paper is 0. every: the layers that lie a multiple of it
    above that one are bottom layers too; None makes it the only one, as published. share_bias: the first layer's
    relative bias serves all (released code), else each layer has its own.
    """

    architecture: ClassVar[str | None] = "spade_stack"
    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (("first",),)

    bottom: SpadeConfig = SpadeConfig()
    upper: SpadeConfig = SpadeConfig(global_branch=False)
    depth: int = 2
    every: int | None = None
    share_bias: bool = True
    first: int = 0

    def validate(self) -> None:
        self.require(self.depth >= 1, "depth", "expected at least 1")
        self.require(
            self.every is None or self.every >= 1, "every", "expected at least 1, or None for one bottom layer"
        )
        for field in ("d_model", "causal", "mask_padding"):
            ours = getattr(self.bottom, field)
            same = ours == getattr(self.upper, field)
            self.require(same, "upper", f"expected the {field} of the bottom layer, {ours}")
        for field in ("bottom", "upper"):
            owned = getattr(self, field).positions != "shared"
            self.require(owned, field, "expected positions 't5' or 'none': share_bias decides what is shared")
        self.require(0 <= self.first < self.depth, "first", f"expected 0 to {self.depth - 1}, the index of a layer")
        borrower = self.bottom if self.first else self.upper
        same = not self.share_bias or not borrower.owns_bias or self.lends
        rule = "expected a bottom layer with a relative bias of as many heads, or share_bias False"
        self.require(same, "upper", rule)

    @classmethod
    def of_width(cls, d_model: int, **fields: Any) -> Self:
        """A stack whose layers have width D and these fields of `SpadeConfig`."""
        layer = SpadeConfig.of_width(d_model, **fields)
        return cls(bottom=layer, upper=layer.replace(global_branch=False))

    @property
    def lends(self) -> bool:
        """Whether the first layer has a relative bias that fits the layers above it."""
        lender = self.upper if self.first else self.bottom
        return lender.owns_bias and self.bottom.heads == self.upper.heads

    @property
    def layers(self) -> tuple[SpadeConfig, ...]:
        """The layers, from the bottom."""
        found = []
        for i in range(self.depth):
            above = i - self.first
            chosen = above == 0 or (self.every is not None and above > 0 and above % self.every == 0)
            config = self.bottom if chosen else self.upper
            shared = i > 0 and self.share_bias and config.owns_bias
            found.append(config.replace(positions="shared") if shared else config)
        return tuple(found)

    @property
    def d_model(self) -> int:
        """D."""
        return self.bottom.d_model

    @property
    def causal(self) -> bool:
        """Whether the layers can stream: they look at no later position."""
        return self.bottom.causal

    @property
    def streaming(self) -> dict[str, Any]:
        """What decides whether the layers stream, with the value with which they do."""
        return self.bottom.streaming

    @property
    def mask_padding(self) -> bool:
        """Whether nothing depends on padding."""
        return self.bottom.mask_padding

    @property
    def dropout(self) -> float:
        """The largest rate of dropout."""
        return max(config.dropout for config in self.layers)


def uniform(keys: Keys, shape: tuple[int, ...], bound: float) -> np.ndarray:
    """Uniform values between -bound and bound."""
    return bound * (2 * keys.uniform(shape) - 1)


def initial_projection(keys: Keys, in_features: int, out_features: int, gain: float) -> np.ndarray:
    """A kernel (in, out) of the attention, Xavier uniform; gain 2^-1/2 for queries, keys and values, 1 for outputs."""
    return uniform(keys.child("kernel"), (in_features, out_features), gain * (6 / (in_features + out_features)) ** 0.5)


def initial_linear(keys: Keys, in_features: int, out_features: int) -> dict[str, np.ndarray]:
    """Kernel and bias of the other linear maps, uniform up to in_features^-1/2 (PyTorch's own)."""
    bound = in_features**-0.5
    kernel = uniform(keys.child("kernel"), (in_features, out_features), bound)
    return {"kernel": kernel, "bias": uniform(keys.child("bias"), (out_features,), bound)}


def initial_table(config: SpadeConfig, keys: Keys) -> np.ndarray:
    """The table of a relative bias (H, buckets), standard normal."""
    return normal(keys.child("table"), (config.heads, config.buckets))
