"""The machines that records were measured on, with what ran on them."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from reports import commits, frames, tables
from reports.blocks import Cell, Column, Row, Span, Table, number, plain
from reports.records import Record


def machines_table(run: Sequence[Record]) -> Table:
    """One row for every machine: what it is, what ran on it with which versions and commits, and what that took."""
    members: dict[tuple[str, ...], list[Record]] = {}
    for record in run:
        said = _mapping(record.provenance.get("hardware"))
        cards = said.get("gpus") if isinstance(said.get("gpus"), list) else []
        cards = [card for card in cards if isinstance(card, dict)]  # pyright: ignore[reportOptionalIterable]
        drivers = sorted({frames.text(card.get("driver")) for card in cards} - {""})
        key = (_device(record), frames.text(said.get("cpu")), ", ".join(drivers))
        members.setdefault(key, []).append(record)
    columns = (
        Column("Machine"),
        Column("Processor"),
        Column("Cores", numeric=True),
        Column("GPU driver"),
        Column("Versions", grow=True),
        Column("Commits", grow=True),
        Column("Records", numeric=True),
        Column("Hours", numeric=True),
        Column("Energy, kWh", numeric=True),
    )
    rows = []
    for key, own in sorted(members.items()):
        times, energies = (_total(own, name) for name in ("total_seconds", "energy_joules"))
        cells = (
            *(plain(text or "–") for text in key[:2]),
            plain(_cores(own)),
            plain(key[2] or "–"),
            plain(", ".join(_versions(own)) or "–"),
            Cell(tuple(_commits(own))),
            plain(str(len(own))),
            number(None if times is None else times / 3_600),
            number(None if energies is None else energies / 3.6e6),
        )
        rows.append(Row(cells))
    told = "Hours and energy are sums over the records that hold them; energy is that of whole GPU boards, "
    told += "counted for every run that shared one"
    return Table(told, columns, tuple(rows), "dense")


def _device(record: Record) -> str:
    """The machine in words, without its number of cores, in which machines of one kind differ."""
    return re.sub(r", \d+ cores\)$", ")", frames.machine(record))


def _cores(records: Sequence[Record]) -> str:
    """The fewest and the most cores."""
    found = [_mapping(record.provenance.get("hardware")).get("cores") for record in records]
    counts = sorted({count for count in found if isinstance(count, int) and not isinstance(count, bool)})
    return "–" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


SHOWN = 3
"""Cells of a commit that a row links to."""


def _commits(records: Sequence[Record]) -> Iterator[Span]:
    """Every commit, with its first cells."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((commits.commit(record), commits.changes(record)), []).append(record)
    for _, own in sorted(found.items()):
        yield from commits.of_record(own[0], "unknown")
        for index, record in enumerate(own[:SHOWN]):
            yield Span(f"cell {index + 1}" if index == 0 else str(index + 1), tables.cell_path(record), "quiet")
        if own[SHOWN:]:
            yield Span(f"and {len(own) - SHOWN} more", "cells.*", "quiet")


def _total(records: Sequence[Record], name: str) -> float | None:
    found = [value for record in records if (value := _amount(record.timing.get(name))) is not None]
    return sum(found) if found else None


def _versions(records: Sequence[Record]) -> list[str]:
    said = [_mapping(record.provenance.get("versions")) for record in records]
    return [
        f"{name} {_few([frames.text(versions.get(name)) for versions in said])}"
        for name in ("python", "jax", "torch")
        if any(versions.get(name) for versions in said)
    ]


def _few(texts: Sequence[str]) -> str:
    """Different texts, at most three of them."""
    found = sorted({text for text in texts if text})
    return " / ".join(found[:3]) + (f" and {len(found) - 3} more" if found[3:] else "") or "–"


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _amount(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value)
