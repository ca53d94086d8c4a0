"""SPADE in NumPy float64, one query and one position after the other: the oracle of both twins.

x + W [LN(S4(h)); LN(Local(h))] + b with h = LN(x), then y + FeedForward(LN(y))          (arXiv 2212.08136, section 3)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import erf

from implementations.common.reference import ending, lengths
from implementations.mega.reference import layer as mega_layer
from implementations.ops.attention import reference as ops
from implementations.s4.reference import bank
from implementations.spade.config import SpadeConfig, SpadeStackConfig

Array = np.ndarray
Parameters = dict[str, Array]
State = dict[str, Array]
Bias = Callable[[int], Array]


def below(path: str, values: Parameters) -> Parameters:
    """The values under a path, by the rest of their paths."""
    return {name.removeprefix(f"{path}."): value for name, value in values.items() if name.startswith(f"{path}.")}


def linear(p: Parameters, x: Array) -> Array:
    """x kernel + bias."""
    y = x @ p["kernel"]
    return y + p["bias"] if "bias" in p else y


def norm(config: SpadeConfig, p: Parameters, x: Array) -> Array:
    """Layer norm."""
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config.epsilon)
    return x * p["scale"] + p["bias"]


def activate(name: str, x: Array) -> Array:
    """The pointwise function of that name."""
    if name == "relu":
        return np.maximum(x, 0)
    if name == "gelu":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    if name == "gelu_exact":
        return 0.5 * x * (1 + erf(x / np.sqrt(2)))
    return x / (1 + np.exp(-x))


def relative_bias(config: SpadeConfig, p: Parameters, relative: int) -> Float[Array, " H"]:
    """What each head adds to its logits for a relative position."""
    return p["table"][:, ops.t5_bucket(relative, config.buckets, config.max_distance, not config.causal)]


def initial_cache(config: SpadeConfig, batch: int) -> State:
    """The cache of local attention before the first token."""
    shape = (batch, config.cached, config.heads, config.head_width)
    cache = {"keys": np.zeros(shape), "values": np.zeros(shape), "valid": np.zeros(shape[:2], bool)}
    return cache | ({"position": np.zeros(batch, np.int32)} if config.attention == "chunk" else {})


def local_attention(
    config: SpadeConfig,
    p: Parameters,
    x: Float[Array, "B L D"],
    state: State | None,
    mask: Bool[Array, "B L"] | None,
    bias: Bias | None,
) -> tuple[Float[Array, "B L D"], State | None]:
    """Attention over a window or inside chunks, on a segment behind its cache."""
    if config.attention == "mega":
        given = {f"attention.{name}": value for name, value in p.items()}
        return mega_layer(config.mega, given, x, None, state, mask)
    shape = (*x.shape[:2], config.heads, config.head_width)
    q, k, v = (linear(below(name, p), x).reshape(shape) for name in ("query", "key", "value"))
    valid = np.ones(x.shape[:2], bool) if mask is None else mask
    first = np.zeros(len(x), np.int32)
    if config.causal:
        state = initial_cache(config, len(x)) if state is None else state
        first = state.get("position", first)
        k, v = np.concatenate([state["keys"], k], 1), np.concatenate([state["values"], v], 1)
        valid = np.concatenate([state["valid"], valid], 1)
        left = lengths(mask, x)
        known = {"keys": k, "values": v, "valid": valid}
        after = {name: ending(y, config.cached + left, config.cached) for name, y in known.items()}
        if config.attention == "chunk":
            after["position"] = ((first + left) % config.window).astype(np.int32)
        state = after

    def sees(b: int, i: int, j: int) -> bool:
        return ops.share_chunk(config.window, config.causal, config.neighbours, int(first[b]), i, j)

    y = ops.attention(
        q / np.sqrt(config.head_width),
        k,
        v,
        bias=partial(relative_bias, config, p) if config.owns_bias else bias,
        valid=valid,
        before=k.shape[1] - x.shape[1],
        window=config.window if config.attention == "window" else None,
        causal=config.causal,
        sees=sees if config.attention == "chunk" else None,
    )
    return linear(below("out", p), y.reshape(*y.shape[:2], -1)), state


def global_branch(
    config: SpadeConfig, p: Parameters, x: Float[Array, "B L D"], state: Array | None, mask: Array | None
) -> tuple[Float[Array, "B L D"], Array | None]:
    """S4."""
    y, state = bank(config.s4, below("s4", p), x, state, mask)
    y = y[:, :, 0]
    if config.s4_output != "none":
        y = linear(below("s4_out", p), activate("gelu_exact", y))
    if config.s4_output == "glu":
        value, gate = np.split(y, 2, -1)
        y = value / (1 + np.exp(-gate))
    return y, state


def mixed(
    config: SpadeConfig, p: Parameters, x: Array, state: State | None, mask: Array | None, bias: Bias | None
) -> tuple[Array, State | None]:
    """S4 and local attention of the bottom layer, or local attention alone."""
    genuine = mask if config.mask_padding else None
    own = below("local", p)
    if not config.global_branch:
        return local_attention(config, own, x, state, mask, bias)
    cache = None if state is None else {name: value for name, value in state.items() if name != "s4"}
    g, s4 = global_branch(config, p, x, None if state is None else state["s4"], genuine)
    y, cache = local_attention(config, own, g if config.combine == "stack" else x, cache, mask, bias)
    if config.combine != "stack":
        g = norm(config, below("norm_global", p), g)
        y = y if config.attention == "mega" else norm(config, below("norm_local", p), y)
        if config.combine == "concat":
            y = linear(below("aggregate", p), np.concatenate([g, y], -1))
        else:
            y = config.combine_weight * g + (1 - config.combine_weight) * y
    return y, None if cache is None or s4 is None else {"s4": s4, **cache}


def layer(
    config: SpadeConfig | SpadeStackConfig,
    parameters: Parameters,
    x: Float[Array, "B L D"],
    statistics: Parameters | None = None,
    state: State | None = None,
    mask: Bool[Array, "B L"] | None = None,
    bias: Bias | None = None,
) -> tuple[Float[Array, "B L D"], State | None]:
    """One layer or several, without dropout; arguments as `SpadeLayer` of the twins (there are no statistics)."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    if isinstance(config, SpadeStackConfig):
        return stack(config, p, x, state, mask)
    if mask is not None and config.mask_padding:
        x = np.where(mask[..., None], x, 0)
    alone = config.attention == "mega" and not config.global_branch
    skip = x
    if alone:
        x, state = mixed(config, p, x, state, mask, bias)
    else:
        x = norm(config, below("norm1", p), x) if config.prenorm else x
        x, state = mixed(config, p, x, state, mask, bias)
        x = skip + x
        x = x if config.prenorm else norm(config, below("norm1", p), x)
    skip = x
    x = norm(config, below("norm2", p), x) if config.prenorm else x
    x = activate(config.activation, linear(below("feed_forward.hidden", p), x))
    x = skip + linear(below("feed_forward.out", p), x)
    return (x if config.prenorm else norm(config, below("norm2", p), x)), state


def stack(
    config: SpadeStackConfig, p: Parameters, x: Array, state: State | None, mask: Array | None
) -> tuple[Array, State | None]:
    """The layers one after the other; those above may read the first one's relative bias."""
    after: State = {}
    lender = config.layers[0]
    bias = partial(relative_bias, lender, below("layers.0.local", p)) if lender.owns_bias else None
    for i, own in enumerate(config.layers):
        prefix = f"layer{i}_"
        given = None
        if state is not None:
            given = {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}
        x, found = layer(own, below(f"layers.{i}", p), x, None, given, mask, bias)
        after |= {f"{prefix}{name}": value for name, value in (found or {}).items()}
    return x, after if config.causal else None
