"""Attention of the windows of a document in JAX; `torch.py` beside it is its twin."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, Shaped

from implementations.block_state.windows import windows
from implementations.ops.attention import Method
from implementations.ops.attention.jax import Bias, allowed, attend, relative_bias, relative_positions


def align(
    x: Shaped[Array, "B T *rest"], before: int, window: int, count: int, position: Integer[Array, " B"] | None
) -> Shaped[Array, "BN W *rest"]:
    """The `count` windows of a segment that lies behind `before` positions of what preceded it.

    The first window is filled up with what preceded; other places outside of the segment hold anything finite.
    """
    total = count * window
    x = jnp.pad(x, ((0, 0), (0, before + total - x.shape[1])) + ((0, 0),) * (x.ndim - 2))
    if position is None:
        x = x[:, before:]
    else:
        index = before - position[:, None] + jnp.arange(total)
        x = x[jnp.arange(x.shape[0])[:, None], jnp.maximum(index, 0)]
    return x.reshape(-1, window, *x.shape[2:])


def realign(
    y: Float[Array, "BN W H K"], batch: int, length: int, position: Integer[Array, " B"] | None
) -> Float[Array, "B L H K"]:
    """The segment of which these are the windows."""
    y = y.reshape(batch, -1, *y.shape[2:])
    if position is None:
        return y[:, :length]
    index = position[:, None] + jnp.arange(length)
    return y[jnp.arange(batch)[:, None], index]


def window_blocks(
    x: Float[Array, "B L D"], window: int, position: Integer[Array, " B"] | None
) -> Float[Array, "B n W D"]:
    """The windows that a segment reaches into; zeros in their places outside of it."""
    count = windows(x.shape[1], window, position)
    y = align(x, 0, window, count, position).reshape(x.shape[0], count, window, -1)
    if position is None:
        return y
    inside = jnp.arange(window) >= position[:, None]
    return jnp.concatenate([jnp.where(inside[:, None, :, None], y[:, :1], 0.0), y[:, 1:]], 1)


def window_ends(
    x: Float[Array, "B L *rest"], window: int, position: Integer[Array, " B"] | None
) -> Float[Array, "B n *rest"]:
    """What stands at the last position of each window of a segment; anything where the segment ends before it."""
    if position is None:
        return x[:, window - 1 :: window]
    batch, length = x.shape[:2]
    end = window * jnp.arange(1, windows(length, window, position) + 1) - 1 - position[:, None]
    return x[jnp.arange(batch)[:, None], jnp.clip(end, 0, length - 1)]


def own_window_attention(
    q: Float[Array, "B L H K"],
    k: Float[Array, "B T H K"],
    v: Float[Array, "B T H V"],
    window: int,
    position: Integer[Array, " B"] | None,
    *,
    bias: Bias | None = None,
    valid: Bool[Array, "B T"],
    include_self: bool = True,
    method: Method = "auto",
) -> Float[Array, "B L H V"]:
    """Causal attention of each position on its own window; keys and values are W cached ones and the segment's."""
    batch, length = q.shape[:2]
    if position is not None and length <= window:
        relative = relative_positions(length, window + length, window, q)
        slot = (position[:, None] + jnp.arange(length)) % window
        mask = allowed(relative, None, True, include_self) & (relative >= -slot[..., None])
        mask = (mask & valid[:, None])[:, None]
        return attend(q, k, v, relative_bias(bias, length, window + length, window, q), mask, method)
    count, size = windows(length, window, position), min(window, length)
    q = align(q, 0, size, count, position)
    k, v, valid = (align(x, window, size, count, position) for x in (k, v, valid))
    relative = relative_positions(size, size, 0, q)
    mask = allowed(relative, None, True, include_self) & valid[:, None]
    y = attend(q, k, v, relative_bias(bias, size, size, 0, q), mask[:, None], method)
    return realign(y, batch, length, position)


def last_window_attention(
    q: Float[Array, "B L H K"],
    k: Float[Array, "B n S H K"],
    v: Float[Array, "B n S H V"],
    window: int,
    position: Integer[Array, " B"] | None,
    *,
    method: Method = "auto",
) -> Float[Array, "B L H V"]:
    """Attention of each window on S keys and values of its own, those of the first window first."""
    batch, length = q.shape[:2]
    count, states = k.shape[1:3]
    if position is not None and length <= window:
        number = (position[:, None] + jnp.arange(length)) // window
        mask = number[..., None] == jnp.arange(count * states) // states
        k, v = (x.reshape(batch, -1, *x.shape[3:]) for x in (k, v))
        return attend(q, k, v, None, mask[:, None], method)
    q = align(q, 0, min(window, length), count, position)
    k, v = (x.reshape(-1, *x.shape[2:]) for x in (k, v))
    return realign(attend(q, k, v, None, None, method), batch, length, position)
