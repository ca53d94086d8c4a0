"""Documents as one flat array of tokens, with the bytes and words of each: what is on disk, and what is opened."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, Integer


@dataclass(frozen=True)
class TextArrays:
    """What a split has on disk: document d is `tokens[offsets[d]:offsets[d + 1]]` and has `bytes[d]` and `words[d]`."""

    tokens: Integer[np.ndarray, " total"]
    offsets: Int64[np.ndarray, " documents_plus_1"]
    bytes: Int64[np.ndarray, " documents"]
    words: Int64[np.ndarray, " documents"]


@dataclass(frozen=True)
class TextSplit(TextArrays):
    """One split, memory-mapped. `begin` is the id from which a document's first token is predicted."""

    begin: int

    @property
    def count(self) -> int:
        """Documents."""
        return len(self.bytes)

    @property
    def token_count(self) -> int:
        return len(self.tokens)

    @property
    def byte_count(self) -> int:
        """UTF-8 bytes of all documents."""
        return int(self.bytes.sum())

    @property
    def word_count(self) -> int:
        """Words of all documents, as the protocol's `word_definition` counts them."""
        return int(self.words.sum())

    @cached_property
    def lengths(self) -> Int64[np.ndarray, " documents"]:
        """Tokens of each document."""
        return np.diff(self.offsets)

    def document(self, index: int) -> Integer[np.ndarray, " length"]:
        """The tokens of a document; raises IndexError for one that is not there."""
        if not 0 <= index < self.count:
            raise IndexError(f"document {index} of a split of {self.count} documents")
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


def token_dtype(vocabulary_size: int) -> np.dtype:
    """The smallest of uint8, uint16 and int32 that holds every id; ids that are only read, as `begin`, need no room."""
    return np.dtype(np.uint8 if vocabulary_size <= 1 << 8 else np.uint16 if vocabulary_size <= 1 << 16 else np.int32)
