"""What speed records hold of defects of this project that are mended since: rows whose times are none, and rows whose
times are of less than they are thought to be of.

A record is never edited; `reports/outdated.toml` names the rows by cell id and the commit that was measured, so that
the same cell run again is not meant. Pages leave out `rows`, and show those of `notes` with what is told of them.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from reports import contended
from reports.contended import Sentence
from reports.records import CellId, Record

FILE = Path(__file__).with_suffix(".toml")


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of one mode, of some layers or of all: why their times are none, and the commit measured, by cell id."""

    why: Sentence
    mode: str
    commits: dict[CellId, str]
    layers: list[str] | None = None

    def hold(self, row: dict[str, object]) -> bool:
        """Whether a row of a record that is named is one of these."""
        return row.get("mode") == self.mode and (self.layers is None or row.get("layer") in self.layers)


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the times of some modes are without, in a few words that stand beside them, and why."""

    told: Sentence
    why: Sentence
    modes: list[str]
    commits: dict[CellId, str]


class Lists(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    rows: list[Rows]
    notes: list[Note] = []


Named = TypeVar("Named", Rows, Note)


def read(path: Path) -> Lists:
    """What is listed; raises RecordError."""
    return contended.decode(path, Lists)


@functools.cache
def _shipped() -> Lists:
    return read(FILE)


def _naming(listed: list[Named], record: Record) -> list[Named]:
    commit = record.provenance.get("commit")
    return [one for one in listed if one.commits.get(record.cell.id) == commit and commit is not None]


def of(record: Record) -> list[Rows]:
    """The rows of a record that are listed."""
    return _naming(_shipped().rows, record)


def left_out(record: Record, row: dict[str, object]) -> str:
    """Why a row of a record is no time; empty where it is one."""
    return next((rows.why for rows in of(record) if rows.hold(row)), "")


def notes(record: Record) -> list[Note]:
    """What is told of rows of a record that are shown."""
    return _naming(_shipped().notes, record)


def beside(record: Record, *modes: str) -> str:
    """What the times of some modes of a record are without, to stand beside them; empty where there is nothing."""
    return "; ".join(note.told for note in notes(record) if set(note.modes) & set(modes))


def sentences(record: Record) -> Iterator[str]:
    """Everything that is known against times of a record, a sentence for each."""
    for note in notes(record):
        yield f"Times of {' and of '.join(note.modes)} are {note.told}: {note.why}."
    for rows in of(record):
        of_layers = f" of {', '.join(rows.layers)}" if rows.layers else ""
        yield f"Left out of the page of layer speed: {rows.mode}{of_layers}, since {rows.why}."
