"""Accuracies at a fraction of the sampling rate, without training at it: a table for the page of a task."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from reports import frames, tables
from reports.blocks import Block, Cell, Column, Heading, Row, Span, Table, plain
from reports.frames import Entry, Group
from reports.published import Number, Published
from reports.records import STARTED
from reports.statistics import summarize
from reports.verdicts import judge

METRIC = "resampled_test_accuracy"
PUBLISHED_AS = {"speech.sc35": "speech.sc35_8khz"}
"""Under which name the published numbers of a task at the lower rate stand. None of S5 has a spread, so that no verdict
here claims anything that would have to hold beside the others of its benchmark."""


def blocks(task: str, groups: Sequence[Group], published: Published) -> Iterator[Block]:
    """What trained models make of every k-th sample of the test split; nothing where none was asked."""
    rows = []
    for group in groups:
        found = {name: _values(group, name) for name in group.entries}
        if not any(found.values()):
            continue
        every = {k for record in group.records if isinstance(k := record.recipe.get("resampling"), int)}
        kept = ", ".join(f"1 of {k}" for k in sorted(every))
        pairs = published.on_task(PUBLISHED_AS.get(task, ""))
        known = next((pair for pair in pairs if pair[1].architecture == group.architecture), None)
        values = [_cell(found.get(name, [])) for name in frames.FRAMEWORKS]
        beside = (tables.published_cell(known), tables.verdict_cell(_judged(group, known[1] if known else None, found)))
        rows.append(Row((plain(group.title), plain(group.profile), plain(kept), *values, *beside)))
    if rows:
        columns = (
            Column("Architecture"),
            Column("Profile"),
            Column("Samples kept"),
            *(Column(tables.title(name), numeric=True, sorts=tables.one_kind(groups)) for name in frames.FRAMEWORKS),
            Column("Published", numeric=True),
            Column("Verdict", grow=True),
        )
        yield Heading("At a lower sampling rate, without training at it", anchor="resampled")
        yield Table("Test accuracy, %, of the trained models on every k-th sample", columns, tuple(rows))


def _judged(group: Group, number: Number | None, found: dict[str, list[float]]) -> Group:
    """The group with its accuracies at the lower rate, and their verdicts against the number published at that rate."""
    entries: dict[str, Entry] = {}
    for name, entry in group.entries.items():
        verdict = judge(
            found[name],
            number,
            benchmark=group.benchmark,
            metric="accuracy",
            profile=group.profile,
            comparable_to=frames.text(group.protocol.get("comparable_to")),
            failed=sum(record.status in STARTED for record in entry.records) - len(found[name]),
            why=frames.text(group.protocol.get("not_comparable")),
            contradiction=frames.contradiction(entry.records),
        )
        entries[name] = replace(entry, values=tuple(found[name]), verdict=verdict)
    return replace(group, entries=entries)


def _values(group: Group, framework: str) -> list[float]:
    measured = [record.metrics.get(METRIC) for record in group.entries[framework].with_status("measured")]
    return [value for found in measured if (value := frames.shown(found, METRIC)) is not None]


def _cell(values: list[float]) -> Cell:
    if not values:
        return Cell((Span("–", style="quiet"),))
    sample = summarize(values)
    spread = "" if sample.std is None else f" ± {sample.std:.2f}"
    told = (Span(f"{sample.mean:.2f}{spread}", "", "value"), Span(f"n = {sample.n}", "", "quiet", line=True))
    return Cell(told, sample.mean)
