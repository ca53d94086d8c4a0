"""Original files: downloaded, or taken from a copy at hand, verified, and put into `ROOT/raw/<folder>`."""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from suite.data import download, manifest, raw, store, unpack
from suite.data.errors import DataError
from suite.data.manifest import Manifest, Release


def fetch(name: str, root: Path) -> list[str]:
    """Download the archives of a data set unless its files are there already; gives what to tell.

    Interrupted downloads go on where they stopped. Raises DataError in one sentence with the manual steps.
    """
    description = manifest.read(name)
    folder, release = root / "raw" / description.raw, description.release
    if not release.archives:
        raise DataError(f"{name}: there is nothing to download. {by_hand(description, root)}")
    if not missing(description, folder):
        with contextlib.suppress(DataError):
            raw.hashes(release, folder)
            return [f"{folder}: here already, as released"]
    if not release.fetchable:
        only = ", ".join(archive.name for archive in release.archives)
        what = f"{only} is downloaded; {_names(release)} are not, which the sentences below say how to get"
        print(f"{name}: only {what}", file=sys.stderr)
    with store.writing(folder):
        cache = root / "raw" / ".downloads" / description.raw
        cache.mkdir(parents=True, exist_ok=True)
        archives = [download.archive(each, cache, by_hand(description, root)) for each in release.archives]
        lines = _install(description, folder, archives)
        shutil.rmtree(cache, ignore_errors=True)
    return lines


def take(name: str, source: Path, root: Path) -> list[str]:
    """Take the original files from an archive, a folder that holds them (or is inside or above), or holds the archives.

    They are copied, the source stays as it is; gives what to tell. Raises DataError.
    """
    description = manifest.read(name)
    folder = root / "raw" / description.raw
    if not source.exists():
        raise DataError(f"{source} does not exist; give an archive or a folder of {description.title}")
    sources = [source]
    if source.is_dir() and not _present(description, raw.best(description.release, source)):
        names = [archive.name for archive in description.release.archives]
        sources = [path for path in (raw.inside(source, name) for name in names) if path]
        if not sources:
            names = _names(description.release)
            raise DataError(f"{source} holds nothing of {name}: expected {names}, {raw.DEPTH} folders deep at most")
    with store.writing(folder):
        return _install(description, folder, sources)


def verify(name: str, folder: Path) -> str:
    """Hash the original files that are here and compare; gives a sentence. Raises DataError."""
    description = manifest.read(name)
    here = set(_present(description, folder))
    mend = again(description, folder.parent.parent)
    raw.hashes(description.release.of(here.__contains__), folder, mend=mend)
    known = sum(file.sha256 is not None for file in description.release.files if file.name in here)
    return f"{folder}: {len(here)} parts, {known} of known sha256 and as released"


def again(description: Manifest, root: Path) -> str:
    """How to get original files again that are not the released ones."""
    command = ["python", "-m", "suite.data", "fetch", description.name, "--root", str(root)]
    fetched = f"get it again with {shlex.join(command)}"
    return fetched if description.release.fetchable else f"get it again. {by_hand(description, root)}"


def by_hand(description: Manifest, root: Path) -> str:
    """How to get the files without this program's downloads."""
    release, sentences = description.release, []
    if release.manual:
        sentences.append(f"{release.manual.rstrip('.')}.")
    packed = [archive for archive in release.archives if archive.kind != "file"]
    for archive in packed:
        known = f" (sha256 {archive.sha256})" if archive.sha256 else f" (md5 {archive.md5})" if archive.md5 else ""
        sentences.append(f"Get {archive.urls[0]}{known} on any machine.")
    if packed or "suite.data" not in (release.manual or ""):
        command = ["python", "-m", "suite.data", "import", description.name, "PATH", "--root", str(root)]
        sentences.append(f"{'Then' if sentences else 'From a copy'}: {shlex.join(command)}")
    return f"By hand: {' '.join(sentences)}"


def missing(description: Manifest, folder: Path) -> list[str]:
    """The names of the release's files that are not in a folder."""
    return [file.name for file in description.release.files if not raw.is_there(file, folder)]


def _names(release: Release) -> str:
    return ", ".join(file.name for file in release.files)


