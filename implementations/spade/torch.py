"""SPADE in PyTorch; `jax.py` beside it is its twin.

h = LN(x),  y = x + W [LN(S4(h)); LN(Local(h))] + b,  z = y + FeedForward(LN(y))    bottom layer ("concat")
            y = x + Local(h),                         z = y + FeedForward(LN(y))    above it
(arXiv 2212.08136, section 3; the order and the norms of the released code)
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.func import functional_call

from implementations.common.config import ConfigError, check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.common.torch import ElementDropout, LayerNorm, Linear, activate, ending, owned, parameter, trailing
from implementations.mega.torch import GatedAttention
from implementations.ops.attention import Method
from implementations.ops.attention.torch import Bias, chunk_attention, t5_bucket, window_attention
from implementations.s4.torch import S4Bank
from implementations.spade.config import (
    SpadeConfig,
    SpadeStackConfig,
    initial_linear,
    initial_projection,
    initial_table,
)

State = dict[str, Tensor]


def linear(in_features: int, out_features: int, keys: Keys) -> Linear:
    """A linear map with the initial values of the authors' code."""
    found = Linear(in_features, out_features, keys)
    for name, values in initial_linear(keys, in_features, out_features).items():
        setattr(found, name, parameter(keys, values))
    return found


def projection(in_features: int, out_features: int, keys: Keys, gain: float) -> Linear:
    """A linear map of the attention: no bias, initial values of the authors' code."""
    found = Linear(in_features, out_features, keys, use_bias=False)
    found.kernel = parameter(keys, initial_projection(keys, in_features, out_features, gain))
    return found


def frozen(
    bank: S4Bank,
    u: Float[Tensor, "B L D"],
    state: Float[Tensor, "B D M 2"] | None,
    mask: Bool[Tensor, "B L"] | None,
) -> tuple[Float[Tensor, "B L K D"], Float[Tensor, "B D M 2"] | None]:
    """What the bank gives; no gradient reaches its parameters."""
    values = {name: value.detach() for name, value in bank.named_parameters()}
    return functional_call(bank, values, (u, state, mask))


class FeedForward(nn.Module):
    """out(activation(hidden(x))) with dropout before the second map: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: SpadeConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.hidden = linear(config.d_model, config.d_ff, keys.child("hidden"))
        self.out = linear(config.d_ff, config.d_model, keys.child("out"))
        self.dropout = ElementDropout(config.hidden_dropout, keys.child("dropout"))

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> Float[Tensor, "B L D"]:
        x = activate(self.hidden(x), self.config.activation)
        return self.out(self.dropout(x, dropout_seed, training))


class LocalAttention(nn.Module):
    """Attention over a window or inside chunks, on a segment behind its cache: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: SpadeConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        d_model = config.d_model
        self.query = projection(d_model, d_model, keys.child("query"), 0.5**0.5)
        self.key = projection(d_model, d_model, keys.child("key"), 0.5**0.5)
        self.value = projection(d_model, d_model, keys.child("value"), 0.5**0.5)
        self.out = projection(d_model, d_model, keys.child("out"), 1.0)
        if config.positions == "t5":
            self.table = parameter(keys, initial_table(config, keys))

    def initial_state(self, batch: int) -> State:
        """The cache before the first token, and of chunks the position in the first one."""
        config, like = self.config, self.query.kernel
        shape = (batch, config.cached, config.heads, config.head_width)
        state = {
            "keys": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "values": torch.zeros(shape, dtype=like.dtype, device=like.device),
            "valid": torch.zeros(shape[:2], dtype=torch.bool, device=like.device),
        }
        if config.attention == "chunk":
            state["position"] = torch.zeros(batch, dtype=torch.int32, device=like.device)
        return state

    def relative_bias(self, relative: Integer[Tensor, "L T"]) -> Float[Tensor, "H L T"]:
        """What each head adds to its logits for relative positions."""
        config = self.config
        return self.table[:, t5_bucket(relative, config.buckets, config.max_distance, not config.causal)]

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: State | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        bias: Bias | None = None,
        method: Method | None = None,
    ) -> tuple[Float[Tensor, "B L D"], State | None]:
        """Map a segment and its cache to outputs and the cache after it (None where the layer is not causal)."""
        config, length = self.config, x.shape[1]
        chunked = config.attention == "chunk"
        shape = (*x.shape[:2], config.heads, config.head_width)
        q, k, v = self.query(x).reshape(shape), self.key(x).reshape(shape), self.value(x).reshape(shape)
        q = q * config.head_width**-0.5
        options = {
            "bias": self.relative_bias if config.positions == "t5" else bias,
            "causal": config.causal,
            "method": method or config.method,
        }
        keys, values, valid, after = k, v, mask, None
        if config.causal:
            cache = self.initial_state(x.shape[0]) if state is None else state
            padding = None if mask is None else trailing(mask)
            valid = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
            keys = torch.cat([cache["keys"], k], 1)
            values = torch.cat([cache["values"], v], 1)
            valid = torch.cat([cache["valid"], valid], 1)
            known = {"keys": keys, "values": values, "valid": valid}
            after = {name: owned(ending(value, padding, config.cached)) for name, value in known.items()}
            if chunked:
                left = length if padding is None else length - padding
                after["position"] = ((cache["position"] + left) % config.window).to(torch.int32)
        if chunked and state is None:
            y = chunk_attention(q, k, v, config.window, valid=mask, neighbours=config.neighbours, **options)
        else:
            reach = None
            if chunked and state is not None:
                places = state["position"][:, None] + torch.arange(length, device=x.device)
                reach = places % config.window + (config.window if config.neighbours else 0)
            y = window_attention(q, keys, values, config.cached, valid=valid, reach=reach, **options)
        return self.out(y.reshape(*y.shape[:2], -1)), after


