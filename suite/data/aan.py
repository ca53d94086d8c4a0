"""LRA Retrieval: whether one of two papers cites the other, from their characters (ACL Anthology Network, Radev et al.
2013; Tay et al. 2021, section 2.2.3). An example is a pair of documents."""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from suite.data.characters import Characters, encode_bytes
from suite.data.errors import DataError
from suite.data.permutation import AUTHORS_SEED, first
from suite.data.sequences import Advance, Sequences, join
from suite.data.settings import Settings, choice, integer

FILES = {"train": "new_aan_pairs.train.tsv", "validation": "new_aan_pairs.eval.tsv", "test": "new_aan_pairs.test.tsv"}
MAXIMUM_LENGTH = 4000
VOCABULARY = Characters("".join(map(chr, range(32, 127))))
LABELS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}


@dataclass(frozen=True)
class RetrievalSettings(Settings):
    """What a prepared LRA Retrieval holds; `variant` is the protocol of the S4 and S5 papers or of the LRA pipeline."""

    NAME: ClassVar[str] = "lra_retrieval"
    TITLE: ClassVar[str] = "Retrieval (Long Range Arena, AAN)"

    train: int = 147_086
    validation: int = integer(18_090, least=0)
    test: int = 17_437
    variant: str = choice("s4", "lra")

    def identity(self) -> dict[str, Any]:
        """Everything that decides the prepared arrays."""
        return super().identity() | {"vocabulary": VOCABULARY.sha256}

    def facts(self) -> dict[str, Any]:
        """Split, tokenizer and length of the variant."""
        facts = {
            "split_rule": f"as released; of fewer, the first of a permutation seeded with {AUTHORS_SEED}",
            "input": {"kind": "tokens"},
            "maximum_length": MAXIMUM_LENGTH,
            "classes": 2,
            "documents": 2,
        }
        if self.variant == "lra":
            return facts | {
                "tokenizer": f"UTF-8 bytes plus one, the first {MAXIMUM_LENGTH}; no <eos>; quotes are letters",
                "vocabulary_size": 257,
                "padding": "right, with 0, to maximum_length",
            }
        return facts | {
            "tokenizer": f"characters of printable ASCII, others <unk>; the first {MAXIMUM_LENGTH - 1} and <eos>",
            "vocabulary_size": VOCABULARY.size,
            "vocabulary_sha256": VOCABULARY.sha256,
            "padding": "right, with token 0 (<pad>), to maximum_length; lengths count <eos>",
            "differences": [
                "token ids are in the order of ASCII; the S4 and S5 loaders order them by frequency, which permutes "
                "the one-hot inputs"
            ],
        }


def read(settings: RetrievalSettings, folder: Path, advance: Advance) -> dict[str, Sequences]:
    """The pairs of the three tables; DataError names file and line of a row that is malformed, or too few pairs."""
    splits = {}
    for split, count in settings.counts.items():
        path = folder / FILES[split]
        total = sum(1 for _ in _rows(path, settings.variant)) if count else 0
        if count > total:
            raise DataError(f"{path} has {total} pairs, {count} are wanted; pass --{split} {total}")
        kept = set(first(np.arange(total), count).tolist())
        documents, labels = [], []
        for index, (label, *texts) in enumerate(_rows(path, settings.variant) if count else ()):
            if index in kept:
                documents += [_encode(settings.variant, text) for text in texts]
                labels.append(label)
                advance(1)
        splits[split] = join(documents, labels)
    return splits


def _encode(variant: str, text: str) -> np.ndarray:
    if variant == "lra":
        return encode_bytes(text.encode("utf-8"), MAXIMUM_LENGTH)
    return VOCABULARY.encode(text, MAXIMUM_LENGTH)


def _rows(path: Path, variant: str) -> Iterator[tuple[int, str, str]]:
    """Label and texts of each row: label, two ids, two texts, between tabs; in variant "s4" quotes group as in CSV."""
    csv.field_size_limit(sys.maxsize)
    quoting = csv.QUOTE_NONE if variant == "lra" else csv.QUOTE_MINIMAL
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=quoting)
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise DataError(f"{path}, line {line}: {error}") from None
            if row is None:
                return
            if len(row) != 5:
                raise DataError(f"{path}, line {line}: expected 5 columns, found {len(row)}")
            if row[0] not in LABELS:
                raise DataError(f"{path}, line {line}: expected the label 0 or 1, found {row[0]!r:.80}")
            if not row[3] or not row[4]:
                raise DataError(f"{path}, line {line}: an empty document")
            yield LABELS[row[0]], row[3], row[4]
