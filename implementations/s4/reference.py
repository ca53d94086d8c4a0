"""S4 and S4D in NumPy float64, dense matrices and one position after the other: the oracle of both twins.

x_t = A_bar x_{t-1} + B_bar u_t,  y_t = Re(C x_t) + D u_t with all N states of each feature   (arXiv 2111.00396)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float
from scipy.special import erf

from implementations.common import conventions
from implementations.common.reference import lengths
from implementations.s4.config import LEAST_REAL_PART, BankConfig, S4Config, S4DConfig

Array = np.ndarray


def _complex(pairs: Array) -> Array:
    return pairs[..., 0] + 1j * pairs[..., 1]


def _both(half: Array) -> Array:
    """All states: the kept ones and their conjugates."""
    return np.concatenate([half, half.conj()], -1)


def transformed(x: Array, transform: str) -> Array:
    """A positive number from a parameter."""
    if transform == "relu":
        return np.maximum(x, 0) + LEAST_REAL_PART
    return {"exp": np.exp, "softplus": lambda x: np.logaddexp(x, 0), "none": np.asarray}[transform](x)


def discretize(
    config: BankConfig, p: dict[str, Array], step_rescale: float
) -> tuple[Complex[Array, "D N N"], Complex[Array, "D N"]]:
    """A_bar and B_bar of every feature, dense."""
    copy = np.arange(config.d_model) % config.copies
    half = -transformed(p["A_real"], config.real_transform)[copy] - 1j * p["A_imag"][copy]
    A, B = _both(half)[:, :, None] * np.eye(config.state_size), _both(_complex(p["B"])[copy])
    step = step_rescale * transformed(p["log_step"], config.dt_transform)
    step = np.tile(np.broadcast_to(step, half.shape), (1, 2))[:, :, None]
    if isinstance(config, S4Config):
        P = _both(_complex(p["P"])[copy])
        A = A - P[:, :, None] * P[:, None, :].conj()
    elif isinstance(config, S4DConfig) and config.discretization == "zoh":
        Lambda = np.diagonal(A, axis1=1, axis2=2)
        decay = np.exp(step[..., 0] * Lambda)
        return decay[:, :, None] * np.eye(config.state_size), (decay - 1) / Lambda * B
    identity = np.eye(config.state_size)
    backward = np.linalg.inv(identity - step / 2 * A)
    return backward @ (identity + step / 2 * A), np.einsum("dnm,dm->dn", backward, step[..., 0] * B)


def output_matrix(config: BankConfig, p: dict[str, Array]) -> Complex[Array, "K D N"]:
    """C of all states; from C~ where that is the parameter."""
    C = _both(_complex(p["C"]))
    if isinstance(config, S4Config) and config.truncated_length is not None:
        A_bar, _ = discretize(config, p, 1.0)
        remaining = np.eye(config.state_size) - np.linalg.matrix_power(A_bar, config.truncated_length)
        C = np.einsum("kdn,dnm->kdm", C, np.linalg.inv(remaining))
    return C


def bank(
    config: BankConfig,
    parameters: dict[str, Array],
    u: Float[Array, "B L D"],
    state: Float[Array, "B D M 2"] | None = None,
    mask: Array | None = None,
    step_rescale: float = 1.0,
) -> tuple[Float[Array, "B L K D"], Float[Array, "B D M 2"] | None]:
    """The bank alone; arguments as `S4Bank` of the twins."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    u = u if mask is None else np.where(mask[..., None], u, 0.0)
    A_bar, B_bar = discretize(config, p, step_rescale)
    C = output_matrix(config, p)
    ends = lengths(mask, u)

    def run(u: Array, C: Array, x: Array) -> tuple[Array, Array]:
        y, states = [], [x]
        for t in range(u.shape[1]):
            states.append(np.einsum("dnm,bdm->bdn", A_bar, states[-1]) + B_bar * u[:, t, :, None])
            y.append(np.einsum("kdn,bdn->bkd", C, states[-1]).real)
        return np.stack(y, 1), np.stack([states[end][b] for b, end in enumerate(ends)])

    zero = np.zeros((len(u), *B_bar.shape), complex)
    y, x = run(u, C[: config.channels], zero if state is None else _both(_complex(state)))
    half = x[..., : config.kept_states]
    last = None if config.bidirectional else np.stack([np.real(half), np.imag(half)], -1)
    if config.bidirectional:
        reverse, _ = run(u[:, ::-1], C[config.channels :], zero)
        reverse = np.concatenate([reverse[:, ::-1], np.zeros_like(y[:, :1])], 1)
        y = y + reverse[:, config.reverse_offset : config.reverse_offset + u.shape[1]]
    return y + p["D"] * u[:, :, None], last


def gelu(x: Array) -> Array:
    """GELU with the exact error function."""
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def layer(
    config: BankConfig,
    parameters: dict[str, Array],
    x: Float[Array, "B L D"],
    statistics: dict[str, Array] | None = None,
    state: Array | None = None,
    mask: Array | None = None,
    step_rescale: float = 1.0,
) -> tuple[Float[Array, "B L D"], Array | None]:
    """The layer without dropout; batch norm uses `statistics` (norm.mean, norm.var), or the batch's own where None."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    mask = mask if config.mask_padding else None
    x = x if mask is None else np.where(mask[..., None], x, 0.0)

    def norm(x: Array) -> Array:
        epsilon = conventions.BATCH_NORM_EPSILON
        if config.norm == "layer":
            mean, variance, epsilon = (
                x.mean(-1, keepdims=True),
                x.var(-1, keepdims=True),
                conventions.LAYER_NORM_EPSILON,
            )
        elif statistics is not None:
            mean, variance = statistics["norm.mean"], statistics["norm.var"]
        else:
            rows = x.reshape(-1, x.shape[-1]) if mask is None else x[mask]
            mean, variance = rows.mean(0), rows.var(0)
        return (x - mean) / np.sqrt(variance + epsilon) * p["norm.scale"] + p["norm.bias"]

    skip = x
    x = norm(x) if config.prenorm else x
    own = {name.removeprefix("ssm."): value for name, value in p.items() if name.startswith("ssm.")}
    x, state = bank(config, own, x, state, mask, step_rescale)
    x = gelu(x.reshape(*x.shape[:2], -1))
    if config.output != "none":
        x = x @ p["out.kernel"] + p["out.bias"]
    if config.output == "glu":
        value, gate = np.split(x, 2, -1)
        x = value / (1 + np.exp(-gate))
    x = skip + x
    return (x if config.prenorm else norm(x)), state
