"""Two sets of records, of two commits or machines say: which cells are the same, and what came out of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports import contended, frames
from reports.records import Record, decode_correct
from reports.statistics import Effect, ExampleComparison, holm, paired_effect, paired_examples

Key = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """The records of one cell in both sets."""

    first: Record
    second: Record

    @property
    def label(self) -> str:
        """The cell in words."""
        return label(self.first)

    @property
    def metrics(self) -> list[str]:
        """Metrics of either side, the headline first."""
        head = frames.headline(self.second)
        found = {*self.first.metrics, *self.second.metrics}
        return sorted(found, key=lambda name: (name != head, name))

    @property
    def same_protocol(self) -> bool:
        """Whether both models were asked the same, however they were trained, so that their numbers may be compared."""
        return frames.examination(self.first.protocol) == frames.examination(self.second.protocol)

    @property
    def same_machine(self) -> bool:
        """Whether both were measured on the same kind of machine, so that their times may be set against each other."""
        known = [machine(record) for record in (self.first, self.second)]
        return None not in known and known[0] == known[1]


@dataclass(frozen=True)
class Comparison:
    """Cells of both sets, those of one set only, and names of the sets."""

    names: tuple[str, str]
    pairs: tuple[Pair, ...]
    alone: tuple[tuple[Record, ...], tuple[Record, ...]]


@dataclass(frozen=True)
class SeedTest:
    """The difference of a headline metric over seeds, in its displayed unit, second minus first; p adjusted by Holm."""

    label: str
    metric: str
    effect: Effect
    adjusted: float | None = None


@dataclass(frozen=True)
class ExampleTest:
    """Second against first on the same examples; p adjusted by Holm."""

    pair: Pair
    result: ExampleComparison
    adjusted: float = 1.0


def label(record: Record) -> str:
    """A cell in words."""
    cell = record.cell
    changed = f", {cell.factor} = {cell.level}" if cell.factor else ""
    return f"{cell.task} {cell.architecture} {cell.framework} seed {cell.seed} {cell.profile}{changed}"


def machine(record: Record) -> str | None:
    """What decides times of a record, None where it does not say."""
    found = record.provenance.get("hardware")
    if not isinstance(found, dict) or not found.get("cpu"):
        return None
    facts = [record.cell.hardware, *(found.get(name) for name in ("system", "machine", "cpu", "cores", "gpus", "tpu"))]
    return frames.text([*facts, record.provenance.get("environment")])


def compare(first: Sequence[Record], second: Sequence[Record], names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Pair the cells of two sets by what they are: task, architecture, profile, framework, seed, factor and level.

    Where a set has several of one kind, with other recipes, those with the same id are paired, then those with the same
    recipe, then the only one that is left on each side.
    """
    sides = [_by_key(first), _by_key(second)]
    pairs, alone = [], ([], [])
    for key in sorted({*sides[0], *sides[1]}):
        left, right = (list(side.get(key, [])) for side in sides)
        for same in (_same_id, _same_recipe):
            for one in list(left):
                other = next((record for record in right if same(one, record)), None)
                if other is not None:
                    pairs.append(Pair(one, other))
                    left.remove(one)
                    right.remove(other)
        if len(left) == len(right) == 1:
            pairs.append(Pair(left.pop(), right.pop()))
        alone[0].extend(left)
        alone[1].extend(right)
    return Comparison(names, tuple(pairs), (tuple(alone[0]), tuple(alone[1])))


def _by_key(found: Sequence[Record]) -> dict[Key, list[Record]]:
    members: dict[Key, list[Record]] = {}
    for record in sorted(found, key=lambda record: record.cell.id):
        cell = record.cell
        seed = f"{cell.seed:09d}"
        key = (cell.task, cell.architecture, cell.profile, cell.factor, cell.level, cell.framework, seed)
        members.setdefault(key, []).append(record)
    return members


def _same_id(one: Record, other: Record) -> bool:
    return one.cell.id == other.cell.id


def _same_recipe(one: Record, other: Record) -> bool:
    return frames.fingerprint(one.recipe) == frames.fingerprint(other.recipe)


def seed_tests(comparison: Comparison) -> list[SeedTest]:
    """The headline metric of every kind of cell, paired by seed; nothing of protocols that differ."""
    members: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for pair in comparison.pairs:
        metric = frames.headline(pair.second)
        values = [frames.shown(side.metrics.get(metric), metric) for side in (pair.first, pair.second)]
        if pair.same_protocol and values[0] is not None and values[1] is not None:
            words = pair.label.replace(f" seed {pair.first.cell.seed} ", " ", 1)
            members.setdefault((words, metric), []).append((values[0], values[1]))
    found = []
    for (words, metric), values in members.items():
        effect = paired_effect([after for _, after in values], [before for before, _ in values])
        found.append(SeedTest(words, metric, effect))
    tested = [test for test in found if test.effect.p is not None]
    adjusted = dict(
        zip(map(id, tested), holm([test.effect.p or 0.0 for test in tested]) if tested else [], strict=True)
    )
    return [replace(test, adjusted=float(adjusted[id(test)])) if id(test) in adjusted else test for test in found]


