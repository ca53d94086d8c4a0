"""The configuration of one Transformer layer, shared by both twins, and the initial values of its relative bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from implementations.common.config import Config
from implementations.common.conventions import Activation
from implementations.common.initializers import Keys, normal
from implementations.ops.attention import Method


@dataclass(frozen=True)
class TransformerConfig(Config):
    """One layer of attention and feed-forward (arXiv 1706.03762), and its variants for long sequences.

    d_model, heads, head_width, d_ff: D, H, K and the width of the feed-forward part, 0 for none. activation, gated: see
    `FeedForward`. norm, prenorm: normalise before each part, else after each residual sum. biases: of all linear maps.
    attention: "full"; "window" (each token sees the W tokens of the sliding window, gradients pass between blocks);
    "xl" (the same, but no gradient passes to the cache, nor in a longer segment to the block before: Transformer-XL as
    in arXiv 2203.07852, where every token sees exactly W). window: W; None where attention is full.
    causal: see no later position; a window that is not causal reaches W - 1 tokens to either side.
    include_self: whether a token sees itself; False sees W tokens before it (arXiv 2203.07852, official code).
    attend_start: the W zero keys before a document are attended to (official code of arXiv 2203.07852), not masked.
    positions: "sinusoidal" and "learned" (up to max_length) are added by the model to its input; "t5" (buckets,
    max_distance) and "simple" (one entry per relative position below max_distance) add to the logits of each head;
    "rotary" turns queries and keys. qk_norm: queries and keys of length one, and logits times |scale|, learned per
    head, which multiplies a relative bias too; without it queries are divided by sqrt(K). dropout: of what is added to
    the residual, one mask per sequence and feature for all positions; weights of the attention are not dropped.
    mask_padding: padded keys are never attended to. method: the kernel, see `implementations.ops.attention`.
    """

    architecture: ClassVar[str | None] = "transformer"

    d_model: int = 128
    heads: int = 4
    head_width: int = 32
    d_ff: int = 512
    activation: Activation = "gelu"
    gated: bool = False
    norm: Literal["layer", "rms"] = "layer"
    prenorm: bool = True
    biases: bool = True
    attention: Literal["full", "window", "xl"] = "full"
    window: int | None = None
    causal: bool = False
    include_self: bool = True
    attend_start: bool = False
    positions: Literal["none", "sinusoidal", "learned", "t5", "simple", "rotary"] = "none"
    buckets: int = 32
    max_distance: int = 128
    max_length: int | None = None
    qk_norm: bool = False
    dropout: float = 0.0
    mask_padding: bool = True
    method: Method = "auto"

    def validate(self) -> None:
        for field in ("d_model", "heads", "head_width"):
            self.require(getattr(self, field) >= 1, field, "expected at least 1")
        self.require(self.d_ff >= 0, "d_ff", "expected at least 0")
        if self.attention == "full":
            self.require(self.window is None, "window", "expected None where attention is 'full'")
        else:
            self.require(self.window is not None and self.window >= 1, "window", "expected at least 1")
        self.require(self.causal or self.attention != "xl", "causal", "expected True where attention is 'xl'")
        self.require(self.causal or self.include_self, "include_self", "expected True unless the layer is causal")
        cached = self.causal and self.attention != "full"
        self.require(cached or not self.attend_start, "attend_start", "expected False unless a causal window is used")
        rotary = self.positions == "rotary"
        self.require(
            not rotary or self.head_width % 2 == 0, "head_width", "expected an even width for rotary positions"
        )
        smallest = 2 if self.causal else 4
        self.require(
            self.buckets >= smallest and self.buckets % smallest == 0, "buckets", f"expected a multiple of {smallest}"
        )
        exact = self.buckets // smallest
        rule = f"expected more than {exact}, the distances that have a bucket of their own"
        self.require(self.positions != "t5" or self.max_distance > exact, "max_distance", rule)
        self.require(self.max_distance >= 1, "max_distance", "expected at least 1")
        if self.positions == "learned":
            self.require(self.max_length is not None and self.max_length >= 1, "max_length", "expected at least 1")
        self.require(0 <= self.dropout < 1, "dropout", "expected 0 <= dropout < 1")

    @property
    def relative_bias(self) -> bool:
        """Whether relative positions add to the logits."""
        return self.positions in ("t5", "simple")

    @property
    def input_positions(self) -> Literal["none", "sinusoidal", "learned"]:
        """The absolute positions that a model adds to its input."""
        return self.positions if self.positions in ("sinusoidal", "learned") else "none"

    @property
    def longest(self) -> int | None:
        """The longest sequence that a model of these layers takes, None for any."""
        return self.max_length if self.positions == "learned" else None


def initial_bias(config: TransformerConfig, keys: Keys) -> np.ndarray:
    """The table of a relative bias, (H, buckets) or (H, 2 max_distance - 1), normal of deviation D^-1/2 (T5)."""
    entries = config.buckets if config.positions == "t5" else 2 * config.max_distance - 1
    return normal(keys, (config.heads, entries), config.d_model**-0.5)
