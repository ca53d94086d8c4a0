"""The page of one architecture: what it is, its config, its parity ladder, its results."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reports import ablation_page, architectures, diagrams, frames, names, tables
from reports.architectures import Architecture
from reports.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Figure,
    Figures,
    Formulas,
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
from reports.frames import Entry, Group
from reports.pages import Report
from reports.records import Record
from reports.statistics import mean_interval


def architecture_page(report: Report, name: str) -> Page:
    """One architecture; one that has no description, or no record, gets the parts that there are."""
    about, stack = architectures.described().get(name, (None, None))
    blocks: list[Block] = []
    if about and stack:
        layer = Span(f"What the layer is: {about.title}", tables.architecture_path(about.name))
        blocks += [Paragraph((Span(f"{stack.meaning}."),), "lead"), Paragraph((layer,))]
    elif about:
        blocks += description(about)
    of_name = [record for record in report.records if record.cell.architecture == name]
    found = [record for record in of_name if frames.kind(record) != "ablation"]
    groups = [group for group in report.groups if group.architecture == name]
    if about and stack and not stack.own_recipes and not groups:
        blocks += [*tables.parity_blocks(found, name), Heading("Results", anchor="results"), of_stack(about)]
    else:
        blocks += configuration(found, name)
        blocks += tables.parity_blocks(found, name)
        blocks += results(report, groups, name)
    studies = ablation_page.links([study for study in report.studies if study.architecture == name])
    blocks += [Heading("Ablations", anchor="ablations"), Items(tuple(studies))] if studies else []
    for record in found:
        if frames.kind(record) == "other":
            blocks += [Heading(f"{record.cell.task}, {record.cell.hardware}", anchor=f"record-{record.cell.id}")]
            blocks.append(Paragraph((Span(frames.text(record.protocol.get("name"))), tables.record_link(record))))
            blocks += [tables.rows_table(names.title(key), record.tables[key]) for key in sorted(record.tables)]
    blocks += not_run(report, {group.task for group in groups}, name)
    blocks += tables.every_check(found, name)
    trail = (
        Span("Results", "index.*"),
        Span("/"),
        Span("Architectures", "index.*#architectures"),
        Span("/"),
        Span(name),
    )
    title = stack.title if stack else about.title if about else name
    return Page(tables.architecture_path(name)[:-2], title, "results", tuple(blocks), trail)


def of_stack(about: Architecture) -> Paragraph:
    """Where the results of a stack stand that has no recipes of its own."""
    told = f"Every recipe of {about.title} trains this stack, so its configurations and results stand there:"
    return Paragraph((Span(told), Span(f"results of {about.title}", f"{tables.architecture_path(about.name)}#results")))


def description(about: Architecture) -> Iterator[Block]:
    """What an architecture is: summary, papers, facts, variants, diagram, equations, symbols."""
    yield Paragraph((Span(about.summary.strip()),), "lead")
    yield Items(
        tuple(
            (Span(paper.title, paper.url), Span(f"{paper.authors}, {paper.year}, arXiv {paper.arxiv}", "", "quiet"))
            for paper in about.papers
        )
    )
    facts = {"Name in the catalog": about.name, **about.facts}
    rows = tuple(Row((plain(key), plain(value))) for key, value in facts.items())
    columns = (Column("Property"), Column("Value", grow=True))
    yield Table(f"{about.title} in short", columns, rows, style="facts")
    yield Heading("Diagram", anchor="diagram")
    yield Figures((diagram(about),))
    stacks = [(Span(item.title, tables.architecture_path(item.name)), Span(item.meaning)) for item in about.stacks]
    variants = [(Span(item.name, "", "strong"), Span(item.meaning)) for item in about.variants]
    if variants or stacks:
        yield Heading("Variants", anchor="variants")
        yield Items((*variants, *stacks))
    yield Heading("Equations", anchor="equations")
    for equations in about.equations:
        yield Heading(equations.title, 3)
        yield Formulas(equations.lines, equations.title)
        note = (Span(equations.note),) if equations.note else ()
        yield Paragraph((Span(f"Source: {equations.source}."), *note), "note")
    yield symbols(about)


def diagram(about: Architecture) -> Figure:
    """The diagram as a figure."""
    name = f"diagram-{about.name}"
    svg = diagrams.svg(name, f"Diagram of {about.title}", about.diagram)
    return Figure(name, svg, about.diagram.caption, about.diagram.description, "diagram")


def symbols(about: Architecture) -> Table:
    """What the names of the equations stand for."""
    rows = [
        Row((Cell((Span(item.symbol, "", "math"),), index), plain(item.shape or "–"), plain(item.meaning)))
        for index, item in enumerate(about.symbols)
    ]
    used = [axis for axis in architectures.AXES if any(axis in _axes(item.shape) for item in about.symbols)]
    legend = ", ".join(f"{axis} {architectures.AXES[axis]}" for axis in used)
    columns = (Column("Symbol"), Column("Shape"), Column("Meaning", grow=True))
    return Table(f"Symbols. Axes of shapes: {legend}", columns, tuple(rows))


def _axes(shape: str) -> set[str]:
    return {letter for letter in shape if letter.isupper()}


def configuration(found: Sequence[Record], name: str) -> Iterator[Block]:
    """The model fields of every recipe that was run, side by side, with the number of parameters."""
    yield Heading("Configuration", anchor="configuration")
    recipes: dict[str, list[Record]] = {}
    for record in found:
        if record.recipe:
            recipes.setdefault(frames.fingerprint(record.recipe), []).append(record)
    if not recipes:
        yield Paragraph(
            (chip("not run"), Span("No recipe of this architecture has been run; this would run them all:"))
        )
        yield Code(tables.run_command(architectures=name, profile="smoke"))
        return
    chosen = sorted(recipes.values(), key=lambda records: (records[0].cell.task, records[0].cell.profile))
    told = [_fields(records) for records in chosen]
    names = list(dict.fromkeys(key for fields in told for key in fields))
    columns = [
        Column("Field"),
        *(Column(f"{task}, {profile}") for task, profile in map(_run_of, chosen)),
    ]
    rows = [Row((plain(key), *(plain(fields.get(key, "–")) for fields in told))) for key in names]
    yield Table("The recipes that were run: model and layer fields", tuple(columns), tuple(rows), "dense many")
    links = [tables.record_link(records[0]) for records in chosen]
    yield Paragraph((Span("Optimizer, data and sources stand in the records:"), *links), "note")


def _run_of(records: Sequence[Record]) -> tuple[str, str]:
    cells = [record.cell for record in records]
    return ", ".join(sorted({cell.task for cell in cells})), ", ".join(sorted({cell.profile for cell in cells}))


def _fields(records: Sequence[Record]) -> dict[str, str]:
    """Parameter count, then the fields of model and layer, then how long it trains; nested names are dotted."""
    recipe: dict[str, Any] = records[0].recipe
    counts = (r.metrics.get("parameter_count") or r.timing.get("parameter_count") for r in records)
    count = next((value for value in counts if isinstance(value, int | float) and not isinstance(value, bool)), None)
    found = {"parameters": "–" if count is None else f"{count:,.0f}"}
    model = recipe.get("model")
    found |= {
        key.removeprefix("layer."): value for key, value in frames.leaves(model if isinstance(model, dict) else {})
    }
    for key in ("batch_size", "epochs", "matmul_precision"):
        if key in recipe:
            found[key] = frames.text(recipe[key])
    return {key: value for key, value in found.items() if key}


def results(report: Report, groups: Sequence[Group], name: str) -> Iterator[Block]:
    """Every cell of the architecture in all benchmarks, then its learning curves."""
    yield Heading("Results", anchor="results")
    if not groups:
        yield Paragraph((chip("not run"), Span("No task has a record of this architecture; this would run them all:")))
        yield Code(tables.run_command(architectures=name, profile="smoke"))
        return
    sorts = tables.one_kind(groups)
    columns = (
        Column("Task"),
        Column("Framework"),
        Column("Value", sorts=sorts),
        Column("95 % interval", numeric=True, sorts=sorts),
        Column("Majority class", numeric=True, sorts=sorts),
        tables.published_column(groups),
        Column("Verdict", grow=True),
        Column("Profile, hardware, protocol"),
    )
    rows = [result_row(group, entry) for group in groups for entry in group.entries.values()]
    caption = "Every cell, one row per task, profile and framework; accuracies in %"
    yield Table(caption, columns, tuple(rows), "dense")
    yield Paragraph(
        (
            Span("Intervals: Student's t over seeds; with one seed Wilson's, of the finite test split. Rules:"),
            Span("Methods", "methods.*"),
        ),
        "note",
    )
    drawn = [(group, report.drawn(group)) for group in groups]
    drawn = [(group, made) for group, made in drawn if made]
    if drawn:
        yield Heading("Learning curves", anchor="curves")
    for group, made in drawn:
        yield Heading(f"{group.task}, profile {group.profile}, recipe {group.recipe}", 3)
        yield Figures(made)


def result_row(group: Group, entry: Entry) -> Row:
    """One framework of one group."""
    machines = sorted({frames.machine(record) for record in entry.records})
    places = [Span(machine, "", "quiet", line=True) for machine in machines]
    command = {"tasks": group.task, "architectures": group.architecture, "profile": group.profile}
    cell = tables.entry_cell(entry, group)
    if not entry.records:
        how = tables.run_command(**command, frameworks=[entry.framework])
        verdict = Cell((Span(how, "", "code"),))
    elif entry.values:
        verdict = Cell((chip(entry.verdict.label, entry.verdict.kind), Span(entry.verdict.reason, "", "quiet")))
    else:
        reasons = dict.fromkeys(record.reason for record in entry.records if record.reason)
        verdict = Cell((Span("; ".join(reasons) or "–", "", "quiet"),))
    metric = Span(group.metric.replace("_", " "), "", "quiet", line=True)
    return Row(
        (
            Cell((Span(group.task, tables.task_path(group.task)), metric)),
            plain(tables.title(entry.framework)),
            cell,
            interval_cell(group, entry),
            number(group.majority),
            tables.published_cell(group.reference),
            verdict,
            Cell(
                (Span(group.profile, "", "strong"), *places, Span(group.protocol_name or "–", "", "quiet", line=True))
            ),
        )
    )


def interval_cell(group: Group, entry: Entry) -> Cell:
    """The interval of the mean over seeds, or that of one seed's accuracy on the test split."""
    found = mean_interval(entry.summary) if entry.summary else None
    if not found and len(entry.values) == 1:
        rows = [row for row in frames.seeds(group).to_dict("records") if row["framework"] == entry.framework]
        bounds = [(row["low"], row["high"]) for row in rows if row["low"] is not None and row["low"] == row["low"]]
        found = bounds[0] if len(bounds) == 1 else None
    if not found:
        return Cell((Span("–", "", "quiet"),))
    low, high = (f"{bound:.{group.decimals}f}" for bound in found)
    return Cell((Span(f"{low} to {high}"),), found[0])


def not_run(report: Report, run: set[str], name: str) -> Iterator[Block]:
    """Tasks that a paper has a number for and nobody ran, with their commands."""
    missing: Iterable[Any] = report.published.references(name)
    rows = tuple(
        Row(
            (
                plain(item.task),
                Cell((chip("not run"),)),
                tables.published_cell(report.published.reference(item.task, name)),
                Cell((Span(tables.run_command(tasks=item.task, architectures=name, profile="paper"), "", "code"),)),
            )
        )
        for item in missing
        if item.task not in run and item.value is not None and not item.task.endswith(".average")
    )
    if rows:
        columns = (Column("Task"), Column("Status"), Column("Published", sorts=False), Column("Command", grow=True))
        yield Heading("Published and not run here")
        yield Table(f"Tasks of {name} without a record", columns, rows)
