"""Mega in NumPy float64, one query after the other: the oracle of both twins.

y = x + sigmoid(u) (silu(h + (a r) W + b) - x), a_t = sum over s of f(q_t k_s) v_s     (arXiv 2209.10655, section 3)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import erf

from implementations.common import conventions
from implementations.ema.reference import layer as ema
from implementations.ema.reference import sigmoid
from implementations.mega.config import EPSILON, LAPLACE_DEVIATION, LAPLACE_MEAN, MegaConfig, frequencies

Array = np.ndarray
State = dict[str, Array]


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return x * sigmoid(x)


def turned(x: Float[Array, " Z"], position: int) -> Float[Array, " Z"]:
    """A vector whose pairs (i, i + Z / 2) are turned by the position."""
    first, second = np.split(x, 2)
    angle = position * frequencies(len(x))
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
    q: Float[Array, "B L Z"],
    k: Float[Array, "B S Z"],
    v: Float[Array, "B S V"],
    genuine: Bool[Array, "B S"],
) -> Float[Array, "B L V"]:
    """Attention of the last L of S positions; a query that has no genuine key takes all of them under softmax."""
    first, chunk = k.shape[1] - q.shape[1], config.chunk_size or k.shape[1]
    out = np.zeros((*q.shape[:2], v.shape[2]))
    for b in range(len(q)):
        for t in range(first, k.shape[1]):
            start = t // chunk * chunk
            seen = np.arange(start, t + 1 if config.causal else min(start + chunk, k.shape[1]))
            keys = seen[genuine[b, seen]]
            if config.attention == "softmax" and not len(keys):
                keys = seen
            if len(keys):
                biases = np.array([bias(config, p, t - start, int(s) - start) for s in keys])
                found = weights(config, k[b, keys] @ q[b, t - first], biases, t - start + 1)
                out[b, t - first] = found @ v[b, keys]
    return out


def remembered(config: MegaConfig, state: State | None, name: str, new: Array) -> Array:
    """What was kept of the chunk so far, or of the whole past, and what is new."""
    if state is None:
        return new
    kept = state[name] if config.chunk_size is None else state[name][:, : int(state["position"])]
    return np.concatenate([kept, new], 1)


def cache(config: MegaConfig, arrays: dict[str, Array]) -> State:
    """The whole past; or the unfinished chunk, filled up with zeros."""
    if config.chunk_size is None:
        return arrays
    length = next(iter(arrays.values())).shape[1]
    position = length % config.chunk_size
    kept = {}
    for name, array in arrays.items():
        kept[name] = np.zeros((len(array), config.chunk_size, *array.shape[2:]), array.dtype)
        kept[name][:, :position] = array[:, length - position :]
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
        scale = p[f"{block}.norm.scale"]
        if config.norm in ("scale", "rms"):
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * scale
        if config.norm == "layer":
            mean, variance, epsilon = x.mean(-1, keepdims=True), x.var(-1, keepdims=True), EPSILON
        elif statistics is not None:
            mean, variance = statistics[f"{block}.norm.mean"], statistics[f"{block}.norm.var"]
            epsilon = conventions.BATCH_NORM_EPSILON
        else:
            rows = x.reshape(-1, x.shape[-1]) if mask is None or not config.mask_padding else x[mask]
            mean, variance, epsilon = rows.mean(0), rows.var(0), conventions.BATCH_NORM_EPSILON
        return (x - mean) / np.sqrt(variance + epsilon) * scale + p[f"{block}.norm.bias"]

    def linear(name: str, x: Array) -> Array:
        return x @ p[f"{name}.kernel"] + p[f"{name}.bias"]

    skip = x
    x = norm("attention", x) if config.prenorm else x
    v = silu(linear("attention.v_proj", x))
    own = {name.removeprefix("attention.ema."): a for name, a in p.items() if name.startswith("attention.ema.")}
    m, averages = ema(config.ema, own, x, state=None if state is None else state["ema"], mask=mask)
    u, z, r, h = np.split(linear("attention.mx_proj", silu(m)), config.parts, -1)
    z, r = silu(z), silu(r)
    q, k = (z * p["attention.gamma"][i] + p["attention.beta"][i] for i in (0, 1))
    genuine = np.ones(x.shape[:2], bool) if mask is None else mask
    arrays = {
        name: remembered(config, state, name, new) for name, new in (("keys", k), ("values", v), ("genuine", genuine))
    }
    a = attend(config, p, q, arrays["keys"], arrays["values"], arrays["genuine"])
    x = skip + sigmoid(u) * (silu(h + linear("attention.h_proj", a * r)) - skip)
    x = x if config.prenorm else norm("attention", x)
    if config.feedforward_size:
        skip = x
        x = norm("feedforward", x) if config.prenorm else x
        x = skip + linear("feedforward.fc2", silu(linear("feedforward.fc1", x)))
        x = x if config.prenorm else norm("feedforward", x)
    return x, {"ema": averages, **cache(config, arrays)} if config.causal and averages is not None else None