def example_tests(comparison: Comparison) -> list[ExampleTest]:
    """Pairs whose predictions are of the same examples under the same protocol."""
    found = []
    for pair in comparison.pairs:
        kept = [side.predictions for side in (pair.first, pair.second)]
        if kept[0] is None or kept[1] is None or not pair.same_protocol:
            continue
        same = [(one.split, one.count, one.labels_sha256) for one in kept if one is not None]
        right = [decode_correct(one) for one in kept if one is not None]
        if same[0] == same[1] and right[0] is not None and right[1] is not None:
            found.append(ExampleTest(pair, paired_examples(right[1], right[0])))
    adjusted = holm([test.result.p for test in found]).tolist() if found else []
    return [replace(test, adjusted=p) for test, p in zip(found, adjusted, strict=True)]


@dataclass(frozen=True)
class Time:
    """A time on both sides, with the quantiles of 20 and 80 % where there are any; in the unit of `what`."""

    pair: Pair
    what: str
    values: tuple[float, float]
    spreads: tuple[tuple[float, float], tuple[float, float]] | None = None

    @property
    def unfit(self) -> str:
        """Why the times of a side are none, as it shared its device; empty where they stand."""
        sides = zip("AB", (contended.why(self.pair.first), contended.why(self.pair.second)), strict=True)
        return "; ".join(f"{name}: {why}" for name, why in sides if why)

    @property
    def judgment(self) -> str:
        """What may be said of the two; nothing of times of different machines, or of a device that was shared."""
        if self.unfit:
            return f"not compared, {self.unfit}"
        if not self.pair.same_machine:
            return "other machine: not compared"
        if self.spreads is None:
            return ""
        (low, high), (other_low, other_high) = self.spreads
        if high < other_low:
            return "B is slower"
        return "B is faster" if other_high < low else "within the spread"


def times(comparison: Comparison) -> list[Time]:
    """Every time that both records of a pair have: of an update, and of layers in turn."""
    found = []
    for pair in comparison.pairs:
        found += _time(
            pair, "update, ms", [_quantiles(side.timing, "step_seconds_p", 1e3) for side in (pair.first, pair.second)]
        )
        rows = [{_what(row): row for row in side.tables.get("layer_speed", [])} for side in (pair.first, pair.second)]
        for what in rows[0]:
            if what in rows[1]:
                found += _time(pair, f"{what}, ms", [_quantiles(side[what], "ms_p", 1.0) for side in rows])
    return found


def _what(row: dict[str, Any]) -> str:
    return ", ".join(frames.text(row.get(name)) for name in ("layer", "mode", "length"))


def _quantiles(values: dict[str, Any], prefix: str, factor: float) -> list[float | None]:
    found = [frames.shown(values.get(f"{prefix}{p}"), "") for p in (20, 50, 80)]
    return [None if value is None else factor * value for value in found]


def _time(pair: Pair, what: str, sides: Sequence[Sequence[float | None]]) -> list[Time]:
    (low, middle, high), (other_low, other_middle, other_high) = sides
    if middle is None or other_middle is None:
        return []
    if low is None or high is None or other_low is None or other_high is None:
        return [Time(pair, what, (middle, other_middle))]
    return [Time(pair, what, (middle, other_middle), ((low, high), (other_low, other_high)))]


@dataclass(frozen=True)
class Difference:
    """A field that is not the same on both sides, and the cells of which that holds."""

    field: str
    values: tuple[str, str]
    cells: tuple[str, ...]


def differences(comparison: Comparison) -> list[Difference]:
    """Recipes and protocols, field by field, and commits, versions and hardware; what many cells share is told once."""
    members: dict[tuple[str, str, str], list[str]] = {}
    for pair in comparison.pairs:
        sides = [dict(_fields(side)) for side in (pair.first, pair.second)]
        for field in sorted({*sides[0], *sides[1]}):
            values = [side.get(field, "absent") for side in sides]
            if values[0] != values[1]:
                members.setdefault((field, values[0], values[1]), []).append(pair.label)
    return [Difference(field, (one, other), tuple(cells)) for (field, one, other), cells in sorted(members.items())]


def _fields(record: Record) -> list[tuple[str, str]]:
    recipe = {name: value for name, value in record.recipe.items() if name != "source"}
    origin = {name: record.provenance.get(name) for name in ("commit", "versions", "hardware", "environment", "data")}
    found = [*frames.leaves(recipe, "recipe"), *frames.leaves(record.protocol, "protocol")]
    return [*found, *frames.leaves({name: value for name, value in origin.items() if value}, "provenance")]
