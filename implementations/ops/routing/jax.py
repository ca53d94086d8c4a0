"""Routing in JAX; `torch.py` beside it is its twin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Integer, Shaped

from implementations.ops.routing import capacities


def order(selected: Bool[Array, "B L"]) -> tuple[Int[Array, "B L"], Int[Array, " B"]]:
    """The positions of each row, selected ones first and both in their order; and how many are selected."""
    count = selected.sum(1)
    slots = jnp.where(selected, jnp.cumsum(selected, 1), count[:, None] + jnp.cumsum(~selected, 1)) - 1
    rows, positions = jnp.arange(selected.shape[0])[:, None], jnp.arange(selected.shape[1])
    return jnp.zeros_like(slots).at[rows, slots].set(positions, unique_indices=True), count


def compress(
    x: Shaped[Array, "B L *rest"], order: Integer[Array, "B L"], count: Integer[Array, " B"], capacity: int
) -> Shaped[Array, "B C *rest"]:
    """The selected tokens of each row, then zeros; NaN where a row has more of them than `capacity`."""
    rows = jnp.arange(x.shape[0])[:, None]
    y = x.at[rows, order[:, :capacity]].get(unique_indices=True)
    filled = (jnp.arange(capacity) < count[:, None]).reshape(*y.shape[:2], *[1] * (y.ndim - 2))
    y = jnp.where(filled, y, jnp.zeros_like(y))
    if capacity < x.shape[1] and jnp.issubdtype(y.dtype, jnp.inexact):
        y = jnp.where((count > capacity).reshape(-1, *[1] * (y.ndim - 1)), jnp.nan, y)
    return y


def extract(
    y: Shaped[Array, "B C *rest"], order: Integer[Array, "B L"], count: Integer[Array, " B"]
) -> Shaped[Array, "B L *rest"]:
    """Each selected token's result in its place, zero in the others; the inverse of `compress`."""
    capacity = y.shape[1]
    filled = (jnp.arange(capacity) < count[:, None]).reshape(*y.shape[:2], *[1] * (y.ndim - 2))
    y = jnp.where(filled, y, jnp.zeros_like(y))
    rows = jnp.arange(y.shape[0])[:, None]
    x = jnp.zeros((*order.shape, *y.shape[2:]), y.dtype)
    return x.at[rows, order[:, :capacity]].set(y, unique_indices=True)


def at_capacity(function: Callable[[int], Any], count: Integer[Array, " B"], length: int, steps: int) -> Any:
    """`function(capacity)` for the smallest of `capacities(length, steps)` that holds the largest row; for the whole
    length where `steps` is 0.
    """
    sizes = capacities(length, max(steps, 1))
    if len(sizes) == 1:
        return function(length)
    index = sum(count.max() > size for size in sizes[:-1])
    return jax.lax.switch(jnp.asarray(index, jnp.int32), [partial(function, size) for size in sizes])
