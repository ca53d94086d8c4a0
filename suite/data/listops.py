"""ListOps of Long Range Arena: settings, vocabulary and meaning (Nangia & Bowman 2018; Tay et al. 2021, section 2.2.1).

A sequence is a nested prefix expression such as `[MAX 4 [MIN 2 3 ] 1 ]`; its label is its value, one of ten digits.
MED is the median truncated to an integer, SM the sum modulo 10. Tokens follow the protocol of the S4 and S5 papers:
parentheses of the released text are dropped, one `<eos>` is appended, and sequences are never truncated.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from suite.data.settings import ACCURACY, Settings, integer

NAME = "lra_listops"
TITLE = "ListOps (Long Range Arena)"
GENERATOR_VERSION = 1
CLASSES = 10
ONE_HOT_SIZE = 20

VOCABULARY = ("<pad>", "<unk>", "<eos>", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
PAD, UNKNOWN, EOS, FIRST_DIGIT, MIN, MAX, MED, SM, CLOSE = (
    VOCABULARY.index(token) for token in ("<pad>", "<unk>", "<eos>", "0", "[MIN", "[MAX", "[MED", "[SM", "]")
)
VOCABULARY_SHA256 = hashlib.sha256("\n".join(VOCABULARY).encode()).hexdigest()

_DIFFERENCES = (
    "token ids are in a fixed order; the S4 and S5 loaders order them by frequency, which permutes the one-hot inputs",
    "the closing bracket keeps its name; the LRA, S4 and S5 loaders rename it to X",
)
_GENERATED_DIFFERENCES = (
    "drawn by the release's rules and settings with this project's generator; not the released sequences",
)


@dataclass(frozen=True)
class ListOpsSettings(Settings):
    """What a prepared ListOps holds; the defaults are those of the LRA release.

    A generated sequence has `min_length < tokens < max_length` without parentheses and `<eos>`; nodes at depth
    `max_depth` are digits, so at most `max_depth - 1` operators nest; an operator has 2 to `max_args` arguments.
    """

    NAME: ClassVar[str] = NAME
    TITLE: ClassVar[str] = TITLE
    VERSION: ClassVar[int] = GENERATOR_VERSION
    SOURCES: ClassVar[tuple[str, ...]] = ("generated", "released", "local")
    GENERATOR_FIELDS: ClassVar[tuple[str, ...]] = ("seed", "min_length", "max_length", "max_depth", "max_args")

    source: str = "generated"
    train: int = 96_000
    validation: int = 2_000
    test: int = 2_000
    seed: int = integer(0, least=0)
    min_length: int = integer(500, least=0)
    max_length: int = 2_000
    max_depth: int = 10
    max_args: int = integer(10, least=2)

    def least(self, name: str) -> int:
        """The least value of an integer field: a sequence must fit between the bounds."""
        return self.min_length + 2 if name == "max_length" else super().least(name)

    @property
    def maximum_length(self) -> int:
        """The least power of two that holds every sequence with its <eos>: 2048 for the release."""
        return 1 << (self.max_length - 1).bit_length()

    def identity(self) -> dict[str, Any]:
        """Everything that decides the prepared arrays."""
        return {"settings": self.to_dict(), "vocabulary": VOCABULARY_SHA256, "generator_version": GENERATOR_VERSION}

    def protocol(self) -> dict[str, Any]:
        """The facts that decide whether two numbers measured on ListOps may be compared."""
        generated = self.source == "generated"
        return {
            "name": self.title_of_source(),
            "dataset": NAME,
            "source": self.source,
            "splits": self.counts,
            "split_rule": "each split is a stream of its own; its order is the order of acceptance"
            if generated
            else "by file; the first sequences of each",
            "tokenizer": "space-separated tokens without parentheses, <eos> appended, never truncated",
            "vocabulary": list(VOCABULARY),
            "vocabulary_sha256": VOCABULARY_SHA256,
            "maximum_length": self.maximum_length,
            "one_hot_size": ONE_HOT_SIZE,
            "classes": CLASSES,
            "padding": f"right, with token {PAD} (<pad>), to maximum_length; lengths count <eos>",
            "metric": ACCURACY,
            "settings": self.to_dict(),
            "generator_version": GENERATOR_VERSION if generated else None,
            "differences": [*_DIFFERENCES, *(_GENERATED_DIFFERENCES if generated else self.of_files())],
        }


def _median(values: Sequence[int]) -> int:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


OPERATORS: dict[int, Callable[[Sequence[int]], int]] = {
    MIN: min,
    MAX: max,
    MED: _median,
    SM: lambda values: sum(values) % 10,
}


def encode(text: str) -> bytes:
    """Token ids of an expression with or without parentheses, without `<eos>`; ValueError names an unknown token."""
    try:
        return bytes(map(_IDS.__getitem__, text.translate(_NO_PARENTHESES).split()))
    except KeyError as error:
        raise ValueError(f"unknown token {error.args[0]!r}") from None


def evaluate(tokens: bytes | Sequence[int]) -> int:
    """The value of an expression given as token ids without `<eos>`; ValueError says what is malformed."""
    opened: list[list[int]] = []
    result: int | None = None
    for token in tokens:
        if FIRST_DIGIT <= token < MIN:
            value = token - FIRST_DIGIT
        elif token in OPERATORS:
            opened.append([token])
            continue
        elif token == CLOSE and opened:
            operator, *arguments = opened.pop()
            if not arguments:
                raise ValueError(f"{VOCABULARY[operator]} has no arguments")
            value = OPERATORS[operator](arguments)
        else:
            raise ValueError(
                "a closing bracket without its operator" if token == CLOSE else f"no expression holds {token}"
            )
        if opened:
            opened[-1].append(value)
        elif result is None:
            result = value
        else:
            raise ValueError("more than one expression")
    if opened or result is None:
        raise ValueError(f"{VOCABULARY[opened[-1][0]]} is never closed" if opened else "empty expression")
    return result


_IDS = {token: index for index, token in enumerate(VOCABULARY) if index >= FIRST_DIGIT}
_NO_PARENTHESES = {ord("("): None, ord(")"): None}
