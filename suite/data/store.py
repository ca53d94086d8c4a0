"""Prepared data on disk: written whole or not at all, and hashed.

A data set lies in `ROOT/prepared/<name>/<settings hash>/`: per split `tokens.npy`, `offsets.npy` (int64) and
`labels.npy` (int32), or the arrays of another dataclass, and `meta.json` with the protocol and the sha256 of each
file. It is written to a temporary folder beside it, which is then renamed; a killed preparation leaves at most that
temporary folder, which the next one removes.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from suite.data.errors import CorruptData, DataError
from suite.data.sequences import Sequences

SCHEMA = "longseq-bench/prepared/1"
ARRAYS = tuple(field.name for field in dataclasses.fields(Sequences))
META = "meta.json"


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `meta.json` holds; `files` and `raw_files` map names to sha256."""

    schema: str
    name: str
    settings: dict[str, Any]
    protocol: dict[str, Any]
    files: dict[str, str]
    raw_files: dict[str, str] = {}


def sha256(path: Path) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder(root: Path, name: str, settings_hash: str) -> Path:
    """Where prepared data lie."""
    return root / "prepared" / name / settings_hash


def read_meta(directory: Path) -> Meta:
    """The description of prepared data; CorruptData if it cannot be read."""
    path = directory / META
    try:
        meta = msgspec.json.decode(path.read_bytes(), type=Meta)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptData(f"{path} is corrupt: {error}") from None
    if meta.schema != SCHEMA:
        raise CorruptData(f"{path} has schema {meta.schema!r}, expected {SCHEMA!r}")
    return meta


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes from preparing the same folder; a killed process gives the lock back.

    On a file system without locks two preparations may run at once; the first to finish wins.
    """
    with writing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        file = (directory.parent / f".{directory.name}.lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
        else:
            for abandoned in directory.parent.glob(f".{directory.name}.*.tmp"):
                shutil.rmtree(abandoned, ignore_errors=True)
        yield


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn a failure to write (disk full, no permission) into one DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {directory}: {error.strerror or error}; nothing was kept. Free some space or choose another "
            "folder with LONGSEQ_DATA, --root of suite.data or --data of suite.run"
        ) from error


def write(directory: Path, splits: dict[str, Any], meta: Meta, further: dict[str, bytes] | None = None) -> None:
    """Write splits, dataclasses of arrays, in place of what is there; `meta.files` is filled in here.

    `further` are files to keep beside the splits, by name. Raises DataError if it cannot.
    """
    with writing(directory):
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".tmp", dir=directory.parent))
        try:
            files = {}
            for split, sequences in splits.items():
                (temporary / split).mkdir()
                for array in (field.name for field in dataclasses.fields(sequences)):
                    path = temporary / split / f"{array}.npy"
                    _write_array(path, getattr(sequences, array))
                    files[f"{split}/{array}.npy"] = sha256(path)
            for name, data in (further or {}).items():
                _write_bytes(temporary / name, data)
                files[name] = sha256(temporary / name)
            text = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(meta, files=files)), indent=1)
            _write_bytes(temporary / META, text + b"\n")
            temporary.chmod(0o755)
            _swap(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_array(path: Path, array: np.ndarray) -> None:
    """An NPY file of format 1.0; `np.save` hides the reason when a disk is full."""
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())


def _write_bytes(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap(temporary: Path, directory: Path) -> None:
    """Rename the finished folder to its place; what was there before goes away with the temporary name."""
    if directory.exists():
        discarded = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".tmp", dir=directory.parent))
        os.rename(directory, discarded / directory.name)
        os.rename(temporary, directory)
        shutil.rmtree(discarded, ignore_errors=True)
    else:
        os.rename(temporary, directory)
    descriptor = os.open(directory.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
