"""The Block-State layer in NumPy float64, one token after the other: the oracle of both twins."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from implementations.block_state.config import BlockStateConfig
from implementations.common import conventions
from implementations.common.reference import ending, lengths
from implementations.ops.attention import reference as ops
from implementations.s4 import reference as s4

Array = np.ndarray
Parameters = dict[str, Array]


def below(path: str, p: Parameters) -> Parameters:
    """The parameters under a path, by the rest of their paths."""
    return {name.removeprefix(f"{path}."): value for name, value in p.items() if name.startswith(f"{path}.")}


def linear(p: Parameters, name: str, x: Array) -> Array:
    """x @ kernel + bias."""
    return x @ p[f"{name}.kernel"] + p.get(f"{name}.bias", 0.0)


def norm(config: BlockStateConfig, p: Parameters, name: str, x: Array) -> Array:
    """Either norm over the last axis."""
    if config.norm == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + conventions.RMS_NORM_EPSILON) * p[f"{name}.scale"]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + conventions.LAYER_NORM_EPSILON)
    return x * p[f"{name}.scale"] + p[f"{name}.bias"]


def activate(activation: str, x: Array) -> Array:
    """The pointwise function of that name."""
    return {
        "relu": lambda: np.maximum(x, 0),
        "gelu": lambda: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "gelu_exact": lambda: 0.5 * x * (1 + erf(x / np.sqrt(2))),
        "silu": lambda: x / (1 + np.exp(-x)),
    }[activation]()


def unstructured(
    config: BlockStateConfig, p: Parameters, u: Array, state: Array | None, mask: Array | None
) -> tuple[Array, Array | None]:
    """The bank of unstructured filters, one position and one lag after the other."""
    u = u if mask is None else u * mask[..., None]
    shape = (len(u), config.filter_length - 1, config.d_model)
    past = np.zeros(shape) if state is None else state
    known = np.concatenate([past, u], 1)
    alpha = np.linspace(config.decay_min, config.decay_max, config.d_model)
    y = p["D"] * u[:, :, None]
    for lag in range(config.filter_length if config.streams else u.shape[1]):
        decay = np.exp(-alpha * lag / max(config.filter_length - 1, 1))
        h = linear(p, "filter", ops.sinusoidal(np.array([lag]), config.position_features)[0])
        h = h.reshape(config.channels, config.d_model) * decay
        for t in range(u.shape[1]):
            if t - lag >= -past.shape[1]:
                y[:, t] += h * known[:, past.shape[1] + t - lag, None]
    return y, ending(known, past.shape[1] + lengths(mask, u), past.shape[1]) if config.streams else None


def initial_state(config: BlockStateConfig, p: Parameters, batch: int) -> dict[str, Any]:
    """The state before the first token; None where a bank starts from nothing."""
    shape = (batch, config.window, config.heads, config.head_width)
    state = {"keys": np.zeros(shape), "values": np.zeros(shape), "valid": np.full(shape[:2], config.attend_start)}
    if config.variant == "MF":
        state["context"] = np.tile(p["context.initial"], (batch, 1, 1))
    else:
        state |= {"context_keys": np.zeros(shape), "context_values": np.zeros(shape)}
    return {**state, "position": np.zeros(batch, np.int32), "ssm": None}


def context_heads(config: BlockStateConfig, p: Parameters, contexts: Array) -> tuple[Array, Array]:
    """Keys and values (.., H, K) of the contexts of one time step (.., C, D), or of the S states (.., S, D) of "MF"."""
    if config.context_norm:
        contexts = norm(config, p, "norm", contexts)
    if config.variant == "MF":
        contexts = contexts + p["ids"] if config.context_ids else contexts
        contexts = contexts[..., None, :]
    if config.variant != "MH":
        lift = p["lift.kernel"][0] if config.lift else np.ones(config.heads)
        contexts = contexts * lift[:, None]
    found = []
    for name in ("key", "value"):
        width = config.head_width
        kernel, bias = p[f"{name}.kernel"], p.get(f"{name}.bias", np.zeros(config.heads * width))
        heads = [
            contexts[..., h, :] @ kernel[:, h * width : (h + 1) * width] + bias[h * width : (h + 1) * width]
            for h in range(config.heads)
        ]
        found.append(np.stack(heads, -2))
    k, v = found
    return (ops.normalise(k) if config.qk_norm else k), v


def attend(q: Array, k: Array, v: Array, bias: Array | float = 0.0) -> Array:
    """One query (H, K) on keys and values (T, H, K), and what is added to its logits (T, H); zero without keys."""
    if not len(k):
        return np.zeros(q.shape)
    logits = np.einsum("hk,thk->th", q, k) + bias
    weights = np.exp(logits - logits.max(0))
    return np.einsum("th,thk->hk", weights / weights.sum(0), v)


def layer(
    config: BlockStateConfig,
    parameters: Parameters,
    x: Float[Array, "B L D"],
    statistics: Parameters | None = None,
    state: dict[str, Array] | None = None,
    mask: Array | None = None,
) -> tuple[Float[Array, "B L D"], dict[str, Array] | None]:
    """The layer without dropout; arguments as `BlockStateLayer` of the twins (it has no statistics)."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    known = initial_state(config, p, len(x)) if state is None else state
    genuine = np.ones(x.shape[:2], bool) if mask is None else mask
    x = np.where(genuine[..., None], x, 0.0)
    skip, x = x, norm(config, p, "norm1", x)
    contexts: Array
    ssm: Any
    if config.kernel == "unstructured":
        contexts, ssm = unstructured(config, below("ssm", p), x, known["ssm"], mask)
    else:
        contexts, ssm = s4.bank(config.bank, below("ssm", p), x, known["ssm"], mask)
    rows = []
    for b, end in enumerate(lengths(mask, x)):
        caches = {name: value[b] for name, value in known.items() if name != "ssm"}
        heads, after = _row(config, p, x[b], contexts[b], genuine[b], caches)
        if end < x.shape[1]:
            after = _row(config, p, x[b, :end], contexts[b, :end], genuine[b, :end], caches)[1] if end else caches
        rows.append((heads, after))
    x = skip + linear(p, "out", np.stack([heads for heads, _ in rows]))
    own = below("feed_forward", p)
    normed = norm(config, p, "norm2", x)
    hidden = linear(own, "hidden", normed)
    if config.gated:
        hidden = activate(config.activation, linear(own, "gate", normed)) * hidden
    else:
        hidden = activate(config.activation, hidden)
    y = x + linear(own, "out", hidden)
    if not config.streams:
        return y, None
    states: dict[str, Any] = {name: np.stack([row[name] for _, row in rows]) for name in rows[0][1]}
    return y, {**states, "ssm": ssm}


