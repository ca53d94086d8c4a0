"""From a selection to cells: the runs it asks for, in a fixed order, each with an id made of its content."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from implementations import catalog
from implementations.common.config import nearest
from suite import recipes
from suite.recipes.base import PROFILES, Profile, Recipe, apply_overrides, override_settings
from suite.tasks import BENCHMARKS, FRAMEWORKS, Task, all_tasks


class SelectionError(ValueError):
    """The selection names something unknown or nothing at all; the message says what is known."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a command line asks for; empty benchmarks and tasks mean everything, empty architectures all of them."""

    benchmarks: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = FRAMEWORKS
    seeds: tuple[int, ...] = (0,)
    profile: Profile = "smoke"
    hardware: str = "cpu"
    overrides: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: an architecture on a task in a framework with a seed.

    `recipe` is None where nothing is trained; `settings` says then what is measured, where there is a choice.
    """

    benchmark: str
    task: str
    architecture: str
    framework: str
    seed: int
    profile: str
    hardware: str
    recipe: Recipe | None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of everything that decides the cell's numbers."""
        text = json.dumps(self.to_dict(identity=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def alone(self) -> bool:
        """Whether no other cell may run meanwhile: its numbers are times."""
        return bool(self.settings)

    @property
    def label(self) -> str:
        """The cell in words, for progress lines."""
        return f"{self.task} {self.architecture} {self.framework} seed {self.seed}"

    def to_dict(self, identity: bool = False) -> dict[str, Any]:
        """Plain nested dictionaries; with `identity` without the sources of the recipe, which decide no number, and
        with `ModelConfig.identity()`."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if self.recipe is not None:
            values["recipe"] = self.recipe.to_dict()
            if identity:
                del values["recipe"]["source"]
                values["recipe"]["model"] = self.recipe.model.identity()
        if not self.settings:
            del values["settings"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Cell:
        """The inverse of `to_dict()`."""
        recipe = values["recipe"]
        return cls(**{**values, "recipe": None if recipe is None else Recipe.from_dict(recipe)})


def cells(selection: Selection) -> list[Cell]:
    """The cells of a selection ordered by task, architecture, seed and framework; raises SelectionError."""
    tasks = _tasks(selection)
    architectures = _known("architecture", selection.architectures, catalog.names()) or list(catalog.names())
    frameworks = _known("framework", selection.frameworks, FRAMEWORKS) or list(FRAMEWORKS)
    _known("profile", [selection.profile], PROFILES)
    seeds = sorted(set(selection.seeds)) or [0]
    found = [
        Cell(task.benchmark, task.name, architecture, framework, seed, selection.profile, selection.hardware, *what)
        for task in tasks
        for architecture in architectures
        for what in _what(task, architecture, selection)
        for seed in seeds
        for framework in _frameworks(task, frameworks)
    ]
    if not found:
        names = f"tasks {', '.join(t.name for t in tasks)} with architectures {', '.join(architectures)}"
        raise SelectionError(f"nothing to run: no recipe joins {names} in {', '.join(frameworks)}")
    return found


def published(cell: Cell) -> Recipe | None:
    """The paper's own recipe of a cell's task and architecture."""
    recipe = recipes.recipes(cell.architecture).get(cell.task)
    return recipe("paper") if recipe else None


def _tasks(selection: Selection) -> list[Task]:
    everything = all_tasks()
    benchmarks = _known("benchmark", selection.benchmarks, BENCHMARKS)
    named = _known("task", selection.tasks, everything)
    if not benchmarks and not named:
        return list(everything.values())
    return [task for task in everything.values() if task.benchmark in benchmarks or task.name in named]


def _what(task: Task, architecture: str, selection: Selection) -> list[tuple[Recipe | None, dict[str, Any]]]:
    """What a task does with an architecture: one recipe or one dictionary of settings, or nothing."""
    if task.architecture is not None and task.architecture != architecture:
        return []
    if task.settings is not None:
        settings = task.settings(architecture, selection.profile)
        return [] if settings is None else [(None, override_settings(settings, selection.overrides).to_dict())]
    if task.run != "train":
        return [(None, {})]
    function = recipes.recipes(architecture).get(task.name)
    recipe = function(selection.profile) if function else None
    return [] if recipe is None else [(apply_overrides(recipe, selection.overrides), {})]


def _frameworks(task: Task, frameworks: Sequence[str]) -> list[str]:
    if task.frameworks == "each":
        return list(frameworks)
    return ["+".join(FRAMEWORKS)] if set(frameworks) == set(FRAMEWORKS) else []


def _known(kind: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    known = list(known)
    for name in names:
        if name not in known:
            raise SelectionError(f"unknown {kind} {name!r}: {nearest(name, known)}")
    return [name for name in known if name in set(names)]
