"""Settings that all text data sets share."""

from dataclasses import dataclass
from typing import Any, ClassVar

from suite.data.settings import Settings, integer

METRIC = (
    "nats of all targets of the split, divided by its tokens (nll_nats_per_token; exp of it is token_perplexity), by "
    "its bytes and log 2 (bits_per_byte), or by its words (exp of it is word_perplexity); every token of every "
    "document is a target, a document's first token is predicted from the begin id"
)
MEASURED = ("splits", "vocabulary_size", "vocabulary_sha256", "begin", "identical_to_release")
"""Facts of the protocol that are known only when the text has been read."""


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
        return {"metric": METRIC, **given, "differences": differences}

    def text_facts(self) -> dict[str, Any]:
        """What a data set adds to `facts()`."""
        raise NotImplementedError(f"{type(self).__name__} states no facts")
