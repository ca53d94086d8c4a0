"""What a factor is, and the changes of a recipe that several factors share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from implementations.common.config import Config
from suite.recipes.base import Recipe

Change = Callable[[Recipe], Recipe]


@dataclasses.dataclass(frozen=True)
class Factor:
    """One thing that a paper varies: its levels by name, each a change of a recipe, the unchanged recipe among them.

    `meaning` says what is changed and what is held. `paper` is the place where the study is printed, empty where this
    project adds it; `published_on` the task of the paper's study; `task` the task whose recipe is changed here, which
    may be another: numbers of the two are never set side by side.
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
    """The config of the model's layer."""
    return recipe.model.layer


def with_layer(recipe: Recipe, changed: Config) -> Recipe:
    """The recipe with another layer everywhere."""
    return recipe.replace(model=recipe.model.replace(layer=changed))


def only_at(place: Callable[[int], tuple[int, ...]]) -> Change:
    """The layer stays at the depths that `place` gives for a number of layers; elsewhere stands its `sliding` layer."""

    def change(recipe: Recipe) -> Recipe:
        own, depth = layer_of(recipe), recipe.model.depth
        kept = tuple((i, own) for i in sorted(set(place(depth))))
        if len(kept) == depth:
            return recipe
        return recipe.replace(model=recipe.model.replace(layer=own.sliding, placed=kept))

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
