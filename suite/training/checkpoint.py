"""Checkpoints that survive being killed at any moment: safetensors and JSON, never pickle.

A checkpoint is two files in the cell's folder, written whole and flushed to disk in this order:

    checkpoint-000012.safetensors    every array
    checkpoint-000012.json           everything else, with the SHA-256 of the arrays and of itself

The JSON file is the pointer: a checkpoint without it, or with one that does not match, does not exist. The previous
checkpoint is removed only after the new one is on disk, so at every moment one whole checkpoint is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.numpy

from reports import atomic

SCHEMA = "longseq-bench/checkpoint/1"
_NAME = re.compile(r"checkpoint-(\d{6,})\.json")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or is in use; the message names the file and the remedy."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Arrays by name, and values that JSON can hold."""

    arrays: dict[str, np.ndarray]
    values: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one cell in one folder; `say` receives a line where a damaged checkpoint is passed over."""

    def __init__(self, folder: Path, say: Callable[[str], None] = print) -> None:
        self.folder, self.say = Path(folder), say
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Keep other processes out of this folder until this process ends; raises CheckpointError if one is inside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise CheckpointError(
                f"another process is running this cell in {self.folder}; wait for it or end it, then run again"
            ) from None
        self._lock = file

    def unlock(self) -> None:
        """Let other processes in again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        """Write a checkpoint and forget all but the one before it; raises CheckpointError (disk full, say)."""
        known = self._numbers()
        stem = f"checkpoint-{max(known, default=0) + 1:06d}"
        data = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
        content = {"schema": SCHEMA, "arrays_sha256": hashlib.sha256(data).hexdigest(), "values": dict(values)}
        try:
            atomic.write_bytes(self.folder / f"{stem}.safetensors", data)
            atomic.write_bytes(self.folder / f"{stem}.json", _sealed(content))
        except OSError as error:
            raise CheckpointError(
                f"cannot write checkpoint {self.folder / stem}: {error.strerror or error}; "
                "free the disk and run again, the previous checkpoint is kept"
            ) from error
        self._forget(set(known[:1]) | {max(known, default=0) + 1})

    def load(self) -> Checkpoint | None:
        """The newest whole checkpoint, or None; damaged ones are passed over with one clear line each."""
        for number in self._numbers():
            path = self.folder / f"checkpoint-{number:06d}.json"
            try:
                return _read(path)
            except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
                self.say(f"checkpoint {path.name} is damaged ({error}); falling back to the one before it")
        return None

    def clear(self) -> None:
        """Remove every checkpoint, so that the cell starts from the beginning."""
        self._forget(set())

    def remove(self) -> None:
        """Remove the folder with everything in it, as after a cell is measured."""
        self.clear()
        (self.folder / "lock").unlink(missing_ok=True)
        self.unlock()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _numbers(self) -> list[int]:
        names = (_NAME.fullmatch(path.name) for path in self.folder.glob("checkpoint-*.json"))
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def _forget(self, keep: set[int]) -> None:
        # The pointer goes first: arrays without a pointer are no checkpoint, a pointer without arrays would be damaged.
        kept = {f"checkpoint-{number:06d}" for number in keep}
        found = [path for path in self.folder.glob("checkpoint-*") if path.stem not in kept]
        temporary = list(self.folder.glob(".checkpoint-*.tmp"))
        for path in sorted(found, key=lambda path: path.suffix != ".json") + temporary:
            path.unlink(missing_ok=True)


def _sealed(content: dict[str, Any]) -> bytes:
    body = json.dumps(content, sort_keys=True)
    return json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "content": body}).encode()


def _read(path: Path) -> Checkpoint:
    outer = json.loads(path.read_bytes())
    body = outer["content"]
    if hashlib.sha256(body.encode()).hexdigest() != outer["sha256"]:
        raise ValueError("its checksum does not match")
    content = json.loads(body)
    if content["schema"] != SCHEMA:
        raise ValueError(f"its schema is {content['schema']!r}, expected {SCHEMA!r}")
    data = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != content["arrays_sha256"]:
        raise ValueError("the checksum of its arrays does not match")
    return Checkpoint(safetensors.numpy.load(data), content["values"])
