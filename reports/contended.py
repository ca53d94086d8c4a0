"""Records whose times say nothing about speed, because other processes used the same device meanwhile.

A record does not know what ran beside it and is never edited; the list stands in
`reports/contended.toml`. It names each by cell id and the moment it ended, so that the same cell run
again elsewhere is not meant.
"""

import functools
from pathlib import Path
from typing import Annotated

import msgspec

from reports.records import CellId, Record, RecordError

FILE = Path(__file__).with_suffix(".toml")


class Runs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that shared a device: why their times are none, and when each ended, by cell id."""

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    ended: dict[CellId, str]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    runs: list[Runs]


def read(path: Path) -> dict[tuple[str, str], str]:
    """The sentence of every listed run by its cell id and the moment it ended; raises RecordError."""
    try:
        listed = msgspec.toml.decode(path.read_bytes(), type=_File).runs
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is not valid: {error}") from error
    return {(cell, ended): runs.why for runs in listed for cell, ended in runs.ended.items()}


@functools.cache
def _shipped() -> dict[tuple[str, str], str]:
    return read(FILE)


def why(record: Record) -> str:
    """Why the times of a record say nothing about speed, in a sentence; empty where nothing is known against them."""
    return _shipped().get((record.cell.id, str(record.provenance.get("finished"))), "")
