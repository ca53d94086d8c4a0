"""PG-19: books published before 1919 (Rae et al. 2020), and books that only resemble it.

The original lies in three folders `train`, `validation` and `test` of files `<id>.txt`. A book is a document; books are
in the order of their ids. `data_manifests/pg19_books.tsv` lists id, bytes and sha256 of all validation and test books.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from suite.data import manifest
from suite.data.dataset import DataSet, Made
from suite.data.errors import DataError
from suite.data.sequences import Advance
from suite.data.settings import SPLITS
from suite.data.text.documents import make, whitespace_words
from suite.data.text.prepared import PreparedText
from suite.data.text.settings import SubwordSettings

_HELD_OUT = 10
_BOOKS = {
    "document_definition": "a book, in the order of the ids",
    "word_definition": "separated by white space, as Python's str.split: word_perplexity is PG-19's word-level one",
}


@dataclass(frozen=True)
class PG19Settings(SubwordSettings):
    """PG-19 as released: 28,602 training, 50 validation and 100 test books."""

    NAME: ClassVar[str] = "pg19"
    TITLE: ClassVar[str] = "PG-19 (books published before 1919)"

    def text_facts(self) -> dict[str, Any]:
        return {"split_rule": "as released: folders train, validation and test", **_BOOKS, **self.tokenizer_facts()}


@dataclass(frozen=True)
class PG19LikeSettings(SubwordSettings):
    """Books cut from Project Gutenberg by PG-19's rule, or any others: never PG-19."""

    NAME: ClassVar[str] = "pg19_like"
    TITLE: ClassVar[str] = "Books like those of PG-19, not comparable with it"
    SOURCES: ClassVar[tuple[str, ...]] = ("local",)
    COMPARABLE: ClassVar[str] = "the books are not those of PG-19: no published number may be compared"

    source: str = "local"

    def text_facts(self) -> dict[str, Any]:
        rule = (
            "folders train, validation and test; of books without such folders, in the order of the ids, the last "
            f"{_HELD_OUT} are the test split and the {_HELD_OUT} before them the validation split"
        )
        return {"split_rule": rule, **_BOOKS, **self.tokenizer_facts()}


@cache
def official() -> dict[str, dict[str, str]]:
    """The sha256 of each validation and test book of PG-19 by its id; raises DataError."""
    found: dict[str, dict[str, str]] = {"validation": {}, "test": {}}
    for book in manifest.read("pg19").release.single:
        path = PurePosixPath(book.name)
        found[path.parent.name][path.stem] = book.sha256 or ""
    return found


class _Books:
    """The books of a split, read one at a time; `identical` counts those that are PG-19's byte for byte."""

    def __init__(self, files: Sequence[Path], known: dict[str, str]) -> None:
        self.files, self.known, self.identical = files, known, 0

    def __iter__(self) -> Iterator[bytes]:
        for file in self.files:
            text = read_text(file)
            self.identical += hashlib.sha256(text).hexdigest() == self.known.get(file.stem)
            yield text


def read_text(file: Path) -> bytes:
    """A file's bytes, which must be UTF-8; raises DataError."""
    try:
        text = file.read_bytes()
        text.decode("utf-8")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error.reason} at byte {error.start}") from None
    return text


def by_id(files: Iterable[Path]) -> list[Path]:
    """Files `<id>.txt` in the order of their numbers, others after them by name."""
    return sorted(
        files, key=lambda file: (not file.stem.isdecimal(), int(file.stem) if file.stem.isdecimal() else 0, file.stem)
    )


def _read(settings: SubwordSettings, files: dict[str, list[Path]], folder: Path, advance: Advance) -> Made:
    books = {split: _Books(files[split], official().get(split, {})) for split in SPLITS}
    made = make(settings, books, settings.tokenize(folder), whitespace_words, advance)
    made.facts["identical_to_release"] = {split: books[split].identical for split in official()}
    return made


def read(settings: PG19Settings, folder: Path, advance: Advance) -> Made:
    """PG-19's three folders."""
    files = {split: by_id((folder / split).glob("*.txt")) for split in SPLITS}
    return _read(settings, files, folder, advance)


def read_like(settings: PG19LikeSettings, folder: Path, advance: Advance) -> Made:
    """Three folders as PG-19's, or `train` alone, or books alone, whose last ones are held out."""
    files = {split: by_id((folder / split).glob("*.txt")) for split in SPLITS}
    if not files["validation"] and not files["test"]:
        books = files["train"] or by_id(folder.glob("*.txt"))
        cuts = max(len(books) - 2 * _HELD_OUT, 0), max(len(books) - _HELD_OUT, 0)
        files = {"train": books[: cuts[0]], "validation": books[cuts[0] : cuts[1]], "test": books[cuts[1] :]}
    return _read(settings, files, folder, advance)


PG19 = DataSet(PG19Settings, read=read, opened=PreparedText)
PG19_LIKE = DataSet(PG19LikeSettings, read=read_like, opened=PreparedText)
