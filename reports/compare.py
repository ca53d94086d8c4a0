"""The comparison of two sets of records as tables, for a terminal, a Markdown page and an HTML page."""

from collections.abc import Sequence

from reports import comparison, frames
from reports.blocks import Block, Cell, Column, Heading, Items, Page, Paragraph, Row, Span, Table, plain
from reports.comparison import Comparison
from reports.console import counted
from reports.records import Record
from reports.render import Renderer, one_line, text_table
from reports.verdicts import p_text, signed

LONGEST = 60
"""Characters of a value of a recipe that are shown."""


def page(found: Comparison) -> Page:
    """Everything that is known of two sets of records side by side."""
    names = " and ".join(found.names)
    blocks = (
        Paragraph((Span(f"A is {found.names[0]}, B is {found.names[1]}; differences are B minus A."),)),
        *_metrics(found),
        *_seeds(found),
        *_examples(found),
        *_times(found),
        *_differences(found),
        *_alone(found),
    )
    return Page("compare", f"Comparison of {names}", "", blocks)


def markdown(found: Comparison) -> bytes:
    """The page in Markdown."""
    return Renderer(()).markdown(page(found))


def html(found: Comparison) -> bytes:
    """The page in HTML, in one file."""
    return Renderer(()).html(page(found))


def text(found: Comparison) -> str:
    """The page as plain text."""
    return "\n".join(_plain(block) for block in page(found).blocks)


def _plain(block: Block) -> str:
    if isinstance(block, Table):
        return text_table(block)
    if isinstance(block, Heading):
        return f"{block.text}\n{'=' * len(block.text)}"
    lines = block.items if isinstance(block, Items) else [block.spans] if isinstance(block, Paragraph) else []
    mark = "- " if isinstance(block, Items) else ""
    return "".join(mark + " ".join(one_line(span.text) for span in spans) + "\n" for spans in lines)


def _metrics(found: Comparison) -> list[Block]:
    rows = []
    for pair in found.pairs:
        states = [side.status for side in (pair.first, pair.second)]
        if states != ["measured", "measured"]:
            rows.append(Row((plain(pair.label), plain("status"), plain(states[0]), plain(states[1]), plain(""))))
        for name in pair.metrics:
            values = [frames.shown(side.metrics.get(name), name) for side in (pair.first, pair.second)]
            texts = [frames.metric_text(name, side.metrics.get(name)) for side in (pair.first, pair.second)]
            absent = [name not in side.metrics for side in (pair.first, pair.second)]
            shown = [plain("–" if gone else told) for gone, told in zip(absent, texts, strict=True)]
            rows.append(Row((plain(pair.label), plain(name), *shown, _apart(values[0], values[1]))))
    values = (Column(name, numeric=True, sorts=False) for name in ("A", "B", "B − A"))
    columns = (Column("Cell"), Column("Metric"), *values)
    if not rows:
        return [Paragraph((Span("No cell is in both sets."),))]
    return [
        Heading("Metrics"),
        Table(f"Metrics of {counted(len(found.pairs), 'cell')} in both sets", columns, tuple(rows)),
    ]


def _apart(one: float | None, other: float | None) -> Cell:
    if one is None or other is None:
        return plain("–")
    return plain("equal") if one == other else Cell((Span(f"{other - one:+.4g}".replace("-", "−")),), other - one)


def _seeds(found: Comparison) -> list[Block]:
    tests = [test for test in comparison.seed_tests(found) if test.effect.n > 1]
    if not tests:
        return []
    titles = ("Seeds", "B − A", "95 % interval", "p", "Holm p")
    values = ("B − A", "95 % interval")  # each in the unit of its own metric
    columns = (Column("Cells"), Column("Metric"), *(Column(t, numeric=True, sorts=t not in values) for t in titles))
    rows = []
    for test in tests:
        effect = test.effect
        interval = (
            f"{effect.low:+.4g} to {effect.high:+.4g}" if effect.low is not None and effect.high is not None else "–"
        )
        numbers = (str(effect.n), f"{effect.difference:+.4g}", interval, _p(effect.p), _p(test.adjusted))
        rows.append(Row((plain(test.label), plain(test.metric), *(plain(word.replace("-", "−")) for word in numbers))))
    told = "Paired by seed: Student's t interval and test of the differences; Holm's p beside the others of the table."
    return [Heading("Over seeds"), Table(told, columns, tuple(rows))]


