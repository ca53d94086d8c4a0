"""The commit that a record was run from, and which of them cannot be looked up.

A record is never edited, and a page is built without git: what cannot be found in the public history stands here.
"""

from reports import frames
from reports.blocks import Span
from reports.records import Record

UNPUBLISHED = frozenset({"4f0b87720e"})
"""Commits that are not in the public history, as records name them (`reports/measured/README.md`)."""
ABSENT = "not in the public history"
CHANGED = "with uncommitted changes"
UNRECORDED = "uncommitted changes not recorded"
"""What a record from a tree without git says of itself: the commit was told to it, nobody looked for changes."""
SHORT = 12


def commit(record: Record) -> str:
    """The commit as the record names it; empty where it names none."""
    return frames.text(record.provenance.get("commit"))


def changes(record: Record) -> str:
    """What a record says of changes beside its commit; empty where there were none, or where it names no commit."""
    dirty = record.provenance.get("dirty")
    if dirty is False or commit(record) in ("", "unknown"):
        return ""
    return CHANGED if dirty is True else UNRECORDED


def of_record(record: Record, otherwise: str = "–") -> list[Span]:
    """The commit of a record in short, whether it cannot be looked up, and what is known of changes beside it."""
    name = commit(record)
    told = (ABSENT if name in UNPUBLISHED else "", changes(record))
    return [Span(name[:SHORT] or otherwise, "", "code", line=True), *(Span(said, "", "quiet") for said in told if said)]
