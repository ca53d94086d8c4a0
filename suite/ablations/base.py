"""What a factor is, and the changes of a recipe that several factors share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from implementations.common.config import Config
from suite.recipes.base import Recipe

Change = Callable[[Recipe], Recipe]


@dataclasses.dataclass(frozen=True)
class Factor:
    """One thing that a paper varies: its levels by name, each a change of a recipe, the unchanged recipe among them.

    `meaning` says what is changed and what is held. `paper` is the place where the study is printed, empty where this
    project adds it; `published_on` the task of the paper's study; `task` the task whose recipe is changed unless
    another is asked for: numbers of different tasks are never set side by side.
    """

    name: str
    title: str
    meaning: str
    levels: Mapping[str, Change]
    paper: str = ""
    published_on: str = ""
    task: str = "lra.listops"

    @property
    def architecture(self) -> str:
        """The architecture whose recipe is changed."""
        return self.name.partition(".")[0]

    def base_level(self, base: Recipe) -> str:
        """The name of the level that the unchanged recipe is at, "base" where it is at none."""
        return next((name for name, change in self.levels.items() if change(base) == base), "base")

    def variants(self, base: Recipe) -> dict[str, Recipe]:
        """The changed recipes by level, without the level that the base is at.

        A level that comes to the same recipe as an earlier one, as places in a model of two layers do, is left out.
        Levels whose value the recipe does not admit raise ConfigError.
        """
        found: dict[str, Recipe] = {}
        for name, change in self.levels.items():
            recipe = change(base)
            if recipe != base and recipe not in found.values():
                found[name] = recipe
        return found


def layer(**changes: Any) -> Change:
    """A change of fields of the model's layer."""
    return lambda recipe: with_layer(recipe, layer_of(recipe).replace(**changes))


def scaled(field: str, factor: float) -> Change:
    """A change of a whole number of the layer to a multiple of it."""
    return lambda recipe: with_layer(recipe, layer_of(recipe).replace(**{field: _multiple(recipe, field, factor)}))


def _multiple(recipe: Recipe, field: str, factor: float) -> int:
    return max(1, round(getattr(layer_of(recipe), field) * factor))


def multiples(field: str, *factors: float) -> dict[str, Change]:
    """Levels that are multiples of the base's value, named after them: "x 1/4", "x 1", "x 2"."""
    return {_name(factor): scaled(field, factor) for factor in factors}


def values(field: str, *chosen: Any) -> dict[str, Change]:
    """Levels that are values of a field of the layer, named after them."""
    return {str(value): layer(**{field: value}) for value in chosen}


def _name(factor: float) -> str:
    return f"x {factor:g}" if factor >= 1 else f"x 1/{1 / factor:g}"


def layer_of(recipe: Recipe) -> Any:
    """The config of the layer that is studied: the first of the model that is no plain Transformer layer."""
    layers = recipe.model.layers
    return next((own for own in layers if own.architecture != "transformer"), recipe.model.layer)


def with_layer(recipe: Recipe, changed: Any) -> Recipe:
    """The recipe with another layer wherever the studied one stands, and its sliding layers likewise."""
    own, model = layer_of(recipe), recipe.model
    pairs: list[tuple[Config, Config]] = [(own, changed)]
    if hasattr(own, "sliding"):
        pairs.append((own.sliding, changed.sliding))

    def other(layer: Config) -> Config:
        return next((new for old, new in pairs if layer == old), layer)

    placed = tuple((depth, other(layer)) for depth, layer in model.placed)
    return recipe.replace(model=model.replace(layer=other(model.layer), placed=placed))


def only_at(place: Callable[[int], tuple[int, ...]]) -> Change:
    """The layer stays at the depths that `place` gives for a number of layers; elsewhere stands its `sliding` layer."""

    def change(recipe: Recipe) -> Recipe:
        own, depth = layer_of(recipe), recipe.model.depth
        kept = tuple((i, own) for i in sorted(set(place(depth))))
        everywhere = len(kept) == depth
        model = recipe.model.replace(layer=own if everywhere else own.sliding, placed=() if everywhere else kept)
        return recipe if model.layers == recipe.model.layers else recipe.replace(model=model)

    return change


PLACES: dict[str, Change] = {
    "all layers": only_at(lambda depth: tuple(range(depth))),
    "first": only_at(lambda depth: (0,)),
    "last": only_at(lambda depth: (depth - 1,)),
    "middle": only_at(lambda depth: (depth // 2,)),
    "every second": only_at(lambda depth: tuple(range(0, depth, 2))),
    "none": only_at(lambda depth: ()),
}
"""Number and place of a layer among sliding-window layers."""


def nearest(place: float) -> int:
    """The whole number nearest to a place in a stack, halves going up: `round` takes them to even numbers."""
    return math.floor(place + 0.5)


def single(layer: int, of: int = 12) -> Change:
    """One layer alone, as deep as layer `layer`, counted from 1, of a stack of `of`."""
    return only_at(lambda depth: (max(1, nearest(layer * depth / of)) - 1,))


def spread(count: int) -> Change:
    """So many layers at even distances, the last of the stack among them; all, where it has no more."""

    def places(depth: int) -> tuple[int, ...]:
        shown = min(count, depth)
        return tuple(nearest((i + 1) * depth / shown) - 1 for i in range(shown))

    return only_at(places)
