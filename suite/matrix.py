"""From a selection to cells: the runs it asks for, in a fixed order, each with an id made of its content."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from implementations import catalog
from implementations.common.config import ConfigError, nearest
from suite import recipes
from suite.ablations import factors
from suite.recipes import rows
from suite.recipes.base import (
    PROFILES,
    Profile,
    Recipe,
    apply_overrides,
    differences,
    override_settings,
    require_fit,
)
from suite.tasks import BENCHMARKS, FRAMEWORKS, Task, all_tasks


class SelectionError(ValueError):
    """The selection names something unknown or nothing at all; the message says what is known."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a command line asks for; empty benchmarks and tasks mean everything, empty architectures and factors all of
    them. `changed_task` is the task whose recipes the factors change, where it is not each factor's own. `rows` of the
    papers' tables, by name, take the place of the architectures' own recipes."""

    benchmarks: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = FRAMEWORKS
    seeds: tuple[int, ...] = (0,)
    profile: Profile = "smoke"
    hardware: str = "cpu"
    overrides: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    changed_task: str = ""
    rows: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: an architecture on a task in a framework with a seed.

    `recipe` is None where nothing is trained; `settings` says then what is measured, where there is a choice. `factor`
    and `level` name what an ablation changed, `base_level` what it changed from; `base_task` and `base` are the task
    and the id of the cell without that change.
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
    factor: str = ""
    level: str = ""
    base_level: str = ""
    base_task: str = ""
    base: str = ""

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
        changed = f" {self.factor} = {self.level}" if self.factor else ""
        return f"{self.task} {self.architecture} {self.framework} seed {self.seed}{changed}"

    def to_dict(self, identity: bool = False) -> dict[str, Any]:
        """Plain nested dictionaries; with `identity` without the sources of the recipe, which decide no number."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if self.recipe is not None:
            values["recipe"] = self.recipe.to_dict()
            if identity:
                del values["recipe"]["source"]
        for name in ("settings", "factor", "level", "base_level", "base_task", "base"):
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Cell:
        """The inverse of `to_dict()`."""
        recipe = values["recipe"]
        return cls(**{**values, "recipe": None if recipe is None else Recipe.from_dict(recipe)})


def cells(selection: Selection) -> list[Cell]:
    """The cells of a selection ordered by task, architecture, seed and framework; raises SelectionError."""
    tasks, architectures, frameworks = _parts(selection)
    _known("profile", [selection.profile], PROFILES)
    seeds = sorted(set(selection.seeds)) or [0]
    every = [
        cell
        for task in tasks
        for architecture in architectures
        for what in _what(task, architecture, selection)
        for seed in seeds
        for framework in _frameworks(task, frameworks)
        for cell in _one(what, task, architecture, framework, seed, selection)
    ]
    found = list({cell.id: cell for cell in every}.values())
    if not found:
        names = f"tasks {', '.join(t.name for t in tasks)} with architectures {', '.join(architectures)}"
        raise SelectionError(f"nothing to run: no recipe joins {names} in {', '.join(frameworks)}")
    fixed = dict.fromkeys(cell.task for cell in found if cell.recipe is None and not cell.settings)
    if selection.overrides and fixed:
        sets = ", ".join(map(repr, selection.overrides))
        raise SelectionError(f"--set {sets}: nothing can be set in {', '.join(fixed)}; run that without --set")
    return found


def left_out(selection: Selection) -> list[str]:
    """What a selection asks for and has no cells for: a line for every reason.

    Where it names neither a task nor architectures, a task is missed only if it has no cell at all.
    """
    tasks, architectures, frameworks = _parts(selection)
    absent: dict[tuple[str, ...], list[str]] = {}
    told = set()
    for task in tasks:
        without = tuple(name for name in architectures if not _what(task, name, selection))
        named = (task.name in selection.tasks) + bool(selection.architectures)
        if without and (named == 2 or (task.run == "train" and (named or len(without) == len(architectures)))):
            absent.setdefault(without, []).append(task.name)
            told |= set(without)
    everything = "every architecture"
    said = {name: f"{name}, which {other} trains" for name, other in recipes.TRAINED_AS.items()}
    pairs = [
        f"{', '.join(names)} of "
        + (everything if len(without) == len(catalog.names()) else ", ".join(said.get(name, name) for name in without))
        for without, names in absent.items()
    ]
    idle = [name for name in selection.architectures if not any(_what(task, name, selection) for task in tasks)]
    others = [name for name in selection.factors if factors()[name].architecture not in architectures]
    halves = [task.name for task in tasks if not _frameworks(task, frameworks) and task.architecture in architectures]
    reasons = {
        f"no recipe in profile {selection.profile}": pairs,
        "nothing of this selection belongs to it": [name for name in idle if name not in told],
        "the factor belongs to an architecture that is not selected": others,
        f"{' and '.join(FRAMEWORKS)} are compared, only {', '.join(frameworks)} is selected": halves,
    }
    return [f"left out ({reason}): {'; '.join(names)}" for reason, names in reasons.items() if names]


