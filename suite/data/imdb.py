"""LRA Text: sentiment of IMDb reviews, character by character (Maas et al. 2011; Tay et al. 2021, section 2.2.2)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from suite.data.characters import Characters, encode_bytes, frequent
from suite.data.errors import DataError
from suite.data.permutation import AUTHORS_SEED, first
from suite.data.sequences import Advance, Sequences, join
from suite.data.settings import Settings, choice, integer

ONE_HOT_SIZE = 135
LEAST_FREQUENCY = 15
LENGTHS = {"s4": 4096, "lra": 4000}
LABELS = ("neg", "pos")

# Characters that come 15 times or more among the first 4,095 of the 25,000 training reviews, most frequent first.
LETTERS = (
    " etaoisnrhldcumfygwbp.v,k'IT/><-\"ASBxMHCDj)W(ERLONP!GFJz0q1?KVY:9U2*;3"
    "5847&6Z\xe9\x96Q`X$\x85_%=#+\x97\xb4\u2019~\xe8]}{[\xe1@\u2013\x91\xa3\xe4\xed\xa8\xf4\xf3\xfc\xe7\xa1\xe0\xf6\t^\xf1\xe2\xef\u201c\u201d\xeb\xea\xe3\xbb\xe5\xbd\xfa\xab\\\x84|"
)
VOCABULARY = Characters(LETTERS)


@dataclass(frozen=True)
class TextSettings(Settings):
    """What a prepared LRA Text holds; `variant` is the protocol of the S4 and S5 papers or that of the LRA pipeline.

    The release has no validation split: `validation` reviews are taken from the test split, as LRA uses all of it.
    """

    NAME: ClassVar[str] = "lra_text"
    TITLE: ClassVar[str] = "Text (Long Range Arena, IMDb)"

    train: int = 25_000
    validation: int = integer(0, least=0)
    test: int = 25_000
    variant: str = choice("s4", "lra")

    def identity(self) -> dict[str, Any]:
        """Everything that decides the prepared arrays."""
        return super().identity() | {"vocabulary": VOCABULARY.sha256}

    def facts(self) -> dict[str, Any]:
        """Split, tokenizer and length of the variant."""
        length = LENGTHS[self.variant]
        rule = (
            "the release's train and test; of fewer, the first of a permutation seeded with "
            f"{AUTHORS_SEED}; validation, where there is any, are test reviews drawn the same way"
        )
        facts: dict[str, Any] = {
            "split_rule": rule,
            "input": {"kind": "tokens"},
            "maximum_length": length,
            "classes": 2,
        }
        if self.variant == "lra":
            return facts | {
                "tokenizer": f"UTF-8 bytes plus one, the first {length}; no <eos>",
                "vocabulary_size": 257,
                "padding": "right, with 0, to maximum_length",
                "differences": ["Mega and SeqBoat read tokenised files of their own made by this protocol"],
            }
        return facts | {
            "tokenizer": f"characters that come {LEAST_FREQUENCY} times or more in the training reviews, others <unk>; "
            f"the first {length - 1} and <eos>",
            "vocabulary_size": VOCABULARY.size,
            "vocabulary_sha256": VOCABULARY.sha256,
            "one_hot_size": ONE_HOT_SIZE,
            "padding": "right, with token 0 (<pad>), to maximum_length; lengths count <eos>",
            "differences": [],
        }


def read(settings: TextSettings, folder: Path, advance: Advance) -> dict[str, Sequences]:
    """The reviews of `{train,test}/{neg,pos}/*.txt`; the released ones must give the vocabulary that is fixed here.

    Raises DataError naming the file that is no UTF-8 text, and where there are fewer reviews than wanted.
    """
    files = {split: _files(folder, split) for split in ("train", "test")}
    if settings.variant == "s4" and settings.source == "released":
        found = frequent((_text(path)[: LENGTHS["s4"] - 1] for path, _ in files["train"]), LEAST_FREQUENCY)
        if found != LETTERS:
            raise DataError(f"{folder}: the training reviews have other characters than this version knows: {found!r}")
    splits = {}
    for split, count in settings.counts.items():
        origin = "train" if split == "train" else "test"
        if count > len(files[origin]):
            raise DataError(f"{folder / origin} has {len(files[origin])} reviews, {count} are wanted for {split}")
        chosen = first(np.arange(len(files[origin])), count)
        sequences, labels = [], []
        for index in chosen.tolist():
            path, label = files[origin][index]
            sequences.append(_encode(settings.variant, path))
            labels.append(label)
            advance(1)
        splits[split] = join(sequences, labels)
    return splits


def _encode(variant: str, path: Path) -> np.ndarray:
    if variant == "lra":
        return encode_bytes(path.read_bytes(), LENGTHS["lra"])
    return VOCABULARY.encode(_text(path), LENGTHS["s4"])


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}") from None


def _files(folder: Path, split: str) -> list[tuple[Path, int]]:
    """Files and labels, negative ones first, each in the order of the reviews' numbers."""
    return [(path, label) for label, name in enumerate(LABELS) for path in _numbered(folder / split / name)]


def _numbered(folder: Path) -> Iterator[Path]:
    def key(path: Path) -> tuple[int, str]:
        found = re.match(r"\d+", path.name)
        return (int(found[0]) if found else -1, path.name)

    yield from sorted(folder.glob("*.txt"), key=key)
