"""Token sequences of different lengths in one flat array."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64, UInt8

Advance = Callable[[int], object]


def silent(count: int) -> None:
    """An `Advance` that shows nothing."""


@dataclass(frozen=True)
class Sequences:
    """Sequence i is `tokens[offsets[i]:offsets[i + 1]]`, its `<eos>` included, and has the label `labels[i]`."""

    tokens: UInt8[np.ndarray, " total"]
    offsets: Int64[np.ndarray, " count_plus_1"]
    labels: Int32[np.ndarray, " count"]


def join(sequences: Sequence[np.ndarray], labels: Sequence[int]) -> Sequences:
    """Single token sequences as one flat array."""
    offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
    np.cumsum([len(sequence) for sequence in sequences], out=offsets[1:])
    return Sequences(np.concatenate(sequences), offsets, np.array(labels, dtype=np.int32))
