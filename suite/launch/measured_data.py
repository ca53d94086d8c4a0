"""What a record says of the data that its numbers were measured on, and whether those are the data that are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.records import Record
from suite.data import CorruptData, Prepared
from suite.data import names as data_names
from suite.data.catalog import place
from suite.data.text.settings import MEASURED
from suite.matrix import Cell


class OtherData(RuntimeError):
    """A cell was measured on other data than those that are here; the message names them and the remedy."""


def completed(facts: dict[str, Any], data: Prepared) -> dict[str, Any]:
    """The protocol of a cell with what is known only of opened data: the facts that were measured of them, and of files
    of the user's own `prepared_sha256`, so that numbers on two folders are never taken for numbers on one."""
    known = {fact: data.protocol[fact] for fact in MEASURED if fact in data.protocol}
    own = {"prepared_sha256": data.digest} if data.protocol.get("source") == "local" else {}
    return {**facts, **known, **own}


def check(record: Record, cell: Cell, root: Path | None) -> None:
    """Raise OtherData where the data of a measured cell are prepared under a root and are not those of its record.

    Prepared data whose description is damaged cannot be compared: the record stands, as where there are none.
    """
    measured = record.provenance.get("data")
    if cell.recipe is None or cell.recipe.data.name not in data_names() or not isinstance(measured, dict):
        return
    wanted = place(cell.recipe.data.name, root, cell.recipe.data.settings)
    try:
        prepared = wanted.hashes
    except CorruptData:
        return
    for file, here in prepared.items():
        if measured.get(file, here) != here:
            raise OtherData(
                f"{cell.label}, cell {cell.id}, is measured already, but on other data than {wanted.directory}: its "
                f"{file} had sha256 {str(measured[file])[:16]}, here it is {here[:16]}; choose another --out, or say "
                "--no-resume to measure it anew"
            )
