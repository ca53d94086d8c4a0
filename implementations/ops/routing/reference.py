"""Routing in NumPy, token by token: the oracle of both twins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray


def order(selected: Bool[Array, "B L"]) -> tuple[Int[Array, "B L"], Int[Array, " B"]]:
    """The positions of each row, selected ones first; and how many are selected."""
    first = [[t for t, chosen in enumerate(row) if chosen] for row in selected]
    last = [[t for t, chosen in enumerate(row) if not chosen] for row in selected]
    both = [a + b for a, b in zip(first, last, strict=True)]
    return np.array(both, int).reshape(selected.shape), np.array([len(row) for row in first], int)


def compress(x: Float[Array, "B L *rest"], selected: Bool[Array, "B L"], capacity: int) -> Float[Array, "B C *rest"]:
    """The selected tokens of each row, then zeros."""
    y = np.zeros((x.shape[0], capacity, *x.shape[2:]), x.dtype)
    for b, row in enumerate(selected):
        y[b, : row.sum()] = x[b, row]
    return y


def extract(y: Float[Array, "B C *rest"], selected: Bool[Array, "B L"]) -> Float[Array, "B L *rest"]:
    """Each selected token's result in its place, zero in the others."""
    x = np.zeros((*selected.shape, *y.shape[2:]), y.dtype)
    for b, row in enumerate(selected):
        x[b, row] = y[b, : row.sum()]
    return x
