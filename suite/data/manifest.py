"""Typed reading of `data_manifests/<name>.toml`; the format is described in `data_manifests/README.md`."""

from pathlib import Path
from typing import Annotated, Any

import msgspec

from suite.data.errors import DataError

SCHEMA = "longseq-bench/data/1"
FOLDER = Path(__file__).parents[2] / "data_manifests"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of every table of a manifest: unknown keys are errors."""


class Licence(Entry, frozen=True):
    spdx: Text
    note: Text


class Citation(Entry, frozen=True):
    title: Text
    authors: list[Text]
    year: int
    url: Text


class Generator(Entry, frozen=True):
    module: Text
    version: Count
    settings: dict[str, int]


class Selection(Entry, frozen=True):
    """Settings that differ from the generator's, and the sha256 of the arrays that they give."""

    name: Text
    settings: dict[str, int | str]
    sha256: dict[str, Sha256]


class ReleasedFile(Entry, frozen=True):
    """A file of the original release; without sha256 the manifest says why."""

    name: Text
    split: Text
    sequences: Count
    sha256: Sha256 | None = None
    unverified: str | None = None

    def __post_init__(self) -> None:
        if (self.sha256 is None) == (self.unverified is None):
            raise ValueError("give either sha256 or, where it is not known, the reason as unverified")


class Release(Entry, frozen=True):
    url: Text
    files: list[ReleasedFile]


class Defect(Entry, frozen=True):
    id: Text
    text: Text


class Manifest(Entry, frozen=True):
    schema: Text
    name: Text
    title: Text
    benchmark: Text
    description: Text
    licence: Licence
    citations: list[Citation]
    splits: dict[str, Count]
    selections: list[Selection]
    release: Release
    defects: list[Defect]
    generator: Generator | None = None

    def pinned(self, settings: dict[str, Any]) -> dict[str, str]:
        """The sha256 of the files that these settings must give; empty where the manifest pins none."""
        if settings.get("source") not in ("generated", "embedded"):
            return {}
        given = {name: value for name, value in settings.items() if name != "source"}
        for selection in self.selections:
            default = self.generator.settings | self.splits if self.generator else {}
            if default | selection.settings == given:
                return selection.sha256
        return {}


def path(name: str) -> Path:
    """The file that describes a data set."""
    return FOLDER / f"{name}.toml"


def read(name: str) -> Manifest:
    """The manifest of a data set; DataError names the file, the place in it and what is wrong there."""
    return parse(path(name))


def parse(file: Path) -> Manifest:
    """A manifest file, checked; DataError names the file, the place in it and what is wrong there."""
    try:
        manifest = msgspec.toml.decode(file.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise DataError(f"{file} is missing") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(f"{file}: {error}") from None
    if manifest.schema != SCHEMA:
        raise DataError(f"{file}: schema is {manifest.schema!r}, expected {SCHEMA!r} - at `$.schema`")
    if manifest.name != file.stem:
        raise DataError(
            f"{file}: name is {manifest.name!r}, expected {file.stem!r} as the file is called - at `$.name`"
        )
    return manifest