def _present(description: Manifest, folder: Path) -> list[str]:
    return [file.name for file in description.release.files if raw.is_there(file, folder)]


def _install(description: Manifest, folder: Path, sources: list[Path]) -> list[str]:
    """Put the files of the sources into a new folder, verify them there, and give it its name."""
    release = description.release
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(folder, ".new") as new:
        for source in sources:
            with _unpacked(source, folder, description) as folders:
                for opened in folders:
                    _copy(description, opened, new, move=opened != source)
        if not any(new.rglob("*")):
            names = ", ".join(one.name for one in (*release.files, *release.archives))
            raise DataError(f"{', '.join(map(str, sources))}: holds nothing of {description.name}: expected {names}")
        here = set(_present(description, new))
        try:
            raw.hashes(release.of(here.__contains__), new)
        except DataError as error:
            raise DataError(str(error).replace(str(new), ", ".join(map(str, sources)))) from None
        _place(new, folder, release.of(here.__contains__))
    absent = missing(description, folder)
    how = "verified" if all(file.sha256 for file in release.files) else "verified where the manifest knows a hash"
    found = f"{folder}: {len(release.files) - len(absent)} of {len(release.files)} parts of the release are here, {how}"
    return [found, *(f"not in it: {name}" for name in absent)]


@contextlib.contextmanager
def _unpacked(source: Path, folder: Path, description: Manifest) -> Iterator[list[Path]]:
    """Folders with the files of a source: itself, or what is unpacked of it, and of the release's archives in it, for
    the time being."""
    if source.is_dir():
        yield [source]
        return
    files = [file.name for file in description.release.files]
    archives = description.release.archives
    plain = {archive.name for archive in archives if archive.kind == "file"}
    packed = {archive.name for archive in archives if archive.kind != "file"}
    with _scratch(folder, ".unpacked") as scratch:
        folders = [scratch / "0"]
        folders[0].mkdir()
        if source.name in plain:
            shutil.copyfile(source, folders[0] / source.name)
        else:
            unpack.unpack(source, folders[0], [*files, *plain, *packed], raw.sizes(description.release))
        for inner in sorted(path for path in folders[0].rglob("*") if path.name in packed and path.is_file()):
            folders.append(scratch / str(len(folders)))
            folders[-1].mkdir()
            try:
                unpack.unpack(inner, folders[-1], files)
            except DataError as error:
                raise DataError(str(error).replace(str(folders[0]), str(source))) from None
            inner.unlink()
        yield folders


def _copy(description: Manifest, source: Path, target: Path, move: bool) -> None:
    """Copy or move the release's files from the folder within `source` that holds them; single files as they are, and
    files under other names that are the release's by their hash."""
    base = raw.best(description.release, source, known=True)
    renamed, ours = raw.renamed(description.release, base, source)
    paths = [path for file in description.release.files for path in raw.matching(file, base) if ours]
    single = (source / archive.name for archive in description.release.archives if archive.kind == "file")
    for path, place in [
        *((p, p.relative_to(base)) for p in paths),
        *((p, Path(p.name)) for p in single if p.is_file()),
        *((p, Path(name)) for name, p in renamed.items()),
    ]:
        if path.is_symlink() and not path.resolve().is_relative_to(base.resolve()):
            raise DataError(f"{path} is a link that leaves its folder; it is not taken")
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        if move:
            os.replace(path, target / place)
        else:
            shutil.copyfile(path, target / place)


def _place(new: Path, folder: Path, release: Release) -> None:
    """Give a finished folder its name; into one that is there already, move file by file and drop what it lacks."""
    new.chmod(0o755)
    if not folder.exists():
        os.rename(new, folder)
        new.mkdir()  # the scratch folder's owner removes it
        return
    for surplus in [path for file in release.files for path in raw.matching(file, folder)]:
        if not (new / surplus.relative_to(folder)).exists():
            surplus.unlink()
    for path in [path for path in new.rglob("*") if path.is_file()]:
        target = folder / path.relative_to(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)


@contextlib.contextmanager
def _scratch(folder: Path, suffix: str) -> Iterator[Path]:
    """A folder beside another that is gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=suffix, dir=folder.parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
