"""The random split of a training set that S4 and S5 take as validation set, example by example.

Their loaders call `torch.utils.data.random_split` with a generator seeded 42 (`s5/dataloaders/base.py`). Its
permutation is a Fisher-Yates shuffle by the words of a Mersenne Twister (Matsumoto and Nishimura 1998), which NumPy has
too, so the very same examples are held out here without PyTorch.
"""

import numpy as np
from jaxtyping import Int64

SEED = 42


def permutation(n: int, seed: int = SEED) -> Int64[np.ndarray, " n"]:
    """`torch.randperm(n)` on a CPU with a generator of that seed, for n below 2**32 / 20."""
    words = np.random.RandomState(seed).randint(0, 1 << 32, max(n - 1, 0), dtype=np.uint32)
    order = list(range(n))
    for place, word in enumerate(words.tolist()):
        other = place + word % (n - place)
        order[place], order[other] = order[other], order[place]
    return np.array(order, dtype=np.int64)


def held_out(n: int, share: float, seed: int = SEED) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " rest"]]:
    """The examples that are trained on and those held out, `share` of n, each in the order of the permutation."""
    order = permutation(n, seed)
    kept = int(n * (1.0 - share))
    return order[:kept], order[kept:]
