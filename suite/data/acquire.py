"""Original files: downloaded, or taken from a copy at hand, verified, and put into `ROOT/raw/<folder>`."""

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from suite.data import download, manifest, raw, seals, store, unpack
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
    by_program = release.downloaded()
    if not release.fetchable:
        parts = ", ".join(file.name for file in release.files if file not in by_program.files)
        only = ", ".join(one.name for one in (*release.archives, *by_program.files))
        print(f"{name}: {only} and no more can be downloaded; how to get {parts} is said below", file=sys.stderr)
    if _is_whole(description, by_program, folder):
        return [f"{folder}: here already: {_how_far(seals.known(description, folder).of(by_program.has))}"]
    with store.writing(folder):
        cache = root / "raw" / ".downloads" / description.raw
        cache.mkdir(parents=True, exist_ok=True)
        sources = [download.archive(each, cache, by_hand(description, root)) for each in release.archives]
        if release.listed:
            download.several(release.single, cache, by_hand(description, root), name)
            sources = [cache]
        lines = _install(description, folder, sources)
        shutil.rmtree(cache, ignore_errors=True)
    return lines


def _is_whole(description: Manifest, by_program: Release, folder: Path) -> bool:
    """Whether everything that a program can download lies in a folder as released, and nothing could be verified by
    downloading it again."""
    release = description.release
    alone = all((folder / archive.name).is_file() for archive in release.archives if archive.kind == "file")
    if not by_program.files or not alone or raw.absent(by_program, folder):
        return False
    if release.vouched and unsealed(description, folder):
        return False
    with contextlib.suppress(DataError):
        raw.hashes(seals.known(description, folder).of(by_program.has), folder)
        return True
    return False


def take(name: str, source: Path, root: Path) -> list[str]:
    """Take the original files from an archive, a folder that holds them (or is inside or above), or holds the archives.

    They are copied, the source stays as it is; gives what to tell. Raises DataError.
    """
    description = manifest.read(name)
    folder = root / "raw" / description.raw
    if not source.exists():
        raise DataError(f"{source} does not exist; give an archive or a folder of {description.title}")
    sources = [source]
    if source.is_dir() and not _holds(description, source):
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
    here = set(present(description, folder))
    mend = again(description, folder.parent.parent)
    release = seals.known(description, folder).of(here.__contains__)
    raw.hashes(release, folder, mend=mend)
    return f"{folder}, {name}: {_how_far(release)}"


def _how_far(release: Release) -> str:
    """How many of some files, which were compared, are the released ones."""
    known, total = sum(file.sha256 is not None for file in release.files), len(release.files)
    parts = f"{total} part{'s' if total > 1 else ''}"
    if not known:
        return f"{parts}, of which no sha256 is known to verify them by"
    rest = f", {total - known} of unknown sha256" if known < total else ""
    return f"{parts}, {known} of known sha256 and as released{rest}"


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
    """The names of the release's files that must be in a folder and are not."""
    return raw.absent(description.release, folder)


def _names(release: Release) -> str:
    return ", ".join(file.name for file in release.files)


def present(description: Manifest, folder: Path) -> list[str]:
    """The names of the release's files that are in a folder."""
    return [file.name for file in description.release.files if raw.is_there(file, folder)]


def unsealed(description: Manifest, folder: Path) -> list[str]:
    """The names of the files in a folder that neither a sha256 nor that of their archive vouches for."""
    files = seals.known(description, folder).files
    return [file.name for file in files if file.sha256 is None and raw.is_there(file, folder)]


def _holds(description: Manifest, source: Path) -> bool:
    """Whether files of a release are somewhere in a folder, under their names or, known by their hashes, others."""
    base = raw.best(description.release, source)
    return bool(present(description, base) or raw.renamed(description.release, base, source)[0])


