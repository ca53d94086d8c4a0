"""Reader of the ListOps files of the LRA release, and of others like them.

They are `basic_{train,val,test}.tsv` with the columns Source and Target.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from suite.data import listops, manifest
from suite.data.errors import DataError
from suite.data.sequences import Advance, Sequences, join, silent

FILES = {"train": "basic_train.tsv", "validation": "basic_val.tsv", "test": "basic_test.tsv"}
_OWN = "prepare tables of your own with --source local --from DIR"


def read(settings: listops.ListOpsSettings, directory: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The first sequences of each file.

    Each expression is evaluated and must equal its target. Files that are taken for the released ones have as many
    lines as those, and sequences of their lengths. Raises DataError with file and line for a line that is malformed,
    too long or wrong, and for a file that has too few lines or is not the released one.
    """
    if settings.source == "released":
        _require_counts(directory)
    return {
        split: _read_split(settings, directory / name, settings.counts[split], split, advance)
        for split, name in FILES.items()
    }


def _require_counts(directory: Path) -> None:
    """Raise DataError unless every file has as many lines as that of the release, which has no known checksum."""
    for file in manifest.read(listops.NAME).release.files:
        count = sum(1 for _ in _rows(directory / file.name))
        if count != file.sequences:
            raise DataError(
                f"{directory / file.name} is not the released file: {count:,} sequences, the release has "
                f"{file.sequences:,}; {_OWN}"
            )


def _read_split(
    settings: listops.ListOpsSettings, path: Path, wanted: int, split: str, advance: Advance
) -> Sequences:
    sequences, labels = [], []
    for line, source, target in _rows(path):
        try:
            tokens = listops.encode(source)
            if len(tokens) >= settings.maximum_length:
                raise ValueError(f"{len(tokens)} tokens and <eos> do not fit into {settings.maximum_length}")
            if settings.source == "released" and not settings.min_length < len(tokens) < settings.max_length:
                raise ValueError(
                    f"{len(tokens)} tokens, those of the release have {settings.min_length + 1} to "
                    f"{settings.max_length - 1}; {_OWN}"
                )
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
