"""Training recipes: one file per architecture, a typed function per task.

An architecture joins by a file `suite/recipes/<architecture>.py` with a dictionary `RECIPES` from task to a function of
the profile, and a function `operations_per_token(model)` for estimates of cost; those of language models, if it has any,
stand in `LANGUAGE_RECIPES` and give None in a profile in which there is none.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

from implementations.models.config import ModelConfig
from suite.recipes.base import Profile, Recipe


def recipes(architecture: str) -> dict[str, Callable[[Profile], Recipe | None]]:
    """Task -> recipe function of an architecture; empty where it has no recipes yet."""
    module = f"{__name__}.{architecture}"
    if importlib.util.find_spec(module) is None:
        return {}
    found = importlib.import_module(module)
    return {**found.RECIPES, **getattr(found, "LANGUAGE_RECIPES", {})}


def operations_per_token(architecture: str, model: ModelConfig) -> float | None:
    """Floating-point operations of one forward pass per position, or None where they are not counted."""
    module = f"{__name__}.{architecture}"
    if importlib.util.find_spec(module) is None:
        return None
    return importlib.import_module(module).operations_per_token(model)
