"""The Block-State layer in PyTorch; `jax.py` beside it is its twin.

C = SSM(Norm(x)),  A1 = window attention of x on x,  A2 = attention of each window of x on its contexts,
y = x + [A1; A2] W_o,  z = y + FeedForward(Norm(y))      (arXiv 2306.09539, section 3; vertical path of 2203.07852)

SH, MH: a token sees the C of its window up to itself. MF: the S outputs of the SSM at the end of the window before.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from implementations.block_state.config import BlockStateConfig, initial_contexts
from implementations.block_state.filters.torch import UnstructuredBank
from implementations.block_state.windows.torch import (
    last_window_attention,
    own_window_attention,
    window_blocks,
    window_ends,
    windows,
)
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
    product,
    trailing,
)
from implementations.ops.attention import Method
from implementations.ops.attention.torch import normalise, window_attention
from implementations.s4.config import Method as ScanMethod
from implementations.s4.config import choose
from implementations.s4.torch import S4Bank
from implementations.transformer.torch import RelativeBias


class SelfAttention(nn.Module):
    """Heads of attention on the window of each token, not yet projected: (B, L, D) -> (B, L, H, K)."""

    def __init__(self, config: BlockStateConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        inner = config.heads * config.head_width
        self.query = Linear(config.d_model, inner, keys.child("query"), config.biases)
        self.key = Linear(config.d_model, inner, keys.child("key"), config.biases)
        self.value = Linear(config.d_model, inner, keys.child("value"), config.biases)
        if config.qk_norm:
            self.scale = parameter(keys, np.ones(config.heads))
        if config.positions == "t5":
            self.bias = RelativeBias(config.sliding, keys.child("bias"))

    def scaled_bias(self, relative: Integer[Tensor, "L T"]) -> Float[Tensor, "H L T"]:
        """The relative bias, times the learned scale of each head where there is one."""
        bias = self.bias(relative)
        return bias * torch.abs(self.scale)[:, None, None] if self.config.qk_norm else bias

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: dict[str, Tensor],
        valid: Bool[Tensor, "B T"],
        position: Integer[Tensor, " B"] | None,
        padding: Integer[Tensor, " B"] | None,
        method: Method,
    ) -> tuple[Float[Tensor, "B L H K"], dict[str, Tensor]]:
        """Heads, and the keys and values of the last W tokens; `valid` is of the W cached tokens and the segment."""
        config, W = self.config, self.config.window
        shape = (*x.shape[:2], config.heads, config.head_width)
        q, k, v = self.query(x).reshape(shape), self.key(x).reshape(shape), self.value(x).reshape(shape)
        if config.qk_norm:
            q, k = normalise(q) * torch.abs(self.scale)[:, None], normalise(k)
        else:
            q = q * config.head_width**-0.5
        k, v = torch.cat([state["keys"], k], 1), torch.cat([state["values"], v], 1)
        state = {"keys": owned(ending(k, padding, W)), "values": owned(ending(v, padding, W))}
        bias = self.scaled_bias if config.positions == "t5" else None
        if config.attend_previous_window:
            y = window_attention(q, k, v, W, bias=bias, valid=valid, include_self=config.include_self, method=method)
        else:
            y = own_window_attention(
                q, k, v, W, position, bias=bias, valid=valid, include_self=config.include_self, method=method
            )
        return y, state


class ContextAttention(nn.Module):
    """Heads of attention of tokens on their context states, not yet projected: (B, L, D) -> (B, L, H, K)."""

    def __init__(self, config: BlockStateConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        inner = config.heads * config.head_width
        if config.context_norm:
            self.norm = _norm(config, keys.child("norm"))
        if config.lift and config.variant != "MH":
            self.lift = Linear(1, config.heads, keys.child("lift"), False)
        self.query = Linear(config.d_model, inner, keys.child("query"), config.biases)
        self.key = Linear(config.d_model, inner, keys.child("key"), config.biases)
        self.value = Linear(config.d_model, inner, keys.child("value"), config.biases)
        if config.qk_norm:
            self.scale = parameter(keys, np.ones(config.heads))
        if config.variant == "MF":
            values = initial_contexts(config, keys)
            self.initial = parameter(keys, values["initial"])
            if config.context_ids:
                self.ids = parameter(keys, values["ids"])

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """Empty keys and values of the contexts of a window, or the learned context of window 0."""
        config, like = self.config, self.query.kernel
        if config.variant == "MF":
            return {"context": self.initial.repeat(batch, 1, 1)}
        shape = (batch, config.window, config.heads, config.head_width)
        return {
            "context_keys": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "context_values": torch.zeros(shape, dtype=like.dtype, device=like.device),
        }

    def heads_of(self, linear: Linear, contexts: Float[Tensor, "B T C D"]) -> Float[Tensor, "B T H K"]:
        """Keys or values: every head projects its own channel or, where there is but one, that one as it is lifted."""
        config = self.config
        kernel = rearrange(linear.kernel, "d (h k) -> d h k", h=config.heads)
        if config.variant == "MH":
            y = product("bthd,dhk->bthk", contexts, kernel)
        else:
            y = product("btd,dhk->bthk", contexts[:, :, 0], kernel)
            if config.lift:
                y = y * self.lift.kernel[0][:, None]
        return y + rearrange(linear.bias, "(h k) -> h k", h=config.heads) if config.biases else y

    def keys_and_values(
        self, contexts: Float[Tensor, "B T C D"]
    ) -> tuple[Float[Tensor, "B TS H K"], Float[Tensor, "B TS H K"]]:
        """Keys and values of contexts; the S states of "MF" (its C) lie along the second axis, window by window."""
        config = self.config
        if config.context_norm:
            flat = self.norm(rearrange(contexts, "b t c d -> b (t c) d"))
            contexts = rearrange(flat, "b (t c) d -> b t c d", t=contexts.shape[1])
        if config.variant == "MF":
            if config.context_ids:
                contexts = contexts + self.ids
            contexts = rearrange(contexts, "b n s d -> b (n s) 1 d")
        k, v = self.heads_of(self.key, contexts), self.heads_of(self.value, contexts)
        return (normalise(k) if config.qk_norm else k), v

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        contexts: Float[Tensor, "B _ C D"],
        state: dict[str, Tensor],
        valid: Bool[Tensor, "B T"],
        position: Integer[Tensor, " B"] | None,
        padding: Integer[Tensor, " B"] | None,
        method: Method,
    ) -> tuple[Float[Tensor, "B L H K"], dict[str, Tensor]]:
        """Heads, and what the tokens after the segment see of its contexts: those of every token, or at window ends."""
        config, W = self.config, self.config.window
        q = self.query(x).reshape(*x.shape[:2], config.heads, config.head_width)
        if config.qk_norm:
            q = normalise(q) * torch.abs(self.scale)[:, None]
        else:
            q = q * config.head_width**-0.5
        if config.variant == "MF":
            return self.from_last_window(q, contexts, state["context"], position, padding, method)
        k, v = self.keys_and_values(contexts)
        k = torch.cat([state["context_keys"], k], 1)
        v = torch.cat([state["context_values"], v], 1)
        state = {"context_keys": owned(ending(k, padding, W)), "context_values": owned(ending(v, padding, W))}
        return own_window_attention(q, k, v, W, position, valid=valid, method=method), state

    def from_last_window(
        self,
        q: Float[Tensor, "B L H K"],
        ends: Float[Tensor, "B n S D"],
        last: Float[Tensor, "B S D"],
        position: Integer[Tensor, " B"] | None,
        padding: Integer[Tensor, " B"] | None,
        method: Method,
    ) -> tuple[Float[Tensor, "B L H K"], dict[str, Tensor]]:
        """Attention of each window on the contexts at the end of the one before it; of the first, on `last`."""
        W, (batch, length) = self.config.window, q.shape[:2]
        count = windows(length, W, position)
        known = torch.cat([last[:, None], ends], 1)
        k, v = (rearrange(y, "b (n s) h k -> b n s h k", n=count) for y in self.keys_and_values(known[:, :count]))
        y = last_window_attention(q, k, v, W, position, method=method)
        if position is None and padding is None:
            return y, {"context": owned(known[:, length // W])}
        left = length if padding is None else length - padding
        index = (left if position is None else position + left) // W
        return y, {"context": known[torch.arange(batch, device=q.device), index]}


def _norm(config: BlockStateConfig, keys: Keys) -> LayerNorm | RMSNorm:
    return (LayerNorm if config.norm == "layer" else RMSNorm)(config.d_model, keys)


class BlockStateLayer(nn.Module):
    """Self-attention beside attention on contexts, and feed-forward: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: BlockStateConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        inner = config.heads * config.head_width
        self.norm1 = _norm(config, keys.child("norm1"))
        if config.kernel == "unstructured":
            self.ssm = UnstructuredBank(config, keys.child("ssm"))
        else:
            self.ssm = S4Bank(config.bank, keys.child("ssm"))
        self.attention = SelfAttention(config, keys.child("attention"))
        self.context = ContextAttention(config, keys.child("context"))
        self.out = Linear(2 * inner, config.d_model, keys.child("out"), config.biases)
        self.dropout1 = Dropout(config.dropout, keys.child("dropout1"))
        self.norm2 = _norm(config, keys.child("norm2"))
        self.feed_forward = FeedForward(
            config.d_model, config.d_ff, keys.child("feed_forward"), config.activation, config.gated, config.biases
        )
        self.dropout2 = Dropout(config.dropout, keys.child("dropout2"))

    def _empty(self, batch: int) -> dict[str, Tensor]:
        """The caches of both attentions before the first token."""
        config, like = self.config, self.out.kernel
        shape = (batch, config.window, config.heads, config.head_width)
        cache = {
            "keys": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "values": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "valid": torch.full(shape[:2], config.attend_start, device=like.device),
        }
        return cache | self.context.initial_state(batch)

    def initial_state(self, batch: int) -> dict[str, Tensor] | None:
        """The state before the first token, or None where the layer cannot stream."""
        ssm = self.ssm.initial_state(batch)
        if ssm is None:
            return None
        position = torch.zeros(batch, dtype=torch.int32, device=ssm.device)
        return {**self._empty(batch), "position": position, "ssm": ssm}

    def reset(self, state: dict[str, Tensor] | None, start: Bool[Tensor, " B"]) -> dict[str, Tensor]:
        """The state, as before the first token for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        fresh = self.initial_state(start.shape[0])
        assert fresh is not None
        return {
            name: torch.where(start.reshape(-1, *(1,) * (value.ndim - 1)), fresh[name], value)
            for name, value in state.items()
        }

    def check(self, x: Tensor, state: dict[str, Tensor] | None, mask: Bool[Tensor, "B L"] | None) -> None:
        """Raise `ConfigError` where the input, the state or the mask is not of this layer."""
        require_segment(x.shape, self.config.d_model, mask)
        check_state(self, state, x.shape[0])

    def _contexts(self, x, state, mask, position, scan):
        """The contexts of every token ("SH", "MH") or at the end of every window ("MF"), and the filters' state."""
        config = self.config
        if config.variant != "MF":
            return self.ssm(x, state, mask, scan=scan)
        if isinstance(self.ssm, S4Bank) and choose(self.ssm.config, scan, x.shape[1]) == "auto":
            u = x if mask is None else torch.where(mask[..., None], x, 0.0)
            padding = None if mask is None else trailing(mask)
            return self.ssm.block_ends(u, window_blocks(u, config.window, position), state, position, padding)
        contexts, state = self.ssm(x, state, mask, scan=scan)
        return window_ends(contexts, config.window, position), state

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: dict[str, Tensor] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        method: Method | None = None,
        scan: ScanMethod | None = None,
    ) -> tuple[Float[Tensor, "B L D"], dict[str, Tensor] | None]:
        """Map a segment of any length from a state to outputs and the state after it.

        The state: `keys`, `values` (B, W, H, K) and `valid` (B, W) of the last W tokens; `position` (B,), tokens of the
        present window so far; `ssm`, the state of the filters; `context_keys`, `context_values` (B, W, H, K) of the
        last W tokens ("SH", "MH") or `context` (B, S, D), what the tokens of the present window see ("MF"). `mask` is
        True at genuine positions; padding before one of them counts as a position, and leaves no trace in the state at
        the end of the segment. `method` and `scan` override the config's.
        """
        config = self.config
        self.check(x, state, mask)
        position = None if state is None else state["position"]
        before = self._empty(x.shape[0]) if state is None else state
        padding = None if mask is None else trailing(mask)
        genuine = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
        if mask is not None:
            x = torch.where(mask[..., None], x, 0.0)
        valid = torch.cat([before["valid"], genuine], 1)
        skip = x
        x = self.norm1(x)
        contexts, ssm = self._contexts(x, None if state is None else state["ssm"], mask, position, scan)
        kernel = method or config.method
        own, cache = self.attention(x, before, valid, position, padding, kernel)
        seen, contexts = self.context(x, contexts, before, valid, position, padding, kernel)
        if ssm is not None:
            zero = torch.zeros(x.shape[0], dtype=torch.int32, device=x.device)
            left = x.shape[1] if padding is None else x.shape[1] - padding
            position = (((zero if position is None else position) + left) % config.window).to(torch.int32)
            last = owned(ending(valid, padding, config.window))
            state = {**cache, **contexts, "valid": last, "position": position, "ssm": ssm}
        x = self.out(rearrange(torch.cat([own, seen], 2), "b l h k -> b l (h k)"))
        x = skip + self.dropout1(x, dropout_seed, training)
        skip = x
        x = self.feed_forward(self.norm2(x))
        return skip + self.dropout2(x, dropout_seed, training), state
