"""The configuration of one Block-State layer, shared by both twins, and the initial values of its own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from implementations.common.config import Config
from implementations.common.conventions import Activation
from implementations.common.initializers import Keys, normal
from implementations.ops.attention import Method
from implementations.s4.config import BankConfig, S4Config, S4DConfig
from implementations.s4.config import Method as ScanMethod
from implementations.transformer.config import TransformerConfig

INITIAL_DEVIATION = 0.1
"""Standard deviation of the learned context of window 0: that of the initial state of a Block-Recurrent layer."""


@dataclass(frozen=True)
class BlockStateConfig(Config):
    """One Block-State layer (arXiv 2306.09539): a Transformer layer whose tokens also attend to context states.

    No code of the authors is released. The paper prints pseudo-code and says that the layer is the vertical path of a
    Block-Recurrent layer (arXiv 2203.07852; google-research/meliad), trained as that paper trains; what it leaves open
    is a field here, and the default is what Block-Recurrent's code does.

    d_model, heads, head_width, d_ff: D, H, K and the width of the feed-forward part. window: W, the windows counted
    from the start of the document. variant: "SH", one filter per feature, its outputs lifted to H heads; "MH", one
    filter per feature and head; in both a token sees the contexts of its own window up to itself. "MF", S filters per
    feature, of which the last outputs of a window are the contexts of the next; a learned one precedes the first.
    context_states: S of "MF" (32 in the pseudo-code); the others have S = W.

    kernel: "s4" (N = `state_size`, 16 in the reported results), its diagonal form "s4d", or "unstructured": filters
    h_j = exp(-alpha t) Linear(PosEmb(j)) with t = j / (filter_length - 1), trained as far as `filter_length` (4096).
    dt_min, dt_max: range of the initial time steps of S4. decay_min, decay_max: alpha of the first and of the last
    feature, those between evenly spaced; the paper gives no number, these are Hyena's (arXiv 2302.10866).
    position_features: width of the sinusoidal PosEmb; not given either, but the published 221M parameters of "MF" rule
    out D of them. beyond: what an unstructured filter is past `filter_length`: "zero", and a layer that streams keeps
    as many inputs; or "extend", the same formula where it was not trained: such a layer cannot stream.

    attend_previous_window: self-attention reaches W tokens back, as in the sliding baseline, from which the layer then
    differs by its contexts only; the pseudo-code shows the own window alone (False). positions: T5's relative bias
    (buckets, max_distance) in self-attention, or none: the paper does not say; the filters carry positions too.
    context_ids: learned embeddings of the S states, added after their norm ("MF"). context_norm: contexts are
    normalised before use, as the states of a Block-Recurrent layer are; here before the lift, which the norm would
    cancel. lift: the dense map from one channel to H heads that the pseudo-code applies in "SH" and "MF", a number per
    head; without it the heads share the contexts.

    activation, gated, norm, biases, include_self, attend_start, qk_norm, dropout, method: see `TransformerConfig`;
    contexts have a scale of `qk_norm` of their own and no relative bias. Contexts include the current token in any
    case. scan: how the SSM is evaluated, "auto", "direct", "fft" or, for S4, "recurrent".
    """

    architecture: ClassVar[str | None] = "block_state"
    causal: ClassVar[bool] = True
    mask_padding: ClassVar[bool] = True

    d_model: int = 128
    heads: int = 4
    head_width: int = 32
    d_ff: int = 512
    window: int = 64
    variant: Literal["SH", "MH", "MF"] = "SH"
    context_states: int = 32
    kernel: Literal["s4", "s4d", "unstructured"] = "s4"
    state_size: int = 16
    dt_min: float = 0.001
    dt_max: float = 0.1
    filter_length: int = 4096
    position_features: int = 64
    decay_min: float = 3.07
    decay_max: float = 15.35
    beyond: Literal["zero", "extend"] = "zero"
    attend_previous_window: bool = True
    positions: Literal["none", "t5"] = "t5"
    buckets: int = 32
    max_distance: int = 128
    context_ids: bool = True
    context_norm: bool = True
    lift: bool = True
    activation: Activation = "relu"
    gated: bool = False
    norm: Literal["layer", "rms"] = "rms"
    biases: bool = False
    include_self: bool = False
    attend_start: bool = True
    qk_norm: bool = True
    dropout: float = 0.0
    method: Method = "auto"
    scan: ScanMethod = "auto"

    def validate(self) -> None:
        for field in ("d_model", "heads", "head_width", "d_ff", "window", "context_states", "filter_length"):
            self.require(getattr(self, field) >= 1, field, "expected at least 1")
        self.require(self.position_features >= 1, "position_features", "expected at least 1")
        rates = 0 <= self.decay_min <= self.decay_max
        self.require(rates, "decay_min", f"expected 0 <= decay_min <= decay_max = {self.decay_max}")
        even = self.state_size >= 2 and self.state_size % 2 == 0
        self.require(even, "state_size", "expected a positive even number")
        self.require(0 < self.dt_min <= self.dt_max, "dt_min", f"expected 0 < dt_min <= dt_max = {self.dt_max}")
        start = self.attend_previous_window or not self.attend_start
        self.require(start, "attend_start", "expected False unless attend_previous_window")
        self.require(self.buckets >= 2 and self.buckets % 2 == 0, "buckets", "expected a multiple of 2")
        rule = f"expected more than {self.buckets // 2}, the distances that have a bucket of their own"
        self.require(self.positions != "t5" or self.max_distance > self.buckets // 2, "max_distance", rule)
        self.require(0 <= self.dropout < 1, "dropout", "expected 0 <= dropout < 1")
        steps = self.scan != "recurrent" or self.kernel != "unstructured"
        self.require(steps, "scan", "expected 'auto', 'direct' or 'fft' where the kernel is 'unstructured'")

    @property
    def channels(self) -> int:
        """Filters per feature."""
        return {"SH": 1, "MH": self.heads, "MF": self.context_states}[self.variant]

    @property
    def streams(self) -> bool:
        """Whether the layer has a state: a filter that goes on for ever would need all inputs before."""
        return self.kernel != "unstructured" or self.beyond == "zero"

    @property
    def streaming(self) -> dict[str, Any]:
        """The field that decides whether the layer streams, with the value with which it does."""
        return {"beyond": "zero"} if self.kernel == "unstructured" else {}

    @property
    def bank(self) -> BankConfig:
        """The bank of S4 filters."""
        return (S4Config if self.kernel == "s4" else S4DConfig)(
            d_model=self.d_model,
            state_size=self.state_size,
            channels=self.channels,
            dt_min=self.dt_min,
            dt_max=self.dt_max,
            output="linear",
            scan=self.scan,
        )

    @property
    def sliding(self) -> TransformerConfig:
        """The sliding-window Transformer layer that the layer is without its contexts."""
        return TransformerConfig(
            d_model=self.d_model,
            heads=self.heads,
            head_width=self.head_width,
            d_ff=self.d_ff,
            activation=self.activation,
            gated=self.gated,
            norm=self.norm,
            biases=self.biases,
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
            method=self.method,
        )


def initial_contexts(config: BlockStateConfig, keys: Keys) -> dict[str, np.ndarray]:
    """What "MF" learns of its S states: `initial` (S, D), the context of window 0, and `ids` (S, D), drawn N(0, 1)."""
    shape = (config.context_states, config.d_model)
    values = {"initial": normal(keys.child("initial"), shape, INITIAL_DEVIATION)}
    return values | ({"ids": normal(keys.child("ids"), shape)} if config.context_ids else {})
