"""The page of one benchmark: every task by every architecture, in each framework, beside the published numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from reports import benchmarks, language, tables
from reports.benchmarks import Benchmark, Task
from reports.blocks import Block, Cell, Column, Heading, Items, Page, Paragraph, Row, Span, Table, chip, number, plain
from reports.frames import FRAMEWORKS, PROFILES, Group
from reports.pages import Report

LEAD = (
    "Mean ± sample standard deviation over all seeds. Numbers of different profiles or protocols are never averaged or "
    "ranked together; verdicts stand on the pages of the tasks."
)
AVERAGE = "The average is that of the means of {tasks}; it is there only where each was measured once."


def benchmark_pages(report: Report) -> list[Page]:
    """A page for every benchmark, also of those of which nothing was run."""
    return [benchmark_page(report, benchmark) for benchmark in benchmarks.shipped()]


def benchmark_page(report: Report, benchmark: Benchmark) -> Page:
    """One benchmark: a table for each profile with its missing cells, and where each task is told in full."""
    known = {task.name for task in benchmark.tasks}
    groups = [group for group in report.groups if group.task in known]
    blocks: list[Block] = [Paragraph((Span(benchmark.about), Span(LEAD)), "lead")]
    if benchmark.average:
        blocks.append(Paragraph((Span(AVERAGE.format(tasks=averaged_words(benchmark))),), "note"))
    blocks += language.perplexities(groups)
    for profile in profiles(benchmark, groups):
        own = [group for group in groups if group.profile == profile]
        blocks += [Heading(f"Profile {profile}", anchor=f"profile-{profile}")]
        blocks += profile_blocks(report, benchmark, own, profile)
    links = [(Span(task.title, tables.task_path(task.name)),) for task in benchmark.tasks if task.name in report.tasks]
    if links:
        blocks += [Heading("Pages of tasks", anchor="tasks"), Items(tuple(links))]
    trail = (Span("Results", "index.*"), Span("/ benchmark"))
    return Page(benchmark.path[:-2], benchmark.title, "results", tuple(blocks), trail)


def averaged_words(benchmark: Benchmark) -> str:
    """Which tasks the average is of."""
    beside = [task.title for task in benchmark.tasks if task.beside]
    return f"all tasks but {' and '.join(beside)}" if beside else "all tasks"


def profiles(benchmark: Benchmark, groups: Sequence[Group]) -> list[str]:
    """The profiles of some groups, and in any case that of the papers, or the small one where no paper has a recipe."""
    paper = any(task.has(name, "paper") for task in benchmark.tasks for name in task.architectures)
    found = {"paper" if paper else "small", *(group.profile for group in groups)}
    return [name for name in PROFILES if name in found] + sorted(found - set(PROFILES))


def profile_blocks(report: Report, benchmark: Benchmark, groups: Sequence[Group], profile: str) -> Iterator[Block]:
    """One profile: results, and the commands of what is missing. A task's column holds measured and published numbers
    of several recipes and protocols: nothing sorts by it."""
    names = benchmark.architectures({group.architecture for group in groups})
    columns = [Column("Architecture"), Column("Source"), *(Column(task.title, sorts=False) for task in benchmark.tasks)]
    columns += [Column("Average", numeric=True, sorts=False)] if benchmark.average else []
    used = {group.architecture for group in groups}
    shown = [name for name in names if name in used or any(task.has(name, profile) for task in benchmark.tasks)]
    rows = [row for name in shown for row in architecture_rows(report, benchmark, groups, name, profile)]
    yield Table(f"{benchmark.title}, profile {profile}{units(groups)}", tuple(columns), tuple(rows), "dense many")
    missing = missing_table(benchmark, groups, names, profile)
    if missing.rows:
        yield missing


def units(groups: Sequence[Group]) -> str:
    """The metric, where all groups have one."""
    words = {tables.metric_words(group) for group in groups}
    return f": {words.pop()}" if len(words) == 1 else ""


def architecture_rows(
    report: Report, benchmark: Benchmark, groups: Sequence[Group], name: str, profile: str
) -> Iterator[Row]:
    """One architecture: a row for each framework, and one of its published numbers where there are any."""
    own = [group for group in groups if group.architecture == name]
    link = plain(name, tables.architecture_path(name))
    made: dict[tuple[Cell, ...], list[str]] = {}  # frameworks of which nothing was run share a row
    for framework in (*FRAMEWORKS, *sorted({key for group in own for key in group.entries} - set(FRAMEWORKS))):
        cells = [task_cell(task, own, name, framework, profile, bool(units(groups))) for task in benchmark.tasks]
        cells += [number(average(benchmark, own, framework))] if benchmark.average else []
        made.setdefault(tuple(cells), []).append(tables.title(framework))
    for cells, frameworks in made.items():
        yield Row((link, plain(", ".join(frameworks)), *cells))
    references = [report.published.reference(task.name, name) for task in benchmark.tasks]
    if any(references):
        mean = [tables.published_cell(report.published.reference(f"{benchmark.name}.average", name))]
        cells = [tables.published_cell(found) for found in references]
        yield Row((link, Cell((chip("published"),)), *cells, *(mean if benchmark.average else [])))


def task_cell(task: Task, groups: Sequence[Group], name: str, framework: str, profile: str, one_metric: bool) -> Cell:
    """What one framework has of one task: each recipe that was run, else that nothing was, or can be."""
    found = [g for g in groups if g.task == task.name and framework in g.entries and g.entries[framework].records]
    if not found:
        return Cell((chip("not run"),)) if task.has(name, profile) else plain("no recipe", style="quiet")
    spans: list[Span] = []
    for group in found:
        first, *rest = tables.entry_cell(group.entries[framework], group).spans
        if len(found) > 1:  # each begins a line, under the name of its recipe
            spans.append(Span(f"{group.variant} recipe {group.recipe}".strip(), "", "quiet", line=True))
            first = replace(first, line=True)
        spans += [first, *rest]
        if not group.unit and not one_metric:
            spans.append(Span(tables.metric_words(group), "", "quiet", line=True))
    sort = tables.entry_cell(found[0].entries[framework], found[0]).sort if len(found) == 1 else None
    return Cell(tuple(spans), sort)


def average(benchmark: Benchmark, groups: Sequence[Group], framework: str) -> float | None:
    """The mean over the averaged tasks of one framework's means; None where one is missing, or there twice."""
    means = []
    for task in benchmark.averaged:
        mine = [group.entries[framework] for group in groups if group.task == task.name and framework in group.entries]
        found = [entry.summary.mean for entry in mine if entry.summary]
        if len(found) != 1 or not all(group.unit for group in groups):
            return None
        means += found
    return fmean(means)


