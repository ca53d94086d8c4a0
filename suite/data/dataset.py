"""What a data set owes the catalog: settings that describe the data, and functions that make or read them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.data.prepared import Prepared
from suite.data.sequences import Advance
from suite.data.settings import Settings


@dataclass(frozen=True)
class Made:
    """Splits with what is known only once they were read: facts for the protocol, and files to keep beside them."""

    splits: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSet:
    """A data set: its settings, how its splits are made, or read from the original files, and how they are opened.

    `generate(settings, jobs, advance)` and `read(settings, folder, advance)` give the splits, a dictionary of
    `Sequences` or of another dataclass of arrays, or `Made` of them; `advance` is called with numbers of
    examples done. `opened` is the class of what is prepared.
    """

    settings: type[Settings]
    generate: Callable[[Any, int | None, Advance], dict[str, Any] | Made] | None = None
    read: Callable[[Any, Path, Advance], dict[str, Any] | Made] | None = None
    opened: type[Prepared] = Prepared

    @property
    def name(self) -> str:
        return self.settings.NAME

    @property
    def title(self) -> str:
        return self.settings.TITLE
