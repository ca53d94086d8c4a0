"""Two models on the same examples: McNemar's test between architectures, and between the twins of one.

Only models of one task and profile that were asked the same (`frames.examination`), with the same seed and the same
labels in the same order, are paired. Architectures differ in their recipes and may; the twins of one do not.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports import frames, tables
from reports.blocks import Block, Cell, Column, Heading, Paragraph, Row, Span, Table, number, plain
from reports.frames import Group
from reports.records import Record, decode_correct
from reports.statistics import ExampleComparison, holm, paired_examples
from reports.verdicts import p_text, signed


@dataclass(frozen=True)
class Model:
    """A record with the group that it is a seed of."""

    record: Record
    group: Group

    def may_be_paired(self, other: "Model") -> bool:
        """Whether exactly one of architecture and framework differs; twins are those of one recipe."""
        same_framework = self.record.cell.framework == other.record.cell.framework
        if self.group.title != other.group.title:
            return same_framework
        return not same_framework and self.group.recipe == other.group.recipe


@dataclass(frozen=True)
class PairedTest:
    """Two records on the same examples, McNemar's test of them, and its p beside the other tests of the table."""

    first: Record
    second: Record
    profile: str
    result: ExampleComparison
    adjusted: float


def paired_tests(groups: Sequence[Group]) -> list[PairedTest]:
    """Every pair of records that may be compared, by profile, seed and names; p adjusted by Holm over all of them."""
    members: dict[tuple[str, ...], list[Model]] = {}
    for group in groups:
        for record in group.records:
            kept = record.predictions
            if record.status == "measured" and kept and kept.correct:
                same = (group.task, group.profile, frames.examination(group.protocol), group.metric)
                key = (*same, str(record.cell.seed), kept.split, str(kept.count), kept.labels_sha256)
                members.setdefault(key, []).append(Model(record, group))
    found = []
    for key in sorted(members):
        order = sorted(members[key], key=lambda one: (one.group.title, one.record.cell.framework, one.record.cell.id))
        pairs = [pair for pair in itertools.combinations(order, 2) if pair[0].may_be_paired(pair[1])]
        found += [_tested(first.record, second.record) for first, second in pairs]
    adjusted = holm([test.result.p for test in found]).tolist() if found else []
    return [replace(test, adjusted=p) for test, p in zip(found, adjusted, strict=True)]


def _tested(first: Record, second: Record) -> PairedTest:
    right = [decode_correct(record.predictions) for record in (first, second) if record.predictions]
    if len(right) != 2 or right[0] is None or right[1] is None:
        raise ValueError("paired records need their correct examples")
    return PairedTest(first, second, first.cell.profile, paired_examples(right[0], right[1]), 1.0)


def paired_blocks(groups: Sequence[Group]) -> list[Block]:
    """The table of paired tests of one task with what it means, or nothing where no two records can be paired."""
    found = paired_tests(groups)
    if not found:
        return []
    columns = (
        Column("First"),
        Column("Second"),
        Column("Profile, seed"),
        Column("Only first right", numeric=True),
        Column("Only second right", numeric=True),
        Column("Difference, points", numeric=True),
        Column("95 % interval", numeric=True),
        Column("McNemar p", numeric=True),
        Column("Holm p", numeric=True),
    )
    of = {record.cell.id: group for group in groups for record in group.records}
    rows = []
    for test in found:
        result = test.result
        low, high = (signed(100 * bound) for bound in (result.low, result.high))
        cells = (
            _model(test.first, of, groups),
            _model(test.second, of, groups),
            plain(f"{test.profile}, {test.first.cell.seed}"),
            number(result.only_first, 0),
            number(result.only_second, 0),
            Cell((Span(signed(100 * result.difference)),), result.difference),
            Cell((Span(f"{low} to {high}"),), result.low),
            Cell((Span(p_text(result.p).removeprefix("= ")),), result.p),
            Cell((Span(p_text(test.adjusted).removeprefix("= ")),), test.adjusted),
        )
        rows.append(Row(cells))
    told = (
        "Pairs share task, profile, seed and every test example, and were asked the same; architectures differ in "
        "their recipes, twins do not. McNemar's exact test asks whether the two are right equally often; Holm's p is "
        f"its p beside the other tests of this table, {len(found)} in all. Intervals: paired bootstrap over the "
        "examples. What one seed shows of two models need not hold for other seeds."
    )
    caption = "Two models on the same examples: how many only one of them gets right"
    return [
        Heading("Paired comparisons", anchor="paired"),
        Table(caption, columns, tuple(rows)),
        Paragraph((Span(told),), "note"),
    ]


def _model(record: Record, of: dict[str, Group], groups: Sequence[Group]) -> Cell:
    """A model by its architecture, its recipe where the table has several of it, and its framework."""
    group = of[record.cell.id]
    several = sum((one.title, one.profile) == (group.title, group.profile) for one in groups) > 1
    named = f"{group.title}, recipe {group.recipe}" if several else group.title
    return plain(f"{named}, {tables.title(record.cell.framework)}", tables.cell_path(record))
