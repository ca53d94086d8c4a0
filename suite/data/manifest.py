"""Typed reading of `data_manifests/<name>.toml`; the format is described in `data_manifests/README.md`."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from suite.data.errors import DataError

SCHEMA = "longseq-bench/data/1"
FOLDER = Path(__file__).parents[2] / "data_manifests"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Md5 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Setting = int | str | bool
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
    """What makes generated data, and the settings of the release."""

    module: Text
    version: Count
    settings: dict[str, Setting]


class Preparation(Entry, frozen=True):
    """What reads the original files, with the default settings beside the counts, and what it does to them."""

    module: Text
    version: Count
    text: Text
    settings: dict[str, Setting] = {}


class Selection(Entry, frozen=True):
    """Settings that differ from the defaults, and the sha256 of the arrays that they give; `checked` says how.

    Not `binding`: the arrays of the files that `checked` names, where other files with these settings are as good.
    """

    name: Text
    settings: dict[str, Setting]
    sha256: dict[str, Sha256]
    source: Text | None = None
    checked: Text | None = None
    binding: bool = True


class ReleasedFile(Entry, frozen=True):
    """A file of the original release, by its path in it; without sha256 the manifest says why.

    A name with `*` stands for all files that match it: `files` says how many, and sha256 is that of the lines
    `<sha256 of a file>  <its path>` in the order of the paths. One that is `optional` is read where it is there.
    """

    name: Text
    optional: bool = False
    split: Text | None = None
    sequences: Count | None = None
    files: Count | None = None
    size: Count | None = None
    sha256: Sha256 | None = None
    unverified: str | None = None

    def __post_init__(self) -> None:
        if (self.sha256 is None) == (self.unverified is None):
            raise ValueError("give either sha256 or, where it is not known, the reason as unverified")


class Archive(Entry, frozen=True):
    """A file that is downloaded, and from where: `urls` lists mirrors after the original.

    `unverified` says why there is neither sha256 nor md5. `kind` is "file" where there is nothing to unpack.
    """

    name: Text
    urls: list[Text]
    size: Count | None = None
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    unverified: str | None = None
    kind: Literal["tar", "zip", "gzip", "file"] = "tar"

    def __post_init__(self) -> None:
        if (self.sha256 is None and self.md5 is None) == (self.unverified is None):
            raise ValueError("give sha256 or md5 or, where neither is known, the reason as unverified")


class Listed(Entry, frozen=True):
    """Files that are downloaded one by one: `table` is a file beside the manifest with a line for each of them, folder,
    name without suffix, bytes and sha256 between tabs; `url` is the address, in which `{path}` stands for its path."""

    table: Text
    url: Text
    suffix: Text


class Release(Entry, frozen=True):
    """The original: its page, what is downloaded, and the files in it that are read.

    The files lie in `ROOT/raw/<folder>`; data sets made of the same files name the same folder. `manual` says how to
    get what cannot be downloaded by a program. Where a folder holds the files twice, once in a folder called `inner`
    within it, the inner ones are read.
    """

    url: Text
    files: list[ReleasedFile]
    archives: list[Archive] = []
    folder: Text | None = None
    manual: Text | None = None
    inner: Text | None = None
    listed: Listed | None = None

    @property
    def vouched(self) -> bool:
        """Whether a hash is known of an archive that holds files of the release."""
        return any(archive.sha256 or archive.md5 for archive in self.archives if archive.kind != "file")

    @property
    def fetchable(self) -> bool:
        """Whether the original files can be downloaded by a program: there is more than a single file beside them."""
        return any(archive.kind != "file" for archive in self.archives)

    @property
    def single(self) -> list[Archive]:
        """The files that are downloaded one by one; DataError where the list of them is absent."""
        if self.listed is None:
            return []
        found, table = [], FOLDER / self.listed.table
        try:
            lines = table.read_text("utf-8").splitlines()
        except OSError as error:
            raise DataError(f"{table} cannot be read: {error.strerror}. Install the project again") from None
        for folder, name, size, sha256 in (line.split("\t") for line in lines):
            path = f"{folder}/{name}{self.listed.suffix}"
            url = self.listed.url.format(path=path)
            found.append(Archive(path, [url], size=int(size), sha256=sha256, kind="file"))
        return found

    def downloaded(self) -> "Release":
        """The release with those files only that a program can download."""
        if self.fetchable:
            return self
        names = [PurePosixPath(one.name) for one in self.single]
        return self.of(lambda file: any(name.match(file) for name in names))

    def has(self, name: str) -> bool:
        """Whether a file belongs to the release, by its name."""
        return any(file.name == name for file in self.files)

    def of(self, wanted: Callable[[str], bool]) -> "Release":
        """The release with those files only whose names are wanted."""
        return msgspec.structs.replace(self, files=[file for file in self.files if wanted(file.name)])


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
    protocol: Annotated[dict[str, Text], msgspec.Meta(min_length=1)]
    splits: dict[str, Annotated[int, msgspec.Meta(ge=0)]]
    release: Release
    defects: list[Defect]
    selections: list[Selection] = []
    generator: Generator | None = None
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        if self.generator is None and self.preparation is None:
            raise ValueError("give [generator], [preparation] or both")
        if self.splits and not all(self.splits.get(split) for split in ("train", "test")):
            raise ValueError("expected at least 1 sequence of train and test - at `$.splits`")

    def pinned(self, settings: dict[str, Any]) -> dict[str, str]:
        """The sha256 of the files that these settings must give; empty where the manifest pins none that bind."""
        source = settings.get("source")
        made = self.generator if source == "generated" else self.preparation
        if made is None:
            return {}
        given = {name: value for name, value in settings.items() if name != "source"}
        for selection in self.selections:
            if selection.binding and self.source(selection) == source and made.settings | self.splits | selection.settings == given:
                return selection.sha256
        return {}

    def source(self, selection: Selection) -> str:
        """The source of a selection's data: unless it says so, generated where there is a generator."""
        return selection.source or ("released" if self.generator is None else "generated")

    @property
    def raw(self) -> str:
        """The folder of the original files under `ROOT/raw`."""
        return self.release.folder or self.name


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
