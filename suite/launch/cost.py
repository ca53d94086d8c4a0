"""What a cell will cost: from a measured record of the same run, else from counting operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from reports.records import Record
from suite.data.catalog import names, place
from suite.hardware.profiles import PROFILES
from suite.matrix import Cell
from suite.recipes import operations_per_token

# Share of the float32 peak that training of these models sustains, and operations per second of one processor core;
# assumptions, named in the output, that a measured record replaces.
SUSTAINED_SHARE = 0.1
SUSTAINED_CORE = 4e9


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of a cell, or None where nothing is known, and where the number comes from."""

    seconds: float | None
    basis: str


def estimate(cell: Cell, known: Sequence[Record], cores: int) -> Cost:
    """The cost of a cell, given the records that are there already."""
    family = (cell.task, cell.architecture, cell.framework, cell.hardware)
    recipe = cell.recipe.to_dict() if cell.recipe else {}
    for record in known:
        same = (record.cell.task, record.cell.architecture, record.cell.framework, record.cell.hardware) == family
        if (
            same
            and record.status == "measured"
            and record.timing.get("total_seconds")
            and _equal(record.recipe, recipe)
        ):
            return Cost(record.timing["total_seconds"], f"measured, cell {record.cell.id}")
    if cell.recipe is None:
        return Cost(None, "no estimate for checks and timings; minutes on two cores in the smoke profile")
    operations = total_operations(cell)
    if operations is None:
        return Cost(None, "no estimate: the operations of this architecture are not counted")
    hardware = PROFILES[cell.hardware]
    if hardware.kind == "cpu":
        return Cost(
            operations / (SUSTAINED_CORE * cores), f"counted operations at {SUSTAINED_CORE * cores:.0e} a second"
        )
    peak = hardware.float32 or hardware.bfloat16
    if peak is None:
        return Cost(None, "no estimate: the peak rate of this hardware is not known")
    return Cost(operations / (SUSTAINED_SHARE * peak), f"counted operations at {SUSTAINED_SHARE:.0%} of the peak rate")


def total_operations(cell: Cell) -> float | None:
    """Floating-point operations of a whole run: three passes per training position, one per evaluated position."""
    assert cell.recipe is not None
    recipe, settings = cell.recipe, cell.recipe.data.settings
    if recipe.language is not None:
        return _language_operations(cell)
    per_token = operations_per_token(cell.architecture, recipe.model)
    if per_token is None:
        return None
    trained = 3 * recipe.total_steps * recipe.batch_size
    evaluated = recipe.epochs * (settings.get("validation", 0) + settings.get("test", 0))
    return per_token * positions(cell) * (trained + evaluated) * (2 if cell.task == "lra.retrieval" else 1)


def _language_operations(cell: Cell) -> float | None:
    """Of a language model: three passes per trained token; one per token that each evaluation reads is left out."""
    assert cell.recipe is not None
    assert cell.recipe.language is not None
    recipe, language = cell.recipe, cell.recipe.language
    per_token = operations_per_token(cell.architecture, recipe.model)
    if per_token is None:
        return None
    return 3 * per_token * recipe.total_steps * recipe.batch_size * language.segment


# Padded positions of an example, for data without a loader here.
POSITIONS = {
    "lra.text": 4_096,
    "lra.retrieval": 4_000,
    "lra.image": 1_024,
    "lra.pathfinder": 1_024,
    "lra.pathx": 16_384,
}


def positions(cell: Cell) -> int:
    """Padded positions of an example."""
    assert cell.recipe is not None
    if cell.recipe.generation is not None:
        return cell.recipe.generation.input_length + cell.recipe.generation.target_length
    data = cell.recipe.data
    if data.name not in names():
        return POSITIONS.get(cell.task, 0)
    return place(data.name, None, data.settings).settings.protocol()["maximum_length"]


def _equal(one: dict, other: dict) -> bool:
    return {**one, "source": None} == {**other, "source": None}


def duration(seconds: float | None) -> str:
    """Seconds in words: "40 s", "3 min", "2.5 h"."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