def missing_table(benchmark: Benchmark, groups: Sequence[Group], names: Sequence[str], profile: str) -> Table:
    """One row per architecture and framework with cells that were not run, or did not come to a number."""
    rows = []
    for name in names:
        planned = [task for task in benchmark.tasks if task.has(name, profile)]
        for frameworks, tasks in sorted(_missing(planned, groups, name).items()):
            chosen = {"tasks": [task.name for task in tasks], "architectures": name}
            command = tables.run_command(**chosen, frameworks=list(frameworks), profile=profile)
            cells = (
                plain(name, tables.architecture_path(name)),
                plain(" and ".join(tables.title(framework) for framework in frameworks)),
                plain(", ".join(task.title for task in tasks)),
                plain(command, style="code"),
            )
            rows.append(Row(cells))
    columns = (
        Column("Architecture"),
        Column("Frameworks"),
        Column("Without a number", grow=True),
        Column("Command", grow=True),
    )
    return Table(f"What is missing of profile {profile}", columns, tuple(rows))


def _missing(planned: Sequence[Task], groups: Sequence[Group], name: str) -> dict[tuple[str, ...], list[Task]]:
    """Tasks by the frameworks that have no number of them."""
    found: dict[tuple[str, ...], list[Task]] = {}
    for task in planned:
        own = [group for group in groups if (group.task, group.architecture) == (task.name, name)]
        done = {framework for group in own for framework, entry in group.entries.items() if entry.values}
        without = tuple(framework for framework in FRAMEWORKS if framework not in done)
        if without:
            found.setdefault(without, []).append(task)
    return found


def summary_table(report: Report) -> Table:
    """One row per benchmark: how many of its tasks have a number, and its page."""
    rows = []
    for benchmark in benchmarks.shipped():
        names = {task.name for task in benchmark.tasks}
        measured = [
            group for group in report.groups if group.task in names and any(e.values for e in group.entries.values())
        ]
        done = {group.task for group in measured}
        cells = (
            plain(benchmark.title, benchmark.path),
            plain(f"{len(done)} of {len(names)}"),
            plain(", ".join(sorted({group.architecture for group in measured})) or "–"),
        )
        rows.append(Row(cells))
    columns = (Column("Benchmark"), Column("Tasks with a number"), Column("Architectures", grow=True))
    return Table("Benchmarks of several tasks, each with a page of its own", columns, tuple(rows))
