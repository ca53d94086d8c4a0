"""The cases of one SPADE layer: every switch of its configuration at least once on either side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.ops.attention.reference import allowed, share_chunk, t5_bucket
from implementations.spade.config import SpadeConfig
from suite.equivalence import mega
from suite.equivalence.cases import LayerCase, ModelCase, normal
from suite.recipes.base import Recipe

Array = np.ndarray

OPERATIONS = ("attention",)

SMALL = SpadeConfig(
    d_model=6,
    heads=2,
    d_ff=7,
    activation="gelu",
    window=4,
    s4_state_size=4,
    s4_dt_min=0.01,
    s4_dt_max=0.3,
    buckets=8,
    max_distance=12,
    mega_query_size=4,
    mega_value_size=5,
    mega_state_size=3,
)
POSITIONS = (1, 3)
"""Where in a chunk the sequences of a drawn state stand."""


def draw_state(config: SpadeConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A state in the middle of a chunk; the first sequence has seen fewer tokens than its cache holds."""
    state = {}
    if config.global_branch:
        state["s4"] = normal(rng, (batch, config.d_model, config.s4.kept_states, 2))
    if config.attention == "mega":
        return state | mega.draw_state(config.mega, rng, batch)
    shape = (batch, config.cached, config.heads, config.head_width)
    valid = np.ones(shape[:2], bool)
    valid[0, 0] = False
    state |= {"keys": normal(rng, shape), "values": normal(rng, shape), "valid": valid}
    position = np.resize(POSITIONS, batch).astype(np.int32) % config.window
    return state | ({"position": position} if config.attention == "chunk" else {})


def adjust(config: SpadeConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Mega's averages of all speeds; the rest is moved already."""
    if config.attention != "mega":
        return parameters
    own = {path: value for path, value in parameters.items() if path.startswith("local.")}
    return parameters | mega.adjust(config.mega, own, rng)


def unread(config: SpadeConfig, length: int, stateful: bool, parameters: dict[str, Array]) -> dict[str, Array]:
    """The entries of a relative bias that no pair of positions reads: their gradient is zero."""
    if config.attention == "mega":
        return mega.unused(config.mega, min(config.window, length))(_by_end(parameters, "local.table"))
    if "local.table" not in parameters:
        return {}
    read = set()
    for first in POSITIONS if stateful else (0,):
        for i in range(length):
            for j in range(-config.cached if stateful and config.causal else 0, length):
                if config.attention == "window":
                    seen = allowed(j - i, config.window, config.causal, True)
                else:
                    seen = share_chunk(config.window, config.causal, config.neighbours, first, i, j)
                    seen &= j <= i or not config.causal
                if seen:
                    read.add(t5_bucket(j - i, config.buckets, config.max_distance, not config.causal))
    table = np.ones(parameters["local.table"].shape, bool)
    table[:, sorted(read)] = False
    return {"local.table": table}


def _by_end(parameters: dict[str, Array], path: str) -> dict[str, Array]:
    return {name: value for name, value in parameters.items() if name == path}


def frozen(parameters: dict[str, Array]) -> dict[str, Array]:
    """The parameters of S4."""
    return {path: np.ones(value.shape, bool) for path, value in parameters.items() if path.startswith("s4.")}


def shifts(parameters: dict[str, Array]) -> dict[str, Array]:
    """Under Mega's softmax a shift of all keys changes no weight."""
    path = "local.beta"
    return {path: np.arange(2)[:, None] * np.ones_like(parameters[path]) > 0}


def case(name: str, /, **changes: Any) -> LayerCase:
    """A layer case: changes of the case itself, and of its config."""
    given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
    config = SMALL.replace(**changes)
    length = given.setdefault("length", 11)
    still = partial(unread, config, length, given.get("state", False))
    given["zero_gradient"] = (lambda p: still(p) | frozen(p)) if config.s4_frozen else still
    if config.attention == "mega" and config.mega_attention == "softmax" and not config.causal:
        given["vanishing"] = shifts
    if config.causal and not config.global_branch:
        given["reach"] = config.window - 1
    given.setdefault("float32", False)
    return LayerCase(name, config, **given)


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""
    causal: dict[str, Any] = {"causal": True, "state": True}
    above: dict[str, Any] = {"global_branch": False}
    padded: dict[str, Any] = {"padded": True, "batch": 3}
    chunk: dict[str, Any] = {"attention": "chunk", "window": 3}
    mega_chunk: dict[str, Any] = {"attention": "mega", "positions": "none"}
    return [
        case("bottom, causal window", float32=True, **causal),
        case("bottom, causal window, one token", length=1, s4_copies=2, **causal),
        case("bottom, causal chunks and those before, add", neighbours=True, combine="add", **chunk, **causal),
        case("bottom, causal chunks from the start, S4's GLU", causal=True, s4_output="glu", **chunk),
        case(
            "bottom, causal window, stack, post-norm, ReLU",
            combine="stack",
            prenorm=False,
            activation="relu",
            smooth=False,
            s4_truncated_length=9,
            causal=True,
        ),
        case("bottom, causal Mega", mega_bias="rotary", **mega_chunk, **causal),
        case("bottom, causal chunks from the start, padded", causal=True, neighbours=True, **chunk, **padded),
        case("bottom, both sides, window, padded", s4_output="linear", positions="none", **padded),
        case(
            "bottom, both sides, Mega, add, padded",
            length=12,
            combine="add",
            combine_weight=0.3,
            **mega_chunk,
            **padded,
        ),
        case("bottom, both sides, S4 sees padding", padded=True, mask_padding=False, window=20),
        case("bottom, S4 frozen", s4_frozen=True, smooth=False, positions="none"),
        case("above, causal window", prenorm=False, **above, **causal),
        case("above, both sides, chunks and those around", float32=True, neighbours=True, **chunk, **above),
        case("above, Mega", mega_attention="laplace", prenorm=False, **mega_chunk, **above),
        case("dropout", training=True, dropout=0.3, hidden_dropout=0.2),
    ]


def model_cases() -> list[ModelCase]:
    """With several layers: see `spade_stack`."""
    return []


def recipes() -> dict[str, Recipe]:
    """With several layers: see `spade_stack`."""
    return {}
