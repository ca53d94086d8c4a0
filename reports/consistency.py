"""Whether a record agrees with itself: the same number stands in several places of it, and some follow from others."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

from reports.records import Record, RecordError, decode_correct, decode_predictions, text

ROUNDING = 1e-9
"""Relative difference up to which two ways to the same number may come to it."""
SELECTED = {
    "best validation accuracy": ("validation_accuracy", max),
    "best test accuracy": ("test_accuracy", max),
    "least validation error": ("validation_mse", min),
    "best validation loss": ("validation_nll_nats_per_token", min),
}
"""Selection rules of recipes: the curve that they look at, and what they want of it; the first best one counts."""


def contradictions(record: Record) -> list[str]:
    """One sentence for every place where a record contradicts itself; damaged predictions are one too.

    Only what is there is looked at; a record of another shape than the harness writes has nothing to contradict.
    """
    if record.status != "measured":
        return []
    found = (_axes, _selected, _last, _train_loss, _predictions, _checks, _speed, _timing)
    return [sentence for check in found for sentence in check(record)]


def _close(one: Any, other: Any) -> bool:
    if not (_number(one) and _number(other)):
        return one is None and other is None
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=1e-300)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _axes(record: Record) -> Iterator[str]:
    for name in ("epoch_step", "step"):
        axis = _curve(record, name)
        if any(after <= before for before, after in itertools.pairwise(axis)):
            yield f"curves.{name} does not rise"
    epochs = record.curves.get("epoch", [])
    if epochs != list(range(1, len(epochs) + 1)):
        yield "curves.epoch does not count from 1"
    if epochs and _number(record.recipe.get("epochs")) and len(epochs) != record.recipe["epochs"]:
        yield f"curves.epoch has {len(epochs)} epochs, recipe.epochs is {record.recipe['epochs']}"


def _epoch(record: Record) -> int | None:
    """Index of the selected epoch."""
    value = record.metrics.get("selected_epoch")
    count = len(record.curves.get("epoch", []))
    return int(value) - 1 if value is not None and 1 <= value <= count and value == int(value) else None


def _selected(record: Record) -> Iterator[str]:
    epoch = _epoch(record)
    if epoch is None:
        return
    rule = text(record.recipe.get("selection"))
    name, best = SELECTED.get(rule, ("", max))
    curve = _curve(record, name)
    if curve and len(curve) == len(record.curves["epoch"]) and curve.index(best(curve)) != epoch:
        right = curve.index(best(curve)) + 1
        yield f"metrics.selected_epoch is {epoch + 1}, but by the rule {rule!r} curves.{name} selects epoch {right}"
    for metric, value in record.metrics.items():
        own = next((curve for curve in (f"test_{metric}", metric) if curve in record.curves), None)
        if own and not _close(value, record.curves[own][epoch]):
            there = record.curves[own][epoch]
            yield f"metrics.{metric} is {value}, but curves.{own} at the selected epoch {epoch + 1} is {there}"


def _last(record: Record) -> Iterator[str]:
    for metric, value in record.metrics.items():
        curve = record.curves.get(metric.removeprefix("last_"))
        if metric.startswith("last_") and curve and not _close(value, curve[-1]):
            yield f"metrics.{metric} is {value}, but curves.{metric.removeprefix('last_')} ends with {curve[-1]}"


def _train_loss(record: Record) -> Iterator[str]:
    """The training loss of an epoch is the mean of its updates, of which each point of step_loss is a mean."""
    steps, losses, ends, means = (_curve(record, name) for name in ("step", "step_loss", "epoch_step", "train_loss"))
    if not (steps and means and len(steps) == len(losses) and len(ends) == len(means)):
        return
    sums, place = {0.0: 0.0}, 0.0
    for step, loss in zip(steps, losses, strict=True):
        sums[step] = sums[place] + (step - place) * loss
        place = step
    epochs = list(zip([0.0, *ends], ends, means, strict=False))
    for number, (start, end, mean) in enumerate(epochs, 1):
        if start in sums and end in sums and end > start:
            yield from _told(f"curves.train_loss of epoch {number}", mean, (sums[end] - sums[start]) / (end - start))
    if ends[-1] in sums and ends[-1] > 0:  # points of several updates may not fit into epochs
        whole = sum(mean * (end - start) for start, end, mean in epochs) / ends[-1]
        yield from _told("the mean of curves.train_loss", whole, sums[ends[-1]] / ends[-1])


def _told(name: str, mean: float, expected: float) -> Iterator[str]:
    if not math.isclose(mean, expected, rel_tol=1e-6, abs_tol=1e-9):
        yield f"{name} is {mean}, but the mean of its step_loss is {expected}"


def _curve(record: Record, name: str) -> list[float]:
    return [value for value in record.curves.get(name, []) if value is not None]


def _predictions(record: Record) -> Iterator[str]:
    kept = record.predictions
    if kept is None:
        return
    try:
        decode_predictions(kept)
        correct = decode_correct(kept)
    except RecordError as error:
        yield str(error)
        return
    accuracy = record.metrics.get(f"{kept.split}_accuracy")
    if correct is not None and accuracy is not None and not _close(accuracy, float(correct.mean())):
        share = float(correct.mean())
        yield f"metrics.{kept.split}_accuracy is {accuracy}, but {share} of the stored predictions are right"


def _checks(record: Record) -> Iterator[str]:
    rows = record.tables.get("parity")
    if rows is None:
        return
    failed = [row for row in rows if row.get("passed") is not True]
    for metric, count in (("checks", len(rows)), ("failed_checks", len(failed))):
        if record.metrics.get(metric, count) != count:
            yield f"metrics.{metric} is {record.metrics[metric]}, but tables.parity has {count}"
    for row in rows:
        errors = [value for name, value in row.items() if name.startswith("error_") and _number(value)]
        if row.get("passed") is True and _number(row.get("tolerance")) and errors:
            worst = max(errors)
            if worst > row["tolerance"]:
                where = f"rung {row.get('rung')} {row.get('check')} {row.get('case')}"
                yield f"tables.parity: {where} passed with error {worst} above its tolerance {row['tolerance']}"


def _speed(record: Record) -> Iterator[str]:
    for row in record.tables.get("gate", []):
        error, tolerance, passed = (row.get(name) for name in ("error", "tolerance", "passed"))
        if _number(error) and _number(tolerance) and passed is not (error <= tolerance):
            yield f"tables.gate of {row.get('layer')}: passed is {passed}, error {error}, tolerance {tolerance}"
    for row in record.tables.get("layer_speed", []):
        times = [row.get(name) for name in ("ms_p20", "ms_p50", "ms_p80")]
        if not _rising(times):
            where = f"{row.get('layer')}, {row.get('mode')}, {row.get('length')} positions"
            yield f"tables.layer_speed of {where}: the quantiles of the time do not rise"


def _timing(record: Record) -> Iterator[str]:
    if not _rising([record.timing.get(f"step_seconds_p{p}") for p in (20, 50, 80)]):
        yield "timing: the quantiles of step_seconds do not rise"
    started, finished = (text(record.provenance.get(name)) for name in ("started", "finished"))
    if started and finished and finished < started:
        yield f"provenance: finished {finished} is before started {started}"


def _rising(values: Sequence[Any]) -> bool:
    known = [value for value in values if _number(value)]
    return known == sorted(known)
