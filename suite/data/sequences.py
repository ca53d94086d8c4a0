"""Sequences of tokens or values, of different lengths, in one flat array."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64, Shaped

Advance = Callable[[int], object]


def silent(count: int) -> None:
    """An `Advance` that shows nothing."""


@dataclass(frozen=True)
class Sequences:
    """Sequence i is `tokens[offsets[i]:offsets[i + 1]]`; example i has the label `labels[i]`.

    `tokens` are uint8, uint16, int16, int32 or float32: token ids with their `<eos>`, or raw values, those of several
    channels of shape (total, C). Of pairs, sequences 2i and 2i + 1 are the documents of example i.
    """

    tokens: Shaped[np.ndarray, "total *channels"]
    offsets: Int64[np.ndarray, " count_plus_1"]
    labels: Int32[np.ndarray, " count"]


def join(sequences: Sequence[np.ndarray], labels: Sequence[int]) -> Sequences:
    """Single sequences of one type as one flat array; without any sequence, no uint8 token."""
    offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
    np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
    tokens = np.concatenate(sequences) if len(sequences) else np.zeros(0, np.uint8)
    return Sequences(tokens, offsets, np.array(labels, dtype=np.int32))


def stack(images: np.ndarray, labels: np.ndarray) -> Sequences:
    """Sequences of one length as one flat array: (count, L) or (count, L, C)."""
    count, length = images.shape[:2]
    offsets = np.arange(count + 1, dtype=np.int64) * length
    return Sequences(images.reshape(count * length, *images.shape[2:]), offsets, labels.astype(np.int32))
