"""What a prepared text data set holds."""

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from implementations.common.config import nearest
from suite.data.errors import SettingsError

FORMAT_VERSION = 1
"""Rises whenever the arrays of any text data set change for the same files and settings."""


@dataclass(frozen=True)
class TextSettings:
    """The settings that all text data sets share; a data set's own class says which values are possible.

    `source` is "embedded" (shipped with the project) or "released" (read from files); `tokenizer` is one of
    `TOKENIZERS`. Raises SettingsError, which names the field.
    """

    NAME: ClassVar[str]
    TOKENIZERS: ClassVar[tuple[str, ...]]
    SOURCES: ClassVar[tuple[str, ...]] = ("released",)

    source: str = ""
    tokenizer: str = ""

    def __post_init__(self) -> None:
        for field, known in (("source", self.SOURCES), ("tokenizer", self.TOKENIZERS)):
            if not getattr(self, field):
                object.__setattr__(self, field, known[0])
            value = getattr(self, field)
            if value not in known:
                raise SettingsError(f"{self.NAME}: {field} must be {' or '.join(map(repr, known))}, not {value!r}")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "TextSettings":
        """Settings from a dictionary; an unknown key is a SettingsError that names the nearest known one."""
        known = [field.name for field in fields(cls)]
        for key in settings:
            if key not in known:
                raise SettingsError(f"{cls.NAME} has no setting {key!r}; {nearest(key, known)}")
        return cls(**settings)

    @property
    def counts(self) -> dict[str, int]:
        """Nothing: how many documents there are is known when they have been read."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def changes(self) -> dict[str, Any]:
        """What the command that prepares these data has to say."""
        default = type(self)()
        released = {"source": self.source} if self.source == "released" else {}
        return released | {k: v for k, v in self.to_dict().items() if v != getattr(default, k)}

    def hash(self) -> str:
        """16 hexadecimal digits that name these data."""
        facts = {"settings": self.to_dict(), "format": FORMAT_VERSION}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def protocol(self) -> dict[str, Any]:
        """The facts that follow from the settings; those that follow from the text are added when it is read."""
        return {"dataset": self.NAME, "source": self.source, "settings": self.to_dict()}
