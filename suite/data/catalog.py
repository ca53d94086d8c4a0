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
from suite.data import (
    aan,
    acquire,
    cifar,
    glue,
    imdb,
    listops,
    listops_generator,
    listops_released,
    manifest,
    mnist,
    pathfinder,
    pathfinder_generator,
    pathfinder_released,
    pendulum,
    qmsum,
    raw,
    seals,
    speech_commands,
    store,
)
from suite.data.dataset import DataSet, Made
from suite.data.errors import CorruptData, NoData, UnknownData
from suite.data.prepared import Prepared
from suite.data.sequences import Advance
from suite.data.settings import Settings
from suite.data.text.catalog import TEXT_SETS

DATA_SETS = {
    data_set.name: data_set
    for data_set in (
        DataSet(listops.ListOpsSettings, listops_generator.generate, listops_released.read),
        DataSet(imdb.TextSettings, read=imdb.read),
        DataSet(aan.RetrievalSettings, read=aan.read),
        DataSet(cifar.ImageSettings, read=cifar.read),
        DataSet(pathfinder.PathfinderSettings, pathfinder_generator.generate, pathfinder_released.read),
        DataSet(pathfinder.PathXSettings, pathfinder_generator.generate, pathfinder_released.read),
        DataSet(cifar.ColourSettings, read=cifar.read),
        DataSet(mnist.MnistSettings, read=mnist.read),
        DataSet(pendulum.PendulumSettings, pendulum.generate, opened=pendulum.PreparedFilms),
        DataSet(
            speech_commands.SpeechCommandsSettings, read=speech_commands.read, opened=speech_commands.PreparedClips
        ),
        *glue.GLUE_SETS,
        DataSet(qmsum.QmsumSettings, read=qmsum.read),
        *TEXT_SETS.values(),
    )
}
ENVIRONMENT = "LONGSEQ_DATA"


def names() -> tuple[str, ...]:
    """The known data sets."""
    return tuple(DATA_SETS)


