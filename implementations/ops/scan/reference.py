"""The oracle: one position after the other, float64, nothing clever."""

from __future__ import annotations

import numpy as np
from jaxtyping import Num

Array = np.ndarray


def linear_recurrence(
    a: Num[Array, "B L P"], b: Num[Array, "B L P"], initial: Num[Array, "B P"] | None = None, reverse: bool = False
) -> Num[Array, "B L P"]:
    """x_t = a_t x_{t-1} + b_t with x_{-1} = `initial` (zero if None); `reverse` runs from the last position."""
    a, b = np.broadcast_arrays(a, b)
    x = np.empty(b.shape, np.result_type(a, b, np.float64))
    state = np.zeros(b.shape[:-2] + b.shape[-1:]) if initial is None else initial
    positions = range(b.shape[-2])
    for t in reversed(positions) if reverse else positions:
        state = a[..., t, :] * state + b[..., t, :]
        x[..., t, :] = state
    return x
