"""Multi-head EMA in NumPy float64, one position after the other: the oracle of both twins.

h_t = q h_(t-1) + p beta x_t,  y_t = sum over N of gamma / sqrt(N) h_t + omega x_t   (arXiv 2209.10655, section 3.1)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from implementations.common.reference import ending, lengths
from implementations.ema.config import EMAConfig

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def averages(
    p: dict[str, Array], x: Float[Array, "B L D"], state: Float[Array, "B D N"], ends: Int[Array, " B"]
) -> tuple[Float[Array, "B L D"], Float[Array, "B D N"]]:
    """The weighted sum of moving averages at each position, and the averages behind `ends` positions."""
    gain = sigmoid(p["delta"]) * p["beta"]
    decay = 1 - sigmoid(p["delta"]) * sigmoid(p["alpha"])
    y, states = np.zeros_like(x), [state]
    for t in range(x.shape[1]):
        states.append(decay * states[-1] + gain * x[:, t, :, None])
        y[:, t] = (p["gamma"] / np.sqrt(p["gamma"].shape[1]) * states[-1]).sum(-1)
    return y, np.stack([states[end][b] for b, end in enumerate(ends)])


def truncated(p: dict[str, Array], x: Float[Array, "B L D"], lags: int) -> Float[Array, "B L D"]:
    """The same, of the last `lags` positions only."""
    y = np.zeros_like(x)
    nothing = np.zeros((len(x), *p["delta"].shape))
    for t in range(x.shape[1]):
        y[:, t] = averages(p, x[:, max(0, t + 1 - lags) : t + 1], nothing, np.zeros(len(x), int))[0][:, -1]
    return y


def layer(
    config: EMAConfig,
    parameters: dict[str, Array],
    x: Float[Array, "B L D"],
    statistics: dict[str, Array] | None = None,
    state: Array | None = None,
    mask: Bool[Array, "B L"] | None = None,
) -> tuple[Float[Array, "B L D"], Array | None]:
    """The layer; it has no `statistics`."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    inputs = x if mask is None else np.where(mask[..., None], x, 0.0)
    ends = lengths(mask, x)
    names = ("delta", "alpha", "beta", "gamma")
    left = {name: p[name][: config.d_model] for name in names}
    state = np.zeros(config.state_shape(len(x))) if state is None else state
    if config.truncation:
        longer = inputs if config.bidirectional else np.concatenate([state, inputs], 1)
        y = truncated(left, longer, config.truncation)[:, -x.shape[1] :]
        state = ending(longer, longer.shape[1] - x.shape[1] + ends, config.truncation - 1)
    else:
        y, state = averages(left, inputs, state, ends)
    if config.bidirectional:
        right, state = {name: p[name][config.d_model :] for name in names}, None
        y = y + truncated(right, inputs[:, ::-1], config.truncation or x.shape[1])[:, ::-1]
    if config.residual:
        y = y + p["omega"] * x
    return (y * sigmoid(y) if config.activation == "silu" else y), state
