"""From a record to the cell that it is of, which is a hash of everything that decides its numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from implementations import catalog
from implementations.common.config import ConfigError, nearest
from reports import records
from reports.commits import UNPUBLISHED
from reports.frames import text
from reports.records import Record
from suite.hardware.profiles import PROFILES as HARDWARE
from suite.matrix import Cell
from suite.speed.config import SpeedSettings
from suite.tasks import all_tasks


class CannotVerify(RuntimeError):
    """A record cannot be verified as given; the message says why and what would help."""


def find(name: str, folders: Sequence[Path]) -> tuple[Record, Path]:
    """The record of a file, or of a cell id in runs folders; raises CannotVerify."""
    path = Path(name)
    if not path.is_file():
        path = _of_cell(name, folders)
    try:
        return records.read(path), path
    except records.RecordError as error:
        raise CannotVerify(str(error)) from error


def _of_cell(name: str, folders: Sequence[Path]) -> Path:
    places = [folder / "records" / f"{name}.json" for folder in folders]
    searched = ", ".join(str(folder) for folder in folders)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name) or name.endswith(".json"):
        wrong = f"{name} is a folder" if Path(name).is_dir() else f"there is no file {name}"
        raise CannotVerify(f"{wrong}: give the path of a record or the id of a cell in {searched}")
    there = [place for place in places if place.is_file()]
    if not there:
        ids = [path.stem for folder in folders for path in sorted((folder / "records").glob("*.json"))]
        raise CannotVerify(
            f"no record of cell {name!r} in {searched}: {nearest(name, ids)}; name another folder with --runs"
        )
    if len({place.read_bytes() for place in there}) > 1:
        raise CannotVerify(
            f"cell {name!r} has different records, {' and '.join(map(str, there))}: give the path of one"
        )
    return there[0]


def cell_of(record: Record) -> Cell:
    """The cell of a record; raises CannotVerify where the record's id is not that of what it says was run."""
    commit = text(record.provenance.get("commit"))
    older = (
        f"; check out its commit {commit} and verify it there" if commit not in ("", "unknown", *UNPUBLISHED) else ""
    )
    command = text(record.provenance.get("command"))
    if not command.startswith("python -m suite.run"):
        remedy = f"repeat its command: {command}" if command else "it names no command to repeat"
        raise CannotVerify(f"record {record.cell.id} was not written by python -m suite.run; {remedy}")
    if not (record.metrics or record.curves or record.tables):
        reason = f" ({record.reason})" if record.reason else ""
        raise CannotVerify(f"record {record.cell.id} is {record.status!r}{reason}: it holds no number to verify")
    if record.status == "compiled":
        raise CannotVerify(
            f"record {record.cell.id} is of a compilation, not of a run: compile it again with {command}"
        )
    if record.cell.task not in all_tasks():
        known = nearest(record.cell.task, all_tasks())
        raise CannotVerify(f"record {record.cell.id} is of the unknown task {record.cell.task!r}: {known}{older}")
    if record.cell.hardware not in HARDWARE:
        raise CannotVerify(
            f"record {record.cell.id} is of the unknown hardware {record.cell.hardware!r}: "
            f"{nearest(record.cell.hardware, HARDWARE)}{older}"
        )
    try:
        cell = _built(record)
        catalog.get(cell.architecture)
        if cell.settings:
            SpeedSettings.from_dict(cell.settings)
    except (ConfigError, catalog.UnknownName, TypeError, KeyError, ValueError) as error:
        told = str(error) or type(error).__name__
        raise CannotVerify(f"this version cannot run the recipe of record {record.cell.id}: {told}{older}") from error
    if cell.id != record.cell.id:
        raise CannotVerify(
            f"record {record.cell.id} is not of the cell that it names: the id of its recipe is {cell.id}; it was "
            f"changed after it was measured, or written by a version that counts other fields{older}"
        )
    return cell


def _built(record: Record) -> Cell:
    task, cell = all_tasks()[record.cell.task], record.cell
    names = ("benchmark", "task", "architecture", "framework", "seed", "profile", "hardware", "factor", "level", "base")
    values = {name: getattr(cell, name) for name in names}
    if task.settings is not None:
        return Cell.from_dict({**values, "recipe": None, "settings": record.recipe})
    changed = record.protocol.get("ablation")
    if cell.factor and isinstance(changed, dict):
        values |= {"base_level": text(changed.get("base_level")), "base_task": text(changed.get("task"))}
    return Cell.from_dict({**values, "recipe": record.recipe or None})
