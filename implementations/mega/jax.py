"""Mega in JAX; `torch.py` beside it is its twin.

m = silu(EMA(x)),  v = silu(x W_v + b_v),  [u, z, r, h] = m W + b           (arXiv 2209.10655, section 3)
q = silu(z) gamma_q + beta_q,  k = silu(z) gamma_k + beta_k,  a = f(q k^T / tau + bias) v
y = x + sigmoid(u) (silu(h + (a silu(r)) W_h + b_h) - x)
softmax: tau = sqrt(z);  relu2, laplace: tau = number of keys;  chunked: keys of the query's own chunk only
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from implementations.common.config import ConfigError, check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.common.jax import (
    Linear,
    WeightDropout,
    dropout_of,
    einsum,
    ending,
    norm_of,
    parameter,
    product,
    trailing,
)
from implementations.ema.jax import MultiHeadEMA
from implementations.mega.config import (
    LAPLACE_DEVIATION,
    LAPLACE_MEAN,
    MegaConfig,
    initial_attention,
    initial_kernel,
)
from implementations.ops.attention.jax import diagonals, frequencies

State = dict[str, Array]


def linear(in_features: int, out_features: int, keys: Keys) -> Linear:
    """A linear map with Mega's initial values."""
    found = Linear(in_features, out_features, keys)
    found.kernel = parameter(keys, initial_kernel(keys, in_features, out_features))
    return found


def relu2(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(x, 0)^2."""
    return jnp.square(jax.nn.relu(x))


def laplace(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0.5 (1 + erf((x - mean) / (deviation sqrt 2)))."""
    return 0.5 * (1 + jax.lax.erf((x - LAPLACE_MEAN) / (LAPLACE_DEVIATION * 2**0.5)))


def turned(x: Float[Array, " Z"], positions: Integer[Array, "*I"]) -> Float[Array, "*I Z"]:
    """A vector whose pairs (i, i + Z / 2) are turned by each position."""
    first, second = jnp.split(x, 2)
    angles = positions[..., None].astype(x.dtype) * frequencies(x.shape[0], x)
    sine, cosine = jnp.sin(angles), jnp.cos(angles)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1)


