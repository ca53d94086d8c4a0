"""The page of all cells: every record on one line, to be searched by any word of it."""

from collections.abc import Sequence

from reports import commits, frames, names, tables
from reports.blocks import Block, Cell, Code, Column, Page, Paragraph, Row, Span, Table, chip, plain
from reports.console import counted
from reports.frames import FRAMEWORKS
from reports.records import Record

LEAD = (
    "Every cell that has a record, whatever became of it. Numbers of different tasks or protocols are not to be ranked."
)


def cells_page(records: Sequence[Record]) -> Page:
    """Every record, or the command that makes some."""
    blocks: list[Block] = [Paragraph((Span(LEAD),), "lead")]
    if records:
        blocks.append(cells_table(records))
    else:
        blocks.append(Paragraph((chip("not run"), Span("This runs every benchmark in minutes to hours:"))))
        blocks.append(Code(f"{tables.run_command(profile='smoke')} --all"))
    return Page("cells", "Cells", "cells", tuple(blocks))


def cells_table(records: Sequence[Record]) -> Table:
    """One row per record, by task, architecture, framework, profile and seed."""
    columns = (
        Column("Cell"),
        Column("Status", grow=True),
        Column("Task"),
        Column("Architecture"),
        Column("Framework"),
        Column("Seed", numeric=True),
        Column("Profile"),
        Column("Headline metric", sorts=False),
        Column("Hardware, commit"),
    )
    rows = []
    for record in sorted(records, key=_order):
        cell = record.cell
        told = (frames.variant(record), f"{cell.factor} = {cell.level}" if cell.factor else "")
        changed = [Span(words, "", "quiet", line=True) for words in told if words]
        cells = (
            plain(cell.id, tables.cell_path(record)),
            Cell((chip(record.status), *([Span(tables.reason(record), "", "quiet")] if record.reason else []))),
            plain(cell.task),
            Cell((Span(cell.architecture, tables.architecture_path(cell.architecture)), *changed)),
            plain(tables.title(cell.framework)),
            Cell((Span(str(cell.seed)),), cell.seed),
            plain(cell.profile),
            headline_cell(record),
            Cell((Span(frames.machine(record)), *commits.of_record(record))),
        )
        rows.append(Row(cells))
    return Table(counted(len(rows), "cell"), columns, tuple(rows), "dense many", search="Search cells")


def _order(record: Record) -> tuple[object, ...]:
    cell = record.cell
    place = FRAMEWORKS.index(cell.framework) if cell.framework in FRAMEWORKS else len(FRAMEWORKS)
    return (
        cell.task,
        cell.architecture,
        cell.factor,
        cell.level,
        cell.profile,
        place,
        cell.framework,
        cell.seed,
        cell.id,
    )


def headline_cell(record: Record) -> Cell:
    """The number that stands for a record, with its name."""
    name = frames.headline(record)
    value = frames.shown(record.metrics.get(name), name)
    if value is None:
        return plain("–", style="quiet")
    words = Span(names.words(name), "", "quiet", line=True)
    return Cell((Span(frames.metric_text(name, record.metrics[name]), "", "value"), words), value)