def _install(description: Manifest, folder: Path, sources: list[Path]) -> list[str]:
    """Put the files of the sources into a new folder, verify them there, and give it its name."""
    release, vouched, lines = description.release, dict[Path, bool](), list[str]()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(folder, ".new") as new:
        for source in sources:
            with _unpacked(source, folder, description) as folders:
                for opened, genuine in folders.items():
                    lines += [line.replace(str(opened), str(source)) for line in _twice(release, opened)]
                    copied = _copy(description, opened, new, move=opened != source)
                    vouched |= dict.fromkeys(copied, genuine)
        if not any(new.rglob("*")):
            names = ", ".join(one.name for one in (*release.files, *release.archives))
            raise DataError(f"{', '.join(map(str, sources))}: holds nothing of {description.name}: expected {names}")
        here = set(present(description, new))
        try:
            raw.hashes(release.of(here.__contains__), new)
        except DataError as error:
            raise DataError(str(error).replace(str(new), ", ".join(map(str, sources)))) from None
        seals.write(description, new, folder, lambda path: vouched.get(path, False))
        _place(new, folder, release.of(here.__contains__))
    return [*_found(description, folder), *lines]


def _found(description: Manifest, folder: Path) -> list[str]:
    """What to tell of a folder into which files were put."""
    here, unseen, files = present(description, folder), unsealed(description, folder), description.release.files
    how = "verified where the manifest knows a hash" if unseen else "verified"
    lines = [f"{folder}: {len(here)} of {len(files)} parts of the release are here, {how}"]
    if unseen and description.release.vouched:
        lines.append(f"unverified, as they did not come out of an archive with the manifest's hash: {', '.join(unseen)}")
    return [*lines, *(f"not in it: {file.name}" for file in files if file.name not in here)]


def _twice(release: Release, source: Path) -> list[str]:
    if release.inner is None:
        return []
    return raw.twice(release, raw.best(release, source, known=True), source)


@contextlib.contextmanager
def _unpacked(source: Path, folder: Path, description: Manifest) -> Iterator[dict[Path, bool]]:
    """Folders with the files of a source: itself, or what is unpacked of it, and of the release's archives in it, for
    the time being; and of each whether it is what an archive of known hash holds, where files are known by that
    alone."""
    if source.is_dir():
        yield {source: False}
        return
    files = [file.name for file in description.release.files]
    archives = description.release.archives
    hashed = archives if any(file.sha256 is None for file in description.release.files) else []
    plain = {archive.name for archive in archives if archive.kind == "file"}
    packed = {archive.name for archive in archives if archive.kind != "file"}
    with _scratch(folder, ".unpacked") as scratch:
        first = scratch / "0"
        first.mkdir()
        if source.name in plain:
            shutil.copyfile(source, first / source.name)
        else:
            unpack.unpack(source, first, [*files, *plain, *packed], raw.sizes(description.release))
        folders = {first: seals.genuine(source, hashed)}
        for inner in sorted(path for path in first.rglob("*") if path.name in packed and path.is_file()):
            further = scratch / str(len(folders))
            further.mkdir()
            try:
                unpack.unpack(inner, further, files)
            except DataError as error:
                raise DataError(str(error).replace(str(first), str(source))) from None
            folders[further] = seals.genuine(inner, hashed)
            inner.unlink()
        yield folders


def _copy(description: Manifest, source: Path, target: Path, move: bool) -> list[Path]:
    """Copy or move the release's files from the folder within `source` that holds them; single files as they are, and
    files under other names that are the release's by their hash. Gives the copies."""
    base = raw.best(description.release, source, known=True)
    renamed, ours = raw.renamed(description.release, base, source)
    paths = [path for file in description.release.files for path in raw.matching(file, base) if ours]
    single = (source / archive.name for archive in description.release.archives if archive.kind == "file")
    wanted = [
        *((p, p.relative_to(base)) for p in paths),
        *((p, Path(p.name)) for p in single if p.is_file()),
        *((p, Path(name)) for name, p in renamed.items()),
    ]
    for path, place in wanted:
        if path.is_symlink() and not path.resolve().is_relative_to(base.resolve()):
            raise DataError(f"{path} is a link that leaves its folder; it is not taken")
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        if move:
            os.replace(path, target / place)
        else:
            shutil.copyfile(path, target / place)
    return [target / place for _, place in wanted]


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