def find(name: str) -> DataSet:
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

    data_set: DataSet
    settings: Settings
    root: Path

    @property
    def directory(self) -> Path:
        return store.folder(self.root, self.data_set.name, self.settings.hash())

    @property
    def raw(self) -> Path:
        """Where the original files lie once they are fetched or imported."""
        return self.root / "raw" / manifest.read(self.data_set.name).raw

    @property
    def missing(self) -> list[str]:
        """The original files that these settings read and that do not lie there."""
        release = manifest.read(self.data_set.name).release.of(self.settings.reads)
        return raw.absent(release, self.raw)

    @property
    def has_raw(self) -> bool:
        """Whether every original file that these settings read lies there."""
        return self.raw.is_dir() and not self.missing

    @property
    def has_own(self) -> bool:
        """Whether the files to read are those that were fetched or imported: not a folder named with `--from`."""
        return self.has_raw and (self.settings.source == "released" or self.settings.SOURCES == ("local",))

    @property
    def absent(self) -> str:
        """What is missing of the original files, in words: all of them, or which."""
        missing, release = self.missing, manifest.read(self.data_set.name).release.of(self.settings.reads)
        if len(missing) == len(release.files) or self.settings.source == "local":
            return f"the original files are not in {self.raw}"
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in {self.raw}"

    @property
    def next(self) -> str:
        """What to do where original files are missing, also without them."""
        return ". ".join(filter(None, (self.remedy, self.settings.without(self.missing))))

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of the prepared files by name, as they were written; empty where it is not prepared.

        Raises CorruptData.
        """
        return store.read_meta(self.directory).files if self.directory.exists() else {}

    @property
    def command(self) -> str:
        """The command that prepares or mends it."""
        words = ["python", "-m", "suite.data", "prepare", self.data_set.name, "--root", str(self.root)]
        for setting, value in self.settings.changes().items():
            flag = f"--{setting.replace('_', '-')}"
            if setting == "source":
                words += ["--from", "DIR"] if value == "released" else [flag, str(value), "--from", "DIR"]
            else:
                words += [flag, str(value).lower() if isinstance(value, bool) else str(value)]
        return shlex.join(words)

    @property
    def remedy(self) -> str:
        """What to do where it is not prepared."""
        if self.settings.source == "generated" or self.has_own:
            return f"Prepare it with: {self.command}"
        own = self.command if "--from" in self.command else f"{self.command} --from DIR"
        if self.settings.source == "local":
            return f"Prepare it from a folder of your own with: {own}"
        name, root = self.data_set.name, shlex.quote(str(self.root))
        description = manifest.read(name)
        if not description.release.fetchable:
            return f"{acquire.by_hand(description, self.root)} (or read a copy of your own: {own})"
        return f"Get it with: python -m suite.data fetch {name} --root {root} (or read a copy of your own: {own})"

    def open(self, verify: bool = True) -> Prepared:
        return self.data_set.opened(self.directory, self.settings.protocol(), self.command, verify)


def place(name: str, root: str | Path | None, settings: dict[str, Any]) -> Place:
    """The place of a data set; raises UnknownData and SettingsError."""
    data_set = find(name)
    return Place(data_set, data_set.settings.from_dict(settings), data_root(root))


def available(name: str, root: str | Path | None = None, **settings: Any) -> bool:
    """Whether `open_dataset` would find or make a data set, without a look into its files; raises SettingsError."""
    if name not in DATA_SETS:
        return False
    wanted = place(name, root, settings)
    source = wanted.settings.source
    return wanted.directory.exists() or source == "generated" or wanted.has_own


def open_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    prepare: bool = True,
    verify: bool = True,
    jobs: int | None = None,
    **settings: Any,
) -> Prepared:
    """A prepared data set; what can be generated or read from fetched files is prepared first unless not `prepare`.

    `settings` are those of the data set (ListOps: `ListOpsSettings`); `verify` hashes every file before use. Raises
    UnknownData, SettingsError, NoData (which names the command that gets the data), CorruptData (which names the
    command that mends them).
    """
    wanted = place(name, root, settings)
    if wanted.directory.exists():
        return wanted.open(verify)
    if prepare and available(name, root, **settings):
        return prepare_dataset(name, root, jobs=jobs, **settings)
    source, partly = wanted.settings.source, wanted.raw.is_dir() and wanted.missing
    why = f": {wanted.absent}" if source == "released" and partly else ""
    raise NoData(f"{name} is not prepared in {wanted.root}{why}. {wanted.remedy}")


def prepare_dataset(
    name: str, root: str | Path | None = None, *, released: Path | None = None, jobs: int | None = None, **settings: Any
) -> Prepared:
    """Prepare or mend a data set: data that are there and whole are kept unless `released` is given.

    `released` is a folder of original files to read, by default that of the fetched ones; it sets `source` to
    "released" unless that says "local". Raises UnknownData, SettingsError, NoData, and DataError where nothing can be
    written or an original file is missing, malformed or not the released one.
    """
    own_files = ("released", "local") if released else ()
    of_files = next((source for source in own_files if source in find(name).settings.SOURCES), "released")
    wanted = place(name, root, ({"source": of_files} if released else {}) | settings)
    source, data_set = wanted.settings.source, wanted.data_set
    if source != "generated" and released is None and not wanted.has_own:
        raise NoData(f"{name} ({source}): {wanted.absent}. {wanted.next}")
    with store.locked(wanted.directory):
        if wanted.directory.exists() and released is None:
            with contextlib.suppress(CorruptData):
                return wanted.open()
        folder, raw_files, unsealed = released or wanted.raw, {}, []
        if source != "generated":
            description = manifest.read(name)
            release, given = description.release.of(wanted.settings.reads), folder
            folder = raw.find(release, given)
            for line in raw.twice(release, folder, given):
                print(line, file=sys.stderr)
            release = seals.known(description, folder).of(wanted.settings.reads)
            unsealed = acquire.unsealed(description, folder)
            mend = acquire.again(description, wanted.root)
            raw_files = raw.hashes(release, folder, trusted=source == "local", mend=mend)
        with progress(f"{name} ({source})", sum(wanted.settings.counts.values())) as advance:
            if source == "generated":
                assert data_set.generate is not None, f"{name} has no generator"
                splits = data_set.generate(wanted.settings, jobs, advance)
            else:
                assert data_set.read is not None, f"{name} has no reader"
                splits = data_set.read(wanted.settings, folder, advance)
        made = splits if isinstance(splits, Made) else Made(splits)
        protocol = wanted.settings.protocol() | wanted.settings.as_found(unsealed) | made.facts
        meta = store.Meta(store.SCHEMA, name, wanted.settings.to_dict(), protocol, {}, raw_files)
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
    """A function to call with each number of sequences done: a bar on a terminal, a line per quarter elsewhere.

    A total of 0 is an unknown one.
    """
    if sys.stderr.isatty():
        with tqdm(total=total or None, desc=title, unit=" examples") as bar:
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
