"""Tables of a report: one function per kind of table, one per kind of cell."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from reports import frames, names
from reports.blocks import Block, Cell, Code, Column, Heading, Items, Paragraph, Row, Span, Table, chip, number, plain
from reports.frames import FRAMEWORK_TITLE, FRAMEWORKS, Entry, Group
from reports.published import Number, PaperNumbers
from reports.records import Record
from reports.render import slug

WIDE, WIDEST, FEW, LONG = 10, 14, 6, 40
"""Open-ended tables of more columns than WIDE are set small; of more than WIDEST with few rows, a row is a column.
Columns that hold more than LONG letters go on in another line."""
ERRORS = ("error_jax", "error_torch", "error_between")


def title(framework: str) -> str:
    """A framework's name as it is printed; both of a cell that compares them."""
    return " and ".join(FRAMEWORK_TITLE.get(name, name) for name in framework.split("+"))


def task_path(task: str) -> str:
    """Page of a task."""
    return f"tasks/{slug(task)}.*"


def architecture_path(architecture: str) -> str:
    """Page of an architecture."""
    return f"architectures/{slug(architecture)}.*"


def cell_path(record: Record) -> str:
    """Page of a record; cell ids are valid file names (reports.records)."""
    return f"cells/{record.cell.id}.*"


def record_link(record: Record) -> Span:
    """A link to a record in words."""
    cell = record.cell
    return Span(f"Record of {cell.task}, {cell.architecture}, {title(cell.framework)}", cell_path(record))


def run_command(**selection: str | Sequence[str]) -> str:
    """The command that runs a selection."""
    parts = ["python", "-m", "suite.run"]
    for name, value in selection.items():
        parts += [f"--{name}", *([value] if isinstance(value, str) else value)]
    return shlex.join(parts)


def missing_commands(group: Group) -> list[str]:
    """The commands that run the seeds which one twin of a group has and the other lacks, and go on with those that are
    not finished, by the recipe of those that it has: what was changed of it is read from the command of a record."""
    twins = sorted(group.records, key=lambda record: record.status != "measured")
    changed = overrides(frames.text(twins[0].provenance.get("command"))) if twins else []
    seeds = {name: {record.cell.seed for record in group.entries[name].records} for name in FRAMEWORKS}
    found = []
    for name in FRAMEWORKS:
        entry = group.entries[name]
        ended, left = ({record.cell.seed for record in entry.with_status(s)} for s in ("measured", "not finished"))
        lacks = sorted((set().union(*seeds.values()) - seeds[name]) | (left - ended))
        if lacks:
            command = run_command(
                tasks=group.task,
                architectures=group.architecture,
                frameworks=name,
                seeds=[str(seed) for seed in lacks],
                profile=group.profile,
            )
            found.append(" ".join([command, *(f"--set {shlex.quote(one)}" for one in changed)]))
    return found


def overrides(command: str) -> list[str]:
    """The changes of recipes that a recorded command names after --set, in their order."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    found = []
    for word, following in pairwise([*words, ""]):
        if word == "--set":
            found.append(following)
        elif word.startswith("--set="):
            found.append(word.removeprefix("--set="))
    return found


def entry_cell(entry: Entry, group: Group) -> Cell:
    """One framework's result: value, seeds linked to their records, and a chip for everything that is not measured."""
    if not entry.records:
        return Cell((chip("not run"),))
    spans: list[Span] = []
    measured = [
        r for r in entry.with_status("measured") if frames.shown(r.metrics.get(group.metric), group.metric) is not None
    ]
    if entry.summary:
        spread = "" if entry.summary.std is None else f" ± {entry.summary.std:.{group.decimals}f}"
        href = cell_path(measured[0]) if len(measured) == 1 else ""
        spans.append(Span(f"{entry.summary.mean:.{group.decimals}f}{spread}", href, "value"))
        spans.append(Span(f"n = {entry.summary.n}, seed{'s' if len(measured) > 1 else ''}", "", "quiet", line=True))
        spans += [Span(str(record.cell.seed), cell_path(record), "quiet") for record in measured]
    for record in entry.records:
        if record not in measured:
            label = record.status if record.status != "measured" else "measured, no value"
            spans.append(Span(label, cell_path(record), "chip", label.replace(" ", "-").replace(",", ""), bool(spans)))
            if so_far := frames.reached(record, group.metric):
                told = (
                    f"seed {record.cell.seed}: {so_far[0]:.{group.decimals}f} after {so_far[1]} of {so_far[2]} epochs"
                )
                spans.append(Span(told, "", "quiet", line=True))
    return Cell(tuple(spans), entry.summary.mean if entry.summary else "")


