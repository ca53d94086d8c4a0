"""SeqBoat in NumPy float64, one query after the other: the oracle of both twins.

y = silu(h' + c h + x), c_t = p_t where token t is active, else 0                   (arXiv 2306.11197, sections 3 and 4)
h = attention among the active tokens, as if the others were not there
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import erf

from implementations.common import conventions
from implementations.common.reference import ending, lengths
from implementations.ema.reference import layer as ema
from implementations.ema.reference import sigmoid
from implementations.mega.config import LAPLACE_DEVIATION, LAPLACE_MEAN
from implementations.ops.attention import ROTARY_THETA
from implementations.s4.reference import bank
from implementations.seqboat.config import SeqBoatConfig

Array = np.ndarray
State = dict[str, Array]


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return x * sigmoid(x)


def turned(x: Float[Array, " Z"], position: int) -> Float[Array, " Z"]:
    """A vector whose neighbouring pairs, as complex numbers, are turned by the position."""
    pairs = x[0::2] + 1j * x[1::2]
    pairs = pairs * np.exp(1j * position * ROTARY_THETA ** (-2 * np.arange(len(pairs)) / len(x)))
    return np.stack([pairs.real, pairs.imag], -1).reshape(-1)


def function(config: SeqBoatConfig, scores: Array) -> Array:
    """The weights from scores; those of softmax sum to one."""
    if config.attention == "softmax":
        scores = np.exp(scores - scores.max())
        return scores / scores.sum()
    if config.attention == "relu2":
        return np.maximum(scores, 0) ** 2
    return 0.5 * (1 + erf((scores - LAPLACE_MEAN) / (LAPLACE_DEVIATION * np.sqrt(2))))


def attend(
    config: SeqBoatConfig,
    p: dict[str, Array],
    q: Float[Array, "C Z"],
    k: Float[Array, "C Z"],
    v: Float[Array, "C V"],
    valid: Bool[Array, " C"],
    place: Int[Array, " C"],
    first: int,
) -> Float[Array, "C V"]:
    """Attention of one row's tokens from `first` on, among compressed tokens whose original positions are given."""
    count, w = len(q), config.window
    out = np.zeros((count, v.shape[1]))
    for i in range(first, count):
        start, end = (0, count) if w is None else (max(i - w, 0), min(i + w + 1, count))
        seen = np.arange(start, i + 1 if not config.bidirectional else end)
        keys = [int(j) for j in seen if valid[j]]
        if config.attention == "softmax":
            scale = config.query_size**0.5
        elif w is not None:
            scale = float(2 * w if config.bidirectional else w)
        else:
            scale = float(max(valid.sum(), 1) if config.bidirectional else i + 1)

        def score(j: int, i: int = i, scale: float = scale) -> Any:
            if config.bias == "rotary":
                return turned(q[i], int(place[i])) @ turned(k[j], int(place[j])) / scale
            distance = place[j] - place[i] if config.bias == "simple" else j - i + (w or 0)
            furthest = config.distances - 1
            return q[i] @ k[j] / scale + p["table"][furthest + int(np.clip(distance, -furthest, furthest))]

        if keys:
            out[i] = function(config, np.array([score(j) for j in keys])) @ v[keys]
        if config.masked_keys == "leak":
            out[i] += leak(config, v, i, set(keys))
    return out


