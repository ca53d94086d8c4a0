"""The commit that a record was run from, and which of them cannot be looked up.

A record is never edited, and a page is built without git: what cannot be found in the public history stands here.
"""

from reports import frames
from reports.blocks import Span
from reports.records import Record

UNPUBLISHED = frozenset({"4f0b87720e"})
"""Commits that are not in the public history, as records name them (`reports/measured/README.md`)."""
ABSENT = "not in the public history"
SHORT = 12


def commit(record: Record) -> str:
    """The commit as the record names it; empty where it names none."""
    return frames.text(record.provenance.get("commit"))


def spans(name: str, dirty: bool = False, otherwise: str = "–") -> list[Span]:
    """A commit in short, with a plus where it had uncommitted changes, and whether it cannot be looked up."""
    short = Span((name[:SHORT] or otherwise) + "+" * dirty, "", "code", line=True)
    return [short, Span(ABSENT, "", "quiet")] if name in UNPUBLISHED else [short]


def of_record(record: Record, otherwise: str = "–") -> list[Span]:
    """The commit of a record."""
    return spans(commit(record), record.provenance.get("dirty") is True, otherwise)
