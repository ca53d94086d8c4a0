"""The order of the batches: pure functions, so every framework and every resumed run sees the same bytes in turn."""

import functools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

from suite.data.words import philox_words

_ORDER = 1 << 63


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Training steps in one epoch of n examples; as in the S5 code, examples that fill no batch sit it out."""
    if not 1 <= batch_size <= n:
        raise ValueError(f"batch_size must be between 1 and the {n} examples, not {batch_size}")
    return n // batch_size


def indices(n: int, batch_size: int, seed: int, step: int) -> Int64[np.ndarray, " batch_size"]:
    """The examples of a training step, a pure function of its arguments and the same on every machine.

    Epoch e = step // (n // batch_size) has a permutation of its own; its last n % batch_size examples are left out.
    Raises ValueError for a batch larger than the data.
    """
    epoch, position = divmod(step, steps_per_epoch(n, batch_size))
    return permutation(n, seed, epoch)[position * batch_size : (position + 1) * batch_size].copy()


@functools.lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """The order of n examples in an epoch (read-only): a stable sort by the random words of (seed, epoch)."""
    order = np.argsort(philox_words(seed, _ORDER + epoch, 0, n), kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


def evaluation_batches(n: int, batch_size: int) -> Iterator[Int64[np.ndarray, " B"]]:
    """All n examples in order, `batch_size` at a time; the last batch holds the remainder."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    for start in range(0, n, batch_size):
        yield np.arange(start, min(start + batch_size, n))
