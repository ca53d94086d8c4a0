"""Original files of a data set: hashed and compared with what the manifest knows of them before they are read."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from suite.data import store
from suite.data.errors import DataError
from suite.data.manifest import Release, ReleasedFile

DEPTH = 3
"""How many folders deep the original files are looked for."""


def find(release: Release, folder: Path) -> Path:
    """The folder with the files of a release: the one given or one inside it; the first one that has them all.

    Raises DataError, which names the first file that is missing where most of them are.
    """
    found = best(release, folder)
    missing = absent(release, found)
    if missing:
        names = ", ".join(file.name for file in release.files if not file.optional)
        raise DataError(f"{found / missing[0]} is missing; --from takes the folder that holds {names}")
    return found


def best(release: Release, folder: Path, known: bool = False) -> Path:
    """The folder with most files of a release: the one given or one inside it.

    With `known` the one with most files of known sha256 goes before it, as other data sets have files of these names.
    Of two copies the one in the release's `inner` folder is taken.
    """
    found = {candidate: sum(is_there(file, candidate) for file in release.files) for candidate in _folders(folder)}
    held = [candidate for candidate, count in found.items() if count]
    right = {candidate: _right(release, candidate) if known and len(held) > 1 else 0 for candidate in held}
    return max(held, key=lambda one: (right[one], found[one], outer(release, one, folder) is not None), default=folder)


def outer(release: Release, chosen: Path, folder: Path) -> Path | None:
    """The copy within a folder whose `inner` one is chosen, if there are two."""
    parts = chosen.relative_to(folder).parts
    places = (folder.joinpath(*parts[:at], *parts[at + 1 :]) for at, part in enumerate(parts) if part == release.inner)
    return next((place for place in places if any(is_there(file, place) for file in release.files)), None)


def twice(release: Release, chosen: Path, folder: Path) -> list[str]:
    """A line that says which of two copies within a folder is read; none where there is one."""
    other = outer(release, chosen, folder)
    if other is None:
        return []
    return [f"of two copies that in {chosen} is read, as by the S4 and S5 code, and not that in {other}"]


def _right(release: Release, folder: Path) -> int:
    """How many files of a folder have the sha256 of the release."""
    here = [file for file in release.files if file.sha256 and is_there(file, folder)]
    return sum(digest(file, folder, matching(file, folder)) == file.sha256 for file in here)


def sizes(release: Release) -> set[int]:
    """The bytes of the files that are known by size and sha256, so that they are recognised under any name."""
    return {file.size for file in release.files if file.size and file.sha256 and "*" not in file.name}


def renamed(release: Release, base: Path, folder: Path) -> tuple[dict[str, Path], bool]:
    """Files in a folder that are the release's by size and sha256, by their names in it, where `base` lacks them or has
    others of these names; and whether the files of `base` are the release's, which the latter are not."""
    found, ours = {}, True
    for file in release.files:
        here = base / file.name
        if file.size not in sizes(release) or (here.is_file() and store.sha256(here) == file.sha256):
            continue
        alike = (p for place in _folders(folder) for p in sorted(place.iterdir()) if p.is_file() and not p.is_symlink())
        same = next((p for p in alike if p.stat().st_size == file.size and store.sha256(p) == file.sha256), None)
        if same:
            found[file.name], ours = same, ours and not here.is_file()
    return found, ours


def inside(folder: Path, name: str) -> Path | None:
    """The file of a name in a folder or in one inside it, the nearest first."""
    return next((place / name for place in _folders(folder) if (place / name).is_file()), None)


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and those inside it, the nearest first; links are not followed."""
    level = [folder]
    for _ in range(DEPTH + 1):
        yield from level
        try:
            level = [
                Path(e.path) for f in level if f.is_dir() for e in os.scandir(f) if e.is_dir(follow_symlinks=False)
            ]
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
        level.sort()


def absent(release: Release, folder: Path) -> list[str]:
    """The names of the files that must be in a folder and are not."""
    return [file.name for file in release.files if not file.optional and not is_there(file, folder)]


def is_there(file: ReleasedFile, folder: Path) -> bool:
    """Whether a file, or one that matches the pattern, is in a folder."""
    if "*" not in file.name:
        return (folder / file.name).is_file()
    return next(folder.glob(file.name), None) is not None


def hashes(release: Release, folder: Path, trusted: bool = False, mend: str = "get it again") -> dict[str, str]:
    """The sha256 of each file or pattern of a release, as the manifest names them.

    Raises DataError for a file that is not the released one, unless they are `trusted`; `mend` is the remedy it names.
    """
    found = {}
    for file in release.files:
        paths = matching(file, folder)
        if file.optional and not paths:
            continue
        found[file.name] = digest(file, folder, paths)
        if not trusted:
            _compare(file, folder, len(paths), found[file.name], mend)
    return found


def matching(file: ReleasedFile, folder: Path) -> list[Path]:
    """The files that an entry stands for, in the order of their paths."""
    if "*" not in file.name:
        path = folder / file.name
        return [path] if path.is_file() else []
    return sorted(path for path in folder.glob(file.name) if path.is_file())


def digest(file: ReleasedFile, folder: Path, paths: list[Path]) -> str:
    """The sha256 of an entry's file, or of the list of its files."""
    try:
        if "*" not in file.name:
            return store.sha256(paths[0])
        lines = (f"{store.sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from None


def _compare(file: ReleasedFile, folder: Path, count: int, found: str, mend: str) -> None:
    path = folder / file.name
    remedy = f"{mend}, or prepare files of your own with --source local --from DIR"
    if file.files is not None and count != file.files:
        raise DataError(f"{path}: {count:,} files, the release has {file.files:,}; {remedy}")
    if file.sha256 is not None and found != file.sha256:
        raise DataError(f"{path} is not the released file: expected sha256 {file.sha256}, found {found}; {remedy}")
