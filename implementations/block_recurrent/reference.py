"""The Block-Recurrent Transformer in NumPy float64, one token after the other: the oracle of both twins."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from implementations.common import conventions
from implementations.ops.attention import reference as ops
from implementations.transformer.reference import _activate, bias_index

Array = np.ndarray
Parameters = dict[str, Array]


def below(name: str, p: Parameters) -> Parameters:
    """The parameters under a path, by the rest of their paths."""
    return {path.removeprefix(f"{name}."): value for path, value in p.items() if path.startswith(f"{name}.")}


def norm(p: Parameters, name: str, x: Array) -> Array:
    """RMS norm."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + conventions.RMS_NORM_EPSILON) * p[f"{name}.scale"]


def heads(config: BlockRecurrentConfig, p: Parameters, x: Array) -> list[Array]:
    """Queries for the own side and for the other, scaled; keys and values: (T, D) to four (T, H, K)."""
    shape = (len(x), config.heads, config.head_width)
    q, cross, k, v = ((x @ p[f"{name}.kernel"]).reshape(shape) for name in ("query", "cross_query", "key", "value"))
    if not config.qk_norm:
        return [q / np.sqrt(config.head_width), cross / np.sqrt(config.head_width), k, v]
    own, other = scale(config, p["scale"]), scale(config, p["cross_scale"])
    return [ops.normalise(q) * own[:, None], ops.normalise(cross) * other[:, None], ops.normalise(k), v]


def scale(config: BlockRecurrentConfig, values: Array) -> Array:
    """The learned scale of each head."""
    return np.abs(values) if config.absolute_scale else values


def attend(q: Array, k: Array, v: Array, **options: Any) -> Array:
    """Attention of (L, H, K) to (T, H, K), heads flattened."""
    y = ops.attention(q[None], k[None], v[None], **{"causal": False, **options})
    return y[0].reshape(len(q), -1)


def state_heads(config: BlockRecurrentConfig, p: Parameters, states: Array) -> list[Array]:
    """Queries, keys and values of the states (S, D)."""
    return heads(config, below("heads", p), norm(p, "norm1", states) + p["identifiers"])


def gated(config: BlockRecurrentConfig, p: Parameters, h: Array, c: Array) -> Array:
    """The states behind a gate."""
    z = h @ p["out.kernel"]
    if config.z_bias:
        z = z + p["out.bias"]
    if config.z_tanh:
        z = np.tanh(z)
    if config.gate == "fixed":
        g = expit(p["bias"])
        return g * c + (1 - g) * z
    f = expit(h @ p["forget.kernel"] + p["forget.bias"] + 1)
    i = expit(h @ p["input.kernel"] + p["input.bias"] - 1)
    return f * c + i * z


def update(config: BlockRecurrentConfig, p: Parameters, c: Array, row: dict[str, Array]) -> Array:
    """The states (S, D) after a block, whose tokens' keys and values are the last of the cache."""
    q, cross, k, v = state_heads(config, p, c)
    h = np.concatenate([attend(q, k, v), attend(cross, row["keys"], row["values"], valid=row["valid"][None])], -1)
    if config.configuration != "single":
        c = gated(config, below("attention_gate", p), h, c)
    if config.configuration == "skip":
        return c
    if config.configuration == "dual":
        h = norm(p, "norm2", c)
    return gated(config, below("gate", p), _activate(config.activation, h @ p["hidden.kernel"]), c)


