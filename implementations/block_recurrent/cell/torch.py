"""The directions of a block-recurrent layer in PyTorch; `jax.py` beside it is its twin.

tokens:  y = x + [Attention(q, k, v of the window); Attention(q', K_s, V_s)] W,  z = y + FeedForward(Norm(y))
states:  h = [Attention(q_s, K_s, V_s); Attention(q'_s, k, v of the block)], then one gate or two, the second behind a
         feed-forward part of its own                                            (arXiv 2203.07852, section 3)
gates:   c <- g c + (1 - g) z,  g = sigmoid(b),  z = h W        or    c <- f c + i z,  f = sigmoid(h W_f + b_f + 1),
         i = sigmoid(h W_i + b_i - 1)
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from implementations.block_recurrent.config import (
    BlockRecurrentConfig,
    gate_bias,
    gate_kernel,
    identifiers,
    initial_bias,
    initial_states,
)
from implementations.common.initializers import Keys
from implementations.common.torch import (
    Dropout,
    ElementDropout,
    FeedForward,
    Linear,
    RMSNorm,
    activate,
    parameter,
    random_words,
)
from implementations.ops.attention import Method
from implementations.ops.attention.torch import attend, normalise, window_attention
from implementations.transformer.torch import RelativeBias

State = dict[str, Tensor]


class Heads(nn.Module):
    """The keys, the values and two queries of one direction, from (B, L, D) to (B, L, H, K) each."""

    def __init__(self, config: BlockRecurrentConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        inner = config.heads * config.head_width
        self.query = Linear(config.d_model, inner, keys.child("query"), False)
        self.cross_query = Linear(config.d_model, inner, keys.child("cross_query"), False)
        self.key = Linear(config.d_model, inner, keys.child("key"), False)
        self.value = Linear(config.d_model, inner, keys.child("value"), False)
        if config.qk_norm:
            self.scale = parameter(keys, np.ones(config.heads))
            self.cross_scale = parameter(keys, np.ones(config.heads))

    def factor(self, scale: Float[Tensor, " H"]) -> Float[Tensor, "H 1"]:
        """What a learned scale multiplies the logits of each head by."""
        return (torch.abs(scale) if self.config.absolute_scale else scale)[:, None]

    def queries(self, x: Float[Tensor, "B L D"]) -> tuple[Float[Tensor, "B L H K"], Float[Tensor, "B L H K"]]:
        """Scaled queries for the own direction and for the other."""
        config = self.config
        shape = (*x.shape[:2], config.heads, config.head_width)
        q, cross = self.query(x).reshape(shape), self.cross_query(x).reshape(shape)
        if config.qk_norm:
            return normalise(q) * self.factor(self.scale), normalise(cross) * self.factor(self.cross_scale)
        return q * config.head_width**-0.5, cross * config.head_width**-0.5

    def keys_values(self, x: Float[Tensor, "B L D"]) -> tuple[Float[Tensor, "B L H K"], Float[Tensor, "B L H K"]]:
        """Keys and values, which both directions read."""
        config = self.config
        shape = (*x.shape[:2], config.heads, config.head_width)
        k, v = self.key(x).reshape(shape), self.value(x).reshape(shape)
        return normalise(k) if config.qk_norm else k, v


class WeightDropout(Dropout):
    """Dropout of a window's attention weights: one mask for all blocks and sequences."""

    def factors(
        self,
        relative: Integer[Tensor, "L T"],
        config: BlockRecurrentConfig,
        seed: Integer[Tensor, ""] | int | None,
        like: Tensor,
    ) -> Float[Tensor, "H L T"]:
        """0 where a weight is dropped, else 1 / (1 - rate); a part of a block has that part of the mask."""
        if seed is None:
            raise ValueError(f"dropout_seed is None: training with dropout {self.rate} needs an integer")
        shape = (config.heads, config.window, 2 * config.window)
        words = random_words(seed, self.site, math.prod(shape), like.device)
        kept = (words >> 8) >= round(self.rate * 2**24)
        kept = kept.reshape(shape)[:, : relative.shape[0], : relative.shape[1]]
        return kept.to(like.dtype) / (1.0 - self.rate)


