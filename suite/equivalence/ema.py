"""The cases of MH-EMA: every switch of its configuration at least once on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

from implementations.ema.config import EMAConfig
from implementations.models.config import ClassifierConfig, DualEncoderConfig
from suite.equivalence.cases import LayerCase, ModelCase
from suite.equivalence.updates import short
from suite.recipes.base import Recipe

Array = np.ndarray

OPERATIONS = ("convolution",)

SMALL = EMAConfig(d_model=5, state_size=3)


def state_shape(config: EMAConfig, batch: int) -> tuple[int, ...]:
    """The averages, or with truncation the last inputs."""
    return config.state_shape(batch)


def adjust(config: EMAConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Averages of all speeds: from two positions to some fifty."""
    return {
        path: rng.uniform(-3.0, 1.0, values.shape) if path.endswith(("delta", "alpha")) else values
        for path, values in parameters.items()
    }


def layer_cases() -> list[LayerCase]:
    """Layers on vectors; exact zeros above the diagonal of the Jacobian need the direct convolution."""

    def case(name: str, /, **changes: Any) -> LayerCase:
        given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
        return LayerCase(name, SMALL.replace(**changes), **given)

    return [
        case("causal", state=True),
        case("causal, silu, longer than direct", length=67, convolution="auto", activation="silu"),
        case("causal, one token", length=1, state=True, activation="silu"),
        case("causal, without residual", state=True, residual=False, float32=False),
        case("causal, padded", state=True, padded=True, training=True, float32=False),
        case("causal, by FFT", convolution="fft", initialization="cut_normal", state=True, training=True),
        case("causal, truncated", truncation=7, float32=False),
        case("causal, truncated, from a state", truncation=25, state=True),
        case("causal, truncated, by FFT, from a state", truncation=4, convolution="fft", state=True, training=True),
        case("both directions", bidirectional=True),
        case("both directions, truncated, padded", bidirectional=True, truncation=7, padded=True, batch=3),
        case("both directions, by FFT, silu", bidirectional=True, convolution="fft", activation="silu", padded=True),
        case("both directions, two tokens", bidirectional=True, length=2, truncation=0, float32=False),
    ]


def model_cases() -> list[ModelCase]:
    """Models around two layers."""
    both = SMALL.replace(bidirectional=True, activation="silu")

    def classifier(layer: EMAConfig, kind: Any, pooling: Any) -> ClassifierConfig:
        return ClassifierConfig(layer=layer, depth=2, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    pairs = DualEncoderConfig(layer=both, depth=2, input_kind="tokens", input_size=5, classes=3)
    return [
        ModelCase("classifier, tokens, mean", classifier(both, "tokens", "mean"), 3, padded=True, training=True),
        ModelCase("classifier, values, last", classifier(SMALL, "values", "last"), 3, padded=True, compiled=True),
        ModelCase("dual encoder, tokens", pairs, 3, padded=True, training=True, float32=False),
    ]


def recipes() -> dict[str, Recipe]:
    """This project's recipe of ListOps, small."""
    from suite.recipes.ema import lra_listops

    return {"lra.listops": short(lra_listops(), d_model=6, state_size=3)}