def published(cell: Cell) -> Recipe | None:
    """The paper's own recipe of a cell's task and architecture, or the row of its table that a paper cell is nearest
    to; of an ablation, of the task that it changes."""
    function = recipes.recipes(cell.architecture).get(cell.base_task or cell.task)
    recipe = function("paper") if function else None
    others = rows.of(cell.architecture, cell.task) if recipe is not None and cell.profile == "paper" else {}
    near = [one for one in (recipe, *others.values()) if one is not None]
    if len(near) < 2 or cell.recipe is None:
        return recipe
    return min(near, key=lambda one: len(differences(cell.recipe, one)) if cell.recipe else 0)


def published_row(cell: Cell) -> str:
    """The name of the row whose recipe a paper cell runs, or ""."""
    found = rows.of(cell.architecture, cell.task) if cell.profile == "paper" and cell.recipe else {}
    return next((name for name, one in found.items() if cell.recipe and not differences(cell.recipe, one)), "")


def _parts(selection: Selection) -> tuple[list[Task], list[str], list[str]]:
    """The tasks, architectures and frameworks of a selection, everything where it names none."""
    tasks = _tasks(selection)
    architectures = _known("architecture", selection.architectures, catalog.names()) or list(catalog.names())
    if _known("row", selection.rows, rows.ROWS):
        if selection.profile != "paper":
            raise SelectionError(f"--rows are published recipes, profile {selection.profile} has none: --profile paper")
        with_rows = {rows.ROWS[name].architecture for name in selection.rows}
        architectures = [name for name in architectures if name in with_rows]
    frameworks = _known("framework", selection.frameworks, FRAMEWORKS) or list(FRAMEWORKS)
    return tasks, architectures, frameworks


def _tasks(selection: Selection) -> list[Task]:
    everything = all_tasks()
    benchmarks = _known("benchmark", selection.benchmarks, BENCHMARKS)
    named = _known("task", selection.tasks, everything)
    _known("factor", selection.factors, factors())
    trained = [name for name, task in everything.items() if task.run == "train"]
    _known("task to change", [selection.changed_task] if selection.changed_task else [], trained)
    if not benchmarks and not named:
        return list(everything.values())
    chosen = [task for task in everything.values() if task.benchmark in benchmarks or task.name in named]
    asked = selection.factors or selection.changed_task
    if asked and not any(task.run == "ablation" for task in chosen):
        raise SelectionError("--factors and --on belong to ablations: say --benchmarks ablation, or leave them out")
    return chosen


@dataclasses.dataclass(frozen=True)
class _What:
    """What a cell runs; `base` is the recipe that a factor changes."""

    recipe: Recipe | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    factor: str = ""
    level: str = ""
    base_level: str = ""
    base: Recipe | None = None


def _one(what: _What, task: Task, architecture: str, framework: str, seed: int, selection: Selection) -> Iterator[Cell]:
    """The cell of one thing to run; before a changed recipe, that of the unchanged one."""
    where = (architecture, framework, seed, selection.profile, selection.hardware)
    if what.base is None:
        yield Cell(task.benchmark, task.name, *where, what.recipe, what.settings)
        return
    like = all_tasks()[selection.changed_task or factors()[what.factor].task]
    base = Cell(like.benchmark, like.name, *where, what.base)
    yield base
    changed = Cell(task.benchmark, task.name, *where, what.recipe, factor=what.factor, level=what.level)
    yield dataclasses.replace(changed, base_level=what.base_level, base_task=like.name, base=base.id)


def _what(task: Task, architecture: str, selection: Selection) -> list[_What]:
    """What a task does with an architecture: one recipe, one dictionary of settings, changed recipes, or nothing."""
    if task.architecture is not None and task.architecture != architecture:
        return []
    if task.settings is not None:
        settings = task.settings(architecture, selection.profile)
        if settings is None:
            return []
        try:
            return [_What(settings=override_settings(settings, selection.overrides).to_dict())]
        except ConfigError as error:
            raise SelectionError(f"{task.name} of {architecture}: {error}") from error
    if task.run == "equivalence":
        return [_What()]
    if task.run == "ablation":
        return _changed(architecture, selection)
    if selection.rows:
        found = rows.of(architecture, task.name).items()
        changed = [apply_overrides(one, selection.overrides) for name, one in found if name in selection.rows]
        return [_What(recipe) for recipe in changed]
    recipe = _recipe(architecture, task.name, selection)
    return [] if recipe is None else [_What(recipe)]


def _recipe(architecture: str, task: str, selection: Selection) -> Recipe | None:
    function = recipes.recipes(architecture).get(task)
    recipe = function(selection.profile) if function else None
    if recipe is None:
        return None
    changed = apply_overrides(recipe, selection.overrides)
    require_fit(changed)
    return changed


def _changed(architecture: str, selection: Selection) -> list[_What]:
    """Every level of the selected factors of an architecture, one factor at a time."""
    found = []
    for factor in factors().values():
        if factor.architecture != architecture or (selection.factors and factor.name not in selection.factors):
            continue
        task = selection.changed_task or factor.task
        base = _recipe(architecture, task, selection)
        if base is None:
            none = f"no recipe of {architecture} in profile {selection.profile}"
            raise SelectionError(f"factor {factor.name} changes {task}, which has {none}")
        try:
            own, variants = factor.base_level(base), factor.variants(base)
        except ConfigError as error:
            raise SelectionError(f"factor {factor.name} does not fit this recipe: {error}") from error
        where = {"factor": factor.name, "base_level": own, "base": base}
        found += [_What(recipe, level=level, **where) for level, recipe in variants.items()]
    return found


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
