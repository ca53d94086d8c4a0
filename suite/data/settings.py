"""Settings of data sets: frozen dataclasses that decide what is prepared, checked when made."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

from implementations.common.config import nearest
from suite.data import manifest
from suite.data.errors import SettingsError

SPLITS = ("train", "validation", "test")
UNSEEN = "taken for those of the release: no sha256 is published of them, and they did not come out of its archive here"
ARCHIVED = "came out of the release's archive, whose hash is published"
ACCURACY = "accuracy: share of all examples of the split whose largest logit is the label's"


def integer(default: int, least: int = 1) -> Any:
    """A field for an integer of at least `least`; a plain `name: int = 5` is one of at least 1."""
    return field(default=default, metadata={"least": least})


def choice(default: str | int, *others: str | int) -> Any:
    """A field for one of a few values."""
    return field(default=default, metadata={"choices": (default, *others)})


@dataclass(frozen=True)
class Settings:
    """What a prepared data set holds; a data set derives from it, adds its fields and states its facts.

    `source` is "generated", "released" (original files, verified by their hashes or by that of the archive that they
    came out of; where they cannot be, the protocol calls them unverified) or "local" (files of the same layout with other content; never comparable);
    `SOURCES` are those that a data set has. `train`, `validation` and `test` are numbers of examples. `GENERATOR_FIELDS` mean something for generated data only.
    `VERSION` rises whenever a bit of the prepared arrays changes. Raises SettingsError, which names the field.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    VERSION: ClassVar[int] = 1
    SOURCES: ClassVar[tuple[str, ...]] = ("released", "local")
    GENERATOR_FIELDS: ClassVar[tuple[str, ...]] = ()

    source: str = "released"
    train: int = integer(1)
    validation: int = integer(0, least=0)
    test: int = integer(1)

    def __post_init__(self) -> None:
        if self.source not in self.SOURCES:
            raise SettingsError(f"{self.NAME}: source must be {_either(self.SOURCES)}, not {self.source!r}")
        for each in fields(self)[1:]:
            value = getattr(self, each.name)
            self._check(each.name, value, each.default, each.metadata.get("choices"))
            if self.source != "generated" and each.name in self.GENERATOR_FIELDS and value != each.default:
                raise SettingsError(
                    f"{self.NAME}: {each.name} belongs to source 'generated'; leave it out with {self.source!r}"
                )

    def _check(self, name: str, value: Any, default: Any, choices: Sequence[str | int] | None) -> None:
        if choices is not None:
            if value not in choices or type(value) is not type(default):
                raise SettingsError(f"{self.NAME}: {name} must be {_either(choices)}, not {value!r}")
        elif isinstance(default, bool):
            if type(value) is not bool:
                raise SettingsError(f"{self.NAME}: {name} must be true or false, not {value!r}")
        elif isinstance(default, int):
            least = self.least(name)
            if type(value) is not int or not least <= value < 2**63:
                raise SettingsError(f"{self.NAME}: {name} must be an integer of at least {least}, not {value!r}")
        elif type(value) is not type(default):
            raise SettingsError(f"{self.NAME}: {name} must be of type {type(default).__name__}, not {value!r}")

    def least(self, name: str) -> int:
        """The least value of an integer field."""
        return next(each.metadata.get("least", 1) for each in fields(self) if each.name == name)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Settings from a dictionary; an unknown key is a SettingsError that names the nearest known one."""
        known = [each.name for each in fields(cls)]
        for key in settings:
            if key not in known:
                raise SettingsError(f"{cls.NAME} has no setting {key!r}; {nearest(key, known)}")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """All settings that decide the data; the generator's only where it made them."""
        generated = self.source == "generated"
        return {key: value for key, value in asdict(self).items() if generated or key not in self.GENERATOR_FIELDS}

    def changes(self) -> dict[str, Any]:
        """The settings that differ from the defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    @property
    def counts(self) -> dict[str, int]:
        """Examples of each split."""
        return {split: getattr(self, split) for split in SPLITS}

    def identity(self) -> dict[str, Any]:
        """Everything that decides the prepared arrays."""
        return {"settings": self.to_dict(), "version": self.VERSION}

    def hash(self) -> str:
        """16 hexadecimal digits that name these data, different where the data are."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()[:16]

    def protocol(self) -> dict[str, Any]:
        """The facts that decide whether two numbers may be compared."""
        facts = self.facts()
        differences = [*facts.pop("differences", ()), *self.of_files()]
        return {
            "name": self.title_of_source(),
            "dataset": self.NAME,
            "source": self.source,
            "splits": self.counts,
            "metric": ACCURACY,
            **facts,
            **({"originals": ARCHIVED} if self.by_archive else {}),
            "settings": self.to_dict(),
            "preparation_version": self.VERSION,
            "differences": differences,
        }

    @property
    def unhashed(self) -> tuple[str, ...]:
        """The files that are read as released and whose content neither the manifest nor the reader can tell."""
        if self.source != "released":
            return ()
        files = manifest.read(self.NAME).release.of(self.reads).files
        return tuple(file.name for file in files if file.sha256 is None and not self.checks(file.name))

    @property
    def unverified(self) -> bool:
        """Whether files are read as released of which, and of whose archives, the manifest knows no hash."""
        return bool(self.unhashed) and not manifest.read(self.NAME).release.vouched

    @property
    def by_archive(self) -> tuple[str, ...]:
        """The files that are read as released and that only their archive's hash vouches for."""
        return () if self.unverified else self.unhashed

    def as_found(self, unsealed: Sequence[str]) -> dict[str, str]:
        """What a protocol says in place of `protocol()` where some files did not come out of an archive of known hash."""
        unseen = [file for file in self.by_archive if file in unsealed]
        if not unseen:
            return {}
        name = self.protocol()["name"].replace(f"/{self.source}", "/unverified", 1)
        return {"name": name, "originals": f"{', '.join(unseen)} {UNSEEN}"}

    def title_of_source(self) -> str:
        """The name of the protocol: the data set and where it is from, "released" only where hashes say so."""
        return f"{self.NAME}/{'unverified' if self.unverified else self.source}"

    def of_files(self) -> list[str]:
        """What a protocol says of the original files where they are not known to be those of the release."""
        if self.source == "local":
            return ["the files are not those of the release"]
        said = "the files are taken for those of the release, of which no checksum is known to verify them by"
        return [said] if self.unverified else []

    def reads(self, file: str) -> bool:
        """Whether these settings read a file of the release, called as the manifest calls it."""
        return True

    def checks(self, file: str) -> bool:
        """Whether the reader itself refuses a file that is not the released one, though its sha256 is not known."""
        return False

    def without(self, missing: Sequence[str]) -> str:
        """A sentence on what can be had without some files of the release, empty where nothing can."""
        return ""

    def facts(self) -> dict[str, Any]:
        """What a data set adds to `protocol()`: at least `split_rule`, `input`, `maximum_length` and `classes`.

        `input` is {"kind": "tokens"} or {"kind": "values", "scale", "mean", "std"} (numbers, or a list with one for
        each channel): the model sees `(raw * scale - mean) / std`. `documents` is 2 where an example is a pair.
        """
        raise NotImplementedError(f"{type(self).__name__} states no facts")


def _either(values: Sequence[str | int]) -> str:
    return " or ".join(map(repr, values))