def token(
    config: BlockRecurrentConfig, p: Parameters, x: Array, genuine: bool, row: dict[str, Array], k_s: Array, v_s: Array
) -> Array:
    """One token (D,) through the vertical direction; the cache of its row is moved on."""
    q, cross, k, v = heads(config, below("heads", p), norm(p, "norm1", x[None]))
    W, sliding = config.window, config.sliding
    own = scale(config, p["heads.scale"]) if config.qk_norm else 1.0
    a = attend(
        q,
        np.concatenate([row["keys"][-W:], k]),
        np.concatenate([row["values"][-W:], v]),
        bias=(lambda r: p["bias.table"][:, bias_index(sliding, r)] * own) if config.positions == "t5" else None,
        valid=np.append(row["valid"][-W:], genuine)[None],
        before=W,
        window=W,
        causal=True,
        include_self=config.include_self,
    )
    y = x + (np.concatenate([a, attend(cross, k_s, v_s)], -1) @ p["out.kernel"])[0]
    hidden = _activate(config.activation, norm(p, "norm2", y) @ p["feed_forward.hidden.kernel"])
    for name, new in (("keys", k), ("values", v), ("valid", np.array([genuine]))):
        row[name] = np.concatenate([row[name][1:], new])
    return y + hidden @ p["feed_forward.out.kernel"]


def finish(config: BlockRecurrentConfig, p: Parameters, row: dict[str, Array]) -> None:
    """Count a token, and at the end of its block let the states read it."""
    row["position"] = row["position"] + 1
    if row["position"] == config.window:
        row["position"] = row["position"] * 0
        row["states"] = update(config, below("states", p), row["states"], row)


def initial_state(config: BlockRecurrentConfig, p: Parameters, batch: int) -> dict[str, Array]:
    """The state before the first token."""
    return {
        **cache(config, config.cached, batch),
        "position": np.zeros(batch, int),
        "states": np.repeat(p["states.initial"][None], batch, 0),
    }


def cache(config: BlockRecurrentConfig, kept: int, batch: int) -> dict[str, Array]:
    """The keys and values before the first token."""
    shape = (batch, kept, config.heads, config.head_width)
    return {"keys": np.zeros(shape), "values": np.zeros(shape), "valid": np.full(shape[:2], config.attend_start)}


def layer(
    config: BlockRecurrentConfig | FeedbackConfig,
    parameters: Parameters,
    x: Float[Array, "B L D"],
    statistics: dict[str, Array] | None = None,
    state: dict[str, Any] | None = None,
    mask: Array | None = None,
) -> tuple[Float[Array, "B L D"], dict[str, Any]]:
    """The layer, or the stack with feedback, without dropout; arguments as the twins (it has no statistics)."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    stacked = isinstance(config, FeedbackConfig)
    layers = [below(f"layers.{i}", p) for i in range(config.depth)] if stacked else [p]
    indices, own = (config.indices, config.recurrent) if stacked else ((0,), config)
    if state is None:
        states = [
            initial_state(own, p, len(x)) if i in indices else cache(own, own.window, len(x))
            for i, p in enumerate(layers)
        ]
    else:
        states = [state["layers"][str(i)] for i in range(len(layers))] if stacked else [state]
    mask = np.ones(x.shape[:2], bool) if mask is None or not own.mask_padding else mask
    y, after = np.zeros(x.shape), []
    for b in range(len(x)):
        rows = [{name: value[b] for name, value in given.items()} for given in states]
        for t in range(1 + np.flatnonzero(mask[b]).max(initial=-1)):
            _, _, *read = state_heads(own, below("states", layers[indices[-1]]), rows[indices[-1]]["states"])
            z = np.where(mask[b, t], x[b, t], 0.0)
            for i, (p, row) in enumerate(zip(layers, rows, strict=True)):
                k_s, v_s = state_heads(own, below("states", p), row["states"])[2:] if i in indices else read
                z = token(own, below("tokens", p), z, bool(mask[b, t]), row, k_s, v_s)
                z = np.where(mask[b, t], z, 0.0)
                if i in indices:
                    finish(own, p, row)
            y[b, t] = z
        after.append(rows)
    found = [{name: np.stack([rows[i][name] for rows in after]) for name in states[i]} for i in range(len(layers))]
    return y, {"layers": {str(i): each for i, each in enumerate(found)}} if stacked else found[0]
