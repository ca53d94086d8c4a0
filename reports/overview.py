"""The first page: what was run, on what, and what may be concluded, before any table."""

from collections.abc import Sequence

from reports import ablation_page, architectures, claims, frames, language, tables
from reports.blocks import (
    Block,
    Code,
    Column,
    Figures,
    Heading,
    Items,
    Page,
    Paragraph,
    Row,
    Span,
    Spans,
    Table,
    chip,
    plain,
)
from reports.frames import FRAMEWORKS, Entry, Group
from reports.pages import Report
from reports.statistics import mean_interval, summarize
from reports.verdicts import STATUS_MEANING, signed

INTRODUCTION = (
    "Every architecture is built twice, in JAX and in PyTorch, run from the same weights on the same batches, and set "
    "beside the number that its paper printed."
)


def empty(report: Report, runs: Sequence[str]) -> Page:
    """The overview of runs without records."""
    blocks = (
        Paragraph((Span(f"There are no records in {', '.join(runs)} yet."),), "lead"),
        Paragraph(
            (Span("This command trains S5 on ListOps in both frameworks in a few minutes and fills this page:"),)
        ),
        Code(
            tables.run_command(
                tasks="lra.listops", architectures="s5", frameworks=FRAMEWORKS, seeds="0", profile="smoke"
            )
        ),
        *claim_blocks(report),
        Heading("Architectures", anchor="architectures"),
        architecture_table(report),
    )
    return Page("index", "Nothing has been run", "results", blocks)


def overview(report: Report) -> Page:
    """The overview of a report with records."""
    blocks: list[Block] = [
        Paragraph((Span(INTRODUCTION),), "lead"),
        Paragraph(tuple(counts(report))),
        Paragraph(tuple(scope(report))),
    ]
    blocks.append(Items(tuple(tuple(line) for line in conclusions(report)), "What may be concluded", "callout"))
    if report.groups:
        blocks += [Heading("Results", anchor="results"), *tables.result_table(report.groups, caption())]
        shown = max(report.groups, key=lambda group: sum(bool(entry.values) for entry in group.entries.values()))
        drawn = report.drawn(shown)[:2]
        if drawn:
            blocks += [Heading(f"Learning curves: {group_name(shown)}"), Figures(drawn)]
    blocks += claim_blocks(report)
    blocks += [Heading("Equivalence of the twins", anchor="equivalence"), parity_summary(report)]
    blocks += [Heading("Architectures", anchor="architectures"), architecture_table(report)]
    blocks += [Heading("Pages"), Items(tuple(pages(report)))]
    return Page("index", "Long-sequence benchmark report", "results", tuple(blocks))


def claim_blocks(report: Report) -> list[Block]:
    """What the papers claim first, beside what was measured."""
    told = (
        Span("A dagger (†) marks a number that was transcribed without its table at hand. Where sources disagree:"),
        Span("Known contradictions in the literature", "contradictions.*"),
    )
    table = claims.claims_table(report.published, report.records, report.groups)
    return [Heading("What the papers claim", anchor="claims"), table, Paragraph(told, "note")]


def caption() -> str:
    """Caption of the result table."""
    return "Mean ± sample standard deviation over all seeds, accuracies in %. The margins of verdicts stand in Methods"


def group_name(group: Group) -> str:
    """A group in words."""
    return f"{group.title} on {group.task}, profile {group.profile}"


def counts(report: Report) -> Spans:
    """How many records there are of each status."""
    found = {status: sum(record.status == status for record in report.records) for status in STATUS_MEANING}
    return [chip(f"{number} {status}", status) for status, number in found.items() if number]


def scope(report: Report) -> list[Span]:
    """What was run and on what hardware, in one sentence."""
    tasks = ", ".join(sorted({record.cell.task for record in report.records}))
    machines = ", ".join(sorted({frames.machine(record) for record in report.records}))
    profiles = ", ".join(sorted({record.cell.profile for record in report.records}))
    return [
        Span(", ".join(report.architectures), "", "strong"),
        Span("on"),
        Span(tasks, "", "strong"),
        Span(f"· profile {profiles} · {machines}"),
    ]


def conclusions(report: Report) -> list[Spans]:
    """One line per thing that the records show, the verdicts first."""
    lines: list[Spans] = []
    judged = [(g, e) for g in report.groups for e in g.entries.values() if e.verdict.kind != "not comparable"]
    for group, entry in judged:
        told = f"{group_name(group)}, {tables.title(entry.framework)}: {entry.verdict.reason}."
        lines.append([chip(entry.verdict.label, entry.verdict.kind), Span(told)])
    reasons = sorted({e.verdict.reason for g in report.groups for e in g.entries.values() if e.values})
    if reasons and not judged:
        told = f"Nothing here confirms or contradicts a published number: {'; '.join(reasons)}."
        lines.append([Span(told)])
    for group in report.groups:
        found = language.learned(group) if group.benchmark in frames.LANGUAGE else learned(group)
        lines += [line for line in (found, apart(group)) if line]
    lines += ablation_page.conclusions(report.studies)
    failed = [record for record in report.records if record.status == "failed"]
    if failed:
        links = [Span(record_name(record), tables.cell_path(record)) for record in failed[:5]]
        more = [Span(f"and {len(failed) - 5} more")] if len(failed) > 5 else []
        lines.append([Span(f"{len(failed)} of {len(report.records)} cells failed:"), *links, *more])
    for name in report.architectures:
        checks = frames.parity(report.records, name)
        if len(checks):
            passed = sum(value is True for value in checks["passed"])
            told = f"Parity ladder of {name}: {passed} of {len(checks)} checks pass."
            lines.append([Span(told), Span("Measured errors", f"{tables.architecture_path(name)}#parity")])
    return lines


