"""The page of the parity ladder: every architecture on every rung, run or not, and what holds the rungs above it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports import architectures, benchmarks, commits, frames, tables
from reports.blocks import Block, Cell, Column, Heading, Items, Page, Paragraph, Row, Span, Spans, Table, chip, plain
from reports.frames import FRAMEWORKS, Group
from reports.pages import Report

PATH = "parity"
LADDER = ("0", "1", "2", "3", "4", "5", "6", "7")
"""Rungs that a record of the ladder holds; those above it are held elsewhere."""
LEAD = (
    "Every architecture is built twice. The ladder compares both twins with each other and with a float64 oracle in "
    "NumPy, rung by rung; a record of it names the machine and the commit that it was climbed on."
)
GOLDEN: dict[str, tuple[str, ...]] = {
    "s5": ("test_golden_s5.py", "test_golden_s5_init.py", "test_golden_s5_train.py"),
    "s4": ("test_golden_s4.py",),
    "s4d": ("test_golden_s4.py",),
    "ema": ("test_golden_ema.py",),
    "seqboat": ("test_golden_seqboat.py",),
    "transformer": ("test_golden_sliding.py",),
    "spade": ("test_golden_spade.py", "test_golden_sliding.py"),
    "block_recurrent": ("test_golden_block_recurrent.py",),
    "block_recurrent_feedback": ("test_golden_block_recurrent.py",),
    "block_state": ("test_golden_block_state.py",),
}
"""Files of `tests/parity` that hold an architecture to values of its authors' code."""
ELSEWHERE = (
    "Rungs 0 to 7 are in the records of the ladder (nox -s parity), and tests/parity holds that every row passes: "
    "S5's ladder in nox -s tests, the others in nox -s ladders.",
    "Rung 8 holds by construction: one framework-free code, suite/training/measures.py, makes the metrics of both "
    "frameworks from their outputs; tests/test_imports.py holds that it imports neither.",
    "Rung 9 is held by tests in nox -s tests, against values that the authors' code gave. Where there is a dash, no "
    "such values are at hand.",
    "Rung 10 is in the records of training: seeds that both frameworks ran with equal recipes. The pages of the tasks "
    "have the paired differences.",
)


def parity_page(report: Report) -> Page:
    """Every architecture by every rung, the errors of each pair, and how to run what was not."""
    blocks: list[Block] = [Paragraph((Span(LEAD),), "lead"), Paragraph(tuple(summary(report)))]
    blocks += [Heading("Rungs", anchor="rungs"), rungs_table(report)]
    pairs = pairs_table(report)
    if pairs.rows:
        blocks += [Heading("Errors of every pair", anchor="pairs"), pairs]
    blocks += [Heading("Rungs outside the ladder's records", anchor="above"), above_table(report)]
    blocks.append(Items(tuple((Span(told),) for told in ELSEWHERE)))
    missing = missing_table(report)
    if missing.rows:
        blocks += [Heading("Not run", anchor="not-run"), missing]
    blocks += [Heading("What each rung compares", anchor="meaning")]
    blocks.append(Items(tuple((Span(rung, "", "strong"), Span(what)) for rung, what in frames.RUNGS.items())))
    return Page(PATH, "Parity of the twins", "parity", tuple(blocks))


def ladders(report: Report) -> dict[str, list[dict[Any, Any]]]:
    """The checks of every architecture with a page, none where its ladder was not run."""
    return {name: frames.parity(report.records, name).to_dict("records") for name in report.pages_of}


def status(checks: Sequence[Mapping[Any, Any]]) -> str:
    """What became of some checks."""
    return "not run" if not checks else "passed" if all(check["passed"] is True for check in checks) else "failed"


def summary(report: Report) -> Spans:
    """How many ladders there are of each status, and how many checks passed."""
    found = ladders(report)
    states = [status(checks) for checks in found.values()]
    spans = [chip(f"{states.count(s)} {s}", s) for s in ("passed", "failed", "not run") if s in states]
    everything = [check for checks in found.values() for check in checks]
    passed = sum(check["passed"] is True for check in everything)
    told = f"Ladders of {len(found)} architectures; {passed} of {len(everything)} checks pass."
    return [*spans, Span(told if everything else "No ladder was run.")]


def rungs_table(report: Report) -> Table:
    """One row per architecture: checks that passed on every rung of the ladder, machine and commit."""
    rows = []
    for name, checks in ladders(report).items():
        of_rung = [[check for check in checks if check["rung"] == rung] for rung in LADDER]
        cells = (
            plain(name, f"{tables.architecture_path(name)}#parity"),
            Cell((chip(status(checks)),)),
            *(rung_cell(found) for found in of_rung),
            Cell(tuple(origin(checks))),
        )
        rows.append(Row(cells))
    columns = (
        Column("Architecture"),
        Column("Ladder"),
        *(Column(f"Rung {rung}", numeric=True) for rung in LADDER),
        Column("Machine, commit", grow=True),
    )
    return Table("Checks that passed, of those that were run, by rung", columns, tuple(rows), "dense many")


