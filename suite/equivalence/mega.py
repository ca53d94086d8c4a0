"""The cases of Mega: every switch of its configuration at least once on either side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from implementations.mega.config import MegaConfig
from implementations.models.config import ClassifierConfig
from suite.equivalence.cases import LayerCase, ModelCase, normal
from suite.equivalence.updates import short
from suite.recipes.base import Recipe

Array = np.ndarray

OPERATIONS = ("convolution",)

SMALL = MegaConfig(d_model=5, query_size=4, value_size=6, feedforward_size=7, state_size=3, max_positions=21)
POSITION, PAST = 3, 4


def draw_state(config: MegaConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A state in the middle of a chunk, or after a few positions of a document; each sequence at another."""
    kept = config.chunk_size or PAST
    position = np.maximum((POSITION if config.chunk_size else PAST) - np.arange(batch), 0)[:, None]
    filled = np.arange(kept) < position if config.chunk_size else np.arange(kept) >= kept - position
    genuine = (rng.random((batch, kept)) < 0.7) & filled
    genuine[0] = filled[0]
    return {
        "ema": normal(rng, config.ema.state_shape(batch)),
        "keys": normal(rng, (batch, kept, config.query_size)) * filled[..., None],
        "values": normal(rng, (batch, kept, config.value_size)) * filled[..., None],
        "genuine": genuine,
        "position": position[:, 0].astype(np.int32),
    }


def adjust(config: MegaConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Averages of all speeds, and scores of a size that tells the attention functions apart."""
    moved = {}
    for path, values in parameters.items():
        moved[path] = values
        if path.endswith((".delta", ".alpha")):
            moved[path] = rng.uniform(-3.0, 1.0, values.shape)
        elif path.endswith((".kernel", ".gamma", ".table", ".left", ".right")):
            moved[path] = values + 0.5 * rng.standard_normal(values.shape)
    return moved


def unused(config: MegaConfig, longest: int) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """Distances that do not occur have no gradient: those to later keys, and those of `longest` and more."""

    def masks(parameters: dict[str, Array]) -> dict[str, Array]:
        distance = np.arange(2 * config.positions - 1) - (config.positions - 1)
        never = (np.abs(distance) >= longest) | ((distance > 0) & config.causal)
        return {path: never for path in parameters if path.endswith("table")}

    return masks


def shifts(parameters: dict[str, Array]) -> dict[str, Array]:
    """Under softmax a shift of all keys changes no weight (where causal, it changes the state)."""
    path = "attention.beta"
    return {path: np.arange(2)[:, None] * np.ones_like(parameters[path]) > 0}


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""

    def case(name: str, /, **changes: Any) -> LayerCase:
        given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
        config = SMALL.replace(**changes)
        given.setdefault("length", 11)
        past = PAST if given.get("state") and config.chunk_size is None else 0
        chunk = config.chunk_size or given["length"] + past
        if config.bias == "simple":
            given["zero_gradient"] = unused(config, min(given["length"] + past, chunk))
        if config.attention == "softmax" and config.bidirectional:
            given["vanishing"] = shifts
        return LayerCase(name, config, **given)

    causal: dict[str, Any] = {"bidirectional": False}
    drop: dict[str, Any] = {"training": True, "float32": False}
    return [
        case("both directions, softmax"),
        case("both directions, chunks, padded", chunk_size=4, padded=True, batch=3, bias="rotary", float32=False),
        case("both directions, laplace, batch norm", attention="laplace", norm="batch", prenorm=True, training=True),
        case(
            "both directions, laplace, chunks, batch norm, padded",
            attention="laplace",
            norm="batch",
            prenorm=True,
            training=True,
            padded=True,
            chunk_size=4,
            float32=False,
        ),
        case(
            "both directions, laplace, padding in the batch norm",
            attention="laplace",
            bias="rotary",
            norm="batch",
            prenorm=True,
            padded=True,
            training=True,
            mask_padding=False,
            float32=False,
        ),
        case(
            "both directions, relu2, scale norm, padded",
            attention="relu2",
            bias="rotary",
            norm="scale",
            padded=True,
            smooth=False,
            float32=False,
        ),
        case("both directions, shorter than a chunk", chunk_size=16, norm="rms", feedforward_size=0, float32=False),
        case("causal, softmax, chunks of rotary", chunk_size=4, state=True, bias="rotary", prenorm=True, **causal),
        case(
            "causal, laplace, shorter than a chunk",
            chunk_size=13,
            length=9,
            state=True,
            attention="laplace",
            bias="rotary",
            float32=False,
            **causal,
        ),
        case("causal, relu2, chunks", chunk_size=5, attention="relu2", smooth=False, **drop, state=True, **causal),
        case(
            "causal, laplace, whole sequences of rotary",
            length=5,
            state=True,
            attention="laplace",
            bias="rotary",
            float32=False,
            **causal,
        ),
        case("causal, truncated average", length=7, chunk_size=4, truncation=6, state=True, float32=False, **causal),
        case("causal, padded", chunk_size=4, state=True, padded=True, **drop, **causal),
        case("dropout of features", dropout=0.3, hidden_dropout=0.2, feature_dropout=True, chunk_size=4, **drop),
    ]


def model_cases() -> list[ModelCase]:
    """Models around one layer."""
    chunked = SMALL.replace(chunk_size=4, norm="batch", prenorm=True, attention="laplace")

    def classifier(layer: MegaConfig, kind: Any, pooling: Any) -> ClassifierConfig:
        return ClassifierConfig(layer=layer, depth=1, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    rates = {"dropout": 0.2, "attention_dropout": 0.2, "hidden_dropout": 0.2}
    dropped = SMALL.replace(bidirectional=False, max_positions=30, **rates)
    return [
        ModelCase("classifier, values, mean", classifier(chunked, "values", "mean"), 3, 11, padded=True, float32=False),
        ModelCase(
            "classifier, tokens, last, dropout of elements",
            classifier(dropped, "tokens", "last"),
            3,
            11,
            padded=True,
            training=True,
            compiled=True,
            float32=False,
        ),
    ]


def recipes() -> dict[str, Recipe]:
    """The published recipe of ListOps, small: a linear decay, and gradients clipped."""
    from suite.recipes.mega import lra_listops

    widths = {name: getattr(SMALL, name) for name in ("d_model", "query_size", "value_size", "feedforward_size")}
    return {"lra.listops": short(lra_listops(), **widths, state_size=3, max_positions=12)}