class SpadeLayer(nn.Module):
    """Local attention, beside S4 in the bottom layer, and feed-forward: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: SpadeConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        d_model, mega = config.d_model, config.attention == "mega"
        self.alone = mega and not config.global_branch
        if not self.alone:
            self.norm1 = LayerNorm(d_model, keys.child("norm1"), config.epsilon)
        if mega:
            self.local = GatedAttention(config.mega, keys.child("local"))
        else:
            self.local = LocalAttention(config, keys.child("local"))
        if config.global_branch:
            self.s4 = S4Bank(config.s4, keys.child("s4"))
            if config.s4_output != "none":
                outputs = 2 * d_model if config.s4_output == "glu" else d_model
                self.s4_out = linear(d_model, outputs, keys.child("s4_out"))
            if config.combine != "stack":
                self.norm_global = LayerNorm(d_model, keys.child("norm_global"), config.epsilon)
                if not mega:
                    self.norm_local = LayerNorm(d_model, keys.child("norm_local"), config.epsilon)
            if config.combine == "concat":
                self.aggregate = linear(2 * d_model, d_model, keys.child("aggregate"))
        self.dropout1 = ElementDropout(config.dropout, keys.child("dropout1"))
        self.norm2 = LayerNorm(d_model, keys.child("norm2"), config.epsilon)
        self.feed_forward = FeedForward(config, keys.child("feed_forward"))
        self.dropout2 = ElementDropout(config.dropout, keys.child("dropout2"))

    def initial_state(self, batch: int) -> State | None:
        """The state before the first token, or None where the layer cannot stream."""
        config = self.config
        cache, s4 = None, None
        if config.causal:
            cache = self.local.initial_state(batch)
            s4 = self.s4.initial_state(batch) if config.global_branch else None
        return cache if cache is None or s4 is None else {"s4": s4, **cache}

    def reset(self, state: State | None, start: Bool[Tensor, " B"]) -> State:
        """The state, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        fresh: Any = self.initial_state(start.shape[0])
        return {
            name: torch.where(start.reshape(-1, *(1,) * (value.ndim - 1)), fresh[name], value)
            for name, value in state.items()
        }

    def lend(self) -> Bias:
        """The relative bias of this layer, for layers whose `positions` are "shared"."""
        if isinstance(self.local, GatedAttention) or not self.config.owns_bias:
            raise ConfigError(f"SpadeConfig.positions is {self.config.positions!r}: expected 't5' to lend a bias")
        return self.local.relative_bias

    def attend(
        self,
        x: Float[Tensor, "B L D"],
        state: State | None,
        mask: Bool[Tensor, "B L"] | None,
        training: bool,
        dropout_seed: Integer[Tensor, ""] | int | None,
        bias: Bias | None,
        method: Method | None,
    ) -> tuple[Float[Tensor, "B L D"], State | None]:
        """Local attention of either kind."""
        if isinstance(self.local, GatedAttention):
            if mask is not None and self.local.config.mask_padding:
                x = torch.where(mask[..., None], x, 0.0)
            return self.local(x, state, mask, training=training, dropout_seed=dropout_seed)
        return self.local(x, state, mask, bias=bias, method=method)

    def mix(
        self,
        x: Float[Tensor, "B L D"],
        state: State | None,
        mask: Bool[Tensor, "B L"] | None,
        training: bool,
        dropout_seed: Integer[Tensor, ""] | int | None,
        bias: Bias | None,
        method: Method | None,
    ) -> tuple[Float[Tensor, "B L D"], State | None]:
        """S4 and local attention of the bottom layer, or local attention alone."""
        config = self.config
        options = (mask, training, dropout_seed, bias, method)
        if not config.global_branch:
            return self.attend(x, state, *options)
        cache = None if state is None else {name: value for name, value in state.items() if name != "s4"}
        given = (x, None if state is None else state["s4"], mask if config.mask_padding else None)
        g, s4 = frozen(self.s4, *given) if config.s4_frozen else self.s4(*given)
        g = g[:, :, 0]
        if config.s4_output != "none":
            g = self.s4_out(activate(g, "gelu_exact"))
        if config.s4_output == "glu":
            value, gate = g.chunk(2, -1)
            g = value * torch.sigmoid(gate)
        y, cache = self.attend(g if config.combine == "stack" else x, cache, *options)
        if config.combine != "stack":
            g = self.norm_global(g)
            y = y if config.attention == "mega" else self.norm_local(y)
        if config.combine == "concat":
            y = self.aggregate(torch.cat([g, y], -1))
        elif config.combine == "add":
            y = config.combine_weight * g + (1 - config.combine_weight) * y
        return y, None if cache is None or s4 is None else {"s4": s4, **cache}

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: State | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        bias: Bias | None = None,
        method: Method | None = None,
    ) -> tuple[Float[Tensor, "B L D"], State | None]:
        """Map a segment of any length, one token included, from a state to outputs and the state after it.

        The state of a causal layer holds `s4`, the state of the global branch, and the cache of local attention:
        `keys` and `values` (B, T, H, K) of the last T tokens, `valid` (B, T), False where there is no token to see, and
        of chunks `position` (B,), counted from the start of the present one; or Mega's state. `mask` is True at genuine
        positions; others leave no trace in the state at the end of the segment. `bias` is what another layer lends
        (`lend`), where `config.positions` is "shared". `method` overrides the config's.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        check_state(self, state, x.shape[0])
        if config.positions == "shared" and bias is None:
            raise ConfigError("SpadeConfig.positions is 'shared': expected the relative bias of another layer as bias")
        if mask is not None and config.mask_padding:
            x = torch.where(mask[..., None], x, 0.0)
        options = (mask, training, dropout_seed, bias, method)
        skip = x
        if self.alone:
            x, state = self.mix(x, state, *options)
        else:
            x = self.norm1(x) if config.prenorm else x
            x, state = self.mix(x, state, *options)
            x = skip + self.dropout1(x, dropout_seed, training)
            x = x if config.prenorm else self.norm1(x)
        skip = x
        x = self.norm2(x) if config.prenorm else x
        x = self.feed_forward(x, training=training, dropout_seed=dropout_seed)
        x = skip + self.dropout2(x, dropout_seed, training)
        return (x if config.prenorm else self.norm2(x)), state


class SpadeStack(nn.Module):
    """Several layers that act as one: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: SpadeStackConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        layers = [SpadeLayer(layer, keys.child("layers").child(i)) for i, layer in enumerate(config.layers)]
        self.layers = nn.ModuleList(layers)

    def initial_state(self, batch: int) -> State | None:
        """The state before the first token, or None where the layers cannot stream."""
        layers: Any = self.layers
        found = {}
        for i, layer in enumerate(layers):
            for name, value in (layer.initial_state(batch) or {}).items():
                found[f"layer{i}_{name}"] = value
        return found if self.config.causal else None

    def reset(self, state: State | None, start: Bool[Tensor, " B"]) -> State:
        """The state, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        layers: Any = self.layers
        found = {}
        for i, layer in enumerate(layers):
            for name, value in layer.reset(self.part(state, i), start).items():
                found[f"layer{i}_{name}"] = value
        return found

    def part(self, state: State, i: int) -> State:
        """The state of layer i."""
        prefix = f"layer{i}_"
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: State | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        method: Method | None = None,
    ) -> tuple[Float[Tensor, "B L D"], State | None]:
        """Map a segment of any length from a state to outputs and the state after it; see `SpadeLayer`.

        The state of layer i is found under `layer{i}_` and its own names.
        """
        check_state(self, state, x.shape[0])
        layers: Any = self.layers
        after = {}
        for i, layer in enumerate(layers):
            before = None if state is None else self.part(state, i)
            bias = layers[0].lend() if layer.config.positions == "shared" else None
            x, found = layer(x, before, mask, training=training, dropout_seed=dropout_seed, bias=bias, method=method)
            for name, value in (found or {}).items():
                after[f"layer{i}_{name}"] = value
        return x, after if self.config.causal else None
