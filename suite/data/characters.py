"""Characters or bytes of texts as tokens, with the vocabularies of the S4 line and of the LRA pipeline."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8, UInt16

SPECIALS = ("<pad>", "<unk>", "<eos>")


@dataclass(frozen=True)
class Characters:
    """A fixed vocabulary of characters: `<pad>` 0, `<unk>` 1, `<eos>` 2, then `letters` in order."""

    letters: str

    @property
    def size(self) -> int:
        return len(SPECIALS) + len(self.letters)

    @property
    def sha256(self) -> str:
        """The vocabulary's hash: of its tokens, one a line in the order of the ids, line breaks written as escapes."""
        tokens = [*SPECIALS, *(ascii(letter)[1:-1] for letter in self.letters)]
        return hashlib.sha256("\n".join(tokens).encode()).hexdigest()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {letter: len(SPECIALS) + index for index, letter in enumerate(self.letters)}

    def encode(self, text: str, maximum_length: int) -> UInt8[np.ndarray, " length"]:
        """Token ids of the first characters and `<eos>`, `maximum_length` at most."""
        found = map(self._ids.get, text[: maximum_length - 1])
        return np.array([*(1 if each is None else each for each in found), SPECIALS.index("<eos>")], dtype=np.uint8)


def encode_bytes(text: bytes, maximum_length: int) -> UInt16[np.ndarray, " length"]:
    """Bytes plus one, as the byte encoder of the LRA pipeline gives them: 0 is padding; there is no `<eos>`."""
    return np.frombuffer(text[:maximum_length], np.uint8).astype(np.uint16) + np.uint16(1)


def frequent(texts: Iterable[str], least: int) -> str:
    """The characters that come at least so often, most frequent first, equally frequent ones by code point."""
    counts = np.zeros(0x110000, dtype=np.int64)
    for text in texts:
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        np.add.at(counts, points, 1)
    kept = np.flatnonzero(counts >= least)
    return "".join(chr(point) for point in kept[np.argsort(-counts[kept], kind="stable")])
