"""Language models in the report: perplexities in every unit, learning curves, perplexity by position.

Numbers stand side by side only where task, profile and protocol are the same: text, tokenizer, split, evaluation. How
the recipes differ from published ones is no part of that, so that architectures meet in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from reports import frames, tables
from reports.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Figures,
    Heading,
    Items,
    Paragraph,
    Row,
    Span,
    Table,
    number,
    plain,
)
from reports.figures import COLOURS, MARKERS, OTHER, PUBLISHED, _legend, _length_ticks, _log_ticks, _plain, _svg
from reports.frames import Entry, Group
from reports.records import Record
from reports.render import slug
from reports.statistics import summarize

BY_TITLE = attrgetter("title")
METRICS = {
    "bits_per_byte": ("Bits per byte", 3),
    "token_perplexity": ("Token perplexity", 2),
    "word_perplexity": ("Word perplexity", 1),
}
ASIDE = ("differences", "comparable_to", "not_comparable", "training")
"""Of the protocol, what tells how a model was trained and not what was measured."""
FACTS = (
    "tokenizer",
    "vocabulary_size",
    "split_rule",
    "document_definition",
    "word_definition",
    "evaluation",
    "lengths",
    "selection",
    "published_tables",
)
LINES = [
    (colour, style)
    for style in ("-", (0, (4, 2)))
    for colour in (COLOURS["jax"], COLOURS["torch"], OTHER, PUBLISHED, "#b8860b", "#c2477f")
]
POSITIONS, LENGTHS = "perplexity_by_position", "perplexity_by_length"


def sections(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups of language models that may stand in one table, by task, profile and protocol, the largest first."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        if group.benchmark not in frames.LANGUAGE or not any(entry.values for entry in group.entries.values()):
            continue
        measured = {key: value for key, value in group.protocol.items() if key not in ASIDE}
        found.setdefault((group.task, group.profile, frames.fingerprint(measured)), []).append(group)
    return [found[key] for key in sorted(found, key=lambda key: (*key[:2], -len(found[key]), key[2]))]


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The fields in which two protocols measure something else."""
    return sorted(key for key in {*one, *other} - set(ASIDE) if one.get(key) != other.get(key))


def perplexities(groups: Sequence[Group]) -> list[Block]:
    """What a page of a benchmark tells of its language models, in every unit; nothing where none was measured."""
    found = sections(groups)
    if not found:
        return []
    told = (
        "Every token of the test split is predicted once. Rows stand in one table only where text, tokenizer, split "
        "and evaluation are the same; they are in the order of their names, since recipes differ."
    )
    blocks: list[Block] = [Heading("Perplexities", anchor="perplexities"), Paragraph((Span(told),))]
    above: dict[str, dict[str, Any]] = {}
    for section in found:
        first = section[0]
        title = f"{first.task}, profile {first.profile}, {frames.text(first.protocol.get('name'))}"
        blocks.append(Heading(title))
        if title in above:
            names = ", ".join(name.replace("_", " ") for name in differing(above[title], first.protocol))
            blocks.append(Paragraph((Span(f"Apart from the table above, as the protocols differ in: {names}."),)))
        above[title] = first.protocol
        blocks += blocks_of(section)
    return [*blocks, Heading("Definitions"), definitions(found[0][0])]


def blocks_of(section: Sequence[Group]) -> list[Block]:
    """Table, figures and protocol of groups that may stand side by side."""
    protocol = section[0].protocol
    facts = {name: protocol[name] for name in FACTS if protocol.get(name) not in (None, "", [])}
    made = [figure for figure in (learning(section), by_position(section), by_length(section)) if figure]
    return [table(section), Figures(tuple(made)), tables.facts_table("What the numbers above have in common", facts)]


def definitions(group: Group) -> Items:
    """What each metric is, as the protocol says."""
    known = group.protocol.get("metric_definitions")
    told = known if isinstance(known, dict) else {}
    items = [(Span(name.replace("_", " "), "", "strong"), Span(frames.text(told[name]))) for name in sorted(told)]
    return Items(tuple(items))


def values(entry: Entry, metric: str) -> list[float]:
    """A metric of every seed that was measured."""
    found = [frames.shown(record.metrics.get(metric), metric) for record in entry.with_status("measured")]
    return [value for value in found if value is not None]


def table(section: Sequence[Group]) -> Table:
    """One row per architecture and framework: the metrics of the test split over all seeds."""
    rows = []
    for group in sorted(section, key=BY_TITLE):
        for entry in group.entries.values():
            if not entry.values:
                continue
            measured = entry.with_status("measured")
            seeds = [Span(str(record.cell.seed), tables.cell_path(record)) for record in measured]
            count = frames.shown(measured[0].metrics.get("parameter_count"), "")
            rows.append(
                Row(
                    (
                        plain(group.title, tables.architecture_path(group.architecture)),
                        plain(tables.title(entry.framework)),
                        *(mean_cell(values(entry, name), digits) for name, (_, digits) in METRICS.items()),
                        number(frames.shown(measured[0].metrics.get("unigram_bits_per_byte"), ""), 3),
                        Cell((Span("–" if count is None else f"{count:,.0f}"),), "" if count is None else count),
                        Cell(tuple(seeds)),
                        tables.published_cell(group.reference),
                    )
                )
            )
    columns = (
        Column("Architecture"),
        Column("Framework"),
        *(Column(title, numeric=True) for title, _ in METRICS.values()),
        Column("Unigram, bits per byte", numeric=True),
        Column("Parameters", numeric=True),
        Column("Seeds"),
        tables.published_column(section, "Published, same protocol"),
    )
    return Table("Test split, mean ± sample standard deviation over seeds", columns, tuple(rows))


