"""The first page: what was run, on what, and what may be concluded, before any table."""

from collections.abc import Sequence

from reports import (
    ablation_page,
    architectures,
    benchmark_page,
    benchmarks,
    claims,
    frames,
    parity_page,
    tables,
)
from reports import conclusions as concluded
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
from reports.console import counted
from reports.frames import FRAMEWORKS, Group
from reports.pages import Report
from reports.verdicts import STATUS_MEANING

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
        Heading("Benchmarks", anchor="benchmarks"),
        benchmark_page.summary_table(report),
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
    blocks += [Heading("Benchmarks", anchor="benchmarks"), benchmark_page.summary_table(report)]
    blocks += claim_blocks(report)
    ladders = (*parity_page.summary(report), Span("Every architecture on every rung", f"{parity_page.PATH}.*"))
    blocks += [Heading("Equivalence of the twins", anchor="equivalence"), Paragraph(ladders)]
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
    names = sorted({record.cell.task for record in report.records})
    ladders = [name for name in names if name.startswith("equivalence.")]
    other = [name for name in names if name not in ladders]
    tasks = ", ".join(other + [counted(len(ladders), "equivalence ladder")] * bool(ladders))
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
    lines += [*concluded.learned(report.groups), *concluded.twins(report.groups), *concluded.lengths(report.groups)]
    lines += [*concluded.speeds(report.records), *concluded.activation(report.groups)]
    lines += ablation_page.conclusions(report.studies)
    for status, told in (("failed", "failed"), ("not finished", "are not finished")):
        found = [record for record in report.records if record.status == status]
        if found:
            links = [Span(record_name(record), tables.cell_path(record)) for record in found[:5]]
            more = [Span(f"and {len(found) - 5} more")] if len(found) > 5 else []
            lines.append([Span(f"{len(found)} of {len(report.records)} cells {told}:"), *links, *more])
    checks = [check for found in parity_page.ladders(report).values() for check in found]
    if checks:
        lines.append([Span("Twins:"), *parity_page.summary(report), Span("Parity", f"{parity_page.PATH}.*")])
    return lines


def record_name(record: frames.Record) -> str:
    """A record in words."""
    cell = record.cell
    return f"{cell.architecture} on {cell.task}, {tables.title(cell.framework)}, seed {cell.seed}"


def architecture_table(report: Report) -> Table:
    """One row per architecture that has a page: its paper, and what there is of it."""
    described = architectures.described()
    rows = []
    for name in report.pages_of:
        about, stack = described.get(name, (None, None))
        title = stack.title if stack else about.title if about else name
        found = [record.status for record in report.records if record.cell.architecture == name]
        chips = [chip(f"{found.count(s)} {s}", s) for s in STATUS_MEANING if s in found] or [chip("not run")]
        if about and stack and not stack.own_recipes:
            chips.append(Span(f"trained as {about.name}", f"{tables.architecture_path(about.name)}#results"))
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
        (Span("Parity"), Span("every architecture on every rung of the ladder", f"{parity_page.PATH}.*")),
        (Span("Layer speed"), Span("times, ratios, growth and rooflines of single layers", "speed.*")),
        (Span("Hardware"), Span("machines, and programs compiled for chips that were not there", "hardware.*")),
    ]
    found += [(Span("Benchmark"), Span(known.title, known.path)) for known in benchmarks.shipped()]
    found += [(Span("Task"), Span(task, tables.task_path(task))) for task in report.tasks]
    found += ablation_page.links(ablation_page.every(report.studies))
    found += [(Span("Measurement"), tables.record_link(record), Span(record.cell.hardware)) for record in report.others]
    return found
