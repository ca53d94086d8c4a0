"""A prepared text data set: memory-mapped splits, the protocol, and the tokenizer that made the tokens."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from suite.data import store
from suite.data.errors import CorruptData
from suite.data.prepared import Prepared
from suite.data.text.split import TextArrays, TextSplit


class PreparedText(Prepared):
    """`train`, `validation` and `test` are TextSplits; `protocol`, `hashes`, `settings` and errors are as in Prepared.

    The protocol holds `settled`, what follows from the settings, and what followed from the text when it was read.
    """

    train: TextSplit
    validation: TextSplit
    test: TextSplit

    def __init__(self, directory: Path, settled: dict[str, Any], command: str, verify: bool = True) -> None:
        try:
            protocol = settled | {k: v for k, v in store.read_meta(directory).protocol.items() if k not in settled}
        except CorruptData as error:
            raise CorruptData(f"{error}. Mend it with: {command}") from None
        super().__init__(directory, protocol, command, verify)

    def _open(self, split: str) -> TextSplit:
        arrays = {}
        for field in fields(TextArrays):
            file = f"{split}/{field.name}.npy"
            try:
                arrays[field.name] = np.asarray(np.load(self.directory / file, mmap_mode="r"))
            except (OSError, ValueError) as error:
                raise self._corrupt(file, str(error)) from None
        opened = TextSplit(**arrays, begin=self.protocol["begin"])
        expected, found = self.protocol["splits"][split], sizes(opened)
        if found != expected:
            raise self._corrupt(split, f"holds {found}, expected {expected}")
        return opened


def sizes(split: TextArrays) -> dict[str, int]:
    """How much a split holds, in every unit that is counted."""
    return {
        "documents": len(split.bytes),
        "tokens": len(split.tokens),
        "bytes": int(split.bytes.sum()),
        "words": int(split.words.sum()),
    }
