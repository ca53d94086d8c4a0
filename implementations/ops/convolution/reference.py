"""The oracle: one position after the other, float64, nothing clever."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def causal_convolution(x: Float[Array, "B L D"], kernel: Float[Array, "K D T"]) -> Float[Array, "B L K D"]:
    """y_t = sum over j <= t of kernel_j x_{t-j}."""
    y = np.zeros((*x.shape[:2], *kernel.shape[:2]))
    for t in range(x.shape[1]):
        for j in range(min(t + 1, kernel.shape[-1])):
            y[:, t] += kernel[..., j] * x[:, t - j, None]
    return y


def two_sided_convolution(
    x: Float[Array, "B L D"], kernel: Float[Array, "K D T"], reverse_kernel: Float[Array, "K D T"], offset: int = 0
) -> Float[Array, "B L K D"]:
    """y_t = sum over j <= t of kernel_j x_{t-j} + sum over j of reverse_kernel_j x_{t+offset+j}."""
    y = causal_convolution(x, kernel)
    for t in range(x.shape[1]):
        for j in range(min(x.shape[1] - t - offset, kernel.shape[-1])):
            y[:, t] += reverse_kernel[..., j] * x[:, t + offset + j, None]
    return y
