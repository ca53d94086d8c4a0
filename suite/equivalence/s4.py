"""The cases of S4: every switch of its configuration at least once on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

from implementations.models.config import ClassifierConfig
from implementations.s4.config import METHODS, BankConfig, S4Config
from suite.equivalence.cases import LayerCase, ModelCase
from suite.recipes.base import Recipe

Array = np.ndarray

OPERATIONS = ("convolution",)

FORMS = METHODS[1:]
"""The ways of evaluating by name, without "auto"."""

SMALL = S4Config(d_model=4, state_size=6, dt_min=0.01, dt_max=0.3)


def state_shape(config: BankConfig, batch: int) -> tuple[int, ...]:
    """The state is (B, D, M, 2)."""
    return batch, config.d_model, config.kept_states, 2


def adjust(config: BankConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Initial values moved at random keep the eigenvalues in the left half plane."""
    return parameters


def case(base: BankConfig, name: str, /, **changes: Any) -> LayerCase:
    """A layer case: changes of the case itself, and of its config."""
    given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
    return LayerCase(name, base.replace(**changes), **given)


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""
    dropped: dict[str, Any] = {"training": True, "dropout": 0.4, "float32": False}
    return [
        case(SMALL, "causal", state=True, methods=FORMS),
        case(SMALL, "causal, longer than the direct form", length=67, output="none", float32=False),
        case(SMALL, "causal, one token", length=1, state=True, n_ssm=2, float32=False),
        case(SMALL, "causal, channels and copies", state=True, length=9, channels=2, n_ssm=2, prenorm=False),
        case(
            SMALL,
            "causal, C~ as the parameter",
            state=True,
            length=12,
            truncated_length=5,
            output="linear",
            methods=FORMS,
            float32=False,
        ),
        case(
            SMALL,
            "causal, softplus, untied steps, another rate",
            length=8,
            dt_tie=False,
            dt_transform="softplus",
            real_transform="softplus",
            B_clip=None,
            options={"step_rescale": 2.0},
            float32=False,
        ),
        case(
            SMALL,
            "both directions, batch norm, padded",
            bidirectional=True,
            norm="batch",
            training=True,
            padded=True,
            batch=3,
            length=16,
        ),
        case(
            SMALL,
            "both directions, current position in both",
            bidirectional=True,
            reverse_offset=0,
            channels=2,
            padded=True,
            mask_padding=False,
            truncated_length=32,
            length=13,
            methods=("direct", "fft"),
            float32=False,
        ),
        case(SMALL, "dropout", length=8, **dropped),
    ]


def models(small: BankConfig) -> list[ModelCase]:
    """Models around two layers."""
    batch = small.replace(norm="batch", bidirectional=True)
    published = batch.replace(mask_padding=False)
    tokens = ClassifierConfig(layer=published, depth=2, input_kind="tokens", input_size=5, classes=4)
    values = ClassifierConfig(layer=small, depth=2, input_kind="values", input_size=5, classes=4, pooling="last")
    dropped = tokens.replace(layer=batch.replace(dropout=0.3), depth=1)
    training: dict[str, Any] = {"padded": True, "training": True, "float32": False, "length": 12}
    return [
        ModelCase("classifier, tokens, mean", tokens, 3, **training),
        ModelCase("classifier, values, last", values, 3, padded=True, length=12, float32=False),
        ModelCase("classifier, tokens, mean, dropout", dropped, 3, compiled=True, **training),
    ]


def model_cases() -> list[ModelCase]:
    """Models around S4."""
    return models(SMALL)


def recipes() -> dict[str, Recipe]:
    """No published recipe is climbed yet."""
    return {}
