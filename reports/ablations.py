"""Ablation studies from records: every level of a factor against the unchanged recipe, paired by seed.

A family holds the levels of one factor in one framework, profile, hardware and base recipe; Holm's correction is
within it. Values of different families are never set against each other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports import contended, frames
from reports.records import UNENDED, Record, decode_correct
from reports.statistics import Effect, ExampleComparison, Sample, holm, paired_effect, paired_examples, summarize


@dataclass(frozen=True)
class Level:
    """The seeds of one level, or of the base, whose `name` is empty; and what is paired with the base.

    `effect` is the paired difference of the headline values in the displayed unit and `p` its Holm-adjusted p-value;
    `pairs` the records beside those of the base, seed by seed; `examples` the comparison of the first such pair on the
    examples of the test split. `changes` are the values of the recipe that the level changes.
    """

    name: str
    records: tuple[Record, ...]
    values: tuple[float, ...]
    changes: dict[str, str]
    pairs: tuple[tuple[Record, Record], ...] = ()
    effect: Effect | None = None
    p: float | None = None
    examples: ExampleComparison | None = None
    seconds_ratio: float | None = None

    @property
    def summary(self) -> Sample | None:
        """Mean and spread of all seeds that ended."""
        return summarize(self.values) if self.values else None

    @property
    def parameters(self) -> float | None:
        """Number of parameters."""
        found = (record.metrics.get("parameter_count") for record in self.records)
        return next((value for value in found if value is not None), None)

    @property
    def unfinished(self) -> tuple[Record, ...]:
        """Records without a value."""
        return tuple(record for record in self.records if record.status != "measured")


@dataclass(frozen=True)
class Family:
    """The levels of one factor in one framework, profile and hardware, the base first."""

    factor: str
    facts: dict[str, Any]
    architecture: str
    framework: str
    profile: str
    hardware: str
    metric: str
    base: Level
    levels: tuple[Level, ...]

    @property
    def unit(self) -> str:
        """The displayed unit of the headline metric."""
        return frames.unit_of(self.metric)


@dataclass(frozen=True)
class Study:
    """All families of one task of the ablation benchmark, by factor."""

    task: str
    architecture: str
    factors: dict[str, tuple[Family, ...]]


def studies(records: Iterable[Record]) -> list[Study]:
    """The ablation studies of some records, by task and architecture."""
    everything = list(records)
    by_id = {record.cell.id: record for record in everything}
    members: dict[tuple[str, ...], list[Record]] = {}
    known: dict[tuple[str, ...], set[str]] = {}
    # Records without a base last: they join the only family that they can be meant for.
    bases_of = {r.cell.id: _base(r, by_id) for r in everything if r.cell.factor}
    for record in sorted((r for r in everything if r.cell.factor), key=lambda record: not bases_of[record.cell.id]):
        cell, base = record.cell, bases_of[record.cell.id]
        key = (cell.task, cell.architecture, cell.factor, cell.profile, cell.hardware, cell.framework)
        recipes = known.setdefault(key, set())
        if base:
            recipes.add(recipe := frames.fingerprint(base.recipe))
        else:
            recipe = next(iter(recipes)) if len(recipes) == 1 else ""
        members.setdefault((*key, recipe), []).append(record)
    profiles = {name: str(index) for index, name in enumerate(frames.PROFILES)}
    found: dict[tuple[str, str], dict[str, list[Family]]] = {}
    for key in sorted(members, key=lambda key: (*key[:3], profiles.get(key[3], key[3]), *key[4:])):
        families = found.setdefault((key[0], key[1]), {}).setdefault(key[2], [])
        families.append(_family(members[key], by_id))
    return [Study(*key, {name: tuple(families) for name, families in of.items()}) for key, of in found.items()]


def _family(records: Sequence[Record], by_id: dict[str, Record]) -> Family:
    first = min(records, key=lambda record: (record.status != "measured", record.cell.id))
    cell, metric = first.cell, frames.headline(first)
    given = first.protocol.get("ablation")
    facts: dict[str, Any] = given if isinstance(given, dict) else {}
    found = {base.cell.id: base for base in (_base(record, by_id) for record in records) if base}
    unchanged = sorted(found.values(), key=_seed)
    levels = [_level(members, by_id, metric) for members in _by_level(records)]
    listed = facts.get("levels")
    order = [frames.text(name) for name in listed] if isinstance(listed, list) else []
    levels.sort(key=lambda level: (order.index(level.name) if level.name in order else len(order), level.name))
    base = Level("", tuple(unchanged), _values(unchanged, metric), {})
    where = (cell.architecture, cell.framework, cell.profile, cell.hardware)
    return Family(cell.factor, facts, *where, metric, base, tuple(_corrected(levels)))


def _base(record: Record, by_id: dict[str, Record]) -> Record | None:
    """The record of the unchanged recipe that a record names, if it is of the same kind of run."""
    found, cell = by_id.get(record.cell.base), record.cell
    if found is None or found.cell.factor:
        return None
    same = ("architecture", "framework", "seed", "profile", "hardware")
    return found if all(getattr(found.cell, name) == getattr(cell, name) for name in same) else None


def _by_level(records: Sequence[Record]) -> list[list[Record]]:
    """Records of one level, recipe and protocol; a record without a value joins the seeds that it was meant for."""
    found: dict[tuple[str, str, str], list[Record]] = {}
    known: dict[tuple[str, str], str] = {}
    for record in sorted(records, key=lambda record: (record.status != "measured", *_seed(record))):
        key = (record.cell.level, frames.fingerprint(record.recipe))
        protocol = known.setdefault(key, _protocol(record))
        found.setdefault((*key, _protocol(record) if record.status == "measured" else protocol), []).append(record)
    return [sorted(members, key=_seed) for members in found.values()]


def _level(records: Sequence[Record], by_id: dict[str, Record], metric: str) -> Level:
    """One level beside its base: what it changes, and its effect unless a seed of either side failed or did not end."""
    beside = [(record, _base(record, by_id)) for record in records]
    pairs = [(record, base) for record, base in beside if base]
    changes = _changes(*pairs[0]) if pairs else {}
    whole = not any(record.status in UNENDED for pair in pairs for record in pair)
    both = [pair for pair in pairs if all(_values([record], metric) for record in pair)]
    both = [(own, base) for own, base in both if _protocol(own) == _protocol(base)]
    ours, theirs = (_values((pair[side] for pair in both), metric) for side in (0, 1))
    return Level(
        name=records[0].cell.level,
        records=tuple(records),
        values=_values(records, metric),
        changes=changes,
        pairs=tuple(both),
        effect=paired_effect(ours, theirs) if both and whole else None,
        examples=_examples(*both[0]) if both else None,
        seconds_ratio=_seconds_ratio(both),
    )


def _corrected(levels: Sequence[Level]) -> list[Level]:
    """The levels of a family with the p-values that Holm's correction gives."""
    raw = {i: level.effect.p for i, level in enumerate(levels) if level.effect and level.effect.p is not None}
    adjusted = dict(zip(raw, holm(list(raw.values())) if raw else (), strict=True))
    return [replace(level, p=float(adjusted[i])) if i in adjusted else level for i, level in enumerate(levels)]


