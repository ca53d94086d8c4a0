"""A prepared text data set: memory-mapped splits, the protocol, and the tokenizer that made the tokens."""

from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

from suite.data import store
from suite.data.errors import CorruptData
from suite.data.prepared import Prepared
from suite.data.text.documents import sizes
from suite.data.text.settings import READ
from suite.data.text.split import TextArrays, TextSplit
from suite.data.text.tokenizers import Tokenizer, load


class PreparedText(Prepared):
    """`train`, `validation` and `test` are TextSplits; `protocol`, `hashes`, `settings` and errors are as in Prepared.

    `protocol` is completed with what followed from the text when it was read.
    """

    train: TextSplit
    validation: TextSplit
    test: TextSplit

    def __init__(self, directory: Path, protocol: dict[str, Any], command: str, verify: bool = True) -> None:
        try:
            measured = store.read_meta(directory).protocol
        except CorruptData as error:
            raise CorruptData(f"{error}. Mend it with: {command}") from None
        protocol = protocol | {fact: measured[fact] for fact in READ if fact in measured}
        super().__init__(directory, protocol, command, verify)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What made the tokens, to encode other texts and to decode; raises DataError."""
        return load(self.settings["tokenizer"], self.directory)

    def _open(self, split: str) -> TextSplit:
        arrays = {field.name: self._array(f"{split}/{field.name}.npy") for field in fields(TextArrays)}
        opened = TextSplit(**arrays, begin=self.protocol["begin"])
        expected, found = self.protocol["splits"][split], sizes(opened)
        if found != expected:
            raise self._corrupt(split, f"it holds {found}, expected {expected}")
        return opened