class GatedAttention(nnx.Module):
    """Attention behind a moving average, with an update gate and a residual: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: MegaConfig, keys: Keys) -> None:
        self.config = config
        d_model = config.d_model
        self.norm = norm_of(config.norm, config.d_model, config.bn_momentum, keys.child("norm"))
        self.ema = MultiHeadEMA(config.ema, keys.child("ema"))
        self.v_proj = linear(d_model, config.value_size, keys.child("v_proj"))
        self.mx_proj = linear(d_model, config.parts[-1] + d_model, keys.child("mx_proj"))
        self.h_proj = linear(config.value_size, d_model, keys.child("h_proj"))
        values = initial_attention(config, keys)
        self.gamma = parameter(keys, values["gamma"])
        self.beta = parameter(keys, values["beta"])
        if config.bias == "simple":
            self.table = parameter(keys, values["table"])
        else:
            self.left = parameter(keys, values["left"])
            self.right = parameter(keys, values["right"])
        self.dropout1 = dropout_of(config.dropout, keys.child("dropout1"), config.feature_dropout)
        self.dropout2 = dropout_of(config.dropout, keys.child("dropout2"), config.feature_dropout)
        self.hidden_dropout = dropout_of(config.hidden_dropout, keys.child("hidden_dropout"), config.feature_dropout)
        self.attention_dropout = WeightDropout(config.attention_dropout, keys.child("attention_dropout"))

    def bias(self, queries: Integer[Array, "#B I"], keys: Integer[Array, " J"]) -> Float[Array, "#B I J"]:
        """The relative bias between positions."""
        if self.config.bias == "rotary":
            return einsum("biz,jz->bij", turned(self.left[...], queries), turned(self.right[...], keys))
        furthest = self.config.positions - 1
        count = queries.shape[-1]
        distances = keys[0] - queries[..., -1:] + jnp.arange(count + keys.shape[0] - 1)
        return diagonals(self.table[...][jnp.clip(distances, -furthest, furthest) + furthest], count)

    def attend(
        self,
        q: Float[Array, "B C I Z"],
        k: Float[Array, "B C J Z"],
        v: Float[Array, "B C J V"],
        allowed: Bool[Array, "B C #I J"],
        queries: Integer[Array, "#B I"],
        keys: Integer[Array, " J"],
        rank: Integer[Array, "#B I"],
        training: bool,
        dropout_seed: Integer[Array, ""] | int | None,
    ) -> Float[Array, "B C I V"]:
        """Attention to allowed keys, zero where there are none.

        `rank` counts the positions of the chunk, or the document, up to each query.
        """
        config = self.config
        bias = self.bias(queries, keys)[:, None]
        scores = product("bciz,bcjz->bcij", q, k)
        if config.attention == "softmax":
            some = allowed | ~allowed.any(-1, keepdims=True)
            scores = scores * config.query_size**-0.5 + bias
            weights = jax.nn.softmax(jnp.where(some, scores, -jnp.inf), -1)
        else:
            if config.causal:
                count = rank[:, None, :, None]
            else:
                count = jnp.maximum(allowed.sum(-1, keepdims=True), 1)
            scores = scores / count.astype(scores.dtype) + bias
            weights = relu2(scores) if config.attention == "relu2" else laplace(scores)
        weights = jnp.where(allowed, weights, 0.0)
        if training and config.attention_dropout > 0:
            chunks = weights.shape[1]
            weights = rearrange(weights, "b c i j -> b (c i) j")
            weights = self.attention_dropout(weights, dropout_seed, training)
            weights = rearrange(weights, "b (c i) j -> b c i j", c=chunks)
        return product("bcij,bcjv->bciv", weights, v)

    def initial_state(self, batch: int) -> State | None:
        """The state before the first token, or None where the layer cannot stream."""
        config = self.config
        averages = self.ema.initial_state(batch)
        if averages is None:
            return None
        kept = config.chunk_size or 0
        return {
            "ema": averages,
            "keys": jnp.zeros((batch, kept, config.query_size), averages.dtype),
            "values": jnp.zeros((batch, kept, config.value_size), averages.dtype),
            "genuine": jnp.zeros((batch, kept), bool),
            "position": jnp.zeros(batch, jnp.int32),
        }

    def reset(self, state: State | None, start: Bool[Array, " B"]) -> State:
        """The state, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        return {
            "ema": self.ema.reset(state["ema"], start),
            "keys": jnp.where(start[:, None, None], 0.0, state["keys"]),
            "values": jnp.where(start[:, None, None], 0.0, state["values"]),
            "genuine": state["genuine"] & ~start[:, None],
            "position": jnp.where(start, 0, state["position"]),
        }

    def __call__(
        self,
        x: Float[Array, "B L D"],
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> tuple[Float[Array, "B L D"], State | None]:
        """Map a segment from a state to outputs and the state after it; see `MegaLayer`."""
        config = self.config
        counted = mask if config.mask_padding else None
        skip = x
        if config.prenorm:
            x = self.norm(x, counted, training)
        v = jax.nn.silu(self.v_proj(x))
        m, averages = self.ema(x, None if state is None else state["ema"], mask)
        m = self.dropout1(jax.nn.silu(m), dropout_seed, training)
        u, z, r, h = jnp.split(self.mx_proj(m), config.parts, -1)
        z, r = jax.nn.silu(z), jax.nn.silu(r)
        gamma, beta = self.gamma[...], self.beta[...]
        q, k = z * gamma[0] + beta[0], z * gamma[1] + beta[1]
        genuine = jnp.ones(x.shape[:2], bool) if mask is None else mask
        if mask is not None:
            k, v = jnp.where(mask[..., None], k, 0.0), jnp.where(mask[..., None], v, 0.0)
        mix = self._chunked if config.chunk_size else self._whole
        padding = None if mask is None else trailing(mask)
        a, state = mix(q, {"keys": k, "values": v, "genuine": genuine}, state, padding, training, dropout_seed)
        h = jax.nn.silu(h + self.h_proj(a * r))
        h = self.dropout2(h, dropout_seed, training)
        x = skip + jax.nn.sigmoid(u) * (h - skip)
        if not config.prenorm:
            x = self.norm(x, counted, training)
        return x, None if averages is None else {"ema": averages, **state}

    def _whole(self, q, new, state, padding, training, dropout_seed):
        """Attention to the whole past, which is also the state; and to what follows where bidirectional."""
        config, length = self.config, q.shape[1]
        position = jnp.zeros(q.shape[0], jnp.int32) if state is None else state["position"]
        if state is not None:
            new = {name: jnp.concatenate([state[name], value], 1) for name, value in new.items()}
        total = new["keys"].shape[1]
        if config.bias == "simple" and total > config.max_positions:
            raise ConfigError(f"MegaConfig.max_positions is {config.max_positions}: the sequence has {total} positions")
        keys = jnp.arange(total)
        queries = keys[None, total - length :]
        allowed = new["genuine"][:, None, None, :]
        if config.causal:
            allowed = allowed & (keys <= queries[..., None])
        rank = 1 + position[:, None] + jnp.arange(length)
        values = self.hidden_dropout(new["values"], dropout_seed, training)
        found = (q[:, None], new["keys"][:, None], values[:, None], allowed, queries, keys, rank)
        after = {name: ending(value, padding, total) for name, value in new.items()}
        left = length if padding is None else length - padding
        return self.attend(*found, training, dropout_seed)[:, 0], {
            **after,
            "position": (position + left).astype(jnp.int32),
        }

    def _chunked(self, q, new, state, padding, training, dropout_seed):
        """Attention within chunks; the state is each sequence's unfinished chunk and the number of its positions."""
        config, length, chunk = self.config, q.shape[1], self.config.positions
        position = jnp.zeros(q.shape[0], jnp.int32) if state is None else state["position"]
        chunks = (length + (chunk if state is None else 2 * chunk - 1) - 1) // chunk
        index = position[:, None] + jnp.arange(length)
        placed = {
            name: self._place(value, None if state is None else state[name], index, (chunks + 1) * chunk)
            for name, value in new.items()
        }
        dropped = self.hidden_dropout(placed["values"], dropout_seed, training)
        if length < chunk:
            keys = jnp.arange((chunks + 1) * chunk)
            allowed = placed["genuine"][:, None, None, :] & (keys // chunk == index[:, None, :, None] // chunk)
            if config.causal:
                allowed = allowed & (keys <= index[:, None, :, None])
            found = (q[:, None], placed["keys"][:, None], dropped[:, None], allowed, index, keys, 1 + index % chunk)
            a = self.attend(*found, training, dropout_seed)[:, 0]
        else:
            keys = jnp.arange(chunk)
            q = self._place(q, None if state is None else q[:, :0], index, chunks * chunk)
            q, k, v, genuine = (
                rearrange(value[:, : chunks * chunk], "b (c t) ... -> b c t ...", t=chunk)
                for value in (q, placed["keys"], dropped, placed["genuine"])
            )
            allowed = genuine[:, :, None, :]
            if config.causal:
                allowed = allowed & (keys <= keys[:, None])
            a = self.attend(q, k, v, allowed, keys[None], keys, 1 + keys[None], training, dropout_seed)
            a = rearrange(a, "b c t v -> b (c t) v")
            a = a[:, :length] if state is None else a[jnp.arange(q.shape[0])[:, None], index]
        left = length if padding is None else length - padding
        return a, self._unfinished(placed, (position + left).astype(jnp.int32)) if config.causal else {}

    def _place(self, new, before, index, size):
        """An array of `size` positions: what was there before, then zeros, with `new` at the positions `index`."""
        if before is None:
            return jnp.pad(new, ((0, 0), (0, size - new.shape[1])) + ((0, 0),) * (new.ndim - 2))
        room = jnp.concatenate(
            [before, jnp.zeros((new.shape[0], size - before.shape[1], *new.shape[2:]), new.dtype)], 1
        )
        rows = jnp.arange(new.shape[0])[:, None]
        return room.at[rows, index].set(new)

    def _unfinished(self, placed, end):
        """The state: the chunk that position `end` belongs to, up to it, and how many positions that are."""
        chunk = self.config.positions
        position = end % chunk
        within = jnp.arange(chunk)
        rows, index = jnp.arange(end.shape[0])[:, None], (end - position)[:, None] + within
        filled = within < position[:, None]
        return {
            "keys": jnp.where(filled[..., None], placed["keys"][rows, index], 0.0),
            "values": jnp.where(filled[..., None], placed["values"][rows, index], 0.0),
            "genuine": placed["genuine"][rows, index] & filled,
            "position": position,
        }


class FeedForward(nnx.Module):
    """Norm, two linear maps with a SiLU between them, and residual: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: MegaConfig, keys: Keys) -> None:
        self.config = config
        self.norm = norm_of(config.norm, config.d_model, config.bn_momentum, keys.child("norm"))
        self.fc1 = linear(config.d_model, config.feedforward_size, keys.child("fc1"))
        self.fc2 = linear(config.feedforward_size, config.d_model, keys.child("fc2"))
        self.hidden_dropout = dropout_of(config.hidden_dropout, keys.child("hidden_dropout"), config.feature_dropout)
        self.dropout = dropout_of(config.dropout, keys.child("dropout"), config.feature_dropout)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> Float[Array, "B L D"]:
        """The block; positions where `mask` is False stay out of a batch norm's statistics."""
        config = self.config
        counted = mask if config.mask_padding else None
        skip = x
        if config.prenorm:
            x = self.norm(x, counted, training)
        x = self.hidden_dropout(jax.nn.silu(self.fc1(x)), dropout_seed, training)
        x = skip + self.dropout(self.fc2(x), dropout_seed, training)
        if not config.prenorm:
            x = self.norm(x, counted, training)
        return x


class MegaLayer(nnx.Module):
    """Gated attention and a feed-forward block: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: MegaConfig, keys: Keys) -> None:
        self.config = config
        self.attention = GatedAttention(config, keys.child("attention"))
        if config.feedforward_size:
            self.feedforward = FeedForward(config, keys.child("feedforward"))

    def initial_state(self, batch: int) -> State | None:
        """The state before the first token, or None where the layer cannot stream."""
        return self.attention.initial_state(batch)

    def reset(self, state: State | None, start: Bool[Array, " B"]) -> State:
        """The state, emptied for the sequences of the batch at which a document starts."""
        return self.attention.reset(state, start)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> tuple[Float[Array, "B L D"], State | None]:
        """Map a segment of any length, one token included, from a state to outputs and the state after it.

        `mask` is True at genuine positions; others enter neither the averages nor the attention, and at the end of the
        segment they leave no trace in the state.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        check_state(self, state, x.shape[0])
        if mask is not None and config.mask_padding:
            x = jnp.where(mask[..., None], x, 0.0)
        x, state = self.attention(x, state, mask, training=training, dropout_seed=dropout_seed)
        if config.feedforward_size:
            x = self.feedforward(x, mask, training=training, dropout_seed=dropout_seed)
        return x, state
