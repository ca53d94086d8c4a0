"""Mega in NumPy float64, one query after the other: the oracle of both twins.

y = x + sigmoid(u) (silu(h + (a r) W + b) - x), a_t = sum over s of f(q_t k_s) v_s     (arXiv 2209.10655, section 3)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import erf

from implementations.common import conventions
from implementations.common.reference import ending, lengths
from implementations.ema.reference import layer as ema
from implementations.ema.reference import sigmoid
from implementations.mega.config import LAPLACE_DEVIATION, LAPLACE_MEAN, MegaConfig
from implementations.ops.attention import ROTARY_THETA

Array = np.ndarray
State = dict[str, Array]


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return x * sigmoid(x)


def turned(x: Float[Array, " Z"], position: int) -> Float[Array, " Z"]:
    """A vector whose pairs (i, i + Z / 2) are turned by the position."""
    first, second = np.split(x, 2)
    angle = position * ROTARY_THETA ** (-2 * np.arange(len(first)) / len(x))
    return np.concatenate(
        [first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)]
    )


def bias(config: MegaConfig, p: dict[str, Array], query: int, key: int) -> float:
    """The relative bias between two positions."""
    if config.bias == "simple":
        return p["attention.table"][config.positions - 1 + key - query]
    return float(turned(p["attention.left"], query) @ turned(p["attention.right"], key))


def weights(config: MegaConfig, scores: Array, biases: Array, rank: int) -> Array:
    """The weights of the genuine keys of one query; `rank` keys are up to the query."""
    if config.attention == "softmax":
        scores = scores / np.sqrt(config.query_size) + biases
        scores = np.exp(scores - scores.max())
        return scores / scores.sum()
    scores = scores / (rank if config.causal else len(scores)) + biases
    if config.attention == "relu2":
        return np.maximum(scores, 0) ** 2
    return 0.5 * (1 + erf((scores - LAPLACE_MEAN) / (LAPLACE_DEVIATION * np.sqrt(2))))


def attend(
    config: MegaConfig,
    p: dict[str, Array],
    q: Float[Array, "L Z"],
    past: State,
    position: int,
) -> Float[Array, "L V"]:
    """Attention of one sequence's last L of S positions (`keys`, `values`, `genuine`), of which the first is number
    `position` of its chunk, or document; a query without a genuine key gets zero."""
    k, v, genuine = past["keys"], past["values"], past["genuine"]
    first, chunk = len(k) - len(q), config.chunk_size or len(k)
    out = np.zeros((len(q), v.shape[1]))
    for t in range(first, len(k)):
        start = t // chunk * chunk
        seen = np.arange(start, t + 1 if config.causal else min(start + chunk, len(k)))
        keys = seen[genuine[seen]]
        if len(keys):
            biases = np.array([bias(config, p, t - start, int(s) - start) for s in keys])
            rank = (position + t - first) % (config.chunk_size or position + len(q)) + 1
            out[t - first] = weights(config, k[keys] @ q[t - first], biases, rank) @ v[keys]
    return out


def remembered(config: MegaConfig, state: State | None, new: State, row: int) -> tuple[State, int]:
    """One sequence's keys, values and genuine positions: what was kept of the chunk so far, or of the whole past, and
    what is new; and the number of the first new one."""
    new = {name: array[row] for name, array in new.items()}
    if state is None:
        return new, 0
    position = int(state["position"][row])
    kept = state["keys"].shape[1] if config.chunk_size is None else position
    return {name: np.concatenate([state[name][row, :kept], array]) for name, array in new.items()}, position


def cache(config: MegaConfig, past: State, position: int, padding: int) -> State:
    """One sequence's whole past; or its unfinished chunk, filled up with zeros. Number `position` is next: of the past
    the last `padding` positions leave no trace, but that the whole one begins with as many that are empty."""
    if config.chunk_size is None:
        moved = {
            name: ending(array[None], np.array([len(array) - padding]), len(array))[0] for name, array in past.items()
        }
        return moved | {"position": np.asarray(position, np.int32)}
    past = {name: array[: len(array) - padding] for name, array in past.items()}
    position = position % config.chunk_size
    kept = {}
    for name, array in past.items():
        kept[name] = np.zeros((config.chunk_size, *array.shape[1:]), array.dtype)
        kept[name][:position] = array[len(array) - position :]
    return kept | {"position": np.asarray(position, np.int32)}


def layer(
    config: MegaConfig,
    parameters: dict[str, Array],
    x: Float[Array, "B L D"],
    statistics: dict[str, Array] | None = None,
    state: State | None = None,
    mask: Bool[Array, "B L"] | None = None,
) -> tuple[Float[Array, "B L D"], State | None]:
    """The layer without dropout; batch norm uses `statistics`, or the batch's own where None."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}

    def norm(block: str, x: Array) -> Array:
        scale, epsilon = p[f"{block}.norm.scale"], conventions.TORCH_LAYER_NORM_EPSILON
        if config.norm in ("scale", "rms"):
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * scale
        if config.norm == "layer":
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        elif statistics is not None:
            mean, variance = statistics[f"{block}.norm.mean"], statistics[f"{block}.norm.var"]
            epsilon = conventions.BATCH_NORM_EPSILON
        else:
            rows = x.reshape(-1, x.shape[-1]) if mask is None or not config.mask_padding else x[mask]
            mean, variance, epsilon = rows.mean(0), rows.var(0), conventions.BATCH_NORM_EPSILON
        return (x - mean) / np.sqrt(variance + epsilon) * scale + p[f"{block}.norm.bias"]

    def linear(name: str, x: Array) -> Array:
        return x @ p[f"{name}.kernel"] + p[f"{name}.bias"]

    if mask is not None and config.mask_padding:
        x = np.where(mask[..., None], x, 0.0)
    skip = x
    x = norm("attention", x) if config.prenorm else x
    v = silu(linear("attention.v_proj", x))
    own = {name.removeprefix("attention.ema."): a for name, a in p.items() if name.startswith("attention.ema.")}
    m, averages = ema(config.ema, own, x, state=None if state is None else state["ema"], mask=mask)
    u, z, r, h = np.split(linear("attention.mx_proj", silu(m)), config.parts, -1)
    z, r = silu(z), silu(r)
    q, k = (z * p["attention.gamma"][i] + p["attention.beta"][i] for i in (0, 1))
    genuine = np.ones(x.shape[:2], bool) if mask is None else mask
    k, v = (np.where(genuine[..., None], array, 0.0) for array in (k, v))
    new = {"keys": k, "values": v, "genuine": genuine}
    attended, caches, ends = [], [], lengths(mask, x)
    for row in range(len(x)):
        past, position = remembered(config, state, new, row)
        attended.append(attend(config, p, q[row], past, position))
        caches.append(cache(config, past, position + int(ends[row]), x.shape[1] - int(ends[row])))
    a = np.stack(attended)
    x = skip + sigmoid(u) * (silu(h + linear("attention.h_proj", a * r)) - skip)
    x = x if config.prenorm else norm("attention", x)
    if config.feedforward_size:
        skip = x
        x = norm("feedforward", x) if config.prenorm else x
        x = skip + linear("feedforward.fc2", silu(linear("feedforward.fc1", x)))
        x = x if config.prenorm else norm("feedforward", x)
    if averages is None:
        return x, None
    return x, {"ema": averages, **{name: np.stack([kept[name] for kept in caches]) for name in caches[0]}}
