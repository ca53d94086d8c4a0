"""What a text data set is to the catalog: settings, and documents from which the arrays are made."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.data.dataset import Made
from suite.data.sequences import Advance
from suite.data.text.prepared import PreparedText, sizes
from suite.data.text.settings import TextSettings
from suite.data.text.split import SPLITS, TextArrays, join
from suite.data.text.tokenizers import ByteTokenizer, Tokenizer

Count = Callable[[bytes], int]
"""The number of words of a text."""


@dataclass(frozen=True)
class Source:
    """The documents of a data set: UTF-8 texts by split, and the sha256 of the files, whole once all were read."""

    documents: dict[str, Iterable[bytes]]
    raw_files: dict[str, str]


@dataclass(frozen=True)
class TextSet:
    """A text data set: `find(settings, folder)` finds its documents, in a folder or, where it is None, in the project.

    `words` counts the words of a document as the published numbers do.
    """

    name: str
    title: str
    settings: Callable[[dict[str, Any]], TextSettings]
    find: Callable[[Any, Path | None], Source]
    words: Count

    def make(self, settings: TextSettings, folder: Path | None, jobs: int | None, advance: Advance) -> Made:
        """The arrays of every split and the facts of the protocol that follow from the text."""
        source = self.find(settings, folder)
        tokenizer = tokenizer_of(settings)
        splits = {
            split: join(self._documents(source.documents[split], tokenizer, advance), tokenizer.dtype)
            for split in SPLITS
        }
        return Made(splits, source.raw_files, facts(tokenizer, splits), tokenizer.files)

    def open(self, directory: Path, settings: TextSettings, command: str, verify: bool) -> PreparedText:
        return PreparedText(directory, settings.protocol(), command, verify)

    def _documents(
        self, texts: Iterable[bytes], tokenizer: Tokenizer, advance: Advance
    ) -> Iterator[tuple[Any, int, int]]:
        for text in texts:
            yield tokenizer.encode(text), len(text), self.words(text)
            advance(1)


def tokenizer_of(settings: TextSettings) -> Tokenizer:
    """The tokenizer that the settings name."""
    return ByteTokenizer()


def facts(tokenizer: Tokenizer, splits: dict[str, TextArrays]) -> dict[str, Any]:
    """What the protocol says beyond the settings."""
    return tokenizer.describe() | {"splits": {split: sizes(arrays) for split, arrays in splits.items()}}


def whitespace_words(text: bytes) -> int:
    """Words separated by white space, as Python's `str.split` finds them in the decoded text."""
    return len(text.decode("utf-8").split())
