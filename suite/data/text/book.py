"""The embedded book: The House on the Borderland by William Hope Hodgson (1908), shipped with the project.

The text is a slice of the book as PG-19 holds it (train/10002.txt), byte for byte, from the title to the last footnote.
It is cut into three documents by position: the first 80 %, the next 10 % and the last 10 % of the bytes, each cut moved
forward to the next empty line.
"""

import hashlib
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from suite.data.dataset import DataSet, Made
from suite.data.errors import CorruptData
from suite.data.sequences import Advance
from suite.data.settings import SPLITS, choice
from suite.data.text.documents import make, whitespace_words
from suite.data.text.prepared import PreparedText
from suite.data.text.settings import TextSettings
from suite.data.text.tokenizers import ByteTokenizer

NAME = "book"
TITLE = "The House on the Borderland (one public-domain book, shipped with the project)"
FILE = Path(__file__).with_name("house_on_the_borderland.txt.xz")
SHA256 = "5fcb0ff0ac66ad38619e93411972afb7ca7b56c10cc35b92ae99ef591577bd0f"
"""Of the text, not of the compressed file."""

_SHARES = (0.8, 0.9)
_EMPTY_LINE = b"\r\n\r\n"


@dataclass(frozen=True)
class BookSettings(TextSettings):
    """The book's settings."""

    NAME: ClassVar[str] = NAME
    TITLE: ClassVar[str] = TITLE
    SOURCES: ClassVar[tuple[str, ...]] = ("generated",)
    COMPARABLE: ClassVar[str] = "a data set of this project: no paper has published numbers on it"

    source: str = "generated"
    tokenizer: str = choice("bytes")

    def text_facts(self) -> dict[str, Any]:
        return {
            "split_rule": "by position: 80 %, 10 %, 10 % of the bytes, cuts moved forward to an empty line",
            "document_definition": "each split is one document",
            "word_definition": "separated by white space, as Python's str.split",
            **ByteTokenizer().facts(),
        }


def text(file: Path = FILE) -> bytes:
    """The book; CorruptData where the file is not what was shipped."""
    try:
        found = lzma.decompress(file.read_bytes())
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise CorruptData(f"{file} cannot be read: {error}. Install the project again") from None
    digest = hashlib.sha256(found).hexdigest()
    if digest != SHA256:
        raise CorruptData(
            f"{file} is corrupt: expected sha256 {SHA256} of its text, found {digest}. Install the project again"
        )
    return found


def generate(settings: BookSettings, jobs: int | None, advance: Advance) -> Made:
    """The three documents."""
    whole = text()
    cuts = [whole.index(_EMPTY_LINE, int(len(whole) * share)) + len(_EMPTY_LINE) for share in _SHARES]
    parts = [whole[first:last] for first, last in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    documents = {split: [part] for split, part in zip(SPLITS, parts, strict=True)}
    return make(settings, documents, ByteTokenizer(), whitespace_words, advance)


BOOK = DataSet(BookSettings, generate=generate, opened=PreparedText)
