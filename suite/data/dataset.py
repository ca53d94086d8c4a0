"""What a data set owes the catalog: settings that describe the data, and functions that make or read them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from suite.data.prepared import Prepared
from suite.data.sequences import Advance, Sequences


@runtime_checkable
class Settings(Protocol):
    """What a prepared data set holds: a frozen dataclass of numbers and names, checked when made."""

    @property
    def source(self) -> str: ...

    @property
    def counts(self) -> dict[str, int]:
        """Sequences per split."""
        ...

    def to_dict(self) -> dict[str, Any]: ...

    def changes(self) -> dict[str, Any]:
        """The settings that differ from the defaults."""
        ...

    def hash(self) -> str:
        """A short name of these data, different where the data are."""
        ...

    def protocol(self) -> dict[str, Any]:
        """The facts that decide whether two numbers may be compared."""
        ...


@dataclass(frozen=True)
class Made:
    """A data set's arrays by split, the sha256 of what they were read from, facts for the protocol and further files."""

    splits: Mapping[str, Any]
    raw_files: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSet:
    """A data set: functions that check its settings, make its splits, and read them from the original release.

    `settings(given)` raises SettingsError naming the field or the nearest known one; `generate(settings, jobs,
    advance)` gives the splits, `read(settings, folder, advance)` the splits and the sha256 of the release's files.
    """

    name: str
    title: str
    settings: Callable[[dict[str, Any]], Settings]
    generate: Callable[[Any, int | None, Advance], dict[str, Sequences]]
    read: Callable[[Any, Path, Advance], tuple[dict[str, Sequences], dict[str, str]]]

    def make(self, settings: Settings, folder: Path | None, jobs: int | None, advance: Advance) -> Made:
        """The arrays, from the original release's files in a folder or, where it is None, generated."""
        if folder is None:
            return Made(self.generate(settings, jobs, advance))
        return Made(*self.read(settings, folder, advance))

    def open(self, directory: Path, settings: Settings, command: str, verify: bool) -> Prepared:
        return Prepared(directory, settings.protocol(), command, verify)
