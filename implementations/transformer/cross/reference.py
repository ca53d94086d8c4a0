"""Cross-attention in NumPy float64: the oracle of both twins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from implementations.ops.attention import reference as ops
from implementations.transformer.config import TransformerConfig
from implementations.transformer.reference import _activate, _linear, _norm

Array = np.ndarray


def layer(
    config: TransformerConfig,
    parameters: dict[str, Array],
    x: Float[Array, "B L D"],
    memory: Float[Array, "B T D"],
    valid: Bool[Array, "B T"] | None = None,
) -> Float[Array, "B L D"]:
    """The layer without dropout, from the encoder's outputs; one query after the other."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    valid = np.ones(memory.shape[:2], bool) if valid is None or not config.mask_padding else valid

    def attend(x: Array) -> Array:
        width = (config.heads, config.head_width)
        q = _linear(p, "attention.query", x).reshape(*x.shape[:2], *width)
        k, v = (_linear(p, f"attention.{name}", memory).reshape(*memory.shape[:2], *width) for name in ("key", "value"))
        if config.qk_norm:
            q, k = ops.normalise(q) * np.abs(p["attention.scale"])[:, None], ops.normalise(k)
        else:
            q = q / np.sqrt(config.head_width)
        y = np.zeros_like(q)
        for b, i, h in np.ndindex(*q.shape[:3]):
            keys, values = k[b, valid[b], h], v[b, valid[b], h]
            weights = np.exp(keys @ q[b, i, h])
            y[b, i, h] = weights @ values / weights.sum()
        return _linear(p, "attention.out", y.reshape(*x.shape[:2], -1))

    def feed_forward(x: Array) -> Array:
        hidden = _linear(p, "feed_forward.hidden", x)
        gate = _linear(p, "feed_forward.gate", x) if config.gated else hidden
        return _linear(p, "feed_forward.out", _activate(config.activation, gate) * (hidden if config.gated else 1.0))

    for name, part in (("norm1", attend), ("norm2", feed_forward))[: 1 if config.d_ff == 0 else 2]:
        if config.prenorm:
            x = x + part(_norm(config, p, name, x))
        else:
            x = _norm(config, p, name, x + part(x))
    return x
