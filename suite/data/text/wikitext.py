"""WikiText-2 and WikiText-103: articles of Wikipedia as one stream (Merity et al. 2017).

The tokenized text, `wiki.{train,valid,test}.tokens`, has rare words replaced by `<unk>`; the raw text,
`wiki.{train,valid,test}.raw`, has them all. A split is one document, as fairseq and Transformer-XL read it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from suite.data.dataset import DataSet, Made
from suite.data.errors import DataError, SettingsError
from suite.data.sequences import Advance
from suite.data.settings import SPLITS, choice
from suite.data.text.documents import make
from suite.data.text.pg19 import read_text
from suite.data.text.prepared import PreparedText
from suite.data.text.settings import TextSettings
from suite.data.text.tokenizers import WORDS, ByteTokenizer, WordTokenizer, lines

_FILES = {"train": "train", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class _WikiTextSettings(TextSettings):
    """`tokenizer` words goes with `text` tokens, bytes with either.

    `held_out` leaves the training text out, to check and to read the other two where it is not at hand; its vocabulary
    of words is that of the training text, so it goes with bytes only.
    """

    SHA1: ClassVar[dict[str, str]]
    """Published sha1 of the training texts, whose sha256 the manifest does not know."""

    tokenizer: str = choice("words", "bytes")
    text: str = choice("tokens", "raw")
    held_out: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer == "words" and self.text == "raw":
            raise SettingsError(
                f"{self.NAME}: tokenizer 'words' reads text 'tokens'; take tokenizer 'bytes' with 'raw'"
            )
        if self.tokenizer == "words" and self.held_out:
            raise SettingsError(
                f"{self.NAME}: the vocabulary of tokenizer 'words' is that of the training text; take tokenizer 'bytes' "
                "with held_out"
            )

    def to_dict(self) -> dict[str, Any]:
        """All settings; `held_out` only where it leaves something out."""
        return {name: value for name, value in super().to_dict().items() if name != "held_out" or value}

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are read."""
        return tuple(self.file(split) for split in SPLITS if not (self.held_out and split == "train"))

    def without(self, missing: Sequence[str]) -> str:
        """What can be had where the training text alone is missing."""
        if self.held_out or tuple(missing) != (self.file("train"),):
            return ""
        raw = " --text raw" if self.text == "raw" else ""
        return f"Validation and test text alone, without training: add --tokenizer bytes{raw} --held-out true"

    def file(self, split: str) -> str:
        """A split's file in the release."""
        return f"wiki.{_FILES[split]}.{self.text}"

    def reads(self, file: str) -> bool:
        return file in self.files

    def checks(self, file: str) -> bool:
        """The training text is compared with its published sha1."""
        return file == self.file("train")

    def text_facts(self) -> dict[str, Any]:
        return {
            "split_rule": "as released",
            "document_definition": "each split is one document; articles follow one another",
            "word_definition": "separated by white space, and one <eos> for every line",
            "text": "tokenized, rare words are <unk>; bytes are those of this text" if self.text == "tokens" else "raw",
            **({"differences": ["the training text is left out: nothing can be trained"]} if self.held_out else {}),
            **(ByteTokenizer().facts() if self.tokenizer == "bytes" else {"unit": "word", "tokenizer": WORDS}),
        }


@dataclass(frozen=True)
class WikiText2Settings(_WikiTextSettings):
    """WikiText-2: 2,088,628, 217,646 and 245,569 words, 33,278 different ones."""

    NAME: ClassVar[str] = "wikitext2"
    TITLE: ClassVar[str] = "WikiText-2"
    SHA1: ClassVar[dict[str, str]] = {
        "tokens": "863f29c46ef9d167fff4940ec821195882fe29d1",
        "raw": "d33faf256327882db0edc7c67cd098d1051a2112",
    }


@dataclass(frozen=True)
class WikiText103Settings(_WikiTextSettings):
    """WikiText-103: 103,227,021, 217,646 and 245,569 words, 267,735 different ones."""

    NAME: ClassVar[str] = "wikitext103"
    TITLE: ClassVar[str] = "WikiText-103"
    SHA1: ClassVar[dict[str, str]] = {
        "tokens": "b7497e2dfe77e72cfef5e3dbc61b7b53712ac211",
        "raw": "3d06627c15e834408cfee91293f862c11c1cc9ef",
    }


def words(text: bytes) -> int:
    """Words and line ends."""
    return sum(len(line) + 1 for line in lines(text))


def read(settings: _WikiTextSettings, folder: Path, advance: Advance) -> Made:
    """The files; the vocabulary is that of the training text. Raises DataError for another training text."""
    documents = {split: [read_text(folder / settings.file(split))] for split in SPLITS[settings.held_out :]}
    if settings.held_out:
        return make(settings, {"train": [], **documents}, ByteTokenizer(), words, advance, absent="train")
    found, expected = hashlib.sha1(documents["train"][0]).hexdigest(), settings.SHA1[settings.text]
    if settings.source == "released" and found != expected:
        raise DataError(
            f"{folder / settings.file('train')} is not the released file: expected sha1 {expected}, found {found}; "
            "fetch it again, or say --source local if it is a file of your own"
        )
    tokenizer = ByteTokenizer() if settings.tokenizer == "bytes" else WordTokenizer.of(documents["train"][0])
    return make(settings, documents, tokenizer, words, advance)


WIKITEXT2 = DataSet(WikiText2Settings, read=read, opened=PreparedText)
WIKITEXT103 = DataSet(WikiText103Settings, read=read, opened=PreparedText)
