"""A cell run again as `python -m suite.run` runs it, in a folder that nobody else sees."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports import records
from reports.records import Record
from suite.launch import local, result
from suite.launch.display import Display
from suite.matrix import Cell
from suite.recipes.base import Recipe
from suite.replay.source import CannotVerify
from suite.speed.config import SpeedSettings
from suite.training.checkpoint import CheckpointStore

UPDATES = 50
"""Updates that are run again unless more are asked for, rounded up to whole points of the recorded curve."""


@dataclasses.dataclass(frozen=True)
class Again:
    """What came out: curves as far as the run got, and its record where it reached its end; why it has no more."""

    updates: int = 0
    curves: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    record: Record | None = None
    ended: str = ""


@dataclasses.dataclass(frozen=True)
class Way:
    """How to run again: where the data are, for how many seconds at most, with which variables."""

    data: Path
    seconds: float
    environment: Mapping[str, str | None]


def first_updates(recipe: Recipe, asked: int | None) -> int:
    """How many updates to run: whole points of the curve of losses, and not more than there are."""
    every = result.window(recipe)
    return min(every * math.ceil((asked or UPDATES) / every), recipe.total_steps)


def again(cell: Cell, way: Way, updates: int | None = None, moved: bool = False) -> Again:
    """Run a cell, of a training the first `updates`; with `moved` from initial values one rounding away.

    Raises CannotVerify where it did not come far enough to be compared.
    """
    with tempfile.TemporaryDirectory(prefix="longseq-verify-") as folder:
        out = Path(folder)
        options = local.Options(
            out=out, data=way.data, fresh=True, last_step=updates, moved=moved,
            deadline=time.time() + way.seconds, environment=way.environment,
        )  # fmt: skip
        (outcome,) = local.Launcher(options, Display()).run([(cell, result.protocol(cell))])
        if outcome.status == "not finished" and outcome.reason.startswith("stopped by SIG"):
            raise CannotVerify(f"the run here was {outcome.reason}")
        path = local.records_path(out, cell)
        found = records.read(path) if path.is_file() else None
        if found is not None and found.status != "not finished" and (found.metrics or found.tables):
            return Again(updates=_updates(cell), curves=found.curves, record=found)
        if cell.recipe is None or outcome.status == "failed":
            if outcome.reason.startswith("diverged"):
                return Again(ended=outcome.reason)
            raise CannotVerify(f"the run here {outcome.status}: {outcome.reason}")
        return _interrupted(cell.recipe, out / "checkpoints" / cell.id, outcome.reason)


def _updates(cell: Cell) -> int:
    return cell.recipe.total_steps if cell.recipe else 0


def _interrupted(recipe: Recipe, folder: Path, reason: str) -> Again:
    """The curves of a run that stopped before its end, from its checkpoint; only whole points."""
    checkpoint = CheckpointStore(folder).load()
    every = result.window(recipe)
    losses = [] if checkpoint is None else checkpoint.arrays["losses"].tolist()
    points = len(losses) // every
    if checkpoint is None or points == 0:
        raise CannotVerify(
            f"the run here ended after {len(losses)} updates ({reason}), but the first loss of the record is the mean "
            f"of updates 1 to {every}: give a longer --time-limit"
        )
    epochs = checkpoint.values["epochs"]
    curves: dict[str, list[Any]] = {key: [row[key] for row in epochs] for key in (epochs[0] if epochs else ())}
    return Again(points * every, curves | result.step_curve(recipe, losses[: points * every]), ended=reason)


def gate_only(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a layer-speed cell with the same layers and modes, that times next to nothing."""
    changed = SpeedSettings.from_dict(settings)
    return changed.replace(longest=changed.shortest, rounds=1, block_seconds=1e-4).to_dict()
