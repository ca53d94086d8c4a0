"""Windows of a text that have lost spans, as an encoder-decoder learns to write them: pure functions, NumPy only.

Tokens are those of the tasks that come after (`suite/data/glue.py`): bytes plus 3, 2 behind either sequence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Int64, Integer

from suite.data.batches import indices
from suite.data.glue import END, FIRST_BYTE
from suite.data.span_corruption import FIRST_BYTE_SENTINEL, LAST_TEXT_BYTE, corrupt
from suite.data.text.split import TextSplit
from suite.recipes.base import SpanCorruption
from suite.training.generation.batches import PairBatch


def count(split: TextSplit, spans: SpanCorruption) -> int:
    """Windows of a split, whose documents stand one after the other; what fills none at its end is left out.

    Raises ValueError where there is none.
    """
    found = split.token_count // spans.length
    if not found:
        raise ValueError(f"a split has {split.token_count} bytes: expected at least a window of {spans.length}")
    return found


def evaluated(split: TextSplit, spans: SpanCorruption) -> Int64[np.ndarray, " n"]:
    """The windows of a split that an evaluation reads."""
    windows = count(split, spans)
    kept = min(spans.evaluated or windows, windows)
    return np.arange(kept) * windows // kept


def training_batch(
    split: TextSplit, spans: SpanCorruption, batch_size: int, seed: int, step: int, start: int
) -> PairBatch:
    """The windows of an update, shuffled anew in each round through the text, with spans that no other update loses."""
    rows = indices(count(split, spans), batch_size, seed, step)
    return batch(split, spans, rows, [f"training/{seed}/{step}/{row}" for row in range(batch_size)], start)


def evaluation_batch(split: TextSplit, spans: SpanCorruption, rows: Int[np.ndarray, " B"], start: int) -> PairBatch:
    """Windows of an evaluation: the spans of each are the same for every run."""
    return batch(split, spans, rows, [f"evaluation/{row}" for row in rows.tolist()], start)


def batch(
    split: TextSplit, spans: SpanCorruption, rows: Int[np.ndarray, " B"], names: Sequence[str], start: int
) -> PairBatch:
    """Windows of a split without the spans that the name of each draws, and these spans."""
    read, written = spans.lengths
    inputs, targets = np.full((len(rows), read), END, np.int32), np.full((len(rows), written), END, np.int32)
    for row, (window, name) in enumerate(zip(np.asarray(rows).tolist(), names, strict=True)):
        text = np.asarray(split.tokens[window * spans.length : (window + 1) * spans.length], np.int64) + FIRST_BYTE
        own = int.from_bytes(hashlib.sha256(f"spans/{name}".encode()).digest()[:8], "little")
        pair = corrupt(text, own, FIRST_BYTE_SENTINEL, spans.noise_density, spans.mean_span_length)
        inputs[row, :-1], targets[row, :-1] = pair.inputs, pair.targets
    outputs = np.concatenate([np.full((len(rows), 1), start, np.int32), targets[:, :-1]], 1)
    return PairBatch(inputs, np.full(len(rows), read, np.int32), outputs, targets, np.ones(targets.shape, bool))


def is_text(targets: Integer[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Where targets are bytes of the text, not sentinels or ends."""
    return (targets >= FIRST_BYTE) & (targets <= LAST_TEXT_BYTE)
