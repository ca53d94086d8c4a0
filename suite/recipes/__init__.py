"""Training recipes: one file per architecture, a typed function per task.

An architecture joins by a file `suite/recipes/<architecture>.py` with a dictionary `RECIPES` from task to a function of
the profile, and a function `operations_per_token(model)` for estimates of cost. Those of language models, where there
are any, stand in `LANGUAGE_RECIPES` and give None in a profile without a recipe. A benchmark with recipes of several
architectures has a file of its own, whose `RECIPES` are by architecture: `BENCHMARKS`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from implementations.common.config import Config
from implementations.models.config import ModelConfig
from suite.recipes.base import Profile

TRAINED_AS = {"spade_stack": "spade"}
"""Stacks without recipes of their own: those of the architecture train them, in every task and profile."""
BENCHMARKS = ("sequences", "glue", "summaries", "pretraining")


def recipes(architecture: str) -> dict[str, Callable[[Profile], Any]]:
    """Task -> recipe function of an architecture; empty where it has no recipes yet."""
    module, found = f"{__name__}.{architecture}", {}
    if importlib.util.find_spec(module) is not None:
        own = importlib.import_module(module)
        found |= own.RECIPES | getattr(own, "LANGUAGE_RECIPES", {})
    for benchmark in BENCHMARKS:
        found |= importlib.import_module(f"{__name__}.{benchmark}").RECIPES.get(architecture, {})
    return found


def operations_per_token(architecture: str, model: ModelConfig) -> float | None:
    """Floating-point operations of one forward pass per position, or None where they are not counted."""
    module = f"{__name__}.{architecture}"
    if importlib.util.find_spec(module) is None:
        return None
    if not model.placed and _room(model.layer) == architecture:
        return importlib.import_module(module).operations_per_token(model)
    own = (operations_per_token(_room(layer), model.replace(layer=layer, depth=1, placed=())) for layer in model.layers)
    counted = [operations for operations in own if operations is not None]
    encoded = 2 * model.input_size * model.d_model  # counted with every layer
    return sum(counted) - (model.depth - 1) * encoded if len(counted) == model.depth else None


def _room(layer: Config) -> str:
    """The module of a layer's recipes; a stack has those of its architecture."""
    name = layer.architecture or ""
    return {**TRAINED_AS, "block_recurrent_feedback": "block_recurrent"}.get(name, name)
