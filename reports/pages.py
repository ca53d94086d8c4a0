"""The pages of a report, made of blocks; every page family is one function."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports import (
    architectures,
    benchmarks,
    commits,
    contended,
    figures,
    frames,
    language,
    names,
    resampled,
    tables,
)
from reports.ablations import Study, studies
from reports.blocks import (
    Block,
    Code,
    Column,
    Figure,
    Figures,
    Heading,
    Items,
    Page,
    Paragraph,
    Row,
    Span,
    Table,
    chip,
    plain,
)
from reports.consistency import contradictions
from reports.frames import Group
from reports.margins import MARGINS
from reports.paired import paired_blocks
from reports.published import Published
from reports.published_pages import published_table
from reports.records import Record
from reports.statistics import ALPHA, POWER
from reports.verdicts import STATUS_MEANING, UNSTATED_RUNS, VERDICT_MEANING

SECTIONS = (
    Span("Results", "index.*", kind="results"),
    Span("Cells", "cells.*", kind="cells"),
    Span("Parity", "parity.*", kind="parity"),
    Span("Layer speed", "speed.*", kind="speed"),
    Span("Hardware", "hardware.*", kind="hardware"),
    Span("Published numbers", "published.*", kind="published"),
    Span("Contradictions", "contradictions.*", kind="contradictions"),
    Span("Methods", "methods.*", kind="methods"),
)


SHORT_LOG = 12
"""Lines of a log that are shown at once."""


@dataclass(frozen=True)
class Report:
    """Everything that pages are made from."""

    records: tuple[Record, ...]
    published: Published
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, records: Sequence[Record], published: Published) -> "Report":
        """The report of some records."""
        return cls(tuple(records), published, tuple(frames.groups(records, published)))

    @property
    def architectures(self) -> list[str]:
        """Architectures with any record."""
        return sorted({record.cell.architecture for record in self.records})

    @property
    def pages_of(self) -> list[str]:
        """Architectures with a page: those that are described, then others with a record."""
        described = list(architectures.described())
        return described + [name for name in self.architectures if name not in described]

    @functools.cached_property
    def _figures(self) -> list[tuple[Figure, ...]]:
        return [tuple(figures.of_group(group)) for group in self.groups]

    def drawn(self, group: Group) -> tuple[Figure, ...]:
        """The figures of one of the groups, drawn once."""
        return next(made for known, made in zip(self.groups, self._figures, strict=True) if known is group)

    @property
    def others(self) -> list[Record]:
        """Records that are shown with their own tables only."""
        return [record for record in self.records if frames.kind(record) == "other"]

    @functools.cached_property
    def studies(self) -> list[Study]:
        """The ablation studies."""
        return studies(self.records)

    @functools.cached_property
    def changed(self) -> list[Group]:
        """Groups of the records of ablations, for their own pages."""
        return frames.groups(self.records, self.published, "ablation")

    @property
    def tasks(self) -> list[str]:
        """Tasks in the result table."""
        return sorted({group.task for group in self.groups})


def task_page(report: Report, task: str) -> Page:
    """One task: results, curves, every seed, every published number."""
    groups = [group for group in report.groups if group.task == task]
    metrics = " and ".join(dict.fromkeys(tables.metric_words(group) for group in groups))
    blocks: list[Block] = tables.result_table(groups, f"Results on {task}: {metrics}")
    blocks += resampled.blocks(task, groups, report.published)
    for section in language.sections(groups):
        blocks += [Heading(f"Perplexities, profile {section[0].profile}"), *language.blocks_of(section)]
    for group in groups:
        heading = f"{group.title}, profile {group.profile}"
        same = [g for g in groups if (g.title, g.profile) == (group.title, group.profile)]
        blocks.append(Heading(heading + (f", recipe {group.recipe}" if len(same) > 1 else "")))
        blocks.append(Figures(report.drawn(group)))
        blocks += [tables.seed_table(group), *contended_notes(group.records)]
        missing = tables.missing_commands(group)
        blocks += [Code("\n".join(missing), "To run what is missing")] if missing else []
    blocks += paired_blocks(groups)
    pairs = report.published.on_task(task)
    if pairs:
        blocks += [Heading("Published numbers"), published_table(f"Published on {task}", pairs)]
    return Page(tables.task_path(task)[:-2], task, "results", tuple(blocks), (*_above(report, task), Span("/ task")))


def _above(report: Report, task: str) -> tuple[Span, ...]:
    """The way to the page of a task: the overview, and the page of its benchmark where it has one."""
    known = benchmarks.of_task(task)
    above = Span(known.title, known.path) if known else None
    return (Span("Results", "index.*"), *((Span("/"), above) if above else ()))


CONTRADICTS = "This record contradicts itself: it was changed after it was written, and its numbers stand beside none"


def record_page(record: Record, group: Group | None) -> Page:
    """One record: what was run, what came out, and everything that is needed to run it again."""
    cell = record.cell
    name = f"{cell.architecture} on {cell.task}, {tables.title(cell.framework)}, seed {cell.seed}"
    name += f", {cell.factor} = {cell.level}" if cell.factor else ""
    status = [chip(record.status), Span(f"profile {cell.profile}, {frames.machine(record)}")]
    if record.reason:
        status.append(Span(tables.reason(record), "", "strong", line=True))
    blocks: list[Block] = [Paragraph(tuple(status), "lead")]
    if tables.reason(record) != record.reason:
        blocks.append(Code(record.reason, "The whole reason", folded=True))
    wrong = contradictions(record)
    if wrong:
        blocks.append(Items(tuple((Span(f"{sentence}."),) for sentence in wrong), CONTRADICTS, "callout"))
    blocks += _origin(record)
    if record.log_tail:
        blocks.append(Code(record.log_tail, "End of the log", folded=record.log_tail.count("\n") > SHORT_LOG))
    if group:
        made = tuple(figures.of_record(record, group))
        blocks += [Heading("Learning curves"), Figures(made)] if made else []
    for title in sorted(record.tables):
        words = names.title(title)
        blocks += [Heading(words), tables.rows_table(f"{words} of this record", record.tables[title])]
    hashes = _hashes(record)
    sections = (
        ("Metrics", {key: frames.metric_text(key, value) for key, value in record.metrics.items()}),
        ("Timing", {key: names.value(key, value) or value for key, value in record.timing.items()}),
        ("Protocol", record.protocol),
        ("Recipe", record.recipe),
        ("Provenance", record.provenance if hashes is None else {**record.provenance, "data": "below"}),
        ("Data", hashes),
    )
    for title, values in sections:
        if values:
            blocks += [Heading(title, anchor=title.lower()), _facts(title, values)]
            blocks += contended_notes([record]) if title == "Timing" else []
    if record.predictions:
        kept = record.predictions
        told = f"{kept.count} predictions over {kept.classes} classes on split {kept.split}, labels sha256 "
        said = (Span(told), Span(kept.labels_sha256, "", "code"))
        blocks += [Heading("Predictions"), Paragraph((*said, Span("; they are in the raw record.")))]
    known = benchmarks.of_task(cell.task)
    trail = (
        Span("Results", "index.*"),
        Span("/"),
        *((Span(known.title, known.path), Span("/")) if known else ()),
        Span(cell.task, tables.task_path(cell.task)) if group else Span(cell.task),
        Span("/"),
        Span(cell.architecture, tables.architecture_path(cell.architecture)),
    )
    return Page(tables.cell_path(record)[:-2], name, "results", tuple(blocks), trail)


NOTES = {"Recipe": "Fields are named as --set takes them."}
"""What is told of a section before its table; such fields keep their own names, as do files."""


def _facts(title: str, values: dict[str, Any]) -> Table:
    caption = " ".join(filter(None, (f"{title} of this record.", NOTES.get(title))))
    return tables.facts_table(caption, values, named=title not in ("Recipe", "Data"))


def contended_notes(found: Sequence[Record]) -> list[Block]:
    """A footnote for every reason why times of some records say nothing about speed, naming the records."""
    reasons: dict[str, list[Record]] = {}
    for record in found:
        if contended.why(record):
            reasons.setdefault(contended.why(record), []).append(record)
    return [
        Paragraph((*(Span(one.cell.id, tables.cell_path(one)) for one in own), Span(f"{reason}.")), "note")
        for reason, own in reasons.items()
    ]


def _origin(record: Record) -> Iterator[Block]:
    """Where the numbers of a record are from: raw record, recipe, commit, data, the command, and how to verify it."""
    cell, origin = record.cell, record.provenance
    links = [Span("Raw record (JSON)", f"records/{cell.id}.json"), Span(f"cell {cell.id}", "", "quiet")]
    hashes = _hashes(record)
    links += [Span("Recipe", "#recipe")] if record.recipe else []
    links += [Span(f"Hashes of {len(hashes)} data files", "#data")] if hashes else []
    commit = frames.text(origin.get("commit"))
    if commit:
        links += [Span("Commit", "#provenance"), Span(commit, "", "code")]
        links += [Span(commits.ABSENT, "", "strong")] if commit in commits.UNPUBLISHED else []
        links += [Span(told, "", "strong")] if (told := commits.changes(record)) else []
    yield Paragraph(tuple(links))
    command = frames.text(origin.get("command"))
    if command:
        yield Code(command, "Exact command")
    run = command.startswith("python -m suite.run") and record.status != "compiled"
    if run and (record.metrics or record.tables):
        yield Code(f"python -m suite.verify {cell.id}", "To run its first updates, or its checks, again")


def _hashes(record: Record) -> dict[str, Any] | None:
    """The hashes of a record's data by file, None where it has none."""
    found = record.provenance.get("data")
    return found if isinstance(found, dict) and found else None