def _p(p: float | None) -> str:
    return "–" if p is None else p_text(p).removeprefix("= ")


def _examples(found: Comparison) -> list[Block]:
    tests = comparison.example_tests(found)
    if not tests:
        return []
    titles = ("Only A right", "Only B right", "B − A, points", "95 % interval", "McNemar p", "Holm p")
    columns = (Column("Cell"), *(Column(title, numeric=True) for title in titles))
    rows = []
    for test in tests:
        result = test.result
        interval = f"{signed(100 * result.low)} to {signed(100 * result.high)}"
        counts = (str(result.only_second), str(result.only_first), signed(100 * result.difference))
        words = (*counts, interval, _p(result.p), _p(test.adjusted))
        rows.append(Row((plain(test.pair.label), *map(plain, words))))
    told = "The same examples: McNemar's exact test, bootstrap interval over the examples."
    return [Heading("On the same examples"), Table(told, columns, tuple(rows))]


def _times(found: Comparison) -> list[Block]:
    rows = []
    for time in comparison.times(found):
        fit = time.pair.same_machine and not time.unfit and time.values[0]
        ratio = f"{time.values[1] / time.values[0]:.3f}" if fit else "–"
        words = (time.pair.label, time.what, *(f"{value:.4g}" for value in time.values), ratio, time.judgment)
        rows.append(Row(tuple(map(plain, words))))
    if not rows:
        return []
    columns = (
        Column("Cell"),
        Column("Median of"),
        *(Column(name, numeric=True) for name in ("A", "B", "B / A")),
        Column(""),
    )
    told = (
        "Times: a ratio only where both were measured on the same kind of machine; slower or faster where the ranges "
    )
    return [Heading("Times"), Table(told + "from the 20 % to the 80 % quantile are apart.", columns, tuple(rows))]


def _differences(found: Comparison) -> list[Block]:
    rows = []
    for item in comparison.differences(found):
        every = len(item.cells) == len(found.pairs)
        cells = (
            "all"
            if every
            else "; ".join(item.cells[:2]) + (f" and {len(item.cells) - 2} more" if item.cells[2:] else "")
        )
        rows.append(Row((plain(item.field), *(plain(_short(value)) for value in item.values), plain(cells))))
    if not rows:
        return [Paragraph((Span("Recipes, protocols, versions and hardware of all pairs are the same."),))]
    columns = (Column("Field"), Column("A"), Column("B"), Column("Cells"))
    told = "What is not the same of recipe, protocol and origin, field by field"
    return [Heading("What differs"), Table(told, columns, tuple(rows))]


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"


def _alone(found: Comparison) -> list[Block]:
    blocks: list[Block] = []
    for name, only in zip("AB", found.alone, strict=True):
        if only:
            blocks += [Heading(f"Only in {name}"), Items(tuple((Span(_of(record)),) for record in only))]
    return blocks


def _of(record: Record) -> str:
    return f"{comparison.label(record)}, cell {record.cell.id}: {record.status}"


def summary(found: Comparison) -> str:
    """One line: how many cells are in both sets, how many of them came out the same, and how many came to no number."""
    compared = [pair for pair in found.pairs if pair.metrics]
    same = sum(pair.first.metrics == pair.second.metrics for pair in compared)
    none = len(found.pairs) - len(compared)
    without = f", {none} without metrics" if none else ""
    alone: Sequence[int] = [len(side) for side in found.alone]
    both = counted(len(found.pairs), "cell")
    return f"{both} in both, {same} with equal metrics{without}; {alone[0]} only in A, {alone[1]} only in B"