def _row(
    config: BlockStateConfig, p: Parameters, x: Array, contexts: Array, genuine: Array, state: dict[str, Array]
) -> tuple[Array, dict[str, Array]]:
    """Both kinds of heads (L, 2 H K) of one sequence, token by token, and its state after the last."""
    own, other, W = below("attention", p), below("context", p), config.window
    keys, values, valid = (list(state[name]) for name in ("keys", "values", "valid"))
    last, seen = state.get("context"), []
    if config.variant != "MF":
        seen = list(zip(state["context_keys"], state["context_values"], strict=True))
    scale, scale_other = (np.abs(q["scale"]) if config.qk_norm else np.ones(config.heads) for q in (own, other))
    slot, y = int(state["position"]), []
    for t in range(len(x)):
        q, k, v = (linear(own, name, x[t]).reshape(config.heads, -1) for name in ("query", "key", "value"))
        asked = linear(other, "query", x[t]).reshape(config.heads, -1)
        if config.qk_norm:
            q, k, asked = (ops.normalise(z) for z in (q, k, asked))
        else:
            q, asked = q / np.sqrt(config.head_width), asked / np.sqrt(config.head_width)
        keys, values, valid = [*keys, k], [*values, v], [*valid, genuine[t]]
        reach = (W - 1 if config.include_self else W) if config.attend_previous_window else slot
        back = [r for r in range(0 if config.include_self else 1, reach + 1) if valid[-1 - r]]
        bias: Array | float = 0.0
        if config.positions == "t5" and back:
            buckets = [ops.t5_bucket(-r, config.buckets, config.max_distance, False) for r in back]
            bias = own["bias.table"][:, buckets].T * scale
        k, v = _stack([keys[-1 - r] for r in back], q), _stack([values[-1 - r] for r in back], q)
        heads = attend(q * scale[:, None], k, v, bias)
        if config.variant == "MF":
            assert last is not None
            found = context_heads(config, other, last)
        else:
            k, v = context_heads(config, other, contexts[t])
            seen.append((k, v))
            back = [r for r in range(slot + 1) if valid[-1 - r]]
            found = (_stack([seen[-1 - r][0] for r in back], q), _stack([seen[-1 - r][1] for r in back], q))
        read = attend(asked * scale_other[:, None], *found)
        y.append(np.concatenate([heads.ravel(), read.ravel()]))
        slot = (slot + 1) % W
        if slot == 0:
            last = contexts[t]
    after: dict[str, Any] = {
        "keys": _stack(keys[-W:], q),
        "values": _stack(values[-W:], q),
        "valid": np.array(valid[-W:]),
    }
    if config.variant == "MF":
        after["context"] = last
    else:
        after["context_keys"] = np.stack([k for k, _ in seen[-W:]])
        after["context_values"] = np.stack([v for _, v in seen[-W:]])
    return np.stack(y), {**after, "position": np.asarray(slot, np.int32)}


def _stack(arrays: list[Array], like: Array) -> Array:
    return np.stack(arrays) if arrays else np.zeros((0, *like.shape))
