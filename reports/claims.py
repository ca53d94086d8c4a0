"""The headline claims of the papers beside what this project's records say about each of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from reports import contradictions, frames, speed, tables
from reports.blocks import Cell, Column, Row, Span, Table, chip
from reports.frames import Entry, Group
from reports.published import Identifier, Published, PublishedError
from reports.records import Record
from reports.statistics import summarize

PATH = Path(__file__).with_suffix(".toml")
MODES = ("forward", "forward and backward")
"""What of a layer is told of the speed that papers claim."""
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One claim and where to look for it: results of `tasks` by `architectures`, times of `slower` over `faster`.

    `stacks`: names of several layers one after another, each with how many of every layer; `slower` and `faster` name
    such a stack or a layer. `not_comparable` says why a measurement here cannot settle the claim, whatever it shows.
    """

    id: Identifier
    paper: Identifier
    architecture: Identifier
    statement: Text
    source: Text
    numbers: tuple[str, ...]
    architectures: tuple[Identifier, ...] = ()
    tasks: tuple[Identifier, ...] = ()
    slower: str = ""
    faster: tuple[str, ...] = ()
    stacks: dict[Text, dict[Text, Annotated[int, msgspec.Meta(ge=1)]]] = {}
    not_comparable: str = ""

    def layers(self, name: str) -> dict[str, int]:
        """How many of which layers a name of `slower` or `faster` stands for."""
        return self.stacks.get(name, {name: 1})


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file of all claims."""

    schema: Literal["longseq-bench/claims/1"]
    claims: tuple[Claim, ...]


def load(published: Published, path: Path = PATH) -> tuple[Claim, ...]:
    """All claims, each of a known paper with numbers that exist; raises PublishedError naming the place."""
    found = contradictions.read_toml(path, Claims).claims
    papers = {paper.paper.id for paper in published.papers}
    for index, item in enumerate(found):
        where = f"{path} is not valid: {{}} - at `$.claims[{index}]`"
        if item.paper not in papers:
            raise PublishedError(where.format(f"there is no paper {item.paper!r}"))
        if bool(item.slower) != bool(item.faster) or bool(item.tasks) != bool(item.architectures):
            raise PublishedError(where.format("slower needs faster, and tasks need architectures"))
        if unused := set(item.stacks) - {item.slower, *item.faster}:
            raise PublishedError(where.format(f"neither slower nor faster names the stack {min(unused)!r}"))
        contradictions.check_anchors(item.numbers, published, where)
    return found


def claims_table(published: Published, records: Sequence[Record], groups: Sequence[Group]) -> Table:
    """One row per claim: what is said, what is printed, what was measured here."""
    columns = (
        Column("Paper"),
        Column("Claim", grow=True),
        Column("In print", grow=True),
        Column("Measured here", grow=True),
    )
    papers = {paper.paper.id: paper for paper in published.papers}
    runs = speed.runs(records)
    rows = []
    for claim in load(published):
        about = papers[claim.paper]
        source = Span(f"{claim.source}, {about.paper.label}", "", "quiet", line=True)
        cells = (
            Cell((Span(about.paper.title, tables.architecture_path(claim.architecture)),)),
            Cell((Span(claim.statement), source)),
            Cell(contradictions.number_links(claim.numbers, published)),
            Cell(tuple(measured(claim, runs, groups))),
        )
        rows.append(Row(cells, f"claim-{claim.id}"))
    return Table("Claims of the papers, and what the records of this report say about them", columns, tuple(rows))


def measured(claim: Claim, runs: Sequence[speed.SpeedRun], groups: Sequence[Group]) -> list[Span]:
    """What records say about a claim, or that nothing was measured yet."""
    lines = [*timed(claim, runs), *results(claim, groups)]
    if not lines:
        return [chip("not measured yet", "not run")]
    if claim.not_comparable:
        lines.insert(0, [chip("not comparable"), Span(f"{claim.not_comparable}.")])
    return [
        on_line(span, index > 0 and place == 0) for index, line in enumerate(lines) for place, span in enumerate(line)
    ]


def on_line(span: Span, line: bool) -> Span:
    """The same span, on a line of its own where `line` is true."""
    return Span(span.text, span.href, span.style, span.kind, line)


def timed(claim: Claim, runs: Sequence[speed.SpeedRun]) -> list[list[Span]]:
    """One line per run and layer: how many times as fast as the slower layer in each mode, at the shortest and longest
    length."""
    lines, slower = [], claim.layers(claim.slower)
    for run in sorted(runs, key=lambda run: run.record.status != "measured"):
        for layer in claim.faster:
            found = {mode: ratios for mode in MODES if (ratios := run.ratios(slower, claim.layers(layer), mode))}
            if not found:
                continue
            told = "; ".join(f"{mode} {_ends(ratios)}" for mode, ratios in found.items())
            ended = "" if run.record.status == "measured" else f"; the run {run.record.status}, this is its part"
            place = f"{tables.title(run.record.cell.framework)}, {frames.machine(run.record)}"
            where = f"positions, {place}{ended}"
            href = f"speed.*#{run.anchor}"
            lines.append(
                [Span(f"{layer}, times as fast as {claim.slower}:"), Span(told, href), Span(where, "", "quiet")]
            )
    return lines


def _ends(ratios: dict[int, float]) -> str:
    places = dict.fromkeys((min(ratios), max(ratios)))
    return " and ".join(f"{ratios[length]:.2f} at {length:,}" for length in places)


def results(claim: Claim, groups: Sequence[Group]) -> list[list[Span]]:
    """One line per architecture and task with seeds under the paper's recipe, and what is missing for an average; where
    there is any, also which architectures of the claim have none."""
    lines = []
    for name in claim.architectures:
        mine = [group for group in groups if _of(claim, name, group)]
        paper = [group for group in mine if group.profile == "paper"]
        lines += [[Span(f"{name} on {g.task}:", tables.task_path(g.task)), *_values(g)] for g in paper]
        if mine and not paper:
            profiles = ", ".join(sorted({group.profile for group in mine}))
            told = f"{name}: measured in profile {profiles} only, which is not the paper's recipe."
            lines.append([chip("not comparable"), Span(told)])
        if paper:
            lines += average(claim, name, paper)
    missing = [name for name in claim.architectures if not any(_of(claim, name, group) for group in groups)]
    if lines and missing:
        lines.append([chip("not run"), Span(f"{', '.join(missing)}: none of these tasks is measured.")])
    return lines


def average(claim: Claim, name: str, groups: Sequence[Group]) -> list[list[Span]]:
    """The average over the claim's tasks where each has a mean under one protocol, else how many tasks have one."""
    done = {group.task for group in groups}
    if len(done) < len(claim.tasks):
        told = f"{name}: {len(done)} of {len(claim.tasks)} tasks are measured; there is no average of fewer."
        return [[Span(told, "", "quiet")]]
    if {group.unit for group in groups} != {"%"}:
        return []
    lines = []
    for framework in frames.FRAMEWORKS:
        means = {g.task: s.mean for g in groups if (s := g.entries[framework].summary) is not None}
        protocols = {group.protocol_name for group in groups}
        if len(means) == len(groups) == len(claim.tasks) and len(protocols) == 1:
            mean = summarize(list(means.values())).mean
            lines.append([Span(f"{name}, {tables.title(framework)}, average of {len(means)} tasks: {mean:.2f} %")])
    return lines


def _of(claim: Claim, name: str, group: Group) -> bool:
    """Whether a group has numbers of an architecture on a task of the claim."""
    return group.architecture == name and group.task in claim.tasks and bool(_entries(group))


def _entries(group: Group) -> list[Entry]:
    return [entry for entry in group.entries.values() if entry.summary]


def _values(group: Group) -> list[Span]:
    spans: list[Span] = []
    for entry in _entries(group):
        assert entry.summary is not None
        spread = "" if entry.summary.std is None else f" ± {entry.summary.std:.{group.decimals}f}"
        mean = f"{entry.summary.mean:.{group.decimals}f}"
        told = f"{tables.title(entry.framework)} {mean}{spread} {group.unit}".strip()
        spans += [
            Span(told, "", "strong"),
            Span(f"(n = {entry.summary.n})", "", "quiet"),
            chip(entry.verdict.label, entry.verdict.kind),
        ]
    return spans
