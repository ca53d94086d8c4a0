"""Scaled dot product attention: dense, and over a sliding window or chunks in O(L W); relative biases and rotations.

Which kernel computes a dense block is decided by one rule, the same in both frameworks (`choose`). "einsum", two
matrix products and an explicit softmax, is the default on a CPU and in float64, and the oracle everywhere. "fused" is
the default on a GPU: `jax.nn.dot_product_attention` (which takes the softmax in float32 whatever its inputs are) and
`torch.nn.functional.scaled_dot_product_attention`. A window is cut into blocks of W queries, which lie along the batch
axis of that kernel: there is no loop over windows. Chunks, inside which attention stays, are such blocks themselves.

A query none of whose keys is allowed gets zero from every kernel.
"""

import functools
import math
from typing import Literal

import numpy as np

from implementations.common.config import ConfigError

Method = Literal["auto", "einsum", "fused"]
METHODS = ("auto", "einsum", "fused")

QK_NORM_EPSILON = 1e-6
"""Added to the sum of squares of a query or key before the root (meliad)."""

ROTARY_THETA = 10_000.0


def choose(method: Method, on_gpu: bool, float64: bool) -> str:
    """The kernel that runs: `method`, or for "auto" the rule above; an unknown name raises `ConfigError`."""
    if method not in METHODS:
        raise ConfigError(f"attention method is {method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "auto":
        return "fused" if on_gpu and not float64 else "einsum"
    return method


@functools.cache
def bucket_edges(buckets: int, max_distance: int) -> tuple[int, ...]:
    """The distances at which T5's buckets of one direction begin, without the first bucket, which begins at 0.

    Half of the buckets hold one distance each; the rest grow logarithmically up to `max_distance`. The logarithm is
    taken in float32 and cut, as T5 does; here once, so that no device rounds it another way.
    """
    exact = buckets // 2
    distance = np.arange(exact, max_distance + 1, dtype=np.float32)
    ratio = np.log(distance / np.float32(exact)) / np.float32(math.log(max_distance / exact))
    bucket = np.minimum(exact + (ratio * np.float32(buckets - exact)).astype(np.int64), buckets - 1)
    large = exact + np.searchsorted(bucket, np.arange(exact + 1, buckets))
    return (*range(1, exact + 1), *(int(edge) for edge in large))
