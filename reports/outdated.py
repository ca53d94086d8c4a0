"""Rows of speed records that hold a cost which was a defect of this project and is mended since.

A record is never edited; `reports/outdated.toml` names the rows by cell id and the commit that was measured, so that
the same cell run again is not meant.
"""

import functools
from pathlib import Path

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


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: list[Rows]


def read(path: Path) -> tuple[Rows, ...]:
    """The listed rows; raises RecordError."""
    return tuple(contended.decode(path, _File).rows)


@functools.cache
def _shipped() -> tuple[Rows, ...]:
    return read(FILE)


def of(record: Record) -> list[Rows]:
    """The rows of a record that are listed."""
    commit = record.provenance.get("commit")
    return [rows for rows in _shipped() if rows.commits.get(record.cell.id) == commit and commit is not None]