LONGEST_REASON = 160
"""Characters of a reason that stand in a table; the page of its record has the whole of it."""


def reason(record: Record) -> str:
    """The first line of a record's reason, cut."""
    first = next(iter(record.reason.splitlines()), "")
    return first if len(first) <= LONGEST_REASON else f"{first[: LONGEST_REASON - 1]}…"


LONGEST_PRINTED = 12
"""Characters up to which what a paper prints in words stands in the column of values."""


def number_text(item: Number) -> str:
    """A published number with its std and dagger; a longer text of a paper is told beside it."""
    if item.value is None:
        short = item.printed if len(item.printed) <= LONGEST_PRINTED else "in words"
        return short + item.dagger if item.printed else "–"
    # Zeros at the end of what was printed are not transcribed: none is added but the one that shows a decimal.
    value = f"{item.value:.1f}" if item.unit == "%" and round(10 * item.value, 6) % 1 == 0 else f"{item.value:g}"
    return value + ("" if item.std is None else f" ± {item.std:g}") + item.dagger


def published_cell(reference: tuple[PaperNumbers, Number] | None) -> Cell:
    """The reference number, linked to its row on the page of published numbers."""
    if not reference:
        return Cell((Span("–", style="quiet"),))
    paper, item = reference
    told = [item.unit] if item.unit not in ("", "%") else []
    told += [f"n = {item.n}" if item.n else "n not stated", item.transcription, *item.flags]
    where = Span(", ".join(told), "", "quiet", line=True)
    return Cell((Span(number_text(item), published_path(paper, item), "value"), where), item.value)


def published_path(paper: PaperNumbers, item: Number | None = None) -> str:
    """The page of a paper's numbers, or the row of one of them."""
    path = f"published/{slug(paper.paper.id)}.*"
    return f"{path}#{paper.anchor(item)}" if item else path


def verdict_cell(group: Group) -> Cell:
    """The verdict, once if all frameworks share it, with the first sentence of its reason; a dash where no seed has
    finished. The overview has the whole reason."""
    entries = [entry for entry in group.entries.values() if entry.values]
    if not entries:
        return Cell((Span("–", "", "quiet"),))
    everyone = len(entries) == sum(bool(entry.records) for entry in group.entries.values())
    if everyone and len({(entry.verdict.label, entry.verdict.reason) for entry in entries}) == 1:
        verdict = entries[0].verdict
        return Cell((chip(verdict.label, verdict.kind), Span(verdict.short, "", "quiet")))
    spans: list[Span] = []
    for entry in entries:
        spans.append(Span(title(entry.framework), "", "strong", line=bool(spans)))
        spans += [chip(entry.verdict.label, entry.verdict.kind), Span(entry.verdict.short, "", "quiet")]
    return Cell(tuple(spans))


def one_kind(groups: Iterable[Group]) -> bool:
    """Whether the values of some groups may be put in order: one task, profile and metric, asked the same way."""
    found = [group for group in groups if any(entry.values for entry in group.entries.values())]
    return len({(g.task, g.profile, g.metric, frames.examination(g.protocol)) for g in found}) <= 1


def one_published(numbers: Iterable[Number]) -> bool:
    """Whether some published numbers may be put in order: one task, metric, unit and protocol."""
    return len({(item.task, item.metric, item.unit, item.protocol) for item in numbers}) <= 1


def published_column(groups: Iterable[Group], title: str = "Published") -> Column:
    """The column of the references of some groups."""
    return Column(title, sorts=one_published(group.reference[1] for group in groups if group.reference))


