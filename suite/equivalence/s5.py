"""The cases of S5: every switch of its configuration at least once on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

from implementations.models.config import ClassifierConfig, DualEncoderConfig, LanguageModelConfig
from implementations.ops.scan import PORTABLE
from implementations.s5.config import S5Config
from suite.equivalence.cases import LanguageCase, LayerCase, ModelCase
from suite.recipes.base import Recipe

Array = np.ndarray

OPERATIONS = ("scan",)

FORMS = PORTABLE
"""The algorithms of the scan by name that run on every device."""

SMALL = S5Config(d_model=6, ssm_size=8, dt_min=0.01, dt_max=0.3)


def state_shape(config: S5Config, batch: int) -> tuple[int, ...]:
    """The state is (B, P, 2)."""
    return batch, config.kept_states, 2


def adjust(config: S5Config, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Eigenvalues in the left half plane; with clip_eigs every third one in the right."""
    adjusted = dict(parameters)
    for path, values in parameters.items():
        if path.endswith("Lambda_re"):
            adjusted[path] = -0.5 * np.exp(0.5 * rng.standard_normal(values.shape))
            if config.clip_eigs:
                adjusted[path][::3] *= -1
    return adjusted


def clipped(parameters: dict[str, Array]) -> dict[str, Array]:
    """Where clip_eigs cuts, the gradient of the real part is zero."""
    return {path: values > -1e-4 for path, values in parameters.items() if path.endswith("Lambda_re")}


def timesteps(rng: np.random.Generator, batch: int, length: int) -> Array:
    """Irregular sampling: steps from 0.3 to 2."""
    return rng.uniform(0.3, 2.0, (batch, length))


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""

    def case(name: str, /, **changes: Any) -> LayerCase:
        given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
        return LayerCase(name, SMALL.replace(**changes), **given)

    varying = {"timesteps": timesteps}
    dropped: dict[str, Any] = {"training": True, "dropout": 0.4, "float32": False}
    return [
        case("causal, layer norm", state=True),
        case("causal, longer than a block", length=67, state=True, activation="gelu", methods=FORMS),
        case("causal, one token", length=1, state=True, activation="half_glu2", float32=False),
        case("causal, time steps", state=True, drawn=varying, prenorm=False, activation="full_glu", float32=False),
        case(
            "causal, bilinear, all states",
            state=True,
            discretization="bilinear",
            conj_sym=False,
            C_init="complex_normal",
            activation="half_glu2",
            prenorm=False,
            blocks=2,
        ),
        case("causal, one time step", state=True, timescale="scalar", Lambda_init="lin", blocks=2, float32=False),
        case(
            "both directions, one time step, all states",
            bidirectional=True,
            timescale="scalar",
            discretization="bilinear",
            Lambda_init="antisymmetric",
            conj_sym=False,
            float32=False,
        ),
        case(
            "causal, clipped eigenvalues, batch norm",
            state=True,
            clip_eigs=True,
            norm="batch",
            zero_gradient=clipped,
            training=True,
            float32=False,
        ),
        case(
            "both directions, batch norm, padded",
            bidirectional=True,
            norm="batch",
            training=True,
            padded=True,
            C_init="lecun_normal",
            activation="half_glu2",
            blocks=2,
            batch=3,
        ),
        case(
            "both directions, padding let in",
            bidirectional=True,
            norm="batch",
            training=True,
            padded=True,
            mask_padding=False,
            prenorm=False,
            C_init="complex_normal",
            activation="full_glu",
            float32=False,
        ),
        case(
            "both directions, bilinear, another rate",
            bidirectional=True,
            norm="batch",
            discretization="bilinear",
            activation="gelu",
            options={"step_rescale": 2.0},
            C_init="complex_normal",
            clip_eigs=True,
            zero_gradient=clipped,
            float32=False,
        ),
        case(
            "both directions, time steps, all states",
            bidirectional=True,
            drawn=varying,
            conj_sym=False,
            C_init="lecun_normal",
            padded=True,
        ),
        case("dropout in the gate", activation="half_glu2", norm="batch", batch=3, **dropped),
        case("dropout before the gate", activation="full_glu", bidirectional=True, **dropped),
        case("dropout before half a gate", **dropped),
        case("dropout without a gate", activation="gelu", **dropped),
    ]


def model_cases() -> list[ModelCase]:
    """Models around two layers."""
    batch = SMALL.replace(norm="batch", bidirectional=True, C_init="lecun_normal", activation="half_glu2", blocks=2)

    def classifier(layer: S5Config, kind: Any, pooling: Any) -> ClassifierConfig:
        return ClassifierConfig(layer=layer, depth=2, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    published = batch.replace(mask_padding=False)
    words = LanguageModelConfig(
        layer=SMALL, depth=1, input_kind="tokens", input_size=9, output="adaptive", cutoffs=(4,), factor=2
    )
    both = DualEncoderConfig(layer=batch, depth=2, input_kind="tokens", input_size=5, classes=3)
    return [
        ModelCase("classifier, tokens, mean", classifier(published, "tokens", "mean"), 3, padded=True, training=True),
        ModelCase("classifier, values, last", classifier(SMALL, "values", "last"), 3, padded=True, float32=False),
        ModelCase("classifier, values, mean, whole", classifier(batch, "values", "mean"), 3, float32=False),
        ModelCase(
            "classifier, tokens, last, dropout",
            classifier(batch.replace(dropout=0.3), "tokens", "last").replace(depth=1),
            3,
            padded=True,
            training=True,
            compiled=True,
            float32=False,
        ),
        ModelCase("dual encoder, tokens", both, 3, padded=True, training=True),
        LanguageCase("language model, adaptive output", words, 2, 7, state=True, float32=False),
    ]


def recipes() -> dict[str, Recipe]:
    """The published recipes of three optimizers, small: 5 updates per epoch, 100 in all."""
    from suite.recipes.s5 import RECIPES

    found = {}
    for task, changes in (("lra.listops", {}), ("lra.retrieval", {"bidirectional": False}), ("lra.pathx", {})):
        paper = RECIPES[task]("paper")
        model: Any = paper.model
        layer = model.layer.replace(d_model=6, ssm_size=8, blocks=2, dropout=0.2, **changes)
        data = paper.data.replace(settings={**paper.data.settings, "train": 20})
        found[task] = paper.rescaled(
            model=model.replace(layer=layer, depth=1, input_size=min(model.input_size, 6)),
            data=data,
            batch_size=4,
            evaluation_batch_size=4,
            epochs=20,
        )
    return found
