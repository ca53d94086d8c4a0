"""Prepared data as the training loop sees them: memory-mapped splits that give padded batches."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, Int64, UInt8

from suite.data import manifest, store
from suite.data.errors import CorruptData, DataError


@dataclass(frozen=True)
class Batch:
    """B sequences padded on the right with 0 to L tokens, their true lengths (`<eos>` counted) and labels."""

    inputs: UInt8[np.ndarray, "B L"]
    lengths: Int32[np.ndarray, " B"]
    labels: Int32[np.ndarray, " B"]


@dataclass(frozen=True)
class Split:
    """One split: sequence i is `tokens[offsets[i]:offsets[i + 1]]`."""

    tokens: UInt8[np.ndarray, " total"]
    offsets: Int64[np.ndarray, " count_plus_1"]
    labels: Int32[np.ndarray, " count"]
    maximum_length: int

    @property
    def count(self) -> int:
        return len(self.labels)

    @cached_property
    def lengths(self) -> Int32[np.ndarray, " count"]:
        """Tokens of each sequence, `<eos>` counted."""
        return np.diff(self.offsets).astype(np.int32)

    def batch(self, indices: Int[np.ndarray, " B"], pad_to: int | None = None) -> Batch:
        """The sequences of the given indices, padded to `pad_to` tokens (default: the protocol's maximum length).

        Raises IndexError for an index outside the split and ValueError where `pad_to` would cut a sequence.
        """
        indices = np.asarray(indices)
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.count:
            raise IndexError(f"indices {indices.min()} to {indices.max()} of a split of {self.count} sequences")
        length = self.maximum_length if pad_to is None else pad_to
        lengths = self.lengths[indices]
        if len(indices) and lengths.max() > length:
            raise ValueError(
                f"a sequence of {lengths.max()} tokens does not fit into pad_to = {length}; nothing is truncated"
            )
        inputs = np.zeros((len(indices), length), dtype=np.uint8)
        starts = self.offsets[indices].tolist()
        for row, (start, tokens) in enumerate(zip(starts, lengths.tolist(), strict=True)):
            inputs[row, :tokens] = self.tokens[start : start + tokens]
        return Batch(inputs, lengths, self.labels[indices])


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
        if meta.protocol != protocol:
            raise CorruptData(f"{directory} was prepared under another protocol text. Mend it with: {command}")
        self.name = meta.name
        self.settings = meta.settings
        self.protocol = protocol
        self.files = meta.files
        self.hashes = meta.raw_files | meta.files
        if verify:
            self.verify()
        self.train = self._open("train")
        self.validation = self._open("validation")
        self.test = self._open("test")

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
                    f"found {found}. The generator has changed; its version and the manifest must change with it"
                )

    def majority(self, split: str) -> float:
        """Accuracy on a split of the most frequent label of the train split (the lowest of equally frequent ones)."""
        most_frequent = np.bincount(self.train.labels).argmax()
        return float(np.mean(getattr(self, split).labels == most_frequent))

    def _open(self, split: str) -> Split:
        arrays = []
        for name in store.ARRAYS:
            file = f"{split}/{name}.npy"
            try:
                arrays.append(np.asarray(np.load(self.directory / file, mmap_mode="r")))
            except (OSError, ValueError) as error:
                raise self._corrupt(file, str(error)) from None
        opened = Split(*arrays, maximum_length=self.protocol["maximum_length"])
        if opened.count != self.protocol["splits"][split]:
            raise self._corrupt(split, f"{opened.count} sequences, expected {self.protocol['splits'][split]}")
        return opened

    def _corrupt(self, file: str, fault: str) -> CorruptData:
        return CorruptData(f"{self.directory / file} is corrupt: {fault}. Mend it with: {self.command}")
