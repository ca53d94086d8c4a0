"""Tokenizers: text to ids. Which one is used, and the hash of its vocabulary, is part of the protocol."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Integer


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
