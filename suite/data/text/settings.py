"""Settings that text data sets share."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from suite.data import store
from suite.data.errors import DataError, SettingsError
from suite.data.prepared import FOUND
from suite.data.settings import Settings, choice, integer
from suite.data.text.tokenizers import T5_SHA256, ByteTokenizer, SentencePieceTokenizer, Tokenizer, sentencepiece_facts

METRIC = (
    "nats of all targets of the split, divided by its tokens (nll_nats_per_token; exp of it is token_perplexity), by "
    "its bytes and log 2 (bits_per_byte), or by its words (exp of it is word_perplexity); every token of every "
    "document is a target, a document's first token is predicted from the begin id"
)
READ = ("splits", "vocabulary_size", "vocabulary_sha256", "begin", "identical_to_release")
"""Facts of the protocol that are known only when the text has been read."""
MEASURED = (*READ, *FOUND)
"""Facts of the protocol of any data that are known only when they are opened."""


@dataclass(frozen=True)
class TextSettings(Settings):
    """What a prepared text holds: `train`, `validation` and `test` are numbers of documents, the first of each split.

    0, the default, takes all. `tokenizer` is a field of every data set, with the choices that it has. A data set states
    in `text_facts` at least `split_rule`, `document_definition` and `word_definition`.
    """

    COMPARABLE: ClassVar[str] = ""
    """Why no number on these data may be compared with a published one; empty where it may."""

    train: int = integer(0, least=0)
    validation: int = integer(0, least=0)
    test: int = integer(0, least=0)
    tokenizer: str = ""

    def facts(self) -> dict[str, Any]:
        given = self.text_facts()
        differences = list(given.pop("differences", ()))
        if self.COMPARABLE:
            differences.append(self.COMPARABLE)
        if any(self.counts.values()):
            differences.append("only the first documents of a split are used, as the settings say")
        name = f"{self.NAME}/{self.source}/{self.tokenizer}"
        return {"name": name, "metric": METRIC, **given, "differences": differences}

    def text_facts(self) -> dict[str, Any]:
        """What a data set adds to `facts()`."""
        raise NotImplementedError(f"{type(self).__name__} states no facts")


@dataclass(frozen=True)
class SubwordSettings(TextSettings):
    """A text in bytes or in the pieces of a SentencePiece model.

    `model` is the path of the model's file or, where the data are prepared or the file lies as `spiece.model` among
    the original files, its sha256; the default is T5's. The settings keep the sha256. Raises SettingsError.
    """

    tokenizer: str = choice("bytes", "sentencepiece")
    model: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer == "bytes":
            if self.model:
                raise SettingsError(
                    f"{self.NAME}: model belongs to tokenizer 'sentencepiece'; leave it out with 'bytes'"
                )
        elif not re.fullmatch("[0-9a-f]{64}", self.model or T5_SHA256):
            object.__setattr__(self, "_path", Path(self.model))
            try:
                object.__setattr__(self, "model", store.sha256(Path(self.model)))
            except OSError as error:
                raise SettingsError(f"{self.NAME}: model {self.model} cannot be read: {error.strerror}") from None
        else:
            object.__setattr__(self, "model", self.model or T5_SHA256)

    def tokenize(self, folder: Path) -> Tokenizer:
        """The tokenizer; the model's file is that of the settings or `spiece.model` of a folder. Raises DataError."""
        if self.tokenizer == "bytes":
            return ByteTokenizer()
        path = getattr(self, "_path", folder / "spiece.model")
        try:
            model = path.read_bytes()
        except OSError:
            raise DataError(
                f"{path} is missing: put the SentencePiece model {self.model} there or name its file with --model FILE"
            ) from None
        tokenizer = SentencePieceTokenizer(model)
        if tokenizer.vocabulary_sha256 != self.model:
            raise DataError(
                f"{path} is another SentencePiece model: expected sha256 {self.model}, found "
                f"{tokenizer.vocabulary_sha256}; name its file with --model FILE"
            )
        return tokenizer

    def tokenizer_facts(self) -> dict[str, Any]:
        """The tokenizer's part of `text_facts()`."""
        return ByteTokenizer().facts() if self.tokenizer == "bytes" else sentencepiece_facts(self.model)