def leak(config: SeqBoatConfig, v: Float[Array, "C V"], i: int, keys: set[int]) -> Float[Array, " V"]:
    """What masked keys of the blocks around query i add; behind the last block, and before the first, values are -1."""
    w = config.window
    assert w is not None
    total = np.zeros(v.shape[1])
    start = (i // w - 1) * w
    slots = range(start, start + config.around * w)
    weight = function(config, np.zeros(len(slots)))[0] if config.attention == "laplace" or not keys else 0.0
    for j in slots:
        if j not in keys:
            outside = j < 0 or j >= -(-len(v) // w) * w
            total += weight * (v[j] if 0 <= j < len(v) else -float(outside))
    return total


def mixed(
    config: SeqBoatConfig, p: dict[str, Array], x: Float[Array, "B L D"], state: Array | None, mask: Array | None
) -> tuple[Float[Array, "B L D"], Array | None]:
    """The state-space layer below."""
    own = {name.removeprefix("mixer."): a for name, a in p.items() if name.startswith("mixer.")}
    if config.mixer == "ema":
        return ema(config.ema, own, x, state=state, mask=mask)
    y, state = bank(config.s4d, own, x, state, mask)
    return y[:, :, 0], state


def remembered(
    config: SeqBoatConfig, state: State | None, b: int, new: dict[str, Array]
) -> tuple[dict[str, Array], int]:
    """The compressed tokens of one row behind those that a state holds, and how many those are."""
    if state is None:
        return new, 0
    kept = state["active"][b]
    length = len(kept)
    place = -state["age"][b] if config.window else np.arange(length) - length
    old = {"keys": state["keys"][b], "values": state["values"][b], "valid": kept, "place": place}
    if config.window is None or not config.always_act or config.mask_padding:
        old = {name: value[kept] for name, value in old.items()}
    return {name: np.concatenate([old[name], value]) for name, value in new.items()}, len(old["place"])


def layer(
    config: SeqBoatConfig,
    parameters: dict[str, Array],
    x: Float[Array, "B L D"],
    statistics: dict[str, Array] | None = None,
    state: State | None = None,
    mask: Bool[Array, "B L"] | None = None,
) -> tuple[Float[Array, "B L D"], State | None]:
    """The layer without dropout; batch norm uses `statistics`, or the batch's own where None."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    length = x.shape[1]
    genuine = np.ones(x.shape[:2], bool) if mask is None else mask
    if config.mask_padding:
        x = np.where(genuine[..., None], x, 0.0)

    def norm(x: Array) -> Array:
        epsilon = conventions.TORCH_LAYER_NORM_EPSILON
        if config.norm in ("scale", "rms"):
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * p["norm.scale"]
        if config.norm == "layer":
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        elif statistics is not None:
            mean, variance = statistics["norm.mean"], statistics["norm.var"]
        else:
            rows = x[genuine] if config.mask_padding else x.reshape(-1, x.shape[-1])
            mean, variance = rows.mean(0), rows.var(0)
        epsilon = conventions.BATCH_NORM_EPSILON if config.norm == "batch" else epsilon
        return (x - mean) / np.sqrt(variance + epsilon) * p["norm.scale"] + p["norm.bias"]

    def linear(name: str, x: Array) -> Array:
        return x @ p[f"{name}.kernel"] + p[f"{name}.bias"]

    skip = x
    x = norm(x) if config.prenorm else x
    m, below = mixed(config, p, x, None if state is None else state["mixer"], mask)
    m = silu(m)
    hx = linear("hx_proj", m)
    if config.always_act:
        active, gate = genuine, np.ones(genuine.shape)
    else:
        logit = (hx[..., 1] - hx[..., 0] - config.inactive_bias) / np.exp(p["log_temperature"])
        active = (logit > 0) & genuine
        gate, hx = sigmoid(logit) * active, hx[..., 2:]
    share = config.density_threshold
    whole = not config.mask_padding and config.always_act
    whole |= share is not None and np.float32(active.sum(1).max()) / np.float32(length) >= np.float32(share)
    selected = np.ones_like(active) if whole else active
    slots = max(int(selected.sum(1).max()), 1)
    h, after = np.zeros_like(x), []
    for b in range(len(x)):
        chosen = np.flatnonzero(selected[b])
        empty = slots - len(chosen) if config.masked_keys == "leak" else 0
        tokens = np.concatenate([m[b, chosen], np.zeros((empty, x.shape[2]))])
        z, r, v = np.split(silu(linear("mx_proj", tokens)), np.cumsum([config.query_size, config.value_size]), -1)
        q, k = (z * p["gamma"][i] + p["beta"][i] for i in (0, 1))
        valid = np.concatenate([active[b, chosen], np.zeros(empty, bool)])
        place = np.concatenate([chosen, np.zeros(empty, int)])
        found, first = remembered(config, state, b, {"keys": k, "values": v, "valid": valid, "place": place})
        q = np.concatenate([np.zeros((first, q.shape[1])), q])
        a = attend(config, p, q, found["keys"], found["values"], found["valid"], found["place"], first)[first:]
        h[b, chosen] = linear("h_proj", a * r)[: len(chosen)]
        after.append(found if config.window else {"keys": k, "values": v, "valid": valid, "place": chosen})
    x = silu(hx + gate[..., None] * h + skip)
    x = x if config.prenorm else norm(x)
    return x, cache(config, state, after, length, lengths(mask, x)) | {
        "mixer": below
    } if config.causal and below is not None else None


def cache(
    config: SeqBoatConfig, state: State | None, rows: list[dict[str, Any]], length: int, ends: Int[Array, " B"]
) -> dict[str, Array]:
    """The last w compressed tokens and how long ago they were; or the whole past, zero where a token was inactive.

    Of the `length` new positions each row has its `ends`; a whole past begins with as many empty ones as it lacks.
    """
    kept = config.window or length
    names = {"keys": config.query_size, "values": config.value_size}
    new: dict[str, Array] = {name: np.zeros((len(rows), kept, size)) for name, size in names.items()}
    new["active"], age = np.zeros((len(rows), kept), bool), np.zeros((len(rows), kept), np.int32)
    for b, row in enumerate(rows):
        last = slice(max(len(row["place"]) - kept, 0), None)
        at = row["place"] if config.window is None else np.arange(kept)[kept - len(row["place"][last]) :]
        for name, value in (("keys", row["keys"]), ("values", row["values"]), ("active", row["valid"])):
            new[name][b, at] = value[last]
        age[b, at] = ends[b] - row["place"][last]
    if config.window is not None:
        return new | {"age": age * new["active"]}
    past = new if state is None else {name: np.concatenate([state[name], new[name]], 1) for name in new}
    return {name: ending(y, y.shape[1] - length + ends, y.shape[1]) for name, y in past.items()}
