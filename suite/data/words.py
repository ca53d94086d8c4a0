"""Random words that are the same on every machine: integer arithmetic only, no distribution of a library.

`philox_words` are raw outputs of the counter-based generator Philox4x64-10 (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", SC 2011), so any part of a stream can be had without the parts before it. `split` makes a word
the seed of a SplitMix64 stream (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014) and
returns its outputs; words of one tree thereby depend on nothing but the word of its root.
"""

import numpy as np
from jaxtyping import Int64, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_WORDS_PER_COUNT = 4
_LOW_32 = np.uint64(0xFFFFFFFF)


def philox_words(seed: int, stream: int, start: int, count: int) -> UInt64[np.ndarray, " count"]:
    """The raw 64-bit words `start` to `start + count` of the stream named by `seed` and `stream` (below 2**64)."""
    counter, skipped = divmod(start, _WORDS_PER_COUNT)
    generator = np.random.Philox(
        key=np.array([seed, stream], dtype=np.uint64), counter=np.array([counter, 0, 0, 0], dtype=np.uint64)
    )
    return generator.random_raw(skipped + count)[skipped:]


def split(
    words: UInt64[np.ndarray, " parents"], counts: Int64[np.ndarray, " parents"]
) -> UInt64[np.ndarray, " children"]:
    """The first `counts[i]` outputs of the SplitMix64 stream seeded by `words[i]`, for each i, one after the other."""
    before = np.cumsum(counts) - counts
    ordinal = np.arange(1, int(counts.sum()) + 1) - np.repeat(before, counts)
    return _mixed(np.repeat(words, counts) + ordinal.astype(np.uint64) * _GOLDEN)


def nth(words: UInt64[np.ndarray, " n"], ordinal: int | Int64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Output `ordinal` (from 0; one, or one for each) of the SplitMix64 stream seeded by each word."""
    return _mixed(words + (np.atleast_1d(ordinal) + 1).astype(np.uint64) * _GOLDEN)


def _mixed(state: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """The output function of SplitMix64; changes its argument."""
    state ^= state >> np.uint64(30)
    state *= _MIX_1
    state ^= state >> np.uint64(27)
    state *= _MIX_2
    state ^= state >> np.uint64(31)
    return state


def below(words: UInt64[np.ndarray, " n"], bound: int | Int64[np.ndarray, " n"], shift: int) -> Int64[np.ndarray, " n"]:
    """Integers in [0, bound) from the 32 bits of each word above bit `shift`, uniform within bound / 2**32."""
    bits = (words >> np.uint64(shift)) & _LOW_32
    return ((bits * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)
