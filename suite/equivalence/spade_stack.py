"""The cases of several SPADE layers that act as one, and of the models around them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.models.config import ClassifierConfig
from implementations.spade.config import SpadeStackConfig
from suite.equivalence import spade
from suite.equivalence.cases import LayerCase, ModelCase
from suite.equivalence.reference import below
from suite.recipes.base import DataSpec, Recipe
from suite.recipes.spade import optimizer
from suite.training.optimizer import Schedule

Array = np.ndarray

OPERATIONS = ()

ABOVE = spade.SMALL.replace(global_branch=False)
SMALL = SpadeStackConfig(bottom=spade.SMALL, upper=ABOVE)
MEGA = ABOVE.replace(attention="mega", positions="none", prenorm=False)


def draw_state(config: SpadeStackConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A state of every layer."""
    found = {}
    for i, layer in enumerate(config.layers):
        state = spade.draw_state(layer, rng, batch)
        found |= {f"layer{i}_{name}": value for name, value in state.items()}
    return found


def adjust(config: SpadeStackConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """The parameters of every layer as it adjusts its own; those of a model around the stacks stay."""
    found = dict(parameters)
    for stack in ("", *(f"layers.{i}." for i in range(3))):
        for i, layer in enumerate(config.layers):
            path = f"{stack}layers.{i}"
            own = spade.adjust(layer, below(path, parameters), rng)
            found |= {f"{path}.{name}": value for name, value in own.items()}
    return found


def unread(config: SpadeStackConfig, length: int, stateful: bool, parameters: dict[str, Array]) -> dict[str, Array]:
    """The entries of relative biases that no pair of positions reads."""
    found = {}
    for i, layer in enumerate(config.layers):
        own = spade.unread(layer, length, stateful, below(f"layers.{i}", parameters))
        found |= {f"layers.{i}.{path}": never for path, never in own.items()}
    return found


def shifts(parameters: dict[str, Array]) -> dict[str, Array]:
    """Under the softmax of Mega, the second layer, a shift of all keys changes no weight."""
    return {f"layers.1.{path}": own for path, own in spade.shifts(below("layers.1", parameters)).items()}


def layer_cases() -> list[LayerCase]:
    """Stacks on vectors."""
    causal = SpadeStackConfig(bottom=spade.SMALL.replace(causal=True), upper=ABOVE.replace(causal=True))
    chunks = SMALL.replace(upper=ABOVE.replace(attention="chunk", window=3), share_bias=False)
    mega = SMALL.replace(upper=MEGA)
    top = SMALL.replace(first=1)
    return [
        LayerCase(
            "causal, shared bias",
            causal,
            length=9,
            state=True,
            zero_gradient=partial(unread, causal, 9, True),
        ),
        LayerCase(
            "both sides, biases of their own, chunks above, padded",
            chunks,
            batch=3,
            length=11,
            padded=True,
            float32=False,
            zero_gradient=partial(unread, chunks, 11, False),
        ),
        LayerCase(
            "both sides, bottom layer on top, padded",
            top,
            length=9,
            padded=True,
            float32=False,
            zero_gradient=partial(unread, top, 9, False),
        ),
        LayerCase(
            "both sides, Mega above",
            mega,
            length=9,
            float32=False,
            zero_gradient=partial(unread, mega, 9, False),
            vanishing=shifts,
        ),
    ]


def model_cases() -> list[ModelCase]:
    """Models around stacks."""

    def classifier(layer: SpadeStackConfig, kind: Any, pooling: Any) -> ClassifierConfig:
        return ClassifierConfig(layer=layer, depth=1, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    dropped = SMALL.replace(
        bottom=spade.SMALL.replace(dropout=0.2, hidden_dropout=0.1, s4_frozen=True),
        upper=ABOVE.replace(dropout=0.2, attention="chunk", window=3),
    )
    causal = SpadeStackConfig(bottom=spade.SMALL.replace(causal=True), upper=MEGA.replace(causal=True))
    return [
        ModelCase(
            "classifier, tokens, last, dropout, S4 frozen",
            classifier(dropped, "tokens", "last"),
            3,
            11,
            training=True,
            compiled=True,
            float32=False,
            zero_gradient=lambda p: {
                f"layers.0.layers.0.{path}": still
                for path, still in spade.frozen(below("layers.0.layers.0", p)).items()
            },
        ),
        ModelCase("classifier, values, mean", classifier(causal, "values", "mean"), 3, 9, padded=True, float32=False),
    ]


def recipes() -> dict[str, Recipe]:
    """AdamW with the groups of S4, warm-up and cosine; 5 updates per epoch, 100 in all."""
    model = ClassifierConfig(layer=SMALL, depth=1, input_kind="tokens", input_size=6, classes=4)
    groups = optimizer(0.003, 0.1, Schedule(warmup_steps=10, total_steps=100), B=0.0)
    data = DataSpec("lra_listops", {"train": 20})
    return {"AdamW, S4's own rates": Recipe(model=model, optimizer=groups, batch_size=4, epochs=20, data=data)}
