"""S5 in NumPy float64, one position after the other: the oracle of both twins.

x_k = Lambda_bar_k x_{k-1} + B_bar_k u_k,  y_k = 2 Re(C~ x_k) + D u_k   (arXiv 2208.04933, section 3, appendix G)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from implementations.common import conventions
from implementations.ops.scan.reference import linear_recurrence
from implementations.s5.config import S5Config

Array = np.ndarray


def _complex(pairs: Array) -> Array:
    return pairs[..., 0] + 1j * pairs[..., 1]


def discretize(config: S5Config, eigenvalues: Array, step: Array) -> tuple[Array, Array]:
    """Lambda_bar and the gain that multiplies B, for steps of shape (..., P)."""
    if config.discretization == "zoh":
        decay = np.exp(eigenvalues * step)
        return decay, (decay - 1) / eigenvalues
    inverse = 1 / (1 - step / 2 * eigenvalues)
    return inverse * (1 + step / 2 * eigenvalues), inverse * step


def ssm(
    config: S5Config,
    parameters: dict[str, Array],
    u: Float[Array, "B L D"],
    state: Float[Array, "B P 2"] | None = None,
    mask: Array | None = None,
    step_rescale: float = 1.0,
    timesteps: Float[Array, "B L"] | None = None,
) -> tuple[Float[Array, "B L D"], Float[Array, "B P 2"] | None]:
    """The SSM alone; arguments as `S5SSM` of the twins."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    real = np.minimum(p["Lambda_re"], conventions.EIGENVALUE_CLIP) if config.clip_eigs else p["Lambda_re"]
    step = (
        step_rescale
        * np.exp(p["log_step"][:, 0])
        * (np.ones(u.shape[:2]) if timesteps is None else timesteps)[..., None]
    )
    decay, gain = discretize(config, real + 1j * p["Lambda_im"], step)
    inputs = gain * np.einsum("bld,pd->blp", u, _complex(p["B"]))
    if mask is not None:
        inputs = np.where(mask[..., None], inputs, 0)
    x = linear_recurrence(decay, inputs, None if state is None else _complex(state))
    before = np.zeros_like(x[:, 0]) if state is None else _complex(state)
    last = (
        x[:, -1]
        if mask is None
        else np.stack([x[b, np.flatnonzero(m)[-1]] if m.any() else before[b] for b, m in enumerate(mask)])
    )
    last = np.stack([np.real(last), np.imag(last)], -1)
    c = np.concatenate([p["C1"], p["C2"]], 1) if "C1" in p else p["C"]
    if config.bidirectional:
        x, last = np.concatenate([x, linear_recurrence(decay, inputs, reverse=True)], -1), None
    y = np.einsum("blp,dp->bld", x, _complex(c)).real
    return (2 if config.conj_sym else 1) * y + p["D"] * u, last


def gelu(x: Array) -> Array:
    """GELU in its tanh form."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))


def layer(
    config: S5Config,
    parameters: dict[str, Array],
    x: Float[Array, "B L D"],
    statistics: dict[str, Array] | None = None,
    state: Array | None = None,
    mask: Array | None = None,
    step_rescale: float = 1.0,
    timesteps: Array | None = None,
) -> tuple[Float[Array, "B L D"], Array | None]:
    """The layer without dropout; batch norm uses `statistics` (norm.mean, norm.var), or the batch's own where None."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    mask = mask if config.mask_padding else None
    x = x if mask is None else np.where(mask[..., None], x, 0.0)

    def norm(x):
        if config.norm == "layer":
            mean, variance, epsilon = (
                x.mean(-1, keepdims=True),
                x.var(-1, keepdims=True),
                conventions.LAYER_NORM_EPSILON,
            )
        elif statistics is not None:
            mean, variance, epsilon = statistics["norm.mean"], statistics["norm.var"], conventions.BATCH_NORM_EPSILON
        else:
            rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask]
            mean, variance, epsilon = rows.mean(0), rows.var(0), conventions.BATCH_NORM_EPSILON
        return (x - mean) / np.sqrt(variance + epsilon) * p["norm.scale"] + p["norm.bias"]

    def linear(name, x):
        return x @ p[f"{name}.kernel"] + p[f"{name}.bias"]

    skip = x
    x = norm(x) if config.prenorm else x
    own = {name.removeprefix("ssm."): value for name, value in p.items() if name.startswith("ssm.")}
    x, state = ssm(config, own, x, state, mask, step_rescale, timesteps)
    if config.activation == "full_glu":
        x = gelu(x)
        x = linear("out1", x) * sigmoid(linear("out2", x))
    elif config.activation == "half_glu1":
        x = gelu(x)
        x = x * sigmoid(linear("out2", x))
    elif config.activation == "half_glu2":
        x = x * sigmoid(linear("out2", gelu(x)))
    else:
        x = gelu(x)
    x = skip + x
    return (x if config.prenorm else norm(x)), state
