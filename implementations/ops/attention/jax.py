"""Attention in JAX; `torch.py` beside it is its twin.

y_i = sum_j softmax_j(q_i k_j + bias_{j-i}) v_j over the keys j that i may see; q comes scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from implementations.common.config import ConfigError
from implementations.common.jax import lowered, platform, product, product_precision
from implementations.ops.attention import QK_NORM_EPSILON, ROTARY_THETA, Method, bucket_edges, choose, flexible, span

Bias = Callable[[Array], Array]
"""Relative positions (L, T) to what each head adds to the logits, (H, L, T)."""


def relative_positions(queries: int, keys: int, before: int, like: Array) -> Integer[Array, "L T"]:
    """Key position minus query position, where query i stands at the position of key `before` + i."""
    return jnp.arange(keys)[None, :] - jnp.arange(queries)[:, None] - before


def diagonals(values: Float[Array, "*batch n"], queries: int) -> Float[Array, "*batch L T"]:
    """What depends on the distance alone, n = L + T - 1 of them ascending, as a matrix: (i, j) has distance j - i.

    Rows are made by shifting, not by indexing: the gradient of an indexed table adds L T numbers one by one where they
    share an entry, which on a GPU takes longer than the attention itself; here it sums each diagonal.
    """
    padded = jnp.pad(values, ((0, 0),) * (values.ndim - 1) + ((0, 1),))
    shape, width = padded.shape[:-1], padded.shape[-1] - 1
    tiled = jnp.broadcast_to(padded[..., None, :], (*shape, queries, width + 1)).reshape(*shape, -1)
    rows = tiled[..., queries - 1 : queries - 1 + queries * width].reshape(*shape, queries, width)
    return rows[..., : width + 1 - queries]


def relative_bias(
    bias: Bias | None, queries: int, keys: int, before: int, like: Array
) -> Float[Array, "1 H L T"] | None:
    """A bias for L = `queries` and T = `keys`, of which the `before` first precede the first query."""
    if bias is None:
        return None
    distances = jnp.arange(1 - queries, keys) - before
    return diagonals(bias(distances[None])[:, 0], queries)[None]


def allowed(
    relative: Integer[Array, "L T"], window: int | None, causal: bool, include_self: bool
) -> Bool[Array, "L T"]:
    """Which keys a query may see: W of them with itself or, where it is excluded, W before it."""
    if causal:
        mask = relative <= (0 if include_self else -1)
    else:
        mask = (relative != 0) | include_self
    if window is None:
        return mask
    return mask & (abs(relative) <= (window - 1 if include_self else window))


def attend(
    q: Float[Array, "B L H K"],
    k: Float[Array, "B T H K"],
    v: Float[Array, "B T H V"],
    bias: Float[Array, "#B #H L T"] | None = None,
    mask: Bool[Array, "#B #H #L T"] | None = None,
    method: Method = "auto",
    factor: Float[Array, "#B #H L T"] | None = None,
) -> Float[Array, "B L H V"]:
    """softmax(q k + bias) v over the keys where `mask` is True; zero where there are none.

    `factor` multiplies the weights (dropout); with it the kernel is "einsum".
    """
    kernel = choose(method, platform() == "gpu", q.dtype == jnp.float64)
    if kernel == "fused" and factor is None:
        return _fused(q, k, v, bias, mask)
    logits = product("blhk,bthk->bhlt", q, k)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(logits.dtype).min / 2)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    if mask is not None:
        weights = jnp.where(mask, weights, 0.0)
    total = weights.sum(-1, keepdims=True)
    weights = weights / jnp.where(total > 0, total, 1.0)
    if factor is not None:
        weights = weights * factor
    return product("bhlt,bthv->blhv", weights, v)


def _fused(q, k, v, bias, mask, window=None):
    """The framework's kernel; a query without keys is given all of them, and its result is cleared."""
    some, wide = None, q.dtype
    q, k, v = lowered(q), lowered(k), lowered(v)
    bias = None if bias is None else bias.astype(q.dtype)
    if mask is not None:
        mask = jnp.broadcast_to(mask, (mask.shape[0], mask.shape[1], q.shape[1], k.shape[1]))
        some = mask.any(-1, keepdims=True)
        mask = mask | ~some
    width, both = v.shape[-1], max(k.shape[-1], v.shape[-1])  # JAX wants one width
    q, k, v = (jnp.pad(x, ((0, 0),) * 3 + ((0, both - x.shape[-1]),)) for x in (q, k, v))
    with product_precision():
        y = jax.nn.dot_product_attention(q, k, v, bias, mask, scale=1.0, local_window_size=window)
    y = y[..., :width].astype(wide)
    return y if some is None else jnp.where(some.transpose(0, 2, 1, 3), y, 0.0)