class TokenSide(nn.Module):
    """The vertical direction: a sliding window layer with a second query, for states."""

    def __init__(self, config: BlockRecurrentConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.norm1 = RMSNorm(config.d_model, keys.child("norm1"))
        self.dropout1 = ElementDropout(config.dropout, keys.child("dropout1"))
        self.heads = Heads(config, keys.child("heads"))
        if config.positions == "t5":
            self.bias = RelativeBias(config.sliding, keys.child("bias"))
            self.bias.table = parameter(keys, initial_bias(config, keys.child("bias").child("table")))
        self.weight_dropout = WeightDropout(config.attention_dropout, keys.child("weight_dropout"))
        self.out = Linear(2 * config.heads * config.head_width, config.d_model, keys.child("out"), False)
        self.norm2 = RMSNorm(config.d_model, keys.child("norm2"))
        self.feed_forward = FeedForward(
            config.d_model, config.d_ff, keys.child("feed_forward"), config.activation, False, False
        )
        self.dropout2 = ElementDropout(config.dropout, keys.child("dropout2"))

    def initial_cache(self, batch: int, kept: int) -> State:
        """Keys and values of the `kept` tokens before a document."""
        config, like = self.config, self.out.kernel
        shape = (batch, kept, config.heads, config.head_width)
        return {
            "keys": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "values": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "valid": torch.full(shape[:2], config.attend_start, device=like.device),
        }

    def reset_cache(self, state: State, start: Bool[Tensor, " B"]) -> State:
        """The cache, emptied for the sequences at which a document starts."""
        return {
            "keys": torch.where(start[:, None, None, None], 0.0, state["keys"]),
            "values": torch.where(start[:, None, None, None], 0.0, state["values"]),
            "valid": torch.where(start[:, None], self.config.attend_start, state["valid"]),
        }

    def normalised(
        self, x: Float[Tensor, "B L D"], training: bool, dropout_seed: Integer[Tensor, ""] | int | None
    ) -> Float[Tensor, "B L D"]:
        """What queries, keys and values are taken from."""
        return self.dropout1(self.norm1(x), dropout_seed, training)

    def scaled_bias(self, relative: Integer[Tensor, "L T"]) -> Float[Tensor, "H L T"]:
        """The relative bias, times the learned scale of each head where there is one."""
        bias = self.bias(relative)
        return bias * self.heads.factor(self.heads.scale)[..., None] if self.config.qk_norm else bias

    def attend(
        self,
        q: Float[Tensor, "B L H K"],
        room: State,
        training: bool,
        dropout_seed: Integer[Tensor, ""] | int | None,
        method: Method,
    ) -> Float[Tensor, "B L H K"]:
        """Attention of a segment to its own window; `room` ends in the keys and values of the segment."""
        config = self.config
        first = room["keys"].shape[1] - q.shape[1] - config.window
        dropped = training and config.attention_dropout > 0
        factor = partial(self.weight_dropout.factors, config=config, seed=dropout_seed, like=q) if dropped else None
        return window_attention(
            q,
            room["keys"][:, first:],
            room["values"][:, first:],
            config.window,
            bias=self.scaled_bias if config.positions == "t5" else None,
            valid=room["valid"][:, first:],
            include_self=config.include_self,
            factor=factor,
            method=method,
        )

    def finish(
        self,
        x: Float[Tensor, "B L D"],
        own: Float[Tensor, "B L H K"],
        cross: Float[Tensor, "B L H K"],
        training: bool,
        dropout_seed: Integer[Tensor, ""] | int | None,
    ) -> Float[Tensor, "B L D"]:
        """The outputs, from the inputs and what was attended to in the window and among the states."""
        a = torch.cat([own, cross], 2)
        x = x + self.out(a.reshape(*a.shape[:2], -1))
        return x + self.dropout2(self.feed_forward(self.norm2(x)), dropout_seed, training)


class Gate(nn.Module):
    """A linear map of h, gated onto the states: (B, S, E) and (B, S, D) -> (B, S, D)."""

    def __init__(self, config: BlockRecurrentConfig, in_features: int, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.out = Linear(in_features, config.d_model, keys.child("out"), config.z_bias)
        if config.gate == "fixed":
            self.bias = parameter(keys, gate_bias(keys.child("bias"), config.d_model))
        else:
            self.input = self._linear(in_features, keys.child("input"))
            self.forget = self._linear(in_features, keys.child("forget"))

    def _linear(self, in_features: int, keys: Keys) -> Linear:
        found = Linear(in_features, self.config.d_model, keys)
        found.kernel = parameter(keys, gate_kernel(keys.child("kernel"), in_features, self.config.d_model))
        found.bias = parameter(keys, gate_bias(keys.child("bias"), self.config.d_model))
        return found

    def forward(self, h: Float[Tensor, "B S E"], c: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        z = self.out(h)
        if self.config.z_tanh:
            z = torch.tanh(z)
        if self.config.gate == "fixed":
            g = torch.sigmoid(self.bias)
            return g * c + (1 - g) * z
        return torch.sigmoid(self.forget(h) + 1) * c + torch.sigmoid(self.input(h) - 1) * z


class StateSide(nn.Module):
    """The horizontal direction: states that read themselves and a block of tokens."""

    def __init__(self, config: BlockRecurrentConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        inner = 2 * config.heads * config.head_width
        self.initial = parameter(keys, initial_states(config, keys.child("initial")))
        self.identifiers = parameter(keys, identifiers(config, keys.child("identifiers")))
        self.norm1 = RMSNorm(config.d_model, keys.child("norm1"))
        self.heads = Heads(config, keys.child("heads"))
        if config.configuration != "single":
            self.attention_gate = Gate(config, inner, keys.child("attention_gate"))
        if config.configuration == "dual":
            self.norm2 = RMSNorm(config.d_model, keys.child("norm2"))
        if config.configuration != "skip":
            before = inner if config.configuration == "single" else config.d_model
            self.hidden = Linear(before, config.d_ff, keys.child("hidden"), False)
            self.gate = Gate(config, config.d_ff, keys.child("gate"))

    def normalised(self, c: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """What queries, keys and values are taken from: normalised states and their IDs."""
        return self.norm1(c) + self.identifiers

    def keys_values(self, c: Float[Tensor, "B S D"]) -> tuple[Float[Tensor, "B S H K"], Float[Tensor, "B S H K"]]:
        """What tokens read of the states."""
        return self.heads.keys_values(self.normalised(c))

    def update(
        self,
        c: Float[Tensor, "B S D"],
        k: Float[Tensor, "B S H K"],
        v: Float[Tensor, "B S H K"],
        block: State,
        method: Method,
    ) -> Float[Tensor, "B S D"]:
        """The states after a block, from those before it, their keys and values, and those of the tokens."""
        config = self.config
        q, cross = self.heads.queries(self.normalised(c))
        own = attend(q, k, v, None, None, method)
        read = attend(cross, block["keys"], block["values"], None, block["valid"][:, None, None, :], method)
        h = torch.cat([own, read], 2)
        h = h.reshape(*h.shape[:2], -1)
        if config.configuration != "single":
            c = self.attention_gate(h, c)
        if config.configuration == "skip":
            return c
        if config.configuration == "dual":
            h = self.norm2(c)
        return self.gate(activate(self.hidden(h), config.activation), c)

    def forward(
        self, c: Float[Tensor, "B S D"], blocks: State, complete: Bool[Tensor, "B N"], method: Method
    ) -> tuple[Float[Tensor, "B M S H K"], Float[Tensor, "B M S H K"], Float[Tensor, "B S D"]]:
        """Keys and values of the states before each of N blocks and after the last, and these last states.

        A block that is not complete leaves the states as they were.
        """

        # Unbound at once: the gradient of an index is as long as what it is taken of, and there is one for every block.
        parts = {name: value.unbind(1) for name, value in blocks.items()}
        seen = []
        for i, whole in enumerate(complete.unbind(1)):
            k, v = self.keys_values(c)
            seen.append((k, v))
            after = self.update(c, k, v, {name: part[i] for name, part in parts.items()}, method)
            c = torch.where(whole[:, None, None], after, c)
        seen.append(self.keys_values(c))
        k, v = (torch.stack(x, 1) for x in zip(*seen, strict=True))
        return k, v, c


def extended(
    cache: State, k: Float[Tensor, "B L H K"], v: Float[Tensor, "B L H K"], valid: Bool[Tensor, "B L"]
) -> State:
    """A cache with the segment behind it."""
    new = {"keys": k, "values": v, "valid": valid}
    return {name: torch.cat([cache[name], value], 1) for name, value in new.items()}


def shifted(room: State, first: Integer[Tensor, " B"], count: int) -> State:
    """`count` positions of each sequence, from its own first one."""
    index = first[:, None] + torch.arange(count, device=first.device)
    rows = torch.arange(index.shape[0], device=first.device)[:, None]
    return {name: value[rows, index] for name, value in room.items()}


def in_blocks(room: State, position: Integer[Tensor, " B"], window: int, reach: int, count: int) -> State:
    """What the states read at the end of each of `count` blocks: (B, N, R, ...).

    `room` is the cache of `reach` positions, the last `position` of which belong to the first block, and the segment.
    """
    missing = reach + count * window - room["keys"].shape[1]
    padded = {n: nn.functional.pad(x, (0, 0) * (x.ndim - 2) + (0, missing)) for n, x in room.items()}
    aligned = shifted(padded, window - position, (count - 1) * window + reach)
    blocks = {n: x.reshape(x.shape[0], -1, window, *x.shape[2:]) for n, x in aligned.items()}
    parts = range(reach // window)
    return {n: torch.cat([x[:, i : i + count] for i in parts], 2) for n, x in blocks.items()}
