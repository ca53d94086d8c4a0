"""Tokenizers: text to ids. Which one is used, and the hash of its vocabulary, is part of the protocol."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Integer

from suite.data.errors import DataError
from suite.data.text.split import token_dtype

T5_SHA256 = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
"""Of T5's SentencePiece model of 32,000 pieces: `spiece.model`, 791,656 bytes."""
MODEL_FILE, VOCABULARY_FILE = "tokenizer.model", "vocabulary.txt"
EOS, UNKNOWN = "<eos>", "<unk>"


class Tokenizer(Protocol):
    """What a tokenizer owes: `begin` is the id before a document's first token; `files` are what it is rebuilt from."""

    name: str
    vocabulary_size: int
    vocabulary_sha256: str
    begin: int
    dtype: np.dtype
    files: dict[str, bytes]

    def encode(self, text: bytes) -> Integer[np.ndarray, " length"]:
        """The ids of a UTF-8 text, without begin or end."""
        ...

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of ids; ids that stand for no text are left out."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the protocol says of the tokenizer beside vocabulary and begin id."""
        ...


class ByteTokenizer:
    """UTF-8 bytes are ids 0 to 255; 256 is `<begin>`, read before a document's first byte, and 257 `<end>`.

    Neither special id is stored or predicted in language modelling, so tokens are bytes and their numbers equal.
    """

    name = "bytes"
    vocabulary_size = 258
    begin = 256
    end = 257
    dtype = np.dtype(np.uint8)
    vocabulary_sha256 = hashlib.sha256(b"256 bytes, <begin>, <end>").hexdigest()

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def encode(self, text: bytes) -> Integer[np.ndarray, " length"]:
        return np.frombuffer(text, np.uint8)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        ids = np.asarray(tokens, dtype=np.int64)
        return bytes(ids[(ids >= 0) & (ids < self.begin)].tolist()).decode("utf-8", errors="replace")

    def facts(self) -> dict[str, Any]:
        return {
            "unit": "byte",
            "tokenizer": "UTF-8 bytes as they are; 256 <begin> is read before each document, 257 <end> is not used",
        }


class WordTokenizer:
    """Words separated by white space, `<eos>` after every line; words that are not in the vocabulary are `<unk>`.

    Ids go down in frequency, so that an adaptive softmax can cut them. `<eos>` is also the begin id: the first word of
    a text is predicted as if a line had ended.
    """

    name = "words"

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        self._ids = {word: index for index, word in enumerate(self.vocabulary)}
        self._unknown = self._ids[UNKNOWN]
        self.begin = self._ids[EOS]
        self.vocabulary_size = len(self.vocabulary)
        self.dtype = token_dtype(self.vocabulary_size)
        self.files = {VOCABULARY_FILE: "".join(f"{word}\n" for word in self.vocabulary).encode()}
        self.vocabulary_sha256 = hashlib.sha256(self.files[VOCABULARY_FILE]).hexdigest()

    @classmethod
    def of(cls, text: bytes) -> "WordTokenizer":
        """The vocabulary of a training text: all its words, the most frequent first, equally frequent ones by name."""
        counts: Counter[str] = Counter()
        for line in lines(text):
            counts.update(line)
            counts[EOS] += 1
        counts[UNKNOWN] += 0
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    def encode(self, text: bytes) -> Integer[np.ndarray, " length"]:
        ids, unknown = self._ids, self._unknown
        found = [np.array([*(ids.get(word, unknown) for word in line), self.begin], self.dtype) for line in lines(text)]
        return np.concatenate(found) if found else np.zeros(0, self.dtype)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        words = (self.vocabulary[token] for token in np.asarray(tokens).tolist())
        return "".join("\n" if word == EOS else f"{word} " for word in words)

    def facts(self) -> dict[str, Any]:
        return {"unit": "word", "tokenizer": WORDS}


WORDS = (
    "words of the text separated by white space, <eos> after every line, which is also read before the first word; "
    "the vocabulary is every word of the training text, the most frequent first, others are <unk>"
)


def lines(text: bytes) -> Iterator[list[str]]:
    """The words of each line of a text; a line ends with a line feed and nothing else."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end].decode("utf-8").split()
        start = end + 1


class SentencePieceTokenizer:
    """The pieces of a SentencePiece model, which the extra `language` reads.

    The begin id is the model's padding, as a T5 decoder starts, or where it has none its `<s>`. A model's own
    normalization applies: T5's joins white space and line ends to single blanks, so that `decode` is not the text.
    """

    name = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of the types that SWIG makes, from Python 3.12
                from sentencepiece import SentencePieceProcessor
        except ImportError:
            raise DataError(
                "SentencePiece is not installed; get it with: pip install 'longseq-bench[language]'"
            ) from None
        self.files = {MODEL_FILE: model}
        self.vocabulary_sha256 = hashlib.sha256(model).hexdigest()
        self._pieces = SentencePieceProcessor()
        try:
            self._pieces.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise DataError(f"the SentencePiece model cannot be read: {error}") from None
        self.vocabulary_size = self._pieces.GetPieceSize()
        padding = self._pieces.pad_id()
        self.begin = padding if padding >= 0 else self._pieces.bos_id()
        if self.begin < 0:
            raise DataError("the SentencePiece model has neither padding nor <s>, one of which stands before a text")
        self.dtype = token_dtype(self.vocabulary_size)

    def encode(self, text: bytes) -> Integer[np.ndarray, " length"]:
        return np.array(self._pieces.EncodeAsIds(text.decode("utf-8")), dtype=self.dtype)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        return self._pieces.DecodeIds(np.asarray(tokens).tolist())

    def facts(self) -> dict[str, Any]:
        return sentencepiece_facts(self.vocabulary_sha256)


def sentencepiece_facts(model: str) -> dict[str, Any]:
    """The facts of a SentencePiece model by its sha256."""
    name = "T5's vocabulary" if model == T5_SHA256 else "a vocabulary of the user's"
    return {
        "unit": "piece",
        "tokenizer": f"SentencePiece, {name} (model {model}); documents whole, no end piece; its padding, or else <s>, "
        "is read before each document",
    }


def load(kind: str, directory: Path) -> Tokenizer:
    """The tokenizer that prepared the data of a folder; raises DataError."""
    if kind == ByteTokenizer.name:
        return ByteTokenizer()
    try:
        if kind == WordTokenizer.name:
            return WordTokenizer((directory / VOCABULARY_FILE).read_bytes().decode().split("\n")[:-1])
        return SentencePieceTokenizer((directory / MODEL_FILE).read_bytes())
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
