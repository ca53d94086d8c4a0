"""The cases of a stack with feedback: what its layers are is the business of `block_recurrent`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.block_recurrent.config import FeedbackConfig
from implementations.models.config import ClassifierConfig
from suite.equivalence import block_recurrent
from suite.equivalence.block_recurrent import SMALL, adjust
from suite.equivalence.cases import LayerCase, ModelCase, flatten
from suite.recipes.base import Recipe

__all__ = ["OPERATIONS", "adjust", "draw_state", "layer_cases", "model_cases", "recipes"]

Array = np.ndarray

OPERATIONS = ()

STACK = FeedbackConfig(recurrent=SMALL, depth=3, recurrent_layers=(1,))


def draw_state(config: FeedbackConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """The states of all layers by dotted name; each sequence stands at the same place of its block in all of them."""
    found: dict[str, Array] = {}
    for i in range(config.depth):
        state = block_recurrent.draw_state(config.recurrent, rng, batch)
        if i not in config.indices:
            state = {name: state[name][:, : config.recurrent.window] for name in ("keys", "values", "valid")}
        found |= flatten(state, f"layers.{i}")
    return found


def unread(config: FeedbackConfig, length: int, state: bool, parameters: dict[str, Array]) -> dict[str, Array]:
    """As for one layer."""
    return block_recurrent.unread(config.recurrent, length, state, parameters)


def case(name: str, config: FeedbackConfig, **given: Any) -> LayerCase:
    """A case of a stack."""
    zero = partial(unread, config, given.setdefault("length", 7), given.get("state", False))
    return LayerCase(name, config, zero_gradient=zero, **given)


def layer_cases() -> list[LayerCase]:
    """Stacks on vectors."""
    several = STACK.replace(depth=2, recurrent_layers=(0, -1), recurrent=SMALL.replace(gate="lstm", window=4))
    dropped = STACK.replace(depth=2, recurrent=SMALL.replace(dropout=0.3, attention_dropout=0.3))
    return [
        case("one recurrent layer of three, state", STACK, state=True),
        case("two recurrent layers, start", several, smooth=False, float32=False),
        case("one token", STACK.replace(depth=2), length=1, state=True, float32=False),
        case(
            "padded, state",
            STACK.replace(depth=2),
            state=True,
            padded=True,
            batch=3,
            training=True,
            smooth=False,
            float32=False,
        ),
        case("dropout", dropped, training=True, float32=False),
    ]


def model_cases() -> list[ModelCase]:
    """A model around one stack."""
    stack = STACK.replace(depth=2, recurrent=SMALL.replace(dropout=0.2, truncate_gradient=True))
    config = ClassifierConfig(layer=stack, depth=1, input_kind="tokens", input_size=5, classes=4)
    return [
        ModelCase("classifier, tokens, dropout", config, 3, 7, padded=True, training=True, compiled=True, float32=False)
    ]


def recipes() -> dict[str, Recipe]:
    """None of its own."""
    return {}
