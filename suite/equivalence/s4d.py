"""The cases of S4D: its two discretisations, in every direction; the rest of the layer is S4's."""

from __future__ import annotations

from implementations.s4.config import S4DConfig
from suite.equivalence.cases import LayerCase, ModelCase
from suite.equivalence.s4 import FORMS, adjust, case, models, state_shape
from suite.equivalence.updates import short
from suite.recipes.base import Recipe

__all__ = ["OPERATIONS", "adjust", "layer_cases", "model_cases", "recipes", "state_shape"]

OPERATIONS = ("convolution",)

SMALL = S4DConfig(d_model=4, state_size=6, dt_min=0.01, dt_max=0.3)


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""
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
            float32=False,
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
            methods=("direct", "fft"),
            float32=False,
        ),
    ]


def model_cases() -> list[ModelCase]:
    """Models around S4D."""
    return models(SMALL)


def recipes() -> dict[str, Recipe]:
    """The published recipe of ListOps, small."""
    from suite.recipes.s4d import lra_listops

    return {"lra.listops": short(lra_listops(), d_model=4, state_size=4, dropout=0.2)}
