"""From documents to prepared arrays: tokens, bytes and words of each, and the facts that follow from them."""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from suite.data import store
from suite.data.dataset import Made
from suite.data.errors import DataError
from suite.data.sequences import Advance
from suite.data.settings import SPLITS
from suite.data.text.settings import TextSettings
from suite.data.text.split import TextArrays
from suite.data.text.tokenizers import Tokenizer

Count = Callable[[bytes], int]
"""The number of words of a text."""


def make(
    settings: TextSettings,
    documents: Mapping[str, Iterable[bytes]],
    tokenizer: Tokenizer,
    words: Count,
    advance: Advance,
    absent: str = "",
    **facts: Any,
) -> Made:
    """The arrays of every split from its documents, UTF-8 texts in order, and the measured facts of the protocol.

    The split `absent` may be empty. Raises DataError where a split has fewer documents than the settings ask for, or none at all.
    """
    splits = {}
    for split in SPLITS:
        wanted = settings.counts[split]
        texts = itertools.islice(documents[split], wanted) if wanted else documents[split]
        splits[split] = join(_encoded(texts, tokenizer, words, advance), tokenizer.dtype)
        found = len(splits[split].bytes)
        least = 0 if split == absent else max(wanted, 1)
        if found < least:
            raise DataError(f"{settings.NAME}: {split} has {found} documents, expected at least {least}")
    measured = {
        "vocabulary_size": tokenizer.vocabulary_size,
        "vocabulary_sha256": tokenizer.vocabulary_sha256,
        "begin": tokenizer.begin,
        "splits": {split: sizes(arrays) for split, arrays in splits.items()},
    }
    return Made(splits, measured | facts, tokenizer.files)


def _encoded(
    texts: Iterable[bytes], tokenizer: Tokenizer, words: Count, advance: Advance
) -> Iterator[tuple[np.ndarray, int, int]]:
    for text in texts:
        yield tokenizer.encode(text), len(text), words(text)
        advance(1)


def join(documents: Iterable[tuple[np.ndarray, int, int]], dtype: np.dtype) -> TextArrays:
    """Documents, each its tokens, bytes and words, as flat arrays; the tokens are kept in a temporary file, not memory.

    Raises DataError where the temporary file cannot be written.
    """
    lengths, counts = [0], []
    with tempfile.TemporaryFile() as file:
        for tokens, size, words in documents:
            with store.writing(Path(tempfile.gettempdir())):
                file.write(np.ascontiguousarray(tokens, dtype=dtype).data)
            lengths.append(len(tokens))
            counts.append((size, words))
        with store.writing(Path(tempfile.gettempdir())):
            file.flush()
        offsets = np.cumsum(np.array(lengths, dtype=np.int64))
        total = int(offsets[-1])
        tokens = np.memmap(file, dtype, mode="r", shape=(total,)) if total else np.zeros(0, dtype)
    table = np.array(counts, dtype=np.int64).reshape(-1, 2)
    return TextArrays(tokens, offsets, table[:, 0].copy(), table[:, 1].copy())


def sizes(split: TextArrays) -> dict[str, int]:
    """How much a split holds, in every unit that is counted."""
    return {
        "documents": len(split.bytes),
        "tokens": len(split.tokens),
        "bytes": int(split.bytes.sum()),
        "words": int(split.words.sum()),
    }


def whitespace_words(text: bytes) -> int:
    """Words separated by white space, as Python's `str.split` finds them."""
    return len(text.decode("utf-8").split())
