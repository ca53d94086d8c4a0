"""Reader of the ListOps files of the LRA release: `basic_{train,val,test}.tsv` with the columns Source and Target."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from suite.data import listops
from suite.data.errors import DataError
from suite.data.sequences import Advance, Sequences, join, silent

FILES = {"train": "basic_train.tsv", "validation": "basic_val.tsv", "test": "basic_test.tsv"}


def read(settings: listops.ListOpsSettings, directory: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The first sequences of each released file.

    Each expression is evaluated and must equal its target. Raises DataError with file and line for a line that is
    malformed, too long or wrong, and for a file that has too few lines.
    """
    splits = {}
    for split, name in FILES.items():
        path = directory / name
        splits[split] = _read_split(path, settings.counts[split], split, settings.maximum_length, advance)
    return splits


def _read_split(path: Path, wanted: int, split: str, maximum_length: int, advance: Advance) -> Sequences:
    sequences, labels = [], []
    for line, source, target in _rows(path):
        try:
            tokens = listops.encode(source)
            if len(tokens) >= maximum_length:
                raise ValueError(f"{len(tokens)} tokens and <eos> do not fit into {maximum_length}")
            value = listops.evaluate(tokens)
            if target != str(value):
                raise ValueError(f"the target is {target!r}, the expression's value {value}")
        except ValueError as error:
            raise DataError(f"{path}, line {line}: {error}") from None
        sequences.append(np.frombuffer(tokens + bytes([listops.EOS]), dtype=np.uint8))
        labels.append(value)
        advance(1)
        if len(sequences) == wanted:
            return join(sequences, labels)
    raise DataError(f"{path} has {len(sequences)} sequences, {wanted} are wanted; pass --{split} {len(sequences)}")


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, source and target of each row; fields may be quoted as CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", strict=True)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise DataError(f"{path}, line {line}: {error}") from None
            if line == 1 and row != ["Source", "Target"]:
                raise DataError(f"{path}, line 1: expected the columns Source and Target, found {row!r:.80}")
            if row is None:
                return
            if len(row) != 2:
                raise DataError(f"{path}, line {line}: expected 2 columns, found {len(row)}")
            if line > 1:
                yield line, row[0], row[1].strip()