def rung_cell(checks: Sequence[Mapping[Any, Any]]) -> Cell:
    """How many checks of one rung passed."""
    if not checks:
        return Cell((Span("–", "", "quiet"),))
    passed = sum(check["passed"] is True for check in checks)
    return Cell((chip(f"{passed} of {len(checks)}", status(checks)),), passed)


def origin(checks: Sequence[Mapping[Any, Any]]) -> Iterator[Span]:
    """The machine and commit of every record of some checks, linked to it."""
    found = {check["record"].cell.id: check["record"] for check in checks}
    for record in found.values():
        yield Span(frames.machine(record), tables.cell_path(record), line=True)
        yield from commits.of_record(record, "commit unknown")
    if not found:
        yield Span("–", "", "quiet")


def pairs_table(report: Report) -> Table:
    """One row per architecture and number format: the largest error of each pair."""
    rows = []
    for name, checks in ladders(report).items():
        everything = [{**check, "dtype": frames.text(check["dtype"])} for check in checks]
        for dtype in sorted({check["dtype"] for check in everything}):
            own = [check for check in everything if check["dtype"] == dtype]
            errors = [tables.error_cell(tables.largest(check[pair] for check in own)) for pair in tables.ERRORS]
            link = plain(name, f"{tables.architecture_path(name)}#parity")
            count = Cell((Span(str(len(own))),), len(own))
            rows.append(Row((link, plain(dtype or "–"), count, *errors, tables.worst_cell(own))))
    columns = (
        Column("Architecture"),
        Column("Number format"),
        Column("Checks", numeric=True),
        *(Column(title, numeric=True) for title in ("JAX to oracle", "PyTorch to oracle", "JAX to PyTorch")),
        Column("Worst error of its tolerance", numeric=True),
    )
    return Table("The largest errors over all rungs, relative to the largest magnitude", columns, tuple(rows))


def above_table(report: Report) -> Table:
    """One row per architecture: what holds rungs 8 to 10."""
    rows = []
    for name in report.pages_of:
        files = GOLDEN.get(name, ())
        golden = [Span(f"tests/parity/{file}", "", "code", line=True) for file in files] or [Span("–", "", "quiet")]
        link = plain(name, tables.architecture_path(name))
        rows.append(Row((link, plain("held by construction"), Cell(tuple(golden)), trained_cell(report, name))))
    columns = (
        Column("Architecture"),
        Column("Rung 8, metrics"),
        Column("Rung 9, golden values of the authors' code", grow=True),
        Column("Rung 10, training", grow=True),
    )
    return Table("Rungs 8 to 10", columns, tuple(rows))


def trained_cell(report: Report, name: str) -> Cell:
    """The tasks on which both frameworks ran the same seeds, else how to run some."""
    spans: list[Span] = []
    for group in (group for group in report.groups if group.architecture == name):
        count = len(shared_seeds(group))
        if count:
            told = f"{group.profile}, {count} shared seed{'s' * (count > 1)}"
            spans += [Span(group.task, tables.task_path(group.task), line=True), Span(told, "", "quiet")]
    task = next((task.name for known in benchmarks.shipped() for task in known.tasks if name in task.architectures), "")
    about, stack = architectures.described().get(name, (None, None))
    if not spans and about and stack and not stack.own_recipes:
        return plain(f"as {about.name}, whose recipes train it", tables.architecture_path(about.name))
    if not spans and not task:
        return plain("no recipe", style="quiet")
    command = tables.run_command(tasks=task, architectures=name, seeds=list("01234"), profile="small")
    return Cell(tuple(spans) or (chip("not run"), Span(command, "", "code", line=True)))


def shared_seeds(group: Group) -> set[int]:
    """Seeds that both frameworks measured."""
    measured = [{r.cell.seed for r in group.entries[name].with_status("measured")} for name in FRAMEWORKS]
    return measured[0] & measured[1]


def missing_table(report: Report) -> Table:
    """The ladders that were not run, with their commands."""
    rows = tuple(
        Row((plain(name, tables.architecture_path(name)), Cell((chip("not run"),)), plain(command(name), style="code")))
        for name, checks in ladders(report).items()
        if not checks
    )
    return Table("Ladders to run", (Column("Architecture"), Column("Status"), Column("Command", grow=True)), rows)


def command(name: str) -> str:
    """The command that climbs the ladder of an architecture."""
    return tables.run_command(benchmarks=frames.EQUIVALENCE, architectures=name)