def full_attention(
    q: Float[Array, "B L H K"],
    k: Float[Array, "B T H K"],
    v: Float[Array, "B T H V"],
    *,
    bias: Bias | None = None,
    valid: Bool[Array, "B T"] | None = None,
    before: int = 0,
    window: int | None = None,
    causal: bool = True,
    include_self: bool = True,
    reach: Integer[Array, "B L"] | None = None,
    factor: Bias | None = None,
    method: Method = "auto",
) -> Float[Array, "B L H V"]:
    """Attention as one dense block of L x T logits; the `before` first keys precede the first query.

    `valid` is False at keys that no query may see; `reach` is how many positions back each query sees at most. `factor`
    gives what multiplies the weights of each head for relative positions. With a `window` this is the naive form of
    `window_attention`.
    """
    relative = relative_positions(q.shape[1], k.shape[1], before, q)
    mask = None
    if causal or window is not None or not include_self:
        mask = allowed(relative, window, causal, include_self)[None, None]
    if valid is not None:
        valid = valid[:, None, None, :]
        mask = valid if mask is None else mask & valid
    if reach is not None:
        near = (-relative <= reach[..., None])[:, None]
        mask = near if mask is None else mask & near
    factors = None if factor is None else factor(relative)[None]
    biases = relative_bias(bias, q.shape[1], k.shape[1], before, q)
    return attend(q, k, v, biases, mask, method, factors)


