"""The cases of the Block-Recurrent Transformer: every switch of its configuration at least once on either side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.block_recurrent.config import BlockRecurrentConfig
from implementations.models.config import ClassifierConfig
from suite.equivalence import transformer
from suite.equivalence.cases import LayerCase, ModelCase, normal
from suite.recipes.base import DataSpec, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

Array = np.ndarray

OPERATIONS = ()

WINDOW = 3
SMALL = BlockRecurrentConfig(
    d_model=5,
    heads=2,
    head_width=3,
    d_ff=6,
    activation="gelu",
    window=WINDOW,
    states=4,
    buckets=6,
    max_distance=7,
    truncate_gradient=False,
)


def draw_state(config: BlockRecurrentConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A state; each sequence stands elsewhere in its block, the first of them, which has had padding, before the last
    token of its own."""
    shape = (batch, config.cached, config.heads, config.head_width)
    valid = np.ones(shape[:2], bool)
    valid[0, -2] = False
    return {
        "keys": normal(rng, shape),
        "values": normal(rng, shape),
        "valid": valid,
        "position": (config.window - 1 - np.arange(batch)) % config.window,
        "states": normal(rng, (batch, config.states, config.d_model)),
    }


def adjust(config: Any, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Learned scales of both signs, away from zero, and gates that are neither open nor shut."""
    adjusted = dict(parameters)
    for path, values in parameters.items():
        if path.endswith("scale") and "heads" in path:
            signs = np.where(np.arange(values.size) % 2, -1.0, 1.0)
            adjusted[path] = signs * rng.uniform(0.5, 1.5, values.shape)
        elif path.endswith(("gate.bias", "forget.kernel", "input.kernel", "states.initial")):
            adjusted[path] = values + 0.5 * rng.standard_normal(values.shape)
    return adjusted


def unread(config: BlockRecurrentConfig, length: int, state: bool, parameters: dict[str, Array]) -> dict[str, Array]:
    """The entries of a relative bias that no pair of positions reads; initial states where a state is given."""
    found = transformer.unread(config.sliding, length, config.window, parameters)
    initial = [path for path in parameters if path.endswith("states.initial")] if state else []
    return found | {path: np.ones(parameters[path].shape, bool) for path in initial}


def case(name: str, /, **changes: Any) -> LayerCase:
    """A case of `SMALL` with changes of the config or of the case."""
    given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
    config = SMALL.replace(**changes)
    zero = partial(unread, config, given.setdefault("length", 8), given.get("state", False))
    return LayerCase(name, config, zero_gradient=zero, **given)


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""
    return [
        case("fixed gate, skip, state", state=True),
        case("fixed gate, skip, start", truncate_gradient=True, smooth=False, float32=False),
        case("fixed gate, single, own block only", state=True, configuration="single", read_previous=False),
        case("LSTM gate, dual, as in the paper", state=True, length=7, gate="lstm", configuration="dual", **PAPER),
        case("LSTM gate, single, start", gate="lstm", configuration="single", attend_start=False, float32=False),
        case("fixed gate, dual, no positions", configuration="dual", positions="none", smooth=False, activation="relu"),
        case("one token", length=1, state=True, include_self=True, float32=False),
        case("scores by sqrt(K), padded", padded=True, batch=3, qk_norm=False, attend_start=False, float32=False),
        case("padded, state", padded=True, batch=3, state=True, training=True, absolute_scale=False, float32=False),
        case("dropout", training=True, dropout=0.3, attention_dropout=0.3, float32=False),
    ]


PAPER: dict[str, Any] = {"tanh": "lstm", "z_bias": True, "read_previous": False, "include_self": True}


def model_cases() -> list[ModelCase]:
    """Models around two layers."""

    def classifier(layer: BlockRecurrentConfig, kind: Any, pooling: Any, depth: int = 2) -> ClassifierConfig:
        return ClassifierConfig(layer=layer, depth=depth, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    dropped = SMALL.replace(dropout=0.3, attention_dropout=0.2, truncate_gradient=True)
    return [
        ModelCase("classifier, tokens, mean", classifier(SMALL, "tokens", "mean"), 3, 8, padded=True, float32=False),
        ModelCase("classifier, values, last", classifier(SMALL, "values", "last"), 2, 7, padded=True, float32=False),
        ModelCase(
            "classifier, tokens, dropout",
            classifier(dropped.replace(gate="lstm", configuration="dual"), "tokens", "mean", 1),
            3,
            8,
            padded=True,
            training=True,
            compiled=True,
            float32=False,
        ),
    ]


def recipes() -> dict[str, Recipe]:
    """AdamW with warm-up and cosine, as in the project's own recipes; 5 updates per epoch, 100 in all."""
    layer = SMALL.replace(dropout=0.2, truncate_gradient=True)
    optimizer = OptimizerSpec(
        groups={"regular": Group(0.003, 0.1)}, rule={}, schedule=Schedule(warmup_steps=10, total_steps=100)
    )
    model = ClassifierConfig(layer=layer, depth=1, input_kind="tokens", input_size=6, classes=4, pooling="last")
    data = DataSpec("lra_listops", {"train": 20})
    return {"AdamW": Recipe(model=model, optimizer=optimizer, batch_size=4, epochs=20, data=data)}
