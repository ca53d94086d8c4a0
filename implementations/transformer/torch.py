"""The Transformer layer in PyTorch; `jax.py` beside it is its twin.

y = x + Attention(Norm(x)),  z = y + FeedForward(Norm(y))      (pre-norm; arXiv 1706.03762, 2203.07852)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from implementations.common.config import check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.common.torch import (
    Dropout,
    FeedForward,
    LayerNorm,
    Linear,
    RMSNorm,
    ending,
    owned,
    parameter,
    trailing,
)
from implementations.ops.attention import Method
from implementations.ops.attention.torch import (
    full_attention,
    normalise,
    rotary,
    simple_index,
    t5_bucket,
    window_attention,
)
from implementations.transformer.config import TransformerConfig, initial_bias


class RelativeBias(nn.Module):
    """Relative positions (L, T) to what each head adds to the logits, (H, L, T)."""

    def __init__(self, config: TransformerConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.table = parameter(keys, initial_bias(config, keys.child("table")))

    def forward(self, relative: Integer[Tensor, "L T"]) -> Float[Tensor, "H L T"]:
        config = self.config
        if config.positions == "t5":
            index = t5_bucket(relative, config.buckets, config.max_distance, not config.causal)
        else:
            index = simple_index(relative, config.max_distance)
        return self.table[:, index]


class Attention(nn.Module):
    """Multi-head attention on a segment behind its cache: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: TransformerConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        inner = config.heads * config.head_width
        self.query = Linear(config.d_model, inner, keys.child("query"), config.biases)
        self.key = Linear(config.d_model, inner, keys.child("key"), config.biases)
        self.value = Linear(config.d_model, inner, keys.child("value"), config.biases)
        self.out = Linear(inner, config.d_model, keys.child("out"), config.biases)
        if config.qk_norm:
            self.scale = parameter(keys, np.ones(config.heads))
        if config.relative_bias:
            self.bias = RelativeBias(config, keys.child("bias"))

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """The cache before the first token: W zero keys and values, or none where attention is full."""
        config, like = self.config, self.query.kernel
        shape = (batch, config.window or 0, config.heads, config.head_width)
        return {
            "keys": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "values": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "valid": torch.full(shape[:2], config.attend_start, device=like.device),
        }

    def project(
        self, x: Float[Tensor, "B L D"]
    ) -> tuple[Float[Tensor, "B L H K"], Float[Tensor, "B L H K"], Float[Tensor, "B L H K"]]:
        """Scaled queries, keys and values."""
        config = self.config
        shape = (*x.shape[:2], config.heads, config.head_width)
        q, k, v = self.query(x).reshape(shape), self.key(x).reshape(shape), self.value(x).reshape(shape)
        if config.qk_norm:
            return normalise(q) * torch.abs(self.scale)[:, None], normalise(k), v
        return q * config.head_width**-0.5, k, v

    def scaled_bias(self, relative: Integer[Tensor, "L T"]) -> Float[Tensor, "H L T"]:
        """The relative bias, times the learned scale of each head where there is one."""
        bias = self.bias(relative)
        return bias * torch.abs(self.scale)[:, None, None] if self.config.qk_norm else bias

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: dict[str, Tensor] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        method: Method | None = None,
    ) -> tuple[Float[Tensor, "B L D"], dict[str, Tensor] | None]:
        """Map a segment and its cache to outputs and the cache after it (None where the layer is not causal)."""
        config = self.config
        q, k, v = self.project(x)
        valid = mask
        if config.causal:
            if state is None:
                state = self.initial_state(x.shape[0])
            if config.attention == "xl":
                state = {name: value.detach() for name, value in state.items()}
            padding = None if mask is None else trailing(mask)
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
            k = torch.cat([state["keys"], k], 1)
            v = torch.cat([state["values"], v], 1)
            valid = torch.cat([state["valid"], mask], 1)
            kept = k.shape[1] if config.window is None else config.window
            state = {
                "keys": ending(k, padding, kept),
                "values": ending(v, padding, kept),
                "valid": ending(valid, padding, kept),
            }
            if config.window is not None:
                state = {name: owned(part) for name, part in state.items()}
        before = k.shape[1] - x.shape[1]
        if config.positions == "rotary":
            q, k = rotary(q, before), rotary(k)
        options = {
            "bias": self.scaled_bias if config.relative_bias else None,
            "valid": valid,
            "causal": config.causal,
            "include_self": config.include_self,
            "method": method or config.method,
        }
        if config.window is None:
            y = full_attention(q, k, v, before=before, **options)
        else:
            y = window_attention(q, k, v, config.window, cut_gradient=config.attention == "xl", **options)
        return self.out(y.reshape(*y.shape[:2], -1)), state


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each with norm and residual: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: TransformerConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        norm = LayerNorm if config.norm == "layer" else RMSNorm
        self.norm1 = norm(config.d_model, keys.child("norm1"))
        self.attention = Attention(config, keys.child("attention"))
        self.dropout1 = Dropout(config.dropout, keys.child("dropout1"))
        if config.d_ff > 0:
            self.norm2 = norm(config.d_model, keys.child("norm2"))
            self.feed_forward = FeedForward(
                config.d_model, config.d_ff, keys.child("feed_forward"), config.activation, config.gated, config.biases
            )
            self.dropout2 = Dropout(config.dropout, keys.child("dropout2"))

    def initial_state(self, batch: int) -> dict[str, Tensor] | None:
        """The cache before the first token, or None where the layer cannot stream."""
        return self.attention.initial_state(batch) if self.config.causal else None

    def reset(self, state: dict[str, Tensor] | None, start: Bool[Tensor, " B"]) -> dict[str, Tensor]:
        """The cache, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        return {
            "keys": torch.where(start[:, None, None, None], 0.0, state["keys"]),
            "values": torch.where(start[:, None, None, None], 0.0, state["values"]),
            "valid": torch.where(start[:, None], self.config.attend_start, state["valid"]),
        }

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: dict[str, Tensor] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        method: Method | None = None,
    ) -> tuple[Float[Tensor, "B L D"], dict[str, Tensor] | None]:
        """Map a segment of any length from a state to outputs and the state after it.

        The state of a causal layer is its cache: `keys` and `values` (B, T, H, K) of the last T = W tokens, or of all
        before where attention is full, and `valid` (B, T), False where there is no token to see. Positions are relative
        to the query, so that it counts none. `mask` is True at genuine positions; it is heeded where
        `config.mask_padding` says so: the cache then ends with the last genuine token of each sequence. `method`
        overrides the config's.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        check_state(self, state, x.shape[0])
        mask = mask if config.mask_padding else None
        if mask is not None:
            x = torch.where(mask[..., None], x, 0.0)
        skip = x
        if config.prenorm:
            x = self.norm1(x)
        x, state = self.attention(x, state, mask, method=method)
        x = skip + self.dropout1(x, dropout_seed, training)
        if not config.prenorm:
            x = self.norm1(x)
        if config.d_ff == 0:
            return x, state
        skip = x
        if config.prenorm:
            x = self.norm2(x)
        x = self.feed_forward(x)
        x = skip + self.dropout2(x, dropout_seed, training)
        if not config.prenorm:
            x = self.norm2(x)
        return x, state