def window_attention(
    q: Float[Array, "B L H K"],
    k: Float[Array, "B T H K"],
    v: Float[Array, "B T H V"],
    window: int,
    *,
    bias: Bias | None = None,
    valid: Bool[Array, "B T"] | None = None,
    causal: bool = True,
    include_self: bool = True,
    cut_gradient: bool = False,
    reach: Integer[Array, "B L"] | None = None,
    factor: Bias | None = None,
    method: Method = "auto",
) -> Float[Array, "B L H V"]:
    """Attention over a sliding window, in blocks of `window` queries: O(L W).

    Causal: keys and values are the W cached ones followed by the segment's, T = W + L; query i sees keys i + 1 to
    i + W, its own last, or i to i + W - 1 where it is excluded. Otherwise T = L and |j - i| < W. `cut_gradient` lets no
    gradient pass from a block to the keys and values of the one before it (Transformer-XL). `reach`, below W, is how
    many positions back each query sees at most.
    """
    length, before = q.shape[1], window if causal else 0
    if k.shape[1] != before + length:
        raise ConfigError(f"k has {k.shape[1]} positions: expected {before} cached ones and {length} of the segment")
    if cut_gradient:
        k, v = (jnp.concatenate([jax.lax.stop_gradient(x[:, :before]), x[:, before:]], 1) for x in (k, v))
    if length <= window:
        return full_attention(
            q,
            k,
            v,
            bias=bias,
            valid=valid,
            before=before,
            window=window,
            causal=causal,
            include_self=include_self,
            reach=reach,
            factor=factor,
            method=method,
        )
    widths, plain = (k.shape[-1], v.shape[-1]), reach is None and factor is None
    gap = not (causal or include_self)
    if plain and flexible(method, platform() == "gpu", q.dtype == jnp.float64, widths, cut_gradient, gap, False):
        return _flex(q, k, v, window, bias, valid, causal, include_self)
    count = -(-length // window)
    after = count * window - length
    if not causal:
        valid = jnp.ones(k.shape[:2], bool) if valid is None else valid
        k, v, valid = (_pad(x, window, after + window) for x in (k, v, valid))
    else:
        k, v = _pad(k, 0, after), _pad(v, 0, after)
        valid = None if valid is None else _pad(valid, 0, after)
    q = _pad(q, 0, after)
    q = q.reshape(-1, window, *q.shape[2:])
    reach = None if reach is None else _pad(reach, 0, after).reshape(-1, window)
    k, v = (_neighbours(x, window, count, cut_gradient) for x in (k, v))
    valid = None if valid is None else _neighbours(valid, window, count, False)
    y = full_attention(
        q,
        k,
        v,
        bias=bias,
        valid=valid,
        before=window,
        window=window,
        causal=causal,
        include_self=include_self,
        reach=reach,
        factor=factor,
        method=method,
    )
    return y.reshape(-1, count * window, *y.shape[2:])[:, :length]


def chunk_attention(
    q: Float[Array, "B L H K"],
    k: Float[Array, "B L H K"],
    v: Float[Array, "B L H V"],
    chunk: int,
    *,
    bias: Bias | None = None,
    valid: Bool[Array, "B L"] | None = None,
    causal: bool = True,
    neighbours: bool = False,
    method: Method = "auto",
) -> Float[Array, "B L H V"]:
    """Attention inside consecutive chunks of `chunk` positions, the first of which begins a chunk: O(L W).

    With `neighbours` a query also sees the chunk before its own and, where not `causal`, the one after it.
    """
    length = q.shape[1]
    if length <= chunk:
        return full_attention(q, k, v, bias=bias, valid=valid, causal=causal, method=method)
    count = -(-length // chunk)
    after = count * chunk - length
    before = chunk if neighbours else 0
    valid = jnp.ones(k.shape[:2], bool) if valid is None else valid
    k, v, valid = (_pad(x, before, after + (0 if causal else before)) for x in (k, v, valid))
    q = _pad(q, 0, after)
    q = q.reshape(-1, chunk, *q.shape[2:])
    k, v, valid = (_neighbours(x, chunk, count, False) for x in (k, v, valid))
    y = full_attention(q, k, v, bias=bias, valid=valid, before=before, causal=causal, method=method)
    return y.reshape(-1, count * chunk, *y.shape[2:])[:, :length]


def _flex(q, k, v, window, bias, valid, causal, include_self):
    """One call over the whole segment, with the kernel's own window unless keys are to be hidden besides."""
    before, (low, high) = window if causal else 0, span(window, causal, include_self)
    if valid is not None:
        options = {"bias": bias, "valid": valid, "causal": causal, "include_self": include_self}
        return full_attention(q, k, v, before=before, window=window, method="fused", **options)
    return _fused(q, k, v, relative_bias(bias, q.shape[1], k.shape[1], before, q), None, (-low, high))


def _pad(x, before, after):
    """Zeros (False) along the positions."""
    return jnp.pad(x, ((0, 0), (before, after)) + ((0, 0),) * (x.ndim - 2))


def _neighbours(x, window, count, cut_gradient):
    """Each block of W positions behind the one before it, and before the one after it where there is one more."""
    blocks = x.reshape(x.shape[0], -1, window, *x.shape[2:])
    parts = [blocks[:, i : i + count] for i in range(blocks.shape[1] - count + 1)]
    if cut_gradient:
        parts[0] = jax.lax.stop_gradient(parts[0])
    return jnp.concatenate(parts, 2).reshape(-1, len(parts) * window, *x.shape[2:])


def t5_bucket(
    relative: Integer[Array, "L T"], buckets: int, max_distance: int, bidirectional: bool
) -> Integer[Array, "L T"]:
    """T5's buckets of relative positions; bidirectional: the second half of the buckets for keys after the query."""
    if bidirectional:
        buckets = buckets // 2
        first, distance = buckets * (relative > 0), jnp.abs(relative)
    else:
        first, distance = 0 * relative, jnp.maximum(-relative, 0)
    return first + sum((distance >= edge) * 1 for edge in bucket_edges(buckets, max_distance))


def simple_index(relative: Integer[Array, "L T"], max_distance: int) -> Integer[Array, "L T"]:
    """Indices of relative positions in a table of 2 max_distance - 1 entries; farther ones share the last."""
    return max_distance - 1 + jnp.clip(relative, 1 - max_distance, max_distance - 1)


def frequencies(features: int, like: Array) -> Float[Array, " K2"]:
    """Angles per position of the pairs of rotary features, theta^(-2 i / K), computed in float64."""
    half = features // 2
    return jnp.asarray(ROTARY_THETA ** (-np.arange(half) / half), like.dtype)


def turned(x: Float[Array, "*batch K"], positions: Integer[Array, "*#batch"]) -> Float[Array, "*batch K"]:
    """Pairs of neighbouring features turned by position times `frequencies`."""
    angle = positions.astype(x.dtype)[..., None] * frequencies(x.shape[-1], x)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).reshape(x.shape)


def rotary(x: Float[Array, "B L H K"], start: int = 0) -> Float[Array, "B L H K"]:
    """Queries or keys turned by their positions, of which the first is `start`."""
    return turned(x, (start + jnp.arange(x.shape[1]))[None, :, None])


def sinusoidal(positions: Integer[Array, " L"], features: int, like: Array) -> Float[Array, "L D"]:
    """sin and cos of position times 10000^(-2 i / D), in turn (Vaswani et al. 2017, section 3.5), in `like`'s dtype."""
    half = (features + 1) // 2
    frequency = jnp.exp(jnp.arange(half, dtype=like.dtype) * (-2 * math.log(10_000.0) / features))
    angle = positions.astype(like.dtype)[:, None] * frequency
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1).reshape(-1, 2 * half)[:, :features]


def normalise(x: Float[Array, "*batch K"]) -> Float[Array, "*batch K"]:
    """Vectors of length one (query-key normalisation)."""
    return x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + QK_NORM_EPSILON)