def mean_cell(found: Sequence[float], digits: int) -> Cell:
    """Mean and spread."""
    if not found:
        return plain("–", style="quiet")
    sample = summarize(found)
    spread = "" if sample.std is None else f" ± {sample.std:.{digits}f}"
    return Cell((Span(f"{sample.mean:,.{digits}f}{spread}"),), sample.mean)


def learning(section: Sequence[Group]) -> Figure | None:
    """Validation bits per byte at every evaluation."""
    curves = [(group.title, over_seeds(group, _evaluations)) for group in sorted(section, key=BY_TITLE)]
    name = slug(f"language-{section[0].task}-{section[0].profile}-{frames.fingerprint(section[0].protocol)}-learning")
    caption = "Validation bits per byte against updates, by architecture: mean and range of the seeds of one framework."
    return _lines(curves, name, "update", "validation bits per byte", caption, logarithmic=False)


def by_position(section: Sequence[Group]) -> Figure | None:
    """Token perplexity on the test split by position, in bins that double."""
    curves = [(group.title, over_seeds(group, _positions)) for group in sorted(section, key=BY_TITLE)]
    name = slug(f"language-{section[0].task}-{section[0].profile}-{frames.fingerprint(section[0].protocol)}-position")
    strided = frames.text(section[0].protocol.get("evaluation")).startswith("windows")
    where = "position in the window" if strided else "position in the document"
    caption = f"Token perplexity on the test split by {where}: mean and range of the seeds of one framework."
    return _lines(curves, name, where, "token perplexity", caption, logarithmic=True)


def by_length(section: Sequence[Group]) -> Figure | None:
    """Bits per byte on the test split against how many tokens are read before the states are emptied."""
    curves = [(group.title, over_seeds(group, _lengths)) for group in sorted(section, key=BY_TITLE)]
    name = slug(f"language-{section[0].task}-{section[0].profile}-{frames.fingerprint(section[0].protocol)}-length")
    caption = (
        "Bits per byte on the test split against how many tokens are read from empty states; trained at one length. "
        "Mean and range of the seeds of one framework."
    )
    return _lines(curves, name, "tokens read from empty states", "bits per byte", caption, logarithmic=True)


def over_seeds(group: Group, points: Any) -> pd.DataFrame:
    """Mean, least and most of a curve over the measured seeds of the framework that has most of them."""
    entry = max(group.entries.values(), key=lambda entry: len(entry.values))
    found = [points(record) for record in entry.with_status("measured")]
    if not any(len(frame) for frame in found):
        return pd.DataFrame({"x": [], "mean": [], "low": [], "high": []})
    together = pd.concat([frame for frame in found if len(frame)]).groupby("x")["y"]
    return together.agg(mean="mean", low="min", high="max").reset_index()


def _evaluations(record: Record) -> pd.DataFrame:
    return frames.curve(record, "epoch_step", "validation_bits_per_byte")


def _positions(record: Record) -> pd.DataFrame:
    return _column(record, POSITIONS, "position_to", "token_perplexity")


def _lengths(record: Record) -> pd.DataFrame:
    return _column(record, LENGTHS, "length", "bits_per_byte")


def _column(record: Record, table: str, x: str, y: str) -> pd.DataFrame:
    rows = [(frames.shown(row.get(x), ""), frames.shown(row.get(y), "")) for row in record.tables.get(table, [])]
    known = [row for row in rows if row[0] is not None and row[1] is not None]
    return pd.DataFrame(known, columns=["x", "y"], dtype="float64")


def _lines(
    curves: Sequence[tuple[str, pd.DataFrame]], name: str, x: str, y: str, caption: str, logarithmic: bool
) -> Figure | None:
    shown = [(title, frame) for title, frame in curves if len(frame)]
    if not shown:
        return None

    def draw(axes: Axes) -> None:
        for index, (title, frame) in enumerate(shown):
            colour, style = LINES[index % len(LINES)]
            axes.plot(frame["x"], frame["mean"], color=colour, linestyle=style, linewidth=1.4,
                      marker=MARKERS[index % len(MARKERS)], markersize=3.4, label=_plain(title))  # fmt: skip
            axes.fill_between(frame["x"], frame["low"], frame["high"], color=colour, alpha=0.18, linewidth=0)
        if logarithmic:
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            _length_ticks(axes.xaxis)
            _log_ticks(axes.yaxis)
        else:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set(xlabel=x, ylabel=y)
        _legend(axes)

    last = "; ".join(f"{title} {frame['mean'].iloc[-1]:.4g}" for title, frame in shown)
    return Figure(name, _svg(draw, name, height=3.4), caption, f"Line chart, {y} against {x}. Last values: {last}.")