def result_table(groups: Sequence[Group], caption: str) -> list[Block]:
    """The result table of some groups, with a row for every reference number nobody ran, and protocol footnotes."""
    extra = sorted({name for group in groups for name in group.entries} - set(FRAMEWORKS))
    sources = (*FRAMEWORKS, *extra)
    # In the order of the rows; a row without a number needs none.
    told = [group for group in groups if group.differences and any(entry.values for entry in group.entries.values())]
    notes = list(dict.fromkeys(group.differences for group in told))
    columns = (
        Column("Task"),
        Column("Architecture"),
        *(Column(title(name), sorts=one_kind(groups)) for name in sources),
        Column("Majority class", numeric=True, sorts=one_kind(groups)),
        published_column(groups),
        Column("Verdict", grow=True),
        Column("Profile, hardware, protocol"),
    )
    rows = []
    for group in groups:
        mark = f" [{notes.index(group.differences) + 1}]" if group in told else ""
        cells = [
            entry_cell(group.entries[n], group) if n in group.entries else Cell((chip("not run"),)) for n in sources
        ]
        siblings = [g for g in groups if (g.task, g.title, g.profile) == (group.task, group.title, group.profile)]
        recipe = [Span(f"recipe {group.recipe}", "", "quiet", line=True)] if len(siblings) > 1 else []
        run = (
            Span(group.profile, "", "strong"),
            Span(", ".join(group.hardware), "", "quiet"),
            Span((names.protocol(group.protocol_name) or "–") + mark, "", "quiet", line=True),
        )
        metric = [] if group.unit else [Span(metric_words(group), "", "quiet", line=True)]
        variant = [Span(group.variant, "", "quiet", line=True)] if group.variant else []
        rows.append(
            Row(
                (
                    Cell((Span(group.task, task_path(group.task)), *metric)),
                    Cell((Span(group.architecture, architecture_path(group.architecture)), *variant)),
                    *cells,
                    number(group.majority),
                    published_cell(group.reference),
                    verdict_cell(group),
                    Cell((*run, *recipe), group.profile),
                )
            )
        )
    blocks: list[Block] = [Table(caption, columns, tuple(rows), "dense")]
    if notes:
        items = tuple(
            (Span(f"[{index + 1}]", style="strong"), Span(" · ".join(note))) for index, note in enumerate(notes)
        )
        blocks.append(Items(items, style="note"))
    return blocks


def metric_words(group: Group) -> str:
    """The headline metric of a group with its unit."""
    return group.metric.replace("_", " ") + (", %" if group.unit else "")


def seed_table(group: Group) -> Table:
    """Every seed of a group."""
    columns = (
        Column("Seed", numeric=True),
        Column("Framework"),
        Column("Status"),
        Column(metric_words(group), numeric=True),
        *(Column(title, numeric=True) for title in ("95 % interval (test split)", "Validation, %") if group.unit),
        Column("Hardware"),
        Column("Record"),
    )
    rows = []
    for row in frames.seeds(group).to_dict("records"):
        record: Record = row["record"]
        low, high = _optional(row["low"]), _optional(row["high"])
        interval = "–" if low is None or high is None else f"{low:.2f} to {high:.2f}"
        rows.append(
            Row(
                (
                    plain(str(record.cell.seed)),
                    plain(title(record.cell.framework)),
                    Cell((chip(record.status, href=cell_path(record)),)),
                    number(_optional(row["value"]), group.decimals),
                    *((plain(interval), number(_optional(row["validation"]))) if group.unit else ()),
                    plain(record.cell.hardware),
                    plain(record.cell.id, cell_path(record)),
                )
            )
        )
    return Table("Every seed, none left out", columns, tuple(rows))


