"""The permutations by which the S4 and S5 code splits its data, without PyTorch."""

import functools

import numpy as np
from jaxtyping import Int64

AUTHORS_SEED = 42
"""The seed of every split that the S4 and S5 code draws."""


@functools.lru_cache(maxsize=4)
def torch_permutation(count: int, seed: int = AUTHORS_SEED) -> Int64[np.ndarray, " count"]:
    """What `torch.randperm(count)` draws with a CPU generator seeded with `seed` (read-only).

    A Fisher-Yates shuffle with 32-bit words of the Mersenne Twister (Matsumoto and Nishimura 1998) modulo what is left,
    as PyTorch does for fewer than 2**32 / 20 elements.
    """
    words = np.random.RandomState(seed).randint(0, 1 << 32, max(count - 1, 0), dtype=np.uint32)
    order = list(range(count))
    steps = words.astype(np.int64) % np.arange(count, 1, -1)
    for position, step in enumerate(steps.tolist()):
        other = position + step
        order[position], order[other] = order[other], order[position]
    permutation = np.array(order, dtype=np.int64)
    permutation.flags.writeable = False
    return permutation


def first(pool: Int64[np.ndarray, " pool"], count: int, seed: int = AUTHORS_SEED) -> Int64[np.ndarray, " count"]:
    """The first `count` of a seeded permutation of a pool, in the pool's order; all of it where `count` is its size."""
    return pool[np.sort(torch_permutation(len(pool), seed)[:count])]
