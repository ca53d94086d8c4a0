"""Attention in NumPy float64, one query after the other: the oracle of both twins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Integer

from implementations.ops.attention import QK_NORM_EPSILON, ROTARY_THETA

Array = np.ndarray


def allowed(relative: int, window: int | None, causal: bool, include_self: bool) -> bool:
    """Whether a query may see a key `relative` positions after it (before it, where negative)."""
    if relative == 0 and not include_self:
        return False
    if causal and relative > 0:
        return False
    reach = math.inf if window is None else window - 1 if include_self else window
    return abs(relative) <= reach


def attention(
    q: Float[Array, "B L H K"],
    k: Float[Array, "B T H K"],
    v: Float[Array, "B T H V"],
    *,
    bias: Callable[[int], Float[Array, " H"]] | None = None,
    valid: Bool[Array, "B T"] | None = None,
    before: int = 0,
    window: int | None = None,
    causal: bool = True,
    include_self: bool = True,
    sees: Callable[[int, int, int], bool] | None = None,
) -> Float[Array, "B L H V"]:
    """softmax(q k + bias) v over the keys a query may see; zero where there are none.

    Query i stands at the position of key `before` + i. `bias` gives what every head adds for a relative position.
    `sees(b, i, j)` is one more condition, on sequence, query and key, counted from the first query's position.
    """
    y = np.zeros((*q.shape[:3], v.shape[-1]))
    offsets = {} if bias is None else {r: bias(r) for r in range(-before - q.shape[1], k.shape[1] + 1)}
    for b in range(q.shape[0]):
        for i in range(q.shape[1]):
            keys = [
                j
                for j in range(k.shape[1])
                if allowed(j - before - i, window, causal, include_self)
                and (valid is None or valid[b, j])
                and (sees is None or sees(b, i, j - before))
            ]
            if not keys:
                continue
            logits = np.einsum("hk,thk->th", q[b, i], k[b, keys])
            if bias is not None:
                logits = logits + np.stack([offsets[j - before - i] for j in keys])
            weights = np.exp(logits - logits.max(0))
            y[b, i] = np.einsum("th,thv->hv", weights / weights.sum(0), v[b, keys])
    return y


def share_chunk(chunk: int, causal: bool, neighbours: bool, first: int, query: int, key: int) -> bool:
    """Whether two positions lie in one chunk, or in neighbouring ones; position 0 has index `first` in its chunk."""
    apart = (first + query) // chunk - (first + key) // chunk
    return -neighbours * (not causal) <= apart <= neighbours


def t5_bucket(relative: int, buckets: int, max_distance: int, bidirectional: bool) -> int:
    """T5's bucket of a relative position (key minus query), by its formula in float32."""
    first = 0
    distance = max(-relative, 0)
    if bidirectional:
        buckets //= 2
        first = buckets if relative > 0 else 0
        distance = abs(relative)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    ratio = np.log(np.float32(distance) / np.float32(exact)) / np.float32(np.log(max_distance / exact))
    return first + min(exact + int(ratio * np.float32(buckets - exact)), buckets - 1)


def simple_index(relative: int, max_distance: int) -> int:
    """The index of a relative position in a table of 2 max_distance - 1 entries; farther ones share the last."""
    return max_distance - 1 + min(max(relative, 1 - max_distance), max_distance - 1)


def rotary(x: Float[Array, "B L H K"], start: int = 0) -> Float[Array, "B L H K"]:
    """Pairs of neighbouring features, as complex numbers, turned by position times theta^(-2 i / K)."""
    y = np.empty(x.shape)
    for t in range(x.shape[1]):
        for i in range(x.shape[-1] // 2):
            angle = (start + t) * ROTARY_THETA ** (-2 * i / x.shape[-1])
            pair = (x[:, t, :, 2 * i] + 1j * x[:, t, :, 2 * i + 1]) * np.exp(1j * angle)
            y[:, t, :, 2 * i], y[:, t, :, 2 * i + 1] = pair.real, pair.imag
    return y


def sinusoidal(positions: Integer[Array, " L"], features: int) -> Float[Array, "L D"]:
    """sin and cos of position times 10000^(-2 i / D), in turn (Vaswani et al. 2017, section 3.5)."""
    y = np.empty((len(positions), features))
    for t, position in enumerate(positions):
        for d in range(features):
            angle = position * 10_000.0 ** (-2 * (d // 2) / features)
            y[t, d] = np.cos(angle) if d % 2 else np.sin(angle)
    return y


def normalise(x: Float[Array, "*batch K"]) -> Float[Array, "*batch K"]:
    """Vectors of length one."""
    return x / np.sqrt((x * x).sum(-1, keepdims=True) + QK_NORM_EPSILON)
