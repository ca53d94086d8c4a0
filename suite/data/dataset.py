"""What a data set owes the catalog: settings that describe the data, and functions that make or read them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from suite.data.sequences import Advance, Sequences


class Settings(Protocol):
    """What a prepared data set holds: a frozen dataclass of numbers and names, checked when made."""

    @property
    def source(self) -> str: ...

    @property
    def counts(self) -> dict[str, int]:
        """Sequences per split."""
        ...

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Checked settings; SettingsError names the field or, for an unknown key, the nearest known one."""
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
class DataSet:
    """A data set: `generate(settings, jobs, advance)` makes its splits, `read(settings, folder, advance)` takes them
    and the sha256 of the raw files from a folder of the original release."""

    name: str
    title: str
    settings: type[Settings]
    generate: Callable[[Any, int | None, Advance], dict[str, Sequences]]
    read: Callable[[Any, Path, Advance], tuple[dict[str, Sequences], dict[str, str]]]
