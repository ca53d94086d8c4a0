"""Span corruption, the pre-training objective of T5 (Raffel et al. 2020, section 3.1.4; `random_spans_noise_mask` of
google-research/text-to-text-transfer-transformer): spans of a text are replaced by sentinels, the targets hold them.

    text     t0 t1 t2 t3 t4 t5 t6 t7        inputs   t0 t1 <0> t4 t5 t6 <1>
    noise          ^^ ^^          ^^        targets  <0> t2 t3 <1> t7
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, Integer

from suite.data.glue import FIRST_BYTE, VOCABULARY_SIZE
from suite.data.words import philox_words

NOISE_DENSITY = 0.15
MEAN_SPAN_LENGTH = 3.0
BYTE_SENTINELS = 0x100 - 0xF5
"""Where tokens are bytes, the bytes F5 to FF are sentinels: no UTF-8 text holds them, and the vocabulary stays that of
the tasks that come after. (ByT5, Xue et al. 2022, section 3.1, takes the last 100 byte ids, which texts may hold.)"""
FIRST_BYTE_SENTINEL = VOCABULARY_SIZE - 1
LAST_TEXT_BYTE = FIRST_BYTE_SENTINEL - BYTE_SENTINELS

_NOISE, _REST = 1, 2
"""Streams of random words of one seed."""


@dataclass(frozen=True)
class Corrupted:
    """What an encoder reads and what a decoder has to write, without end-of-sequence tokens."""

    inputs: Int64[np.ndarray, " I"]
    targets: Int64[np.ndarray, " T"]


def counts(
    length: int, noise_density: float = NOISE_DENSITY, mean_span_length: float = MEAN_SPAN_LENGTH
) -> tuple[int, int]:
    """Corrupted tokens and spans of a text: at least one of either, and at least one token is left for each span."""
    if length < 2:
        raise ValueError(f"length is {length}: expected at least 2 tokens")
    if not 0 < noise_density < 1:
        raise ValueError(f"noise_density is {noise_density}: expected 0 < noise_density < 1")
    if mean_span_length < 1:
        raise ValueError(f"mean_span_length is {mean_span_length}: expected at least 1 token")
    noise = min(max(round(length * noise_density), 1), length - 1)
    spans = max(round(noise / mean_span_length), 1)
    return noise, min(spans, length - noise)


def _segments(tokens: int, parts: int, seed: int, stream: int) -> Int64[np.ndarray, " parts"]:
    """Lengths of `parts` segments, none empty, of so many tokens; every such division is equally likely."""
    order = np.argsort(philox_words(seed, stream, 0, tokens - 1), kind="stable") if tokens > 1 else np.zeros(0, int)
    cuts = np.sort(order[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [tokens]])).astype(np.int64)


def noise_mask(
    length: int, seed: int, noise_density: float = NOISE_DENSITY, mean_span_length: float = MEAN_SPAN_LENGTH
) -> Bool[np.ndarray, " L"]:
    """True at the tokens to corrupt; the text begins with tokens that are left and ends with a corrupted span.

    A pure function of its arguments, the same on every machine. Raises ValueError for a text of fewer than 2 tokens.
    """
    noise, spans = counts(length, noise_density, mean_span_length)
    rest = _segments(length - noise, spans, seed, _REST)
    lengths = np.stack([rest, _segments(noise, spans, seed, _NOISE)], 1).reshape(-1)
    return np.repeat(np.arange(2 * spans) % 2 == 1, lengths)


def corrupt(
    tokens: Integer[np.ndarray, " L"],
    seed: int,
    first_sentinel: int,
    noise_density: float = NOISE_DENSITY,
    mean_span_length: float = MEAN_SPAN_LENGTH,
) -> Corrupted:
    """Inputs and targets of a text: each corrupted span becomes one sentinel, which precedes the span in the targets.

    Sentinels count down from `first_sentinel` (32,099 in T5's vocabulary of 32,100). Raises ValueError for a text that
    is no vector of at least 2 integers, or that holds one of its sentinels.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens have shape {tokens.shape} of {tokens.dtype}: expected (L,) integers")
    mask = noise_mask(len(tokens), seed, noise_density, mean_span_length)
    starts = mask & ~np.concatenate([[False], mask[:-1]])
    spans = int(starts.sum())
    taken = (tokens >= first_sentinel - spans) & (tokens <= first_sentinel)
    if taken.any() or first_sentinel - spans < -1:
        raise ValueError(
            f"tokens hold one of the {spans} sentinels down from {first_sentinel}: expected a first_sentinel above all"
        )
    sentinels = first_sentinel - np.arange(spans)
    text = tokens.astype(np.int64)
    inputs = text.copy()
    inputs[starts] = sentinels
    targets = np.insert(text[mask], np.flatnonzero(starts[mask]), sentinels)
    return Corrupted(inputs[~mask | starts], targets)


def restore(corrupted: Corrupted, first_sentinel: int) -> Int64[np.ndarray, " L"]:
    """The text behind a pair of inputs and targets; raises ValueError where their sentinels differ."""
    inputs, targets = np.asarray(corrupted.inputs), np.asarray(corrupted.targets)
    spans = 0
    while spans < len(targets) and (targets == first_sentinel - spans).any():
        spans += 1
    sentinels = first_sentinel - np.arange(spans)
    own = [np.flatnonzero(np.isin(part, sentinels)) for part in (inputs, targets)]
    in_order = all(np.array_equal(part[at], sentinels) for part, at in zip((inputs, targets), own, strict=True))
    if not spans or not in_order:
        raise ValueError(
            f"inputs and targets differ in their sentinels: expected each once, down from {first_sentinel}"
        )
    texts, noise = np.split(inputs, own[0]), np.split(targets, own[1])
    parts = [texts[0]]
    for text, span in zip(texts[1:], noise[1:], strict=True):
        parts += [span[1:], text[1:]]
    return np.concatenate(parts).astype(np.int64)
