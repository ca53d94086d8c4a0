"""Which published tables a language model's numbers may stand beside, and if none, why not, in one sentence.

A task names the tables and the protocol behind them (`Task.tables`, `Task.comparable_to`), or says why there are none.
A run follows that protocol only with the paper's own recipe on the whole of the released corpus, which is known once
the text is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from suite.data import manifest
from suite.tasks import Task

KEYS = ("comparable_to", "published_tables", "not_comparable")


def before(task: Task, changed: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe decides: `changed` are its differences from the published one, `facts` those of the corpus."""
    why = task.not_comparable
    if not why and changed:
        more = f" ({len(changed) - 1} more)" if len(changed) > 1 else ""
        why = f"the recipe is not the published one: {changed[0]}{more}"
    if not why and facts.get("differences"):
        why = str(facts["differences"][0])
    return _told(task.comparable_to, list(task.tables), why)


def after(facts: dict[str, Any], text: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a protocol once its corpus is open, whose own facts are `text`: nothing is compared on a part of
    it."""
    if not facts.get("comparable_to"):
        return facts
    why = incomplete(text, manifest.read(text["dataset"]).splits)
    return {**facts, **_told(facts["comparable_to"], facts["published_tables"], why)}


def incomplete(text: Mapping[str, Any], released: Mapping[str, int]) -> str:
    """What a text lacks of the release, whose documents are counted by split; empty where it has all of it."""
    for split, count in released.items():
        found = text["splits"][split]["documents"]
        if found != count:
            return f"the corpus is not the released one: {found:,} of {count:,} documents in its {split} split"
    for split, found in text.get("identical_to_release", {}).items():
        if found != released[split]:
            told = f"{found:,} of {released[split]:,} documents of its {split} split are the same byte for byte"
            return f"the corpus is not the released one: {told}"
    return ""


def _told(protocol: str, tables: list[str], why: str) -> dict[str, Any]:
    return dict(zip(KEYS, ("" if why else protocol, tables, why), strict=True))
