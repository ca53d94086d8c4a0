"""Layer speed: what the records of benchmark `speed` measured, as frames, ratios and a page."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from reports import figures, frames, tables
from reports.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Figures,
    Heading,
    Items,
    Page,
    Paragraph,
    Row,
    Span,
    Table,
    chip,
    number,
    plain,
)
from reports.records import Record
from reports.render import slug
from reports.statistics import PowerLaw, power_law

TABLE = "layer_speed"
TIMES = ("ms_p20", "ms_p50", "ms_p80")
NUMBERS = (*TIMES, "ratio_to_first", "roofline_share", "tokens_per_second", "memory_bytes", "compile_seconds")
GROWTH_POINTS = 4
"""Growth is fitted through the medians of the last so many lengths, where fixed costs matter least."""
LEAD = (
    "One layer alone, against the length of its input: median of turns in which the layers follow one another, with "
    "the 20 % and 80 % quantiles. Times of different machines or frameworks are never set against each other."
)


@dataclass(frozen=True)
class SpeedRun:
    """Layers timed in one way on one machine, each beside the same first layer, which is the measure.

    `records`: one, or several that timed other layers beside that first one, each in a process of its own. `points` has
    a row per mode, layer and length; the rows of the first layer are those of the first record, the ratios those within
    each record. `spread`: largest share by which a median of the first layer differs between the records.
    """

    records: tuple[Record, ...]
    points: pd.DataFrame
    spread: float = 0.0

    @property
    def record(self) -> Record:
        """The first record, which stands for what all share."""
        return self.records[0]

    @property
    def layers(self) -> list[str]:
        """Layers in the order in which they were measured."""
        return list(dict.fromkeys(self.points["layer"]))

    @property
    def modes(self) -> list[str]:
        """What was timed."""
        return list(dict.fromkeys(self.points["mode"]))

    @property
    def lengths(self) -> list[int]:
        """Every length, the shortest first."""
        return sorted(set(self.points["length"]))

    @property
    def title(self) -> str:
        """The run in words; where it times single layers beside the same first one, which."""
        cell, others = self.record.cell, self.layers[1:]
        of = f" of {', '.join(others)}" if cell.task == "speed.layer" and others else ""
        return f"{cell.task}{of}, {tables.title(cell.framework)}, {frames.machine(self.record)}"

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return f"speed-{self.record.cell.id}"

    def times(self, stack: Mapping[str, int], mode: str) -> dict[int, float]:
        """Length -> sum of the median times of so many of each layer, where all of them were measured."""
        rows = self.points.loc[self.points["mode"] == mode].to_dict("records")
        times = {(row["layer"], row["length"]): row["ms_p50"] for row in rows}
        whole = [n for n in self.lengths if all((layer, n) in times for layer in stack)]
        return {n: sum(count * times[layer, n] for layer, count in stack.items()) for n in whole}

    def ratios(self, slower: Mapping[str, int], faster: Mapping[str, int], mode: str = "forward") -> dict[int, float]:
        """Length -> time of the layers `slower` over that of the layers `faster`, where all were measured."""
        above, below = self.times(slower, mode), self.times(faster, mode)
        return {length: above[length] / below[length] for length in above if length in below}

    def growth(self, layer: str, mode: str) -> tuple[list[int], PowerLaw] | None:
        """The longest lengths of a layer and the power law of its time over them; None where there is one length."""
        own = self.points.loc[(self.points["layer"] == layer) & (self.points["mode"] == mode)]
        times = {int(row["length"]): float(row["ms_p50"]) for row in own.to_dict("records")}
        lengths = sorted(times)[-GROWTH_POINTS:]
        return (lengths, power_law(lengths, [times[n] for n in lengths])) if len(lengths) > 1 else None


def runs(records: Sequence[Record]) -> list[SpeedRun]:
    """What was measured of the speed of layers by task, framework and architecture, each comparison joined."""
    found = [SpeedRun((record,), measurements(record)) for record in records if TABLE in record.tables]
    order = [run for run in found if len(run.points)]
    order.sort(key=lambda run: tuple(getattr(run.record.cell, n) for n in ("task", "framework", "architecture", "id")))
    joined: dict[tuple[str, ...], list[SpeedRun]] = {}
    for run in order:
        parts = joined.setdefault(_way(run), [])
        others = {layer for part in parts for layer in part.layers[1:]}
        if others & set(run.layers):
            joined[(*_way(run), run.record.cell.id)] = [run]
        else:
            parts.append(run)
    return [_join(parts) for parts in joined.values()]


def _way(run: SpeedRun) -> tuple[str, ...]:
    """What records share that are joined: all of how they were timed but the layers beside the first."""
    record, first = run.record, run.layers[0]
    cell, provenance = record.cell, record.provenance
    layers = record.recipe.get("layers")
    settings = {**record.recipe, "layers": layers.get(first) if isinstance(layers, dict) else None}
    alone = "" if record.status == "measured" else cell.id
    names = (cell.task, cell.framework, cell.hardware, cell.profile, frames.machine(record), first, alone)
    facts = (settings, record.protocol, *(provenance.get(name) for name in ("commit", "environment", "versions")))
    return (*names, *(frames.text(fact) for fact in facts))


def _join(parts: Sequence[SpeedRun]) -> SpeedRun:
    """One run of the records of a comparison."""
    first = parts[0].layers[0]
    medians: dict[tuple[str, int], list[float]] = {}
    for row in (row for part in parts for row in part.points.to_dict("records") if row["layer"] == first):
        medians.setdefault((row["mode"], row["length"]), []).append(row["ms_p50"])
    rest = [part.points.loc[part.points["layer"] != first] for part in parts[1:]]
    points = pd.concat([parts[0].points, *rest], ignore_index=True)
    records = tuple(record for part in parts for record in part.records)
    return SpeedRun(records, points, max(max(times) / min(times) for times in medians.values()) - 1)


def measurements(record: Record) -> pd.DataFrame:
    """The rows of a record that hold a time which stands: layer, mode, length and numbers, NaN where there is none."""
    rows = []
    for row in record.tables.get(TABLE, []):
        length, layer = row.get("length"), row.get("layer")
        found = {name: _number(row.get(name)) for name in NUMBERS}
        if not isinstance(layer, str) or isinstance(length, bool) or not isinstance(length, int) or length < 1:
            continue
        if all(found[name] > 0 for name in TIMES):
            mode = row.get("mode")
            told = {"mode": mode if isinstance(mode, str) else "", "cached": from_cache(record, row)}
            rows.append({"layer": layer, "length": length, **told, **found})
    return pd.DataFrame(rows, columns=["layer", "mode", "length", *NUMBERS, "cached"])


def from_cache(record: Record, row: Mapping[str, object]) -> bool:
    """Whether a program may have come from a cache: JAX measures its compilation unless one is set."""
    return record.cell.framework == "jax" and row.get("compile_seconds", 0) is None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return math.nan
    return float(value)


def speed_page(records: Sequence[Record]) -> Page:
    """Every run with its figure, ratios, share of the roofline, memory and compile time."""
    found = runs(records)
    blocks: list[Block] = [Paragraph((Span(LEAD),), "lead")]
    if not found:
        blocks.append(Paragraph((chip("not run"), Span("This would measure every layer on this machine:"))))
        blocks.append(Code(tables.run_command(benchmarks="speed", profile="smoke")))
    else:
        blocks += [summary(found), *legend(found)]
    for run in found:
        blocks += run_blocks(run)
    return Page("speed", "Layer speed", "speed", tuple(blocks))


def summary(found: Sequence[SpeedRun]) -> Table:
    """One row per run."""
    columns = (
        Column("Run"),
        Column("Status", grow=True),
        Column("Modes"),
        Column("Lengths"),
        Column("Gate against the oracle"),
        Column("Record"),
    )
    rows = []
    for run in found:
        record = run.record
        gate = [row for one in run.records for row in one.tables.get("gate", [])]
        passed = sum(row.get("passed") is True for row in gate)
        told = (chip(record.status), *([Span(tables.reason(record), "", "quiet")] if record.reason else []))
        cells = (
            plain(run.title, f"#{run.anchor}"),
            Cell(told),
            plain(", ".join(run.modes)),
            plain(f"{run.lengths[0]:,} to {run.lengths[-1]:,}"),
            plain(f"{passed} of {len(gate)} layers pass" if gate else "–"),
            Cell(tuple(Span(one.cell.id, tables.cell_path(one), line=n > 0) for n, one in enumerate(run.records))),
        )
        rows.append(Row(cells))
    return Table("What was measured", columns, tuple(rows), "dense")


VARIANTS = {"SH": "single-head", "MH": "multi-head", "MF": "multi-filter"}
LAYERS = {
    "Slide": "Transformer layer with a sliding window, without any state",
    "BRECT": "Block-Recurrent Transformer layer",
    "einsum": "the sliding-window layer with its attention written as matrix products over blocks",
    "fused": "the same layer with the framework's fused attention kernel",
    "flex": "the same layer with PyTorch's FlexAttention, compiled for its mask",
    "every token": "SeqBoat with its attention on every token",
}
"""Names of layers on the page of speed, in words."""


def meaning(layer: str) -> str:
    """What a layer of the page is; empty for one that has the name of its architecture."""
    if match := re.fullmatch(r"about (\d+) %", layer):
        return f"SeqBoat whose initial gate lets about {match[1]} % of the tokens through to its attention"
    if match := re.fullmatch(r"XL:(\d+)", layer):
        return f"Transformer-XL layer with a window of {int(match[1]):,}"
    if match := re.fullmatch(r"BST:(SH|MH|MF):(\w+)", layer):
        return f"Block-State Transformer layer, {VARIANTS[match[1]]}, whose states come from {match[2]}"
    return LAYERS.get(layer, "")


def legend(found: Sequence[SpeedRun]) -> Iterator[Block]:
    """What the names of the layers stand for."""
    names = dict.fromkeys(layer for run in found for layer in run.layers)
    told = [(Span(name, "", "strong"), Span(meaning(name))) for name in names if meaning(name)]
    if told:
        yield Heading("Names of layers", anchor="layers")
        yield Items(tuple(told))


def run_blocks(run: SpeedRun) -> Iterator[Block]:
    """One run: figure and ratios per mode, then every measurement."""
    yield Heading(run.title, anchor=run.anchor)
    record = run.record
    if record.status != "measured":
        told = (
            f"The run did not end ({tables.reason(record) or record.status}); what it had measured until then is shown."
        )
        yield Paragraph((chip(record.status), Span(told)))
    if len(run.records) > 1:
        told = (
            f"Each of the other layers was timed in turn with {run.layers[0]} in a process of its own, and its ratios "
            f"are those within that process. Times of {run.layers[0]} are those of the first of the {len(run.records)} "
            f"processes; between them its medians differ by up to {100 * run.spread:.1f} %."
        )
        yield Paragraph((Span(told),), "note")
    made = []
    for mode in run.modes:
        points = run.points.loc[run.points["mode"] == mode]
        made.append(figures.layer_speed(points, slug(f"speed-{record.cell.id}-{mode}"), f"{mode or 'time'}"))
    yield Figures(tuple(made))
    for mode in run.modes:
        yield ratio_table(run, mode)
    if len(run.lengths) > 1:
        yield growth_table(run)
    yield measurement_table(run)
    facts = [
        (Span(f"{name}:", "", "strong"), Span(frames.text(value)))
        for name, value in sorted(record.protocol.items())
        if name not in ("metric", "name", "comparable_to", "differences")
    ]
    if facts:
        yield Items(tuple(facts), style="note")


def ratio_table(run: SpeedRun, mode: str) -> Table:
    """Times of the first layer, and those of the others over it within the same turns."""
    points = run.points.loc[run.points["mode"] == mode]
    first, *others = list(dict.fromkeys(points["layer"]))
    columns = (
        Column("Length", numeric=True),
        Column(f"{first}, ms", numeric=True),
        *(Column(f"{layer}, times {first}", numeric=True) for layer in others),
    )
    rows = []
    for length in sorted(set(points["length"])):
        at = {row["layer"]: row for row in points.loc[points["length"] == length].to_dict("records")}
        cells = [number(at[first]["ms_p50"] if first in at else None, 3)]
        cells += [number(_finite(at[layer]["ratio_to_first"]) if layer in at else None) for layer in others]
        rows.append(Row((Cell((Span(f"{length:,}"),), length), *cells)))
    return Table(f"Ratios of median times within a turn, {mode or 'time'}: above 1 is slower", columns, tuple(rows))


def growth_table(run: SpeedRun) -> Table:
    """How the time of every layer grows with length, in every mode."""
    columns = (
        Column("Layer"),
        Column("Mode"),
        Column("Exponent", numeric=True),
        Column("95 % interval", numeric=True),
        Column("Lengths", numeric=True),
        Column("Points", numeric=True),
    )
    rows = []
    for layer, mode in itertools.product(run.layers, run.modes):
        found = run.growth(layer, mode)
        if found is None:
            continue
        lengths, law = found
        interval = f"{law.low:.2f} to {law.high:.2f}" if law.low is not None else "–"
        numbers = [(f"{law.exponent:.2f}", law.exponent), (interval, law.low)]
        told = [Cell((Span(words.replace("-", "−")),), value) for words, value in numbers]
        span = Cell((Span(f"{lengths[0]:,} to {lengths[-1]:,}"),), lengths[-1])
        rows.append(Row((plain(layer), plain(mode), *told, span, plain(str(law.n)))))
    caption = (
        f"Growth of the time with length: exponent of a power law through the medians of the longest {GROWTH_POINTS} "
        "lengths, 1 where time is proportional to length; Student's t interval from how far they are from one line"
    )
    return Table(caption, columns, tuple(rows))


def measurement_table(run: SpeedRun) -> Table:
    """Every measurement."""
    columns = (
        Column("Layer"),
        Column("Mode"),
        Column("Length", numeric=True),
        Column("Median, ms", numeric=True),
        Column("20 % to 80 %, ms", numeric=True),
        Column("Tokens per second", numeric=True),
        Column("Share of roofline, %", numeric=True),
        Column("Memory, MiB", numeric=True),
        Column("Compile, s", numeric=True),
    )
    rows = []
    for row in run.points.to_dict("records"):
        share, memory = _finite(row["roofline_share"]), _finite(row["memory_bytes"])
        tokens = _finite(row["tokens_per_second"])
        cells = (
            plain(row["layer"]),
            plain(row["mode"]),
            Cell((Span(f"{row['length']:,}"),), row["length"]),
            number(row["ms_p50"], 3),
            Cell((Span(f"{row['ms_p20']:.3f} to {row['ms_p80']:.3f}"),), row["ms_p20"]),
            Cell((Span("–" if tokens is None else f"{tokens:,.0f}"),), "" if tokens is None else tokens),
            number(None if share is None else 100 * share, 1),
            number(None if memory is None else memory / 2**20, 0),
            plain("from a cache", style="quiet") if row["cached"] else number(_finite(row["compile_seconds"]), 1),
        )
        rows.append(Row(cells))
    folded = f"Every measurement: {len(rows)} rows"
    return Table("Every measurement of this run", columns, tuple(rows), folded=folded)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
