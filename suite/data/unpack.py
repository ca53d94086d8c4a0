"""Files out of archives, and nothing else: no path that leaves the folder, no links, no devices."""

import contextlib
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterable
from pathlib import Path, PurePosixPath

from suite.data.errors import DataError

Wanted = Callable[[str, int], bool]
"""Whether a member is unpacked, by its path and its bytes."""
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError, RuntimeError)


def unpack(archive: Path, folder: Path, patterns: Iterable[str] = ("*",), sizes: Container[int] = ()) -> None:
    """Unpack the files whose paths end in one of the patterns, and those of some sizes in bytes, whatever they are
    called; tar with any compression, zip, or one gzip file.

    Raises DataError for an archive that is damaged or no archive, and for a wanted member that leaves the folder or is
    a link or a device. A full disk is an OSError.
    """
    named = ending_in(patterns)

    def wanted(name: str, size: int) -> bool:
        return named(name) or size in sizes

    try:
        if tarfile.is_tarfile(archive):  # before zip, which is known by its end: a tar may end in a zip
            _unpack_tar(archive, folder, wanted)
        elif zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder, wanted)
        elif archive.read_bytes()[:2] == b"\x1f\x8b":
            with gzip.open(archive) as packed, (folder / archive.name.removesuffix(".gz")).open("wb") as file:
                shutil.copyfileobj(packed, file)
        else:
            raise DataError(f"{archive} is no tar, zip or gzip archive")
    except _BROKEN as error:
        raise DataError(f"{archive} is damaged: {error}") from None


def ending_in(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path ends in one of the patterns, in which `*` stands for any part of one name, `**/` for any folders."""
    either = "|".join(re.escape(pattern.removeprefix("**/")).replace(r"\*", "[^/]*") for pattern in patterns)
    found = re.compile(rf"(?:.*/)?(?:{either})")
    return lambda name: found.fullmatch(name) is not None


def _unpack_tar(archive: Path, folder: Path, wanted: Wanted) -> None:
    def checked(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
        if member.isdir() or not wanted(member.name, member.size):
            return None
        if not member.isfile():
            raise DataError(f"{archive}: {member.name} is a link or a device; it is not unpacked")
        _inside(archive, member.name)
        return tarfile.data_filter(member, destination)

    with tarfile.open(archive, "r:*") as tar:
        try:
            tar.extractall(folder, filter=checked)
        except tarfile.FilterError as error:
            raise DataError(f"{archive}: {error}; it is not unpacked") from None


def _unpack_zip(archive: Path, folder: Path, wanted: Wanted) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if member.is_dir() or not wanted(member.filename, member.file_size):
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise DataError(f"{archive}: {member.filename} is a link or a device; it is not unpacked")
            target = folder / _inside(archive, member.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The path of a member; DataError if it leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or re.match(r"[A-Za-z]:", name):
        raise DataError(f"{archive}: {name} would lie outside of the folder; it is not unpacked")
    return path