def _optional(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None


def parity_blocks(records: Sequence[Record], architecture: str) -> Iterator[Block]:
    """The parity ladder: the largest errors per rung and number format, then the checks that failed."""
    frame = frames.parity(records, architecture)
    yield Heading("Equivalence of the twins", anchor="parity")
    yield Paragraph(
        (Span("The largest measured error of each rung; the last column is the error nearest to its tolerance."),)
    )
    yield ladder_table(frame, f"Parity ladder of {architecture}")
    if not len(frame):
        yield Code(run_command(benchmarks=frames.EQUIVALENCE, architectures=architecture), "To run it")
        return
    failed = [check for check in frame.to_dict("records") if check["passed"] is not True]
    if failed:
        yield Heading("Failed checks", 3)
        yield checks_table(failed, f"Failed checks of {architecture}")
    yield Paragraph((Span(f"{len(frame) - len(failed)} of {len(frame)} checks pass."), Span("Every check", "#checks")))


def every_check(records: Sequence[Record], architecture: str) -> Iterator[Block]:
    """Every check of the parity ladder."""
    frame = frames.parity(records, architecture)
    if len(frame):
        yield Heading("Every check of the parity ladder", anchor="checks")
        yield checks_table(frame.to_dict("records"), f"Checks of {architecture}")


def checks_table(checks: Sequence[dict[Any, Any]], caption: str) -> Table:
    """Checks with their errors and tolerances, one row each."""
    keys = ("rung", "check", "case", "dtype")
    columns = (
        *(Column(name.capitalize(), grow=name in ("check", "case")) for name in keys),
        *(Column(t, numeric=True) for t in ("JAX to oracle", "PyTorch to oracle", "JAX to PyTorch", "Tolerance")),
        Column("Status"),
    )
    rows = []
    for check in checks:
        status = chip("passed" if check["passed"] is True else "failed", href=cell_path(check["record"]))
        errors = [error_cell(check[name]) for name in (*ERRORS, "tolerance")]
        rows.append(Row((*(plain(frames.text(check[name])) for name in keys), *errors, Cell((status,)))))
    return Table(caption, columns, tuple(rows))


def ladder_table(frame: pd.DataFrame, caption: str) -> Table:
    """One row per rung and number format with its largest errors; rungs without checks say so."""
    columns = (
        Column("Rung", numeric=True),
        Column("What is compared", grow=True),
        Column("Dtype"),
        Column("Status"),
        Column("Checks passed", numeric=True),
        Column("JAX to oracle", numeric=True),
        Column("PyTorch to oracle", numeric=True),
        Column("JAX to PyTorch", numeric=True),
        Column("Worst error of its tolerance", numeric=True),
    )
    rows = []
    everything = [{**check, "dtype": frames.text(check["dtype"])} for check in frame.to_dict("records")]
    for rung in (*frames.RUNGS, *sorted(set(frame["rung"]) - set(frames.RUNGS))):
        of_rung = [check for check in everything if check["rung"] == rung]
        for dtype in sorted({check["dtype"] for check in of_rung}) or [""]:
            checks = [check for check in of_rung if check["dtype"] == dtype]
            passed = sum(check["passed"] is True for check in checks)
            status = "not run" if not checks else "passed" if passed == len(checks) else "failed"
            count = plain(f"{passed} of {len(checks)}" if checks else "–")
            errors = [error_cell(largest(check[name] for check in checks)) for name in ERRORS]
            what = (plain(rung), plain(frames.RUNGS.get(rung, "")), plain(dtype or "–"))
            rows.append(Row((*what, Cell((chip(status),)), count, *errors, worst_cell(checks))))
    return Table(caption, columns, tuple(rows))


def largest(values: Iterable[object]) -> float | None:
    """The largest number of some values, None where there is none."""
    found = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return max(found, default=None)


def worst_cell(checks: Sequence[dict[Any, Any]]) -> Cell:
    """The error that comes nearest to its tolerance, or passes it farthest, beside that tolerance.

    A failed check without an error is one whose error was not finite, as records hold no infinity.
    """
    found: list[tuple[float, float, float]] = []
    for check in checks:
        tolerance, error = largest([check["tolerance"]]), largest(check[name] for name in ERRORS)
        if tolerance is not None and error is None and check["passed"] is not True:
            error = float("inf")
        if tolerance is not None and error is not None:
            share = error / tolerance if tolerance > 0 else (0.0 if error == 0 else float("inf"))
            found.append((share, error, tolerance))
    if not found:
        return Cell((Span("–", "", "quiet"),))
    share, error, tolerance = max(found)
    told = f"{error:.1e}" if error < float("inf") else "not finite"
    return Cell((Span(f"{told} of {tolerance:.1e}" if error else "0"),), share)


def error_cell(value: object) -> Cell:
    """A measured error: zero is exact equality."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return plain(frames.text(value) or "–", style="" if value else "quiet")
    return Cell((Span("0" if value == 0 else f"{value:.1e}"),), float(value))


def value_cell(name: str, value: object) -> Cell:
    """Any value of an open-ended table, with its unit."""
    told = names.value(name, value)
    if told is None or isinstance(value, bool):
        return plain(told or frames.text(value) or "–")
    return Cell((Span(told),), value if isinstance(value, int | float) else None)


def facts_table(caption: str, values: dict[str, Any], named: bool = True) -> Table:
    """An open-ended dictionary as two columns, its names in words unless they are not to be `named`."""
    found = frames.leaves(values)
    pairs = [(names.path(key), names.text(key, value)) if named else (key, value) for key, value in found]
    rows = tuple(Row((plain(key), plain(value))) for key, value in pairs)
    return Table(caption, (Column("Name"), Column("Value", grow=True)), rows, style="facts")


def rows_table(caption: str, rows: Sequence[dict[str, Any]]) -> Table:
    """An open-ended table of a record: columns of words first, then columns of numbers, each by name."""
    named = {name for row in rows for name in row}
    numeric = {name: not any(isinstance(row.get(name), str | list | dict | bool) for row in rows) for name in named}
    order = sorted(named, key=lambda name: (numeric[name], name))
    cells = [tuple(value_cell(name, row.get(name)) for name in order) for row in rows]
    if len(order) > WIDEST and len(rows) <= FEW:
        turned = [Row((plain(names.title(name)), *own)) for name, *own in zip(order, *cells, strict=True)]
        titles = ("Entry", *(f"Row {count}" for count in range(1, len(rows) + 1)))
        return Table(caption, tuple(map(Column, titles)), tuple(turned), "facts")
    long = {name for row in rows for name in row if len(frames.text(row[name])) > LONG}
    columns = tuple(Column(names.title(name), numeric=numeric[name], grow=name in long) for name in order)
    return Table(caption, columns, tuple(Row(row) for row in cells), "dense many" if len(columns) > WIDE else "")