def methods_page() -> Page:
    """Statuses, verdict rules, margins and statistics."""
    margins = tuple(
        Row((plain(benchmark), plain(metric.replace("_", " ")), plain(one.text(unit)), plain(one.reason)))
        for (benchmark, metric, unit), one in MARGINS.items()
    )
    level = f"{100 * (1 - 2 * ALPHA):g} %"
    rules = (
        "A verdict needs the paper's own recipe (profile paper), a protocol that follows the published one, all seeds "
        "and a checked transcription. How our protocol still differs is printed under the table.",
        f"Equivalence is two one-sided Welch tests at level {ALPHA:g} against the stated margin, which is the same as "
        f"asking whether the {level} interval of the difference lies inside it. Each claim is wrong in at most "
        f"{100 * ALPHA:g} % of the cases in which it does not hold; above and below mean at the margin or beyond it, "
        "so that one of the three holds. Spreads need not be equal: with three published runs that spread three times "
        "as ours do a claim is wrong in up to 6 % (simulated).",
        f"Where a paper prints a standard deviation but not the number of its runs, it counts as {UNSTATED_RUNS}, the "
        "fewest that have one. Where it prints none, nothing is claimed: what would hold if its runs spread as ours do "
        "is told as that assumption, since such a claim is wrong in about one of five cases where they spread three "
        "times as much (simulated), and nothing here could tell.",
        f"The seeds that an underpowered cell needs are those that decide with {100 * POWER:g} % probability "
        "if the observed difference is the true one; with one seed they are planned with the published std.",
        "Several verdicts of one benchmark must hold together: their p-values are adjusted by Holm's rule, and one "
        f"that holds alone only is underpowered. So any of them is wrong in at most {100 * ALPHA:g} % of reports.",
        "Two models are compared on the same test examples by McNemar's exact test, with Holm's rule within a table, "
        "and only within one task, profile and seed, where both were asked the same: data, split, selection, metric. "
        "How a recipe departs from the published one parts no pair; the twins of a pair have one recipe.",
        "Mean ± sample standard deviation over all seeds that ended; never the best seed. A group with a failed seed "
        "has no verdict. The interval of one accuracy is Wilson's, for the finite test split.",
        "Effects of ablations are paired by seed, with Student's t intervals; their p-values are corrected by Holm's "
        "rule within the levels of one factor. Two models on the same examples are compared by McNemar's exact test.",
        "Values of different tasks, profiles, recipes or protocols are never averaged or ranked together.",
        "The majority class is the accuracy of always answering the most frequent class of the evaluated split.",
        "A compiler's estimate is never a time.",
        "The roofline of a layer is the longer of two times: that of its floating-point operations at the peak rate, "
        "and that of its bytes at the bandwidth of the memory; a share is that time over the measured median. In JAX "
        "the compiler counts both, bytes after fusion. In PyTorch the operations are those of matrix products, and the "
        "bytes those of the tensors that every operation reads and writes, views apart: the traffic of unfused "
        "operations, an upper bound of what a fused program moves, so that the arithmetic intensity is a lower bound. "
        "Where a cache serves them the share can be above 100 %. Where bytes were not counted, as of FlexAttention, it "
        "is the share of operations alone. The two frameworks' shares are not compared with one another.",
        "A record is verified by running it again (python -m suite.verify). With the recorded code, versions, "
        "processor and thread settings on a CPU the same bits must come out. Elsewhere each loss must agree within 64 "
        "times the effect of rounding, which is how far the losses part in a second run from initial values one unit "
        "in the last place away; where that is more than 1 %, and for accuracies, nothing is judged. Times are never "
        "verified.",
    )
    blocks = (
        Heading("Statuses of a cell"),
        Items(tuple((chip(name), Span(meaning)) for name, meaning in STATUS_MEANING.items())),
        Heading("Verdicts against a paper"),
        Items(tuple((chip(name), Span(meaning)) for name, meaning in VERDICT_MEANING.items())),
        Table(
            "Margins of equivalence; sizes were set before any number that they judge was measured",
            (Column("Benchmark"), Column("Metric"), Column("Margin"), Column("Reason", grow=True)),
            margins,
        ),
        Heading("Rules"),
        Items(tuple((Span(rule),) for rule in rules)),
        Heading("The parity ladder"),
        Items(tuple((Span(rung, "", "strong"), Span(what)) for rung, what in frames.RUNGS.items())),
    )
    return Page("methods", "Methods", "methods", blocks)
