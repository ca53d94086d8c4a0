"""The cases of S4: every switch of its configuration at least once on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

from implementations.models.config import ClassifierConfig
from implementations.s4.config import METHODS, BankConfig, S4Config
from suite.equivalence.cases import LayerCase, ModelCase
from suite.equivalence.updates import short
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
    return [
        case(SMALL, "causal", state=True, length=13, methods=("fft", "recurrent")),
        case(
            SMALL,
            "causal, longer than the direct form, softplus, untied steps, another rate",
            length=67,
            output="none",
            dt_tie=False,
            dt_transform="softplus",
            real_transform="softplus",
            B_clip=None,
            options={"step_rescale": 2.0},
            float32=False,
        ),
        case(SMALL, "causal, one token", length=1, state=True, n_ssm=2, float32=False),
        case(
            SMALL,
            "causal, channels and copies",
            state=True,
            length=9,
            channels=2,
            n_ssm=2,
            prenorm=False,
            float32=False,
        ),
        case(
            SMALL,
            "causal, C~ as the parameter",
            state=True,
            length=12,
            truncated_length=5,
            output="linear",
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
            norm="batch",
            training=True,
            padded=True,
            mask_padding=False,
            truncated_length=16,
            length=13,
            float32=False,
        ),
    ]


def models(small: BankConfig, **published: Any) -> list[ModelCase]:
    """Models around one layer; one trains with dropout, and with what the published recipes set."""
    batch = small.replace(norm="batch", bidirectional=True, dropout=0.3, **published)
    tokens = ClassifierConfig(layer=batch, depth=1, input_kind="tokens", input_size=5, classes=4)
    values = ClassifierConfig(layer=small, depth=1, input_kind="values", input_size=5, classes=4, pooling="last")
    given: dict[str, Any] = {"padded": True, "float32": False, "length": 12}
    return [
        ModelCase("classifier, values, last", values, 3, **given),
        ModelCase("classifier, tokens, mean, dropout", tokens, 3, training=True, compiled=True, **given),
    ]


def model_cases() -> list[ModelCase]:
    """Models around S4."""
    return models(SMALL, truncated_length=16)


def recipes() -> dict[str, Recipe]:
    """The published recipe of ListOps, small."""
    from suite.recipes.s4 import lra_listops

    return {"lra.listops": short(lra_listops(), d_model=4, state_size=4, truncated_length=16, dropout=0.2)}
