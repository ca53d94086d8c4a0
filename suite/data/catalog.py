"""The data sets by name: preparing them, and opening what is prepared."""

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from implementations.common.config import nearest
from suite.data import listops, listops_generator, listops_released, store
from suite.data.dataset import DataSet
from suite.data.errors import CorruptData, NoData, UnknownData
from suite.data.prepared import Prepared
from suite.data.sequences import Advance
from suite.data.text.catalog import TEXT_SETS
from suite.data.text.dataset import TextSet

DATA_SETS: dict[str, DataSet | TextSet] = {
    listops.NAME: DataSet(
        listops.NAME,
        listops.TITLE,
        listops.ListOpsSettings.from_dict,
        listops_generator.generate,
        listops_released.read,
    ),
    **TEXT_SETS,
}
MADE_HERE = ("generated", "embedded")
"""Sources that need no files of the user's."""
ENVIRONMENT = "LONGSEQ_DATA"


def names() -> tuple[str, ...]:
    """The known data sets."""
    return tuple(DATA_SETS)


def find(name: str) -> DataSet | TextSet:
    """A data set by name; UnknownData names the nearest known one."""
    if name not in DATA_SETS:
        raise UnknownData(f"no data set {name!r}; {nearest(name, DATA_SETS)}")
    return DATA_SETS[name]


def data_root(root: str | Path | None = None) -> Path:
    """The folder of all data: `root`, else the environment's LONGSEQ_DATA, else `./data`."""
    return Path(root or os.environ.get(ENVIRONMENT) or "data")


@dataclass(frozen=True)
class Place:
    """Where a data set with certain settings lies, prepared or not."""

    data_set: DataSet | TextSet
    settings: Any
    root: Path

    @property
    def directory(self) -> Path:
        return store.folder(self.root, self.data_set.name, self.settings.hash())

    @property
    def command(self) -> str:
        """The command that prepares or mends it."""
        words = ["python", "-m", "suite.data", "prepare", self.data_set.name, "--root", str(self.root)]
        for setting, value in self.settings.changes().items():
            words += ["--from", "DIR"] if setting == "source" else [f"--{setting.replace('_', '-')}", str(value)]
        return shlex.join(words)

    def open(self, verify: bool = True) -> Prepared:
        return self.data_set.open(self.directory, self.settings, self.command, verify)


def place(name: str, root: str | Path | None, settings: dict[str, Any]) -> Place:
    """The place of a data set; raises UnknownData and SettingsError."""
    data_set = find(name)
    return Place(data_set, data_set.settings(settings), data_root(root))


def open_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    prepare: bool = True,
    verify: bool = True,
    jobs: int | None = None,
    **settings: Any,
) -> Prepared:
    """A prepared data set; generated data that are absent are prepared first unless `prepare` is false.

    `settings` are those of the data set (ListOps: `ListOpsSettings`); `verify` hashes every file before use. Raises
    UnknownData, SettingsError, NoData (which names the command that prepares the data), CorruptData (which names the
    command that mends them).
    """
    wanted = place(name, root, settings)
    if wanted.directory.exists():
        return wanted.open(verify)
    if not prepare or wanted.settings.source not in MADE_HERE:
        raise NoData(f"{name} is not prepared in {wanted.root}. Prepare it with: {wanted.command}")
    return prepare_dataset(name, root, jobs=jobs, **settings)


def prepare_dataset(
    name: str, root: str | Path | None = None, *, released: Path | None = None, jobs: int | None = None, **settings: Any
) -> Prepared:
    """Prepare or mend a data set: generated data that are there and whole are kept, all others are made anew.

    `released` is the folder of the original release's files and sets `source` to "released". Raises UnknownData,
    SettingsError, and DataError where nothing can be written or a released file is malformed.
    """
    wanted = place(name, root, settings | ({"source": "released"} if released else {}))
    if wanted.settings.source not in MADE_HERE and released is None:
        raise NoData(f"{name}: released data are read from their files. Prepare them with: {wanted.command}")
    with store.locked(wanted.directory):
        if wanted.directory.exists() and released is None:
            with contextlib.suppress(CorruptData):
                return wanted.open()
        with progress(f"{name} ({wanted.settings.source})", sum(wanted.settings.counts.values())) as advance:
            made = wanted.data_set.make(wanted.settings, released, jobs, advance)
        protocol = wanted.settings.protocol() | made.facts
        meta = store.Meta(store.SCHEMA, name, wanted.settings.to_dict(), protocol, {}, made.raw_files)
        store.write(wanted.directory, made.splits, meta, made.files)
        return wanted.open()


def prepared_folders(name: str, root: Path) -> list[Path]:
    """The folders of everything of a data set that is prepared under a root."""
    return sorted((root / "prepared" / find(name).name).glob("[0-9a-f]*"))


def open_folder(directory: Path, name: str, root: Path) -> Prepared:
    """Whatever prepared data lie in a folder, verified; raises CorruptData."""
    found = place(name, root, store.read_meta(directory).settings)
    if found.directory != directory:
        raise CorruptData(f"{directory} was prepared by another version of the project; remove it")
    return found.open()


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """A function to call with each number of sequences done: a bar on a terminal, a line per quarter elsewhere."""
    if sys.stderr.isatty():
        with tqdm(total=total or None, desc=title, unit=" sequences") as bar:
            yield bar.update
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if total and before * 4 // total < done * 4 // total:
            print(f"{title}: {done:,} of {total:,} sequences", file=sys.stderr, flush=True)

    print(f"{title}: preparing{f' {total:,} sequences' if total else ''}", file=sys.stderr, flush=True)
    yield advance
