"""The cases of the Block-State layer: every switch of its configuration at least once on either side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.block_state.config import BlockStateConfig
from implementations.models.config import ClassifierConfig
from implementations.transformer.reference import bias_index
from suite.equivalence.cases import LayerCase, ModelCase, normal
from suite.recipes.base import DataSpec, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

Array = np.ndarray

OPERATIONS = ("attention", "convolution")

WINDOW = 4
SMALL = BlockStateConfig(
    d_model=5,
    heads=2,
    head_width=3,
    d_ff=6,
    window=WINDOW,
    context_states=3,
    kernel="s4d",
    state_size=4,
    dt_min=0.05,
    dt_max=0.5,
    filter_length=16,
    position_features=6,
    buckets=8,
    max_distance=12,
    activation="gelu",
)


def draw_state(config: BlockStateConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A state in the middle of a window, at another position in each sequence."""
    shape = (batch, config.window, config.heads, config.head_width)
    valid = np.ones(shape[:2], bool)
    valid[0, 0] = config.attend_start
    state = {"keys": normal(rng, shape), "values": normal(rng, shape), "valid": valid}
    if config.variant == "MF":
        state["context"] = normal(rng, (batch, config.context_states, config.d_model))
    else:
        state |= {"context_keys": normal(rng, shape), "context_values": normal(rng, shape)}
    if config.kernel == "unstructured":
        state["ssm"] = normal(rng, (batch, config.filter_length - 1, config.d_model))
    else:
        state["ssm"] = normal(rng, (batch, config.d_model, config.state_size // 2, 2))
    state["position"] = ((config.window - 1 + 2 * np.arange(batch)) % config.window).astype(np.int32)
    return state


def adjust(config: BlockStateConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Learned scales and lifts of both signs, away from zero."""
    moved = dict(parameters)
    for path, values in parameters.items():
        if path.endswith(("attention.scale", "context.scale", "lift.kernel")):
            signs = np.where(np.arange(values.size) % 2, -1.0, 1.0).reshape(values.shape)
            moved[path] = signs * rng.uniform(0.5, 1.5, values.shape)
    return moved


def unread(config: BlockStateConfig, length: int, state: bool, parameters: dict[str, Array]) -> dict[str, Array]:
    """Entries without a gradient: a relative bias that no pair of positions reads, and the first window's context where
    another one is given."""
    first = 0 if config.include_self else 1
    reach = config.window - 1 + first if config.attend_previous_window else config.window - 1
    if not (state or config.attend_start):
        reach = min(reach, length - 1)
    read = {bias_index(config.sliding, -r) for r in range(first, reach + 1)}
    found = {}
    for path, values in parameters.items():
        if path.endswith("bias.table"):
            found[path] = np.ones(values.shape, bool)
            found[path][:, sorted(read)] = False
        elif path.endswith("context.initial"):
            found[path] = np.full(values.shape, state)
    return found


def case(name: str, /, **changes: Any) -> LayerCase:
    """A layer case: changes of the case itself, and of its config."""
    given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
    config = SMALL.replace(**changes)
    length = given.setdefault("length", 11)
    return LayerCase(name, config, zero_gradient=partial(unread, config, length, bool(given.get("state"))), **given)


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""
    other: dict[str, Any] = {"norm": "layer", "include_self": True, "qk_norm": False, "positions": "none"}
    alone: dict[str, Any] = {"attend_previous_window": False, "attend_start": False}
    return [
        case("SH, S4", kernel="s4", float32=False),
        case("SH, own window, other switches", state=True, biases=True, gated=True, **other, **alone, float32=False),
        case("SH, one token", length=1, state=True, **alone, include_self=True, lift=False, float32=False),
        case("SH, unstructured", kernel="unstructured", state=True, methods=("direct", "fft"), float32=False),
        case("MH, state", variant="MH", state=True, context_norm=False, float32=False),
        case("MH, padded, own window", variant="MH", padded=True, batch=3, **alone, float32=False),
        case("MF, state", variant="MF", state=True),
        case("MF, shorter than W", variant="MF", length=3, state=True, activation="silu", float32=False),
        case("MF, unstructured, padded", variant="MF", kernel="unstructured", padded=True, batch=3, float32=False),
        case(
            "MF, unstructured without end",
            variant="MF",
            kernel="unstructured",
            beyond="extend",
            filter_length=6,
            context_norm=False,
            context_ids=False,
            lift=False,
            activation="relu",
            smooth=False,
            float32=False,
        ),
        case("dropout", training=True, dropout=0.4, float32=False),
    ]


def model_cases() -> list[ModelCase]:
    """Models around the layer."""

    def classifier(kind: Any, pooling: Any, depth: int, **changes: Any) -> ClassifierConfig:
        layer = SMALL.replace(**changes)
        return ClassifierConfig(layer=layer, depth=depth, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    unstructured = classifier("values", "mean", 1, variant="MH", kernel="unstructured")
    dropped = classifier("tokens", "last", 2, variant="MF", dropout=0.3)
    padded: dict[str, Any] = {"padded": True, "float32": False}
    return [
        ModelCase("classifier, values, MH, unstructured", unstructured, 3, 13, **padded),
        ModelCase("classifier, tokens, MF, dropout", dropped, 3, 13, training=True, compiled=True, **padded),
    ]


def recipes() -> dict[str, Recipe]:
    """AdamW with warm-up and cosine, S4 parameters at a rate of their own; 5 updates per epoch, 100 in all."""
    optimizer = OptimizerSpec(
        groups={"regular": Group(0.003, 0.1), "ssm": Group(0.001)},
        rule=dict.fromkeys(("log_step", "A_real", "A_imag", "B", "P"), "ssm"),
        schedule=Schedule(warmup_steps=10, total_steps=100),
    )
    layer = SMALL.replace(dropout=0.2)
    model = ClassifierConfig(layer=layer, depth=1, input_kind="tokens", input_size=6, classes=4)
    data = DataSpec("lra_listops", {"train": 20})
    return {"AdamW": Recipe(model=model, optimizer=optimizer, batch_size=4, epochs=20, data=data)}
