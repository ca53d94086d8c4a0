"""The Transformer layer in NumPy float64, one query after the other: the oracle of both twins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from implementations.common import conventions
from implementations.common.reference import ending, lengths
from implementations.ops.attention import reference as ops
from implementations.transformer.config import TransformerConfig

Array = np.ndarray
Parameters = dict[str, Array]


def _linear(p: Parameters, name: str, x: Array) -> Array:
    y = x @ p[f"{name}.kernel"]
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def _norm(config: TransformerConfig, p: Parameters, name: str, x: Array) -> Array:
    if config.norm == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + conventions.RMS_NORM_EPSILON) * p[f"{name}.scale"]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + conventions.LAYER_NORM_EPSILON)
    return x * p[f"{name}.scale"] + p[f"{name}.bias"]


def _activate(activation: str, x: Array) -> Array:
    if activation == "relu":
        return np.maximum(x, 0)
    if activation == "gelu":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    if activation == "gelu_exact":
        return 0.5 * x * (1 + erf(x / np.sqrt(2)))
    return x / (1 + np.exp(-x))


def bias_index(config: TransformerConfig, relative: int) -> int:
    """The entry of the table of a relative bias that a relative position reads."""
    if config.positions == "t5":
        return ops.t5_bucket(relative, config.buckets, config.max_distance, not config.causal)
    return ops.simple_index(relative, config.max_distance)


def initial_state(config: TransformerConfig, batch: int) -> dict[str, Array]:
    """The cache before the first token."""
    shape = (batch, config.window or 0, config.heads, config.head_width)
    return {"keys": np.zeros(shape), "values": np.zeros(shape), "valid": np.full(shape[:2], config.attend_start)}


def attention(
    config: TransformerConfig, p: Parameters, x: Array, state: dict[str, Array] | None, mask: Array | None
) -> tuple[Array, dict[str, Array] | None]:
    """Multi-head attention on a segment behind its cache."""
    shape = (*x.shape[:2], config.heads, config.head_width)
    q, k, v = (_linear(p, name, x).reshape(shape) for name in ("query", "key", "value"))
    scale = np.ones(config.heads)
    if config.qk_norm:
        scale = np.abs(p["scale"])
        q, k = ops.normalise(q) * scale[:, None], ops.normalise(k)
    else:
        q = q / np.sqrt(config.head_width)
    valid = np.ones(x.shape[:2], bool) if mask is None else mask
    if config.causal:
        state = initial_state(config, len(x)) if state is None else state
        k, v = np.concatenate([state["keys"], k], 1), np.concatenate([state["values"], v], 1)
        valid = np.concatenate([state["valid"], valid], 1)
        kept = k.shape[1] if config.window is None else config.window
        ends = k.shape[1] - x.shape[1] + lengths(mask, x)
        state = {name: ending(y, ends, kept) for name, y in (("keys", k), ("values", v), ("valid", valid))}
    before = k.shape[1] - x.shape[1]
    if config.positions == "rotary":
        q, k = ops.rotary(q, before), ops.rotary(k)
    y = ops.attention(
        q,
        k,
        v,
        bias=(lambda r: p["bias.table"][:, bias_index(config, r)] * scale) if config.relative_bias else None,
        valid=valid,
        before=before,
        window=config.window,
        causal=config.causal,
        include_self=config.include_self,
    )
    return _linear(p, "out", y.reshape(*y.shape[:2], -1)), state


def layer(
    config: TransformerConfig,
    parameters: Parameters,
    x: Float[Array, "B L D"],
    statistics: dict[str, Array] | None = None,
    state: dict[str, Array] | None = None,
    mask: Array | None = None,
) -> tuple[Float[Array, "B L D"], dict[str, Array] | None]:
    """The layer without dropout; arguments as `TransformerLayer` of the twins (it has no statistics)."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    own = {name.removeprefix("attention."): value for name, value in p.items() if name.startswith("attention.")}
    mask = mask if config.mask_padding else None
    x = x if mask is None else np.where(mask[..., None], x, 0.0)

    def attend(x: Array) -> Array:
        nonlocal state
        y, state = attention(config, own, x, state, mask)
        return y

    def feed_forward(x: Array) -> Array:
        hidden = _linear(p, "feed_forward.hidden", x)
        if config.gated:
            return _linear(
                p, "feed_forward.out", _activate(config.activation, _linear(p, "feed_forward.gate", x)) * hidden
            )
        return _linear(p, "feed_forward.out", _activate(config.activation, hidden))

    for name, part in (("norm1", attend), ("norm2", feed_forward))[: 1 if config.d_ff == 0 else 2]:
        if config.prenorm:
            x = x + part(_norm(config, p, name, x))
        else:
            x = _norm(config, p, name, x + part(x))
    return x, state
