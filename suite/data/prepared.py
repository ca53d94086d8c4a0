"""Prepared data as the training loop sees them: memory-mapped splits that give padded batches."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64, Shaped

from suite.data import manifest, store
from suite.data.errors import CorruptData, DataError
from suite.data.settings import SPLITS

FOUND = ("name", "originals")
"""Facts of the protocol that are known only when the original files have been looked at, where their archive alone
vouches for them."""


@dataclass(frozen=True)
class Batch:
    """B sequences padded on the right with 0 to L positions, their true lengths (`<eos>` counted) and labels.

    Tokens are (B, L) integers, values (B, L, C) float32. Of pairs, there are 2B sequences for B labels: first the first
    documents, then the second ones.
    """

    inputs: Shaped[np.ndarray, "sequences L *C"]
    lengths: Int32[np.ndarray, " sequences"]
    labels: Shaped[np.ndarray, "B *target"]


@dataclass(frozen=True)
class Normalization:
    """How raw values become inputs: `(raw * scale - mean) / std` in float32; numbers, or one for each channel."""

    scale: float | list[float] = 1.0
    mean: float | list[float] = 0.0
    std: float | list[float] = 1.0

    def __call__(self, raw: Shaped[np.ndarray, "L C"]) -> Float32[np.ndarray, "L C"]:
        """Values of one sequence, normalized."""
        scale, mean, std = (np.asarray(each, np.float32) for each in (self.scale, self.mean, self.std))
        return (raw.astype(np.float32) * scale - mean) / std


@dataclass(frozen=True)
class Split:
    """One split: sequence i is `tokens[offsets[i]:offsets[i + 1]]`; an example has one sequence, or two `documents`.

    `normalization` is None where the sequences are tokens.
    """

    tokens: Shaped[np.ndarray, "total *channels"]
    offsets: Int64[np.ndarray, " count_plus_1"]
    labels: Shaped[np.ndarray, "count *target"]
    maximum_length: int
    normalization: Normalization | None = None
    documents: int = 1

    @property
    def count(self) -> int:
        """Examples."""
        return len(self.labels)

    @cached_property
    def lengths(self) -> Int32[np.ndarray, " sequences"]:
        """Positions of each sequence, `<eos>` counted."""
        return np.diff(self.offsets).astype(np.int32)

    def batch(self, indices: Int[np.ndarray, " B"], pad_to: int | None = None) -> Batch:
        """The examples of the given indices, padded to `pad_to` positions (default: the protocol's maximum length).

        Raises IndexError for an index outside the split and ValueError where `pad_to` would cut a sequence.
        """
        indices = np.asarray(indices)
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.count:
            raise IndexError(f"indices {indices.min()} to {indices.max()} of a split of {self.count} sequences")
        rows = np.concatenate([self.documents * indices + each for each in range(self.documents)])
        length = self.maximum_length if pad_to is None else pad_to
        lengths = self.lengths[rows]
        if len(rows) and lengths.max() > length:
            raise ValueError(
                f"a sequence of {lengths.max()} tokens does not fit into pad_to = {length}; nothing is truncated"
            )
        inputs = self._blank(len(rows), length)
        starts = self.offsets[rows].tolist()
        for row, (start, positions) in enumerate(zip(starts, lengths.tolist(), strict=True)):
            raw = self.tokens[start : start + positions]
            inputs[row, :positions] = raw if self.normalization is None else self.normalization(_with_channels(raw))
        return Batch(inputs, lengths, self.labels[indices])

    def _blank(self, rows: int, length: int) -> np.ndarray:
        """Padding: 8-bit tokens stay what they are, wider ones become int32, values float32."""
        if self.normalization is not None:
            channels = self.tokens.shape[1] if self.tokens.ndim > 1 else 1
            return np.zeros((rows, length, channels), np.float32)
        return np.zeros((rows, length), np.uint8 if self.tokens.dtype == np.uint8 else np.int32)


def _with_channels(raw: np.ndarray) -> np.ndarray:
    return raw if raw.ndim > 1 else raw[:, None]


class Prepared:
    """A prepared data set, memory-mapped.

    `train`, `validation` and `test` are Splits; `protocol` is the dictionary of facts that a comparison depends on;
    `hashes` maps the files to their sha256 for provenance. `command` is the command that mends the data and stands in
    the errors. Raises CorruptData.
    """

    def __init__(self, directory: Path, protocol: dict[str, Any], command: str, verify: bool = True) -> None:
        self.directory = directory
        self.command = command
        try:
            meta = store.read_meta(directory)
        except CorruptData as error:
            raise CorruptData(f"{error}. Mend it with: {command}") from None
        if "originals" in protocol:
            protocol = protocol | {fact: meta.protocol[fact] for fact in FOUND if fact in meta.protocol}
        if meta.protocol != protocol:
            raise CorruptData(f"{directory} was prepared under another protocol text. Mend it with: {command}")
        self.name = meta.name
        self.settings = meta.settings
        self.protocol = protocol
        self.files = meta.files
        self.hashes = meta.raw_files | meta.files
        if verify:
            self.verify()
        self.train, self.validation, self.test = (self._open(split) for split in SPLITS)

    @property
    def digest(self) -> str:
        """The sha256 of the lines `<sha256 of a file>  <its name>` of the prepared files, in the order of the names."""
        lines = (f"{digest}  {file}\n" for file, digest in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def verify(self) -> None:
        """Hash every file and compare with `meta.json` and, where the manifest pins these data, with the manifest."""
        pinned = manifest.read(self.name).pinned(self.settings)
        for file, expected in self.files.items():
            path = self.directory / file
            try:
                found = store.sha256(path)
            except OSError as error:
                raise self._corrupt(file, str(error.strerror)) from None
            if found != expected:
                raise self._corrupt(file, f"expected sha256 {expected}, found {found}")
            if found != pinned.get(file, found):
                raise DataError(
                    f"{path} is not what {manifest.path(self.name)} pins: expected sha256 {pinned[file]}, "
                    f"found {found}. What makes them has changed; its version and the manifest must change with it"
                )

    def majority(self, split: str) -> float:
        """Accuracy on a split of the most frequent label of the train split (the lowest of equally frequent ones)."""
        most_frequent = np.bincount(self.train.labels).argmax()
        return float(np.mean(getattr(self, split).labels == most_frequent))

    def _open(self, split: str) -> Split:
        arrays = [self._array(f"{split}/{name}.npy") for name in store.ARRAYS]
        kind = dict(self.protocol.get("input", {"kind": "tokens"}))
        opened = Split(
            *arrays,
            maximum_length=self.protocol["maximum_length"],
            normalization=Normalization(**kind) if kind.pop("kind") == "values" else None,
            documents=self.protocol.get("documents", 1),
        )
        if opened.count != self.protocol["splits"][split]:
            raise self._corrupt(split, f"{opened.count} sequences, expected {self.protocol['splits'][split]}")
        return opened

    def _array(self, file: str) -> np.ndarray:
        """An array, memory-mapped; raises CorruptData."""
        try:
            return np.asarray(np.load(self.directory / file, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise self._corrupt(file, str(error)) from None

    def _corrupt(self, file: str, fault: str) -> CorruptData:
        return CorruptData(f"{self.directory / file} is corrupt: {fault}. Mend it with: {self.command}")
