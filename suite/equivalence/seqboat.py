"""The cases of SeqBoat: every switch of its configuration at least once on either side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from implementations.models.config import ClassifierConfig
from implementations.seqboat.config import SeqBoatConfig
from suite.equivalence.cases import LayerCase, ModelCase, normal
from suite.recipes.base import Recipe

Array = np.ndarray

OPERATIONS = ("routing",)

SMALL = SeqBoatConfig(d_model=5, query_size=4, value_size=6, state_size=4, window=3, max_positions=4, capacities=1)
PAST = 4


def draw_state(config: SeqBoatConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A memory that is full in the first row and not in the others; or one of a few positions of a whole sequence."""
    kept = config.window or PAST
    if config.window is None:
        active = rng.random((batch, kept)) < 0.7
    else:
        active = np.arange(kept) >= np.arange(batch)[:, None] % kept
    state = {
        "keys": normal(rng, (batch, kept, config.query_size)) * active[..., None],
        "values": normal(rng, (batch, kept, config.value_size)) * active[..., None],
        "active": active,
    }
    if config.window is not None:
        age = np.cumsum(rng.integers(1, 3, (batch, kept)), 1)[:, ::-1]
        state["age"] = np.where(active, age, 0).astype(np.int32)
    shape = (batch, config.d_model, config.state_size // 2, 2)
    return state | {"mixer": normal(rng, config.ema.state_shape(batch) if config.mixer == "ema" else shape)}


def adjust(config: SeqBoatConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Averages of all speeds, scores of a size that tells the functions apart, and a configurator that is certain.

    Under relu2 the bias is positive, so that scores are so at every distance.
    """
    moved = {}
    for path, values in parameters.items():
        moved[path] = values
        if path.endswith((".delta", ".alpha")):
            moved[path] = rng.uniform(-3.0, 1.0, values.shape)
        elif path.endswith(("kernel", "table")) or path == "gamma":
            moved[path] = values + 0.5 * rng.standard_normal(values.shape)
        if path == "table" and config.attention == "relu2":
            moved[path] = np.abs(moved[path])
        if path == "hx_proj.kernel" and not config.always_act:
            moved[path] = moved[path] * np.where(np.arange(values.shape[1]) < 2, 2.0, 1.0)
    return moved


def unused(config: SeqBoatConfig) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """Distances that do not occur have no gradient: to later keys where causal, outside of the memory where local."""

    def masks(parameters: dict[str, Array]) -> dict[str, Array]:
        distance = np.arange(2 * config.distances - 1) - (config.distances - 1)
        never = (distance > 0) & (not config.bidirectional)
        if config.bias == "local":
            distance = distance - config.block
            never = (np.abs(distance) > config.block) | ((distance > 0) & (not config.bidirectional))
        return {path: never for path in parameters if path == "table"}

    return masks


def shifts(parameters: dict[str, Array]) -> dict[str, Array]:
    """Under softmax a shift of all keys changes no weight (where causal, it changes the state)."""
    return {"beta": np.arange(2)[:, None] * np.ones_like(parameters["beta"]) > 0}


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""

    def case(name: str, /, **changes: Any) -> LayerCase:
        given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
        config = SMALL.replace(**changes)
        given.setdefault("length", 11)
        given.setdefault("float32", False)
        given["zero_gradient"] = unused(config)
        if config.attention == "softmax" and config.bidirectional and config.bias != "rotary":
            given["vanishing"] = shifts
        return LayerCase(name, config, **given)

    causal: dict[str, Any] = {"bidirectional": False, "state": True, "length": 9}
    drop: dict[str, Any] = {"training": True, "dropout": 0.3, "hidden_dropout": 0.2, "attention_dropout": 0.2}
    relu2: dict[str, Any] = {"attention": "relu2", "smooth": False, "max_positions": 2}
    everything: dict[str, Any] = {"window": None, "bias": "rotary"}
    leak: dict[str, Any] = {"attention": "laplace", "masked_keys": "leak", "mask_padding": False, "padded": True}
    return [
        case("both directions, softmax", capacities=2, float32=True),
        case("both directions, softmax, local bias, padded", bias="local", norm="scale", padded=True, batch=3),
        case("both directions, laplace, S4D", attention="laplace", bias="rotary", mixer="s4d", norm="rms"),
        case("both directions, laplace, all active tokens", attention="laplace", float32=True, **everything),
        case("both directions, every token", always_act=True, padded=True, prenorm=True),
        case(
            "both directions, relu2, batch norm, padded",
            norm="batch",
            prenorm=True,
            padded=True,
            training=True,
            capacities=2,
            **relu2,
        ),
        case("both directions, relu2, all active tokens", window=None, padded=True, **relu2),
        case("both directions, masked keys leak", density_threshold=1.0, **leak),
        case("both directions, masked keys leak, nothing compressed", density_threshold=0.3, bias="local", **leak),
        case("one direction, masked keys leak", bidirectional=False, batch=3, length=15, **leak),
        case("causal, softmax", capacities=3, batch=3, **causal),
        case("causal, laplace, S4D, local bias", attention="laplace", bias="local", mixer="s4d", **causal),
        case("causal, softmax, shorter than the memory", window=16, bias="rotary", act_bias=0.25, **causal),
        case("causal, softmax, all active tokens", prenorm=True, **everything, **{**causal, "length": 6}),
        case("causal, relu2, all active tokens", window=None, **relu2, **{**causal, "length": 6}),
        case("causal, every token", always_act=True, attention="laplace", truncation=30, **causal),
        case("causal, padded", padded=True, training=True, float32=True, batch=3, **causal),
        case("dropout of elements", capacities=2, **drop),
        case("dropout of elements, all active tokens", capacities=2, bidirectional=False, window=None, **drop),
        case("dropout of features", feature_dropout=True, **{**drop, "attention_dropout": 0.0}),
    ]


def model_cases() -> list[ModelCase]:
    """Models around two layers."""
    normed = SMALL.replace(norm="batch", prenorm=True, attention="laplace")
    dropped = SMALL.replace(bidirectional=False, dropout=0.2, capacities=2)

    def classifier(layer: SeqBoatConfig, kind: Any, pooling: Any) -> ClassifierConfig:
        return ClassifierConfig(layer=layer, depth=2, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    common: dict[str, Any] = {"padded": True, "float32": False}
    return [
        ModelCase("classifier, tokens, mean", classifier(normed, "tokens", "mean"), 3, 11, training=True, **common),
        ModelCase("classifier, values, last", classifier(SMALL, "values", "last"), 3, 11, **common),
        ModelCase(
            "classifier, tokens, last, dropout",
            classifier(dropped, "tokens", "last").replace(depth=1),
            3,
            11,
            training=True,
            compiled=True,
            **common,
        ),
    ]


def recipes() -> dict[str, Recipe]:
    """Two published recipes, small: 5 updates per epoch, 100 in all; ListOps decays in the last ten."""
    from suite.recipes.seqboat import RECIPES

    found = {}
    for task in ("lra.listops", "lra.pathx"):
        paper = RECIPES[task]("paper")
        model: Any = paper.model
        widths = {"d_model": 6, "query_size": 4, "value_size": 6, "state_size": 3, "window": 3, "max_positions": 8}
        layer = model.layer.replace(**widths, dropout=0.2, capacities=2)
        found[task] = paper.rescaled(
            model=model.replace(layer=layer, depth=1, input_size=min(model.input_size, 6)),
            data=paper.data.replace(settings={**paper.data.settings, "train": 20}),
            batch_size=4,
            evaluation_batch_size=4,
            epochs=20,
        )
    return found
