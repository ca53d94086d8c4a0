"""The page of hardware: machines that records were measured on, and what compiled programs need of absent chips."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from reports import chips, frames, tables
from reports.blocks import Block, Cell, Code, Column, Heading, Items, Page, Paragraph, Row, Span, Table, chip, plain
from reports.machines import machines_table
from reports.names import scaled
from reports.records import STARTED, Record

LEAD = "The machines that records were measured on, and programs compiled for chips that were not there."
COMPILED = (
    "What each chip computes and moves, what memory it takes, whether that fits, and how the chips that share a batch "
    "exchange numbers. Nothing of this was run, so there is no time and no accuracy of it."
)
BOUNDS = {
    "memory": "twice as long does not fit",
    "model": "the model takes no longer input",
    "compiler": "the compiler fails on longer inputs",
    "compilations": "longer ones were not tried",
}


def compiled(records: Sequence[Record]) -> list[Record]:
    """The records of compiled cells, by hardware, task and architecture."""
    found = [record for record in records if record.status == "compiled"]
    return sorted(found, key=lambda r: (r.cell.hardware, r.cell.profile, r.cell.task, r.cell.architecture, r.cell.id))


def hardware_page(records: Sequence[Record]) -> Page:
    """Every machine, every compiled program, the longest inputs that fit, and the cells without programs."""
    found = compiled(records)
    run = [record for record in records if record.status in STARTED]
    blocks: list[Block] = [Paragraph((Span(LEAD),), "lead")]
    if run:
        blocks += [Heading("Measured on", anchor="machines"), machines_table(run)]
    blocks += [Heading("Peak rates of chips", anchor="chips"), profiles_table()]
    blocks += [Heading("Compiled for absent chips", anchor="compiled"), Paragraph((Span(COMPILED),))]
    if not found:
        blocks.append(Paragraph((chip("not run"), Span("This compiles the JAX cells of a benchmark for a TPU v4:"))))
        blocks.append(Code(tables.run_command(benchmarks="lra", hardware="tpu-v4")))
        return Page("hardware", "Hardware", "hardware", tuple(blocks))
    blocks.append(chips_table(found))
    for title, anchor, caption, table, own in SECTIONS:
        blocks += [Heading(title, 3, anchor), rows_table(found, caption, table, own)]
    names = {record.cell.hardware for record in found}
    without = [r for r in records if r.cell.hardware in names and r.status in ("failed", "not run")]
    if without:
        blocks += [Heading("Cells without compiled programs", 3, "without"), reasons_table(without)]
    definitions = _dictionary(_dictionary(found[0].provenance.get("compiled_for")).get("definitions"))
    told = [(Span(f"{name}:", "", "strong"), Span(frames.text(text))) for name, text in sorted(definitions.items())]
    if told:
        blocks += [Heading("Definitions", 3), Items(tuple(told), style="note")]
    return Page("hardware", "Hardware", "hardware", tuple(blocks))


def profiles_table() -> Table:
    """One row per chip: peak rates, bandwidth, memory, and where the numbers are from."""
    rows = []
    for item in chips.shipped():
        rates = (_rate(item.float32), _rate(item.tf32), _rate(item.bfloat16), _rate(item.bandwidth))
        memory = Cell((Span(f"{item.memory / 2**30:.1f} GiB" if item.memory else "–"),), item.memory or "")
        dated = [Span(f"checked {item.checked}", "", "quiet", line=True)] if item.checked else []
        source = Cell((Span(item.source, item.url), *dated))
        rows.append(Row((plain(item.title), plain(item.name, style="code"), *rates, memory, source)))
    columns = (
        Column("Chip"),
        Column("Name"),
        Column("float32, T/s", numeric=True),
        Column("TF32, T/s", numeric=True),
        Column("bfloat16, T/s", numeric=True),
        Column("Bandwidth, TB/s", numeric=True),
        Column("Memory", numeric=True),
        Column("Source", grow=True),
    )
    caption = "Peak rates of one chip, dense operations, and its memory; shares of a roofline are of these numbers"
    return Table(caption, columns, tuple(rows), "dense")


def _rate(value: float | None) -> Cell:
    """A rate in units of 10^12 per second."""
    return Cell((Span("–" if value is None else f"{value / 1e12:g}"),), "" if value is None else value)


def chips_table(found: Sequence[Record]) -> Table:
    """One row for every chip, topology and compiler."""
    keys = ("chip", "topology", "compiler", "chip_memory_bytes")
    counts: dict[tuple[Any, ...], int] = {}
    for record in found:
        said = _dictionary(record.provenance.get("compiled_for"))
        versions = _dictionary(record.provenance.get("versions"))
        libtpu = ", ".join(f"{name} {frames.text(versions[name])}" for name in ("jax", "libtpu") if name in versions)
        key = (record.cell.hardware, *(frames.text(said.get(name)) for name in keys[:3]), libtpu)
        counts[(*key, _number(said.get(keys[3])))] = counts.get((*key, _number(said.get(keys[3]))), 0) + 1
    columns = (
        Column("Hardware"),
        Column("Chip"),
        Column("Topology"),
        Column("Compiler", grow=True),
        Column("Versions"),
        Column("Memory of a chip", numeric=True),
        Column("Cells compiled", numeric=True),
    )
    rows = [
        Row((*(plain(name or "–") for name in key[:5]), bytes_cell(key[5]), plain(str(count))))
        for key, count in sorted(counts.items(), key=str)
    ]
    return Table("What was compiled for", columns, tuple(rows))


Shown = tuple[Column, Callable[[dict[str, Any]], Cell]]
"""A column, and what it shows of a row of a record."""


def _told(fits: object) -> Cell:
    word = "fits" if fits is True else "does not fit" if fits is False else "no program"
    return Cell((chip(word, "passed" if fits is True else "failed"),))


def _least(row: dict[str, Any]) -> str:
    return "≥ " if (_number(row.get("loops")) or 0) > 0 else ""


def _intensity(value: object) -> Cell:
    number = _number(value)
    return plain("–", style="quiet") if number is None else Cell((Span(f"{number:.1f}"),), number)


def _exchanged(value: object) -> Cell:
    found = [f"{count:,.0f} {name}" for name, each in _dictionary(value).items() if (count := _number(each))]
    return plain(", ".join(found)) if found else plain("–", style="quiet")


def _why(row: dict[str, Any]) -> Cell:
    bound = frames.text(row.get("bound"))
    return plain(": ".join(filter(None, (BOUNDS.get(bound, bound), frames.text(row.get("reason"))))) or "–")


PROGRAMS: tuple[Shown, ...] = (
    (Column("Batch", numeric=True), lambda row: _count(row.get("batch"))),
    (Column("Length", numeric=True), lambda row: _count(row.get("length"))),
    (Column("Chips", numeric=True), lambda row: _count(row.get("chips", 1))),
    (Column("FLOPs of a chip", numeric=True), lambda row: amount_cell(row.get("flops"), _least(row))),
    (Column("Bytes accessed", numeric=True), lambda row: bytes_cell(row.get("bytes_accessed"), _least(row))),
    (Column("FLOPs per byte", numeric=True), lambda row: _intensity(row.get("arithmetic_intensity"))),
    (Column("Peak memory of a chip", numeric=True), lambda row: bytes_cell(row.get("peak_memory_bytes"))),
    (Column("Collective operations"), lambda row: _exchanged(row.get("collectives"))),
    (Column("Fits"), lambda row: _told(row.get("fits"))),
)
LONGEST: tuple[Shown, ...] = (
    (Column("Fits", numeric=True), lambda row: _count(row.get("longest_length"))),
    (Column("Does not fit", numeric=True), lambda row: _count(row.get("shortest_refused"))),
    (Column("Why no longer one is named", grow=True), _why),
)


def rows_table(found: Sequence[Record], title: str, table: str, own: Sequence[Shown]) -> Table:
    """Every row of a table of the records that names a program: what it is of, and its own columns."""
    names = ("Task", "Architecture", "Program", "Profile", "Hardware")
    columns = (*map(Column, names), *(column for column, _ in own), Column("Record"))
    rows = [
        Row(
            (
                *_names(record, row),
                *(cell_of(row) for _, cell_of in own),
                plain(record.cell.id, tables.cell_path(record)),
            )
        )
        for record in found
        for row in record.tables.get(table, [])
        if isinstance(row.get("program"), str)
    ]
    return Table(title, columns, tuple(rows), "dense many")


SECTIONS = (
    (
        "Programs", "programs", "Compiled programs; ≥ where the program has loops, whose bodies count once",
        "programs", PROGRAMS,
    ),
    (
        "Longest inputs", "longest", "Positions of the longest inputs tried, at the recipe's batch size",
        "longest_inputs", LONGEST,
    ),
)  # fmt: skip
"""Title, anchor, caption, table of the records, columns."""


def reasons_table(found: Sequence[Record]) -> Table:
    """Cells of which nothing was compiled, by their reason."""
    columns = (Column("Status"), Column("Cells", numeric=True), Column("Reason", grow=True), Column("One of them"))
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in found:
        groups.setdefault((record.status, record.reason), []).append(record)
    rows = [
        Row((Cell((chip(status),)), plain(str(len(own))), plain(reason or "–"), Cell((tables.record_link(own[0]),))))
        for (status, reason), own in sorted(groups.items())
    ]
    return Table("Why nothing was compiled", columns, tuple(rows))


def _names(record: Record, row: dict[str, Any]) -> tuple[Cell, ...]:
    cell = record.cell
    changed = f"{cell.factor} = {cell.level}" if cell.factor else ""
    layer = frames.text(row.get("layer")) or changed
    spans = [Span(frames.text(row.get("program")))] + ([Span(layer, "", "quiet", line=True)] if layer else [])
    task, architecture = plain(cell.task), plain(cell.architecture, tables.architecture_path(cell.architecture))
    return task, architecture, Cell(tuple(spans)), plain(cell.profile), plain(cell.hardware)


def _count(value: object) -> Cell:
    number = _number(value)
    return plain("–", style="quiet") if number is None else Cell((Span(f"{number:,.0f}"),), number)


def amount_cell(value: object, prefix: str = "") -> Cell:
    """A count in thousands, millions and so on."""
    number = _number(value)
    if number is None:
        return plain("–", style="quiet")
    return Cell((Span(prefix + scaled(number)),), number)


def bytes_cell(value: object, prefix: str = "") -> Cell:
    """Bytes in MiB or GiB."""
    number = _number(value)
    if number is None:
        return plain("–", style="quiet")
    size, unit = (2**30, "GiB") if number >= 2**30 else (2**20, "MiB")
    return Cell((Span(f"{prefix}{number / size:,.2f} {unit}"),), number)


def _dictionary(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
