"""What a language model's losses come to: nats per token, perplexities, bits per byte, and perplexity by position.

Everything is summed in float64 over the targets of a split, each counted once:

    nll_nats_per_token = nats / tokens            token_perplexity = exp(nats / tokens)
    bits_per_byte = nats / (ln 2 bytes)           word_perplexity = exp(nats / words)

where bytes and words are those of the split's text, however it is cut into tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

METRICS = ("nll_nats_per_token", "token_perplexity", "bits_per_byte", "word_perplexity")
DEFINITIONS = {
    "nll_nats_per_token": "mean over the split's tokens of minus the natural logarithm of the probability of each",
    "token_perplexity": "exp of nll_nats_per_token; depends on the tokenizer",
    "bits_per_byte": "sum of minus the base-2 logarithms over all tokens, divided by the bytes of the split's text",
    "word_perplexity": "exp of the sum of minus the natural logarithms over all tokens, divided by the words of the "
    "split's text as word_definition counts them",
    "unigram_bits_per_byte": "bits_per_byte of a model that knows only how often each token occurs in the train split "
    "(one added to each count; the first 100 million tokens)",
}
FIRST_EDGE = 16
"""The first bin of positions is 0 to 15; each further one doubles the position."""
UNIGRAM_TOKENS = 100_000_000


class Text(Protocol):
    """What is asked of a split: see `suite.data.text.split.TextSplit`."""

    @property
    def tokens(self) -> Any: ...
    @property
    def token_count(self) -> int: ...
    @property
    def bytes(self) -> Any: ...
    @property
    def words(self) -> Any: ...


class IncompleteEvaluation(RuntimeError):
    """An evaluation did not cover the split once; the message has both counts."""


def metrics(nats: float, split: Text) -> dict[str, float]:
    """The four metrics of a split from the sum of the losses of all its tokens; infinite where they overflow."""
    tokens, size, words = split.token_count, int(split.bytes.sum()), int(split.words.sum())
    return {
        "nll_nats_per_token": nats / tokens,
        "token_perplexity": _exp(nats / tokens),
        "bits_per_byte": nats / (math.log(2) * size),
        "word_perplexity": _exp(nats / words),
    }


def unigram_bits_per_byte(train: Text, test: Text, vocabulary: int) -> float:
    """Bits per byte of the test split under the frequencies of the train split's tokens."""
    counts = np.bincount(np.asarray(train.tokens[:UNIGRAM_TOKENS], np.int64), minlength=vocabulary) + 1.0
    nats = -np.log(counts / counts.sum())
    seen = np.bincount(np.asarray(test.tokens, np.int64), minlength=vocabulary)
    return metrics(float(seen @ nats), test)["bits_per_byte"]


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


@dataclasses.dataclass
class ByPosition:
    """Losses summed by position, in bins that double: column 0 nats, column 1 targets."""

    sums: Float[np.ndarray, "bins 2"] = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))

    def add(
        self,
        losses: Float[np.ndarray, "B L"],
        mask: Bool[np.ndarray, "B L"],
        first: Int[np.ndarray, " B"],
    ) -> None:
        """Add the losses of rows whose first position is `first`, where `mask` is True."""
        positions = first[:, None] + np.arange(losses.shape[1])
        bins = bin_of(positions[mask])
        size = max(len(self.sums), int(bins.max(initial=-1)) + 1)
        grown = np.zeros((size, 2))
        grown[: len(self.sums)] = self.sums
        grown[:, 0] += np.bincount(bins, weights=losses[mask].astype(np.float64), minlength=size)
        grown[:, 1] += np.bincount(bins, minlength=size)
        self.sums = grown

    @property
    def nats(self) -> float:
        """The sum over all positions."""
        return float(self.sums[:, 0].sum())

    @property
    def targets(self) -> int:
        """How many targets were added."""
        return int(self.sums[:, 1].sum())


def bin_of(positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The bin of each position."""
    return np.where(positions < FIRST_EDGE, 0, np.floor(np.log2(np.maximum(positions, 1))).astype(np.int64) - 3)


def position_rows(sums: Float[np.ndarray, "bins 2"]) -> list[dict[str, Any]]:
    """The rows of the table "perplexity by position": bins with their targets, nats per token and perplexity."""
    return [
        {
            "position_from": 0 if index == 0 else FIRST_EDGE << (index - 1),
            "position_to": (FIRST_EDGE << index) - 1,
            "targets": int(count),
            "nll_nats_per_token": nats / count,
            "token_perplexity": _exp(nats / count),
        }
        for index, (nats, count) in enumerate(_pairs(sums))
        if count
    ]


def length_rows(lengths: Sequence[int], nats: Sequence[float], split: Text) -> list[dict[str, Any]]:
    """The rows of the table "perplexity by length": the metrics with states emptied after so many tokens."""
    return [{"length": length, **metrics(total, split)} for length, total in zip(lengths, nats, strict=True)]


def _pairs(sums: Float[np.ndarray, "bins 2"]) -> Sequence[tuple[float, float]]:
    return [(float(nats), float(count)) for nats, count in sums]
