"""How far the numbers of two runs of one cell agree, and whether that is as far as they must."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from implementations.models.config import ModelConfig
from reports.frames import text
from reports.records import Record, decode_predictions
from suite.equivalence.rows import ROUNDING
from suite.recipes.base import Recipe
from suite.replay.rerun import Again

Judgment = Literal["bit for bit", "within rounding", "not reproduced", "not judged"]
Bound = Callable[[int], float | None]
LARGEST_BOUND = 1e-2
"""Where rounding alone may part two runs by more than this, their difference says nothing and is not judged."""
LOWER = {"tf32": 2.0**13, "bfloat16": 2.0**16}
"""How much coarser than float32 products of an arithmetic round."""


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One kind of number: how many were compared, how many are bit for bit the same, the largest relative deviation,
    the bound at that place (None where nothing was judged), and the first place that is outside."""

    name: str
    compared: int
    identical: int
    deviation: float = 0.0
    bound: float | None = None
    judgment: Judgment = "bit for bit"
    outside: str = ""


def deviation(one: Any, other: Any) -> float:
    """Relative difference of two numbers, 0 where they are the same or both None, infinite where one is no number."""
    if one == other:
        return 0.0
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (one, other)):
        return math.inf
    return abs(one - other) / max(abs(one), abs(other))


def exact(update: int) -> float:
    """The bound where the same bits must come out."""
    return 0.0


def unjudged(update: int) -> None:
    """The bound of numbers that may differ without bound."""
    return


def rounding_bound(recipe: Recipe, plain: Again, moved: Again) -> Bound:
    """The bound on the loss of an update: `ROUNDING` times what moving the initial values by one unit in the last place
    did to the losses up to there; None beyond what was run, and where it is above LARGEST_BOUND."""
    lowered = {"float32": 1.0} | LOWER
    model: ModelConfig = recipe.model
    factor = ROUNDING * max(lowered[recipe.matmul_precision], lowered.get(model.compute_dtype, 1.0))
    least = float(np.finfo(np.float32).eps)
    pairs = zip(plain.curves["step_loss"], moved.curves["step_loss"], strict=False)
    effects = np.maximum.accumulate([max(deviation(one, other), least) for one, other in pairs]).tolist()
    ends = plain.curves["step"][: len(effects)]

    def bound(update: int) -> float | None:
        reached = [factor * effect for end, effect in zip(ends, effects, strict=True) if end >= update]
        return reached[0] if reached and reached[0] <= LARGEST_BOUND else None

    return bound


def judged(name: str, places: Sequence[int], recorded: Sequence[Any], found: Sequence[Any], bound: Bound) -> Quantity:
    """Two lists of values, each at the update `places` of a run."""
    every = [(deviation(a, b), bound(at), at, a, b) for at, a, b in zip(places, recorded, found, strict=True)]
    same = sum(row[0] == 0 for row in every)
    limited = [row for row in every if row[1] is not None]
    beyond = [row for row in limited if row[1] is not None and row[0] > row[1]]
    if beyond:
        apart, limit, at, a, b = beyond[0]
        where = f"{name} at update {at}" if at else name
        allowed = f", which may differ by {limit:.1e} of it" if limit else ""
        told = f"{where} is {a} in the record and {b} here{allowed}"
        return Quantity(name, len(every), same, apart, limit, "not reproduced", told)
    worst = max(limited or every, key=lambda row: row[0], default=(0.0, None))
    agreed: Judgment = "bit for bit" if same == len(every) else "within rounding" if limited else "not judged"
    return Quantity(name, len(every), same, worst[0], worst[1], agreed)


def equal(name: str, recorded: Sequence[Any], found: Sequence[Any], strict: bool) -> Quantity:
    """Two lists of values that belong to no update; where not `strict` a difference is shown only."""
    return judged(name, [0] * len(recorded), recorded, found, exact if strict else unjudged)


def training(record: Record, again: Again, bound: Bound) -> list[Quantity]:
    """A training: its losses by update, the numbers of its epochs and, where it was run whole, what it ended with.

    Of a record that is not finished the last loss is a mean over fewer updates: it is left out.
    """
    strict, unfinished = bound is exact, record.status == "not finished"
    steps = again.curves["step"]
    recorded = record.curves.get("step", [])[: -1 if unfinished else None][: len(steps)]
    if not recorded or recorded != steps[: len(recorded)]:
        told = f"the curve of losses begins with updates {recorded[:2]} in the record and {steps[:2]} here"
        return [Quantity("step", 1, 0, math.inf, 0.0, "not reproduced", told)]
    losses = [side.curves["step_loss"][: len(recorded)] for side in (record, again)]
    found = [judged("step_loss", [int(step) for step in steps[: len(recorded)]], *losses, bound=bound)]
    epochs = min(len(side.curves.get("epoch", [])) for side in (record, again))
    for name in sorted(set(record.curves) & set(again.curves) - {"step", "step_loss", "epoch", "epoch_step"}):
        # A loss is a mean like that of an update; what counts examples jumps where one is nearly on the edge.
        limit = bound if strict or "loss" in name or "nll" in name else unjudged
        places = [int(end) for end in again.curves["epoch_step"][:epochs]]
        found.append(judged(name, places, record.curves[name][:epochs], again.curves[name][:epochs], limit))
    if again.record is not None and not unfinished:
        found += _ended(record, again.record, strict)
    return [one for one in found if one.compared]