def record_name(record: frames.Record) -> str:
    """A record in words."""
    cell = record.cell
    return f"{cell.architecture} on {cell.task}, {tables.title(cell.framework)}, seed {cell.seed}"


def learned(group: Group) -> Spans:
    """Whether every seed lies above the majority class, by the Wilson interval of its test split."""
    entries = [entry for entry in group.entries.values() if entry.summary]
    majority = group.majority
    if majority is None or not entries or not group.unit:
        return []
    low = [value for value in frames.seeds(group)["low"] if value is not None and value > majority]
    above = len(low) == sum(len(entry.values) for entry in entries)
    verb = "learns: every seed lies above" if above else "is not shown to learn in every seed: compare with"
    told = f"{group_name(group)} {verb} the majority class ({majority:.2f} %):"
    return [Span(told), Span(", ".join(f"{tables.title(e.framework)} {mean_text(e)}" for e in entries) + ".")]


def mean_text(entry: Entry) -> str:
    """Mean and number of seeds."""
    return f"{entry.summary.mean:.2f} % (n = {entry.summary.n})" if entry.summary else "–"


def apart(group: Group) -> Spans:
    """How far the twins' final values lie apart over the seeds that both ran."""
    by_seed = [
        {
            r.cell.seed: frames.shown(r.metrics.get(group.metric), group.metric)
            for r in group.entries[name].with_status("measured")
        }
        for name in FRAMEWORKS
    ]
    shared = sorted(set(by_seed[0]) & set(by_seed[1]))
    pairs = [(by_seed[0][seed], by_seed[1][seed]) for seed in shared]
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    if not differences:
        return []
    sample = summarize(differences)
    interval = mean_interval(sample)
    unit = " points" if group.unit else ""
    told = f"{group_name(group)}: JAX − PyTorch is {signed(sample.mean)}{unit} over {sample.n} shared "
    told += "seeds" if sample.n > 1 else "seed"
    return [Span(told + (f", 95 % interval {signed(interval[0])} to {signed(interval[1])}." if interval else "."))]


def parity_summary(report: Report) -> Table:
    """One row per architecture: how much of the parity ladder was run and passed."""
    rows = []
    for name in report.architectures:
        checks = frames.parity(report.records, name)
        passed = sum(value is True for value in checks["passed"])
        status = "not run" if not len(checks) else "passed" if passed == len(checks) else "failed"
        rungs = ", ".join(rung for rung in frames.RUNGS if rung in set(checks["rung"])) or "–"
        told = f"{passed} of {len(checks)}" if len(checks) else "–"
        command = tables.run_command(benchmarks=frames.EQUIVALENCE, architectures=name)
        cells = (
            plain(name, f"{tables.architecture_path(name)}#parity"),
            tables.Cell((chip(status),)),
            plain(told),
            plain(rungs),
            plain(command, style="code"),
        )
        rows.append(Row(cells))
    columns = (Column("Architecture"), Column("Status"), Column("Checks passed"), Column("Rungs"), Column("Command"))
    return Table("Parity ladder, JAX against PyTorch against the float64 oracle", columns, tuple(rows))


def architecture_table(report: Report) -> Table:
    """One row per architecture that has a page: its paper, and what there is of it."""
    described = architectures.described()
    rows = []
    for name in report.pages_of:
        about, stack = described.get(name, (None, None))
        title = stack.title if stack else about.title if about else name
        found = [record.status for record in report.records if record.cell.architecture == name]
        chips = [chip(f"{found.count(s)} {s}", s) for s in STATUS_MEANING if s in found] or [chip("not run")]
        cells = (
            plain(title, tables.architecture_path(name)),
            plain(name, style="code"),
            plain(f"arXiv {about.papers[0].arxiv}" if about else "–"),
            tables.Cell(tuple(chips)),
        )
        rows.append(Row(cells))
    columns = (Column("Architecture"), Column("Name"), Column("Paper"), Column("Cells"))
    return Table("Every architecture, each with a page of its own", columns, tuple(rows))


def pages(report: Report) -> list[tuple[Span, ...]]:
    """Links to the pages below this one."""
    found = [
        (Span("Cells"), Span("every record, to be searched", "cells.*")),
        (Span("Layer speed"), Span("times, ratios, growth and rooflines of single layers", "speed.*")),
        (Span("Hardware"), Span("machines, and programs compiled for chips that were not there", "hardware.*")),
    ]
    if language.sections(report.groups):
        found.append((Span("Benchmark"), Span("Language models", f"{language.PATH}.*")))
    found += [(Span("Task"), Span(task, tables.task_path(task))) for task in report.tasks]
    found += ablation_page.links(report.studies)
    found += [(Span("Measurement"), tables.record_link(record), Span(record.cell.hardware)) for record in report.others]
    return found
