"""Cross-attention in PyTorch; `jax.py` beside it is its twin.

y = x + Attention(Norm(x), memory),  z = y + FeedForward(Norm(y))      (pre-norm; arXiv 1706.03762, section 3.2.3)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from implementations.common.config import require_segment
from implementations.common.initializers import Keys
from implementations.common.torch import Dropout, FeedForward, LayerNorm, Linear, RMSNorm, parameter
from implementations.ops.attention.torch import attend, normalise
from implementations.transformer.config import TransformerConfig
from implementations.transformer.cross import require_cross


class CrossAttention(nn.Module):
    """Multi-head attention of (B, L, D) to the memory of (B, T, D)."""

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

    def memory(self, x: Float[Tensor, "B T D"], valid: Bool[Tensor, "B T"] | None = None) -> dict[str, Tensor]:
        """What is attended to: `keys` and `values` (B, T, H, K); what x holds where `valid` is False is not read."""
        if valid is not None:
            x = torch.where(valid[..., None], x, 0.0)
        shape = (*x.shape[:2], self.config.heads, self.config.head_width)
        k, v = self.key(x).reshape(shape), self.value(x).reshape(shape)
        return {"keys": normalise(k) if self.config.qk_norm else k, "values": v}

    def forward(
        self, x: Float[Tensor, "B L D"], memory: dict[str, Tensor], valid: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B L D"]:
        """Attend to the memory where `valid` is True."""
        config = self.config
        q = self.query(x).reshape(*x.shape[:2], config.heads, config.head_width)
        if config.qk_norm:
            q = normalise(q) * torch.abs(self.scale)[:, None]
        else:
            q = q * config.head_width**-0.5
        mask = None if valid is None else valid[:, None, None, :]
        y = attend(q, memory["keys"], memory["values"], None, mask, config.method)
        return self.out(y.reshape(*y.shape[:2], -1))


class CrossLayer(nn.Module):
    """Cross-attention and feed-forward, each with norm and residual: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: TransformerConfig, keys: Keys) -> None:
        super().__init__()
        require_cross(config, "CrossLayer.config")
        self.config = config
        norm = LayerNorm if config.norm == "layer" else RMSNorm
        self.norm1 = norm(config.d_model, keys.child("norm1"))
        self.attention = CrossAttention(config, keys.child("attention"))
        self.dropout1 = Dropout(config.dropout, keys.child("dropout1"))
        if config.d_ff > 0:
            self.norm2 = norm(config.d_model, keys.child("norm2"))
            self.feed_forward = FeedForward(
                config.d_model, config.d_ff, keys.child("feed_forward"), config.activation, config.gated, config.biases
            )
            self.dropout2 = Dropout(config.dropout, keys.child("dropout2"))

    def memory(self, x: Float[Tensor, "B T D"], valid: Bool[Tensor, "B T"] | None = None) -> dict[str, Tensor]:
        """What is attended to, from the encoder's outputs; see `CrossAttention.memory`."""
        return self.attention.memory(x, valid if self.config.mask_padding else None)

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        memory: dict[str, Tensor],
        valid: Bool[Tensor, "B T"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> Float[Tensor, "B L D"]:
        """Map a segment of any length; positions do not see each other."""
        config = self.config
        require_segment(x.shape, config.d_model)
        skip = x
        if config.prenorm:
            x = self.norm1(x)
        x = self.attention(x, memory, valid if config.mask_padding else None)
        x = skip + self.dropout1(x, dropout_seed, training)
        if not config.prenorm:
            x = self.norm1(x)
        if config.d_ff == 0:
            return x
        skip = x
        if config.prenorm:
            x = self.norm2(x)
        x = self.feed_forward(x)
        x = skip + self.dropout2(x, dropout_seed, training)
        if not config.prenorm:
            x = self.norm2(x)
        return x
