"""QMSum (Zhong et al., arXiv 2104.05938): meetings, questions about them, and their answers as summaries.

An example is a pair of byte sequences: the question and the whole transcript, a line for each turn (`speaker: words`),
and the answer. The files hold `general_query_list` and `specific_query_list`; both are taken, meeting by meeting.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from suite.data.errors import DataError
from suite.data.glue import END, FIRST_BYTE, SEPARATOR, VOCABULARY_SIZE, encode
from suite.data.sequences import Advance, Sequences, join, silent
from suite.data.settings import Settings, integer

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
MAXIMUM_LENGTH = 148_000
"""The longest question with its transcript has fewer bytes."""


@dataclass(frozen=True)
class QmsumSettings(Settings):
    """What a prepared QMSum holds: numbers of questions."""

    NAME: ClassVar[str] = "qmsum"
    TITLE: ClassVar[str] = "QMSum, meeting summaries"

    train: int = 1_257
    validation: int = integer(272, least=0)
    test: int = 281

    def facts(self) -> dict[str, Any]:
        return {
            "split_rule": "as released; the first questions of the meetings in the order of their names",
            "input": {"kind": "tokens"},
            "documents": 2,
            "tokenizer": "UTF-8 bytes plus 3; question, 1, transcript, 2; and the answer, 2; never truncated",
            "vocabulary_size": VOCABULARY_SIZE,
            "maximum_length": MAXIMUM_LENGTH,
            "classes": 1,
            "metric": "rouge1, rouge2, rougeL: mean F over all examples of the split, suite/rouge.py",
        }


def read(settings: QmsumSettings, folder: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The splits; DataError names a file that is malformed, or says that there are too few questions."""
    splits = {}
    for split, wanted in settings.counts.items():
        documents: list[np.ndarray] = []
        for question, transcript, answer in questions(folder / FOLDERS[split]):
            if len(documents) == 2 * wanted:
                break
            documents += [encode([question, transcript]), encode([answer])]
            if len(documents[-2]) > MAXIMUM_LENGTH:
                raise DataError(f"{folder / FOLDERS[split]}: {len(documents[-2])} tokens do not fit: {question!r:.80}")
            advance(1)
        if len(documents) < 2 * wanted:
            raise DataError(f"{folder} has {len(documents) // 2} questions for {split}, {wanted} are wanted")
        splits[split] = join(documents, [0] * wanted)
    return splits


def questions(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Question, transcript and answer of every question of a folder of meetings; raises DataError."""
    for path in sorted(folder.glob("*.json")):
        try:
            meeting = json.loads(path.read_bytes())
            turns = "\n".join(f"{turn['speaker']}: {turn['content']}" for turn in meeting["meeting_transcripts"])
            asked = [*meeting["general_query_list"], *meeting["specific_query_list"]]
            found = [(each["query"], turns, each["answer"]) for each in asked]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no meeting of QMSum: {error!r:.200}") from None
        yield from found


def texts(sequence: np.ndarray) -> list[str]:
    """The texts of a token sequence: question and transcript, or the answer alone."""
    parts = np.split(sequence, np.flatnonzero((sequence == SEPARATOR) | (sequence == END)))
    kept = (part[part >= FIRST_BYTE] - FIRST_BYTE for part in parts[:-1])
    return [part.astype(np.uint8).tobytes().decode() for part in kept]
