"""Pairs of sequences as an encoder-decoder learns from them, and the text of what it writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int32, Integer

from suite.data import Split
from suite.data.glue import END, FIRST_BYTE
from suite.recipes.base import Generation


@dataclass(frozen=True)
class PairBatch:
    """What is read, padded with 0 behind `lengths`; what is written, `mask` True at its tokens; and the tokens that
    stand one before them, the first of which is `start` of the model."""

    inputs: Int32[np.ndarray, "B T"]
    lengths: Int32[np.ndarray, " B"]
    outputs: Int32[np.ndarray, "B L"]
    targets: Int32[np.ndarray, "B L"]
    mask: Bool[np.ndarray, "B L"]


def pair_batch(split: Split, indices: Int[np.ndarray, " B"], generation: Generation, start: int) -> PairBatch:
    """The examples of the given indices of a split of pairs, cut as `generation` says."""
    read, lengths = _cut(split, 2 * np.asarray(indices), generation.input_length)
    targets, written = _cut(split, 2 * np.asarray(indices) + 1, generation.target_length)
    outputs = np.concatenate([np.full((len(targets), 1), start, np.int32), targets[:, :-1]], 1)
    return PairBatch(read, lengths, outputs, targets, np.arange(targets.shape[1]) < written[:, None])


def _cut(split: Split, sequences: Int[np.ndarray, " B"], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (B, length) and how many of their tokens are genuine."""
    tokens = np.zeros((len(sequences), length), np.int32)
    lengths = np.minimum(split.lengths[sequences], length).astype(np.int32)
    for row, (sequence, count) in enumerate(zip(sequences.tolist(), lengths.tolist(), strict=True)):
        first = int(split.offsets[sequence])
        tokens[row, :count] = split.tokens[first : first + count]
    return tokens, lengths


def text(tokens: Integer[np.ndarray, " L"]) -> str:
    """The text of tokens up to their end; what is no UTF-8 becomes a replacement character."""
    ends = np.flatnonzero(tokens == END)
    kept = tokens[: ends[0]] if len(ends) else tokens
    return (kept[kept >= FIRST_BYTE] - FIRST_BYTE).astype(np.uint8).tobytes().decode(errors="replace")
