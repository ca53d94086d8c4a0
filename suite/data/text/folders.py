"""Text corpora of the user's own: papers of arXiv and repositories of GitHub, public stand-ins for private data sets.

The papers (Wu et al. 2022; Hutchins et al. 2022; Fathi et al. 2023) train on collections of their own that nobody else
has. Here every entry of a folder is a document: a file, or a folder whose files are joined in the order of their paths,
an empty line between them, as a repository or a paper of several files.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from suite.data.dataset import DataSet, Made
from suite.data.errors import DataError
from suite.data.sequences import Advance
from suite.data.settings import SPLITS
from suite.data.text.documents import make, whitespace_words
from suite.data.text.prepared import PreparedText
from suite.data.text.settings import SubwordSettings

_SHARES = (90, 95)


@dataclass(frozen=True)
class _FolderSettings(SubwordSettings):
    """`suffixes` are the endings of the files that are read, separated by commas; `*` reads all files."""

    SOURCES: ClassVar[tuple[str, ...]] = ("local",)

    source: str = "local"
    suffixes: str = ".txt"

    def text_facts(self) -> dict[str, Any]:
        return {
            "split_rule": "folders train, validation and test; of entries without such folders 5 % each are validation "
            "and test, by the sha256 of their names",
            "document_definition": "an entry of the folder, in the order of their names: a file, or the files of a "
            "folder joined with an empty line; files that are not UTF-8 are read as Latin-1, empty documents left out",
            "word_definition": "separated by white space, as Python's str.split",
            **self.tokenizer_facts(),
        }


@dataclass(frozen=True)
class ArxivSettings(_FolderSettings):
    """LaTeX sources of papers."""

    NAME: ClassVar[str] = "arxiv"
    TITLE: ClassVar[str] = "Papers of arXiv, a folder of your own"
    COMPARABLE: ClassVar[str] = "a public stand-in: the papers' arXiv data set is private, no published number compares"

    suffixes: str = ".tex,.txt"


@dataclass(frozen=True)
class GithubSettings(_FolderSettings):
    """Source code of repositories."""

    NAME: ClassVar[str] = "github"
    TITLE: ClassVar[str] = "Repositories of GitHub, a folder of your own"
    COMPARABLE: ClassVar[str] = (
        "a public stand-in: the papers' GitHub data set is private, no published number compares"
    )

    suffixes: str = ".c,.cc,.cpp,.cs,.go,.h,.hpp,.java,.js,.py,.rs,.ts,.txt"


def read(settings: _FolderSettings, folder: Path, advance: Advance) -> Made:
    """The documents of a folder."""
    endings = tuple(settings.suffixes.split(","))
    documents = {split: _Documents(paths, endings) for split, paths in _entries(folder).items()}
    return make(settings, documents, settings.tokenize(folder), whitespace_words, advance)


def _entries(folder: Path) -> dict[str, list[Path]]:
    """The entries of each split."""
    if any((folder / split).is_dir() for split in SPLITS):
        return {split: _inside(folder / split) for split in SPLITS}
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in _inside(folder):
        percent = int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16) % 100
        found[SPLITS[sum(percent >= share for share in _SHARES)]].append(path)
    return found


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder by name, without what is hidden and a tokenizer's model."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "spiece.model")


@dataclass(frozen=True)
class _Documents(Iterable[bytes]):
    """The texts of entries, read one at a time, without empty ones."""

    paths: list[Path]
    endings: tuple[str, ...]

    def __iter__(self) -> Iterator[bytes]:
        for path in self.paths:
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
            text = b"\n\n".join(_utf8(file) for file in files if self._wanted(file))
            if text:
                yield text

    def _wanted(self, file: Path) -> bool:
        return "*" in self.endings or file.name.endswith(self.endings)


def _utf8(file: Path) -> bytes:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1").encode("utf-8")
    return text


ARXIV = DataSet(ArxivSettings, read=read, opened=PreparedText)
GITHUB = DataSet(GithubSettings, read=read, opened=PreparedText)
