"""Original files of a data set: hashed and compared with what the manifest knows of them before they are read."""

import hashlib
from pathlib import Path

from suite.data import store
from suite.data.errors import DataError
from suite.data.manifest import Release, ReleasedFile


def hashes(release: Release, folder: Path, trusted: bool = False) -> dict[str, str]:
    """The sha256 of each file or pattern of a release, as the manifest names them.

    Raises DataError for a file that is missing and, unless `trusted`, for one that is not the released one.
    """
    found = {}
    for file in release.files:
        paths = matching(file, folder)
        if not paths:
            names = ", ".join(each.name for each in release.files)
            raise DataError(f"{folder / file.name} is missing; --from takes the folder that holds {names}")
        found[file.name] = digest(file, folder, paths)
        if not trusted:
            _compare(file, folder, len(paths), found[file.name])
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


def _compare(file: ReleasedFile, folder: Path, count: int, found: str) -> None:
    path = folder / file.name
    remedy = "fetch it again, or say --source local if these are files of your own"
    if file.files is not None and count != file.files:
        raise DataError(f"{path}: {count:,} files, the release has {file.files:,}; {remedy}")
    if file.sha256 is not None and found != file.sha256:
        raise DataError(f"{path} is not the released file: expected sha256 {file.sha256}, found {found}; {remedy}")
