"""The cases of S4D: its two discretisations, in every direction; the rest of the layer is S4's."""

from __future__ import annotations

from typing import Any

from implementations.s4.config import S4DConfig
from suite.equivalence.cases import LayerCase, ModelCase
from suite.equivalence.s4 import FORMS, adjust, case, models, recipes, state_shape

__all__ = ["OPERATIONS", "adjust", "layer_cases", "model_cases", "recipes", "state_shape"]

OPERATIONS = ("convolution",)

SMALL = S4DConfig(d_model=4, state_size=6, dt_min=0.01, dt_max=0.3)


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""
    dropped: dict[str, Any] = {"training": True, "dropout": 0.4, "float32": False}
    return [
        case(SMALL, "causal, zero-order hold", state=True, methods=FORMS),
        case(SMALL, "causal, longer than the direct form", length=67, initialization="inv", float32=False),
        case(SMALL, "causal, one token", length=1, state=True, initialization="quad", float32=False),
        case(
            SMALL,
            "causal, bilinear, untied steps, channels",
            state=True,
            discretization="bilinear",
            initialization="inv2",
            dt_tie=False,
            dt_transform="softplus",
            channels=2,
            n_ssm=2,
            prenorm=False,
            methods=FORMS,
        ),
        case(
            SMALL,
            "both directions, batch norm, padded",
            bidirectional=True,
            initialization="lin",
            real_transform="none",
            norm="batch",
            training=True,
            padded=True,
            batch=3,
            options={"step_rescale": 2.0},
        ),
        case(
            SMALL,
            "both directions, current position in both",
            bidirectional=True,
            initialization="real",
            reverse_offset=0,
            padded=True,
            mask_padding=False,
            float32=False,
        ),
        case(SMALL, "dropout", **dropped),
    ]


def model_cases() -> list[ModelCase]:
    """Models around S4D."""
    return models(SMALL)