def _ended(record: Record, again: Record, strict: bool) -> list[Quantity]:
    """What a run ended with; a number or a table of one side only is a difference."""
    sides = (record, again)
    found = []
    for name in sorted({*record.metrics, *again.metrics}):
        found.append(equal(f"metric {name}", *([side.metrics.get(name)] for side in sides), strict=strict))
    for name in sorted({*record.tables, *again.tables}):
        found.append(_table(f"table {name}", *(side.tables.get(name, []) for side in sides), strict=strict))
    if record.predictions and again.predictions:
        labels = [[side.labels_sha256] for side in (record.predictions, again.predictions)]
        found.append(equal("labels of the predictions", *labels, strict=True))
        classes = [decode_predictions(side).tolist() for side in (record.predictions, again.predictions)]
        if labels[0] == labels[1]:
            found.append(equal("predicted classes", *classes, strict=strict))
    return found


def _table(name: str, recorded: list[dict[str, Any]], found: list[dict[str, Any]], strict: bool) -> Quantity:
    """Every value of two tables of the same columns and rows."""
    if [sorted(row) for row in recorded] != [sorted(row) for row in found]:
        return equal(name, [f"{len(recorded)} rows"], [f"{len(found)} rows of other columns"], strict)
    values = [[row[column] for row in rows for column in sorted(row)] for rows in (recorded, found)]
    return equal(name, *values, strict=strict)


def ladder(record: Record, again: Record, strict: bool) -> list[Quantity]:
    """A parity ladder: the same checks pass and, where the same bits must come out, their errors are equal."""
    sides = [_rows(side, "parity", ("rung", "check", "case", "dtype")) for side in (record, again)]
    both = [key for key in sides[0] if key in sides[1]]
    errors = [[side[key].get(name) for key in both for name in _ERRORS] for side in sides]
    found = [_passed("checks passed", sides, both), equal("errors of the checks", *errors, strict=strict)]
    return [*found, *_alone("checks of one side only", "rung", sides, strict)]


_ERRORS = ("error_jax", "error_torch", "error_between", "tolerance")


def speed(record: Record, again: Record, strict: bool) -> list[Quantity]:
    """A layer-speed cell: the gate, and what does not depend on a clock of the programs at the shortest length."""
    gates = [_rows(side, "gate", ("layer",)) for side in (record, again)]
    both = [key for key in gates[0] if key in gates[1]]
    errors = [[side[key].get("error") for key in both] for side in gates]
    programs = [_rows(side, "layer_speed", ("mode", "length", "layer")) for side in (record, again)]
    shared = [key for key in programs[0] if key in programs[1]]
    operations = [[side[key].get("operations") for key in shared] for side in programs]
    return [
        _passed("gates passed", gates, both),
        *_alone("gates of one side only", "layer", gates, strict=True),  # every layer has one, whatever the version
        equal("errors of the gates", *errors, strict=strict),
        equal("operations of the programs", *operations, strict=strict),
    ]


def _rows(record: Record, table: str, names: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
    return {tuple(text(row.get(name)) for name in names): row for row in record.tables.get(table, [])}


def _alone(name: str, kind: str, sides: Sequence[dict[tuple[str, ...], Any]], strict: bool) -> list[Quantity]:
    """The rows that one side lacks, where there are any."""
    keys = [key for key in {**sides[0], **sides[1]} if not (key in sides[0] and key in sides[1])]
    values = [[f"{kind} {' '.join(key)}" if key in side else None for key in keys] for side in sides]
    return [equal(name, *values, strict=strict)] if keys else []


def _passed(name: str, sides: Sequence[dict[tuple[str, ...], Any]], both: Sequence[tuple[str, ...]]) -> Quantity:
    """Whether the same rows passed."""
    rows = [
        equal(f"{' '.join(key)}: passed", *([side[key].get("passed")] for side in sides), strict=True) for key in both
    ]
    wrong = [row for row in rows if row.outside]
    same = len(rows) - len(wrong)
    if wrong or not rows:
        told = wrong[0].outside if wrong else f"{name}: the record has no row that is here"
        return Quantity(name, len(rows), same, math.inf, 0.0, "not reproduced", told)
    return Quantity(name, len(rows), same, 0.0, 0.0)
