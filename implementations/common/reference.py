"""Padding in NumPy, sequence by sequence: the oracle of both twins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int, Shaped

Array = np.ndarray


def lengths(mask: Bool[Array, "B L"] | None, x: Shaped[Array, "B L *rest"]) -> Int[Array, " B"]:
    """How many positions of each sequence are left without the padding at its end."""
    if mask is None:
        return np.full(len(x), x.shape[1])
    return np.array([max((t + 1 for t, genuine in enumerate(row) if genuine), default=0) for row in mask])


def ending(x: Shaped[Array, "B T *rest"], ends: Int[Array, " B"], count: int) -> Shaped[Array, "B {count} *rest"]:
    """The `count` positions of each sequence before its end; zeros where there are too few."""
    y = np.zeros((len(x), count, *x.shape[2:]), x.dtype)
    for row, end in enumerate(ends):
        kept = min(count, int(end))
        y[row, count - kept :] = x[row, end - kept : end]
    return y