def _seed(record: Record) -> tuple[int, str]:
    return record.cell.seed, record.cell.id


def _values(records: Iterable[Record], metric: str) -> tuple[float, ...]:
    found = [frames.shown(r.metrics.get(metric), metric) for r in records if r.status == "measured"]
    return tuple(value for value in found if value is not None)


def _protocol(record: Record) -> str:
    """The fingerprint of what decides whether numbers may be compared, leaving out how a level departs from a paper."""
    own = ("ablation", "differences", "comparable_to")
    return frames.fingerprint({key: value for key, value in record.protocol.items() if key not in own})


def _changes(record: Record, base: Record) -> dict[str, str]:
    """The values of a recipe that differ from the base's, as "16 → 32", by the names of their fields; only the new one
    where the base's recipe does not write it, being the default."""
    ours, theirs = (dict(frames.leaves({**r.recipe, "source": None})) for r in (record, base))
    names = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    before = {name: f"{theirs[name]} → " if name in theirs else "" for name in names}
    return {name: before[name] + ours.get(name, "–") for name in names}


def _examples(record: Record, base: Record) -> ExampleComparison | None:
    """Both models on the examples of the same test split, where the records say which they get right."""
    ours, theirs = record.predictions, base.predictions
    if not ours or not theirs or (ours.split, ours.labels_sha256) != (theirs.split, theirs.labels_sha256):
        return None
    first, second = decode_correct(ours), decode_correct(theirs)
    if first is None or second is None or len(first) != len(second) or not len(first):
        return None
    return paired_examples(first, second)


def _seconds_ratio(pairs: Sequence[tuple[Record, Record]]) -> float | None:
    """The median over seeds of how long an update takes, relative to the base on the same machine."""
    found = []
    for record, base in pairs:
        ours, theirs = (frames.shown(r.timing.get("step_seconds_p50"), "") for r in (record, base))
        shared = contended.why(record) or contended.why(base)
        if ours and theirs and not shared and frames.machine(record) == frames.machine(base):
            found.append(ours / theirs)
    return float(np.median(found)) if found else None
