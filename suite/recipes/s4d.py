"""S4D on the Long Range Arena, and what smoke and small make of it.

Gu, Gupta, Goel and Re 2022 (arXiv 2206.11893): the S4 recipes (`suite.recipes.s4`) with the diagonal kernel in place of
S4's. The authors' repository has no file for it on these tasks: `model/layer=s4d` replaces an S4 experiment's layer
(configs/model/layer/s4d.yaml at state-spaces/s4@e757cef).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from implementations.s4.config import S4DConfig
from suite.recipes import language, lra
from suite.recipes.base import Profile, Recipe
from suite.recipes.s4 import PUBLISHED, REPOSITORY, SCALINGS, SMALL, SMOKE, operations_per_token

__all__ = ["RECIPES", "operations_per_token"]

SOURCE = {
    "model.layer": (
        f"{REPOSITORY} configs/model/layer/s4d.yaml (mode diag; zero-order hold by default) in place of layer/s4.yaml; "
        "initialization legs (S4D-LegS), where the file itself says diag-lin"
    ),
    "model.layer.truncated_length": "none: the diagonal kernel is exact at every length",
}


def _without_length(scaling: lra.Scaling) -> lra.Scaling:
    layer = {name: value for name, value in scaling.layer.items() if name != "truncated_length"}
    return dataclasses.replace(scaling, layer=layer)


def published(task: lra.Task, profile: Profile = "paper") -> Recipe:
    """The recipe of a task in a profile."""
    numbers = PUBLISHED[task]
    recipe = numbers.recipe(task, S4DConfig(initialization="legs", discretization="zoh", **numbers.shared()), SOURCE)
    small, smoke = lra.of(SCALINGS, task, SMALL, SMOKE)
    return lra.profiled(recipe, profile, small, _without_length(smoke))


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps."""
    return published("listops", profile)


def lra_text(profile: Profile = "paper") -> Recipe:
    """Text (IMDb reviews by characters); no validation split, the authors select on the test set."""
    return published("text", profile)


def lra_retrieval(profile: Profile = "paper") -> Recipe:
    """Retrieval (AAN pairs by characters)."""
    return published("retrieval", profile)


def lra_image(profile: Profile = "paper") -> Recipe:
    """Image (CIFAR-10 in grey)."""
    return published("image", profile)


def lra_pathfinder(profile: Profile = "paper") -> Recipe:
    """Pathfinder."""
    return published("pathfinder", profile)


def lra_pathx(profile: Profile = "paper") -> Recipe:
    """Path-X."""
    return published("pathx", profile)


def lra_path256(profile: Profile = "paper") -> Recipe:
    """Path-256, from Path-X."""
    return published("path256", profile)


RECIPES: dict[str, Callable[[Profile], Recipe]] = {
    "lra.listops": lra_listops,
    "lra.text": lra_text,
    "lra.retrieval": lra_retrieval,
    "lra.image": lra_image,
    "lra.pathfinder": lra_pathfinder,
    "lra.pathx": lra_pathx,
    "lra.path256": lra_path256,
}


def language_layers(size: language.Size) -> language.Layers:
    """Layers that look back only, for language modelling; a recipe of this project."""
    d_model, state_size, depth = {"smoke": (96, 16, 4), "small": (672, 64, 4)}[size]
    layer = S4DConfig(d_model=d_model, state_size=state_size, dropout=language.SCALES[size].dropout)
    return language.Layers(layer, depth, rule=tuple(f"ssm.{name}" for name in ("A_real", "A_imag", "B", "log_step")))


LANGUAGE_RECIPES = language.recipes(language_layers)
