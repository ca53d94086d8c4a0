"""enwik8: the first 100 million bytes of the English Wikipedia of March 2006 (Hutter 2006), in bytes.

The first 90 million bytes are for training, the next 5 million for validation and the last 5 million the test, as the
published numbers have it (Al-Rfou et al. 2019; Dai et al. 2019). Bits per character are bits per byte.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from suite.data.dataset import DataSet, Made
from suite.data.errors import DataError
from suite.data.sequences import Advance
from suite.data.settings import SPLITS, choice
from suite.data.text.documents import make
from suite.data.text.prepared import PreparedText
from suite.data.text.settings import TextSettings
from suite.data.text.tokenizers import ByteTokenizer

_TWENTIETHS = (18, 19, 20)


@dataclass(frozen=True)
class Enwik8Settings(TextSettings):
    """The 100 million bytes; another file of the user's is cut in the same shares."""

    NAME: ClassVar[str] = "enwik8"
    TITLE: ClassVar[str] = "enwik8 (100 million bytes of Wikipedia)"

    tokenizer: str = choice("bytes")

    def text_facts(self) -> dict[str, Any]:
        return {
            "split_rule": "by position: 90 %, 5 %, 5 % of the bytes",
            "document_definition": "each split is one document; articles follow one another",
            "word_definition": "separated by ASCII white space",
            "character": "a byte: bits per character are bits_per_byte",
            **ByteTokenizer().facts(),
        }


def read(settings: Enwik8Settings, folder: Path, advance: Advance) -> Made:
    """The one file `enwik8`; a cut may fall into a character."""
    path = folder / "enwik8"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    cuts = [0, *(len(text) * share // _TWENTIETHS[-1] for share in _TWENTIETHS)]
    parts = [text[first:last] for first, last in itertools.pairwise(cuts)]
    documents = {split: [part] for split, part in zip(SPLITS, parts, strict=True)}
    return make(settings, documents, ByteTokenizer(), lambda part: len(part.split()), advance)


ENWIK8 = DataSet(Enwik8Settings, read=read, opened=PreparedText)
