"""Scaled dot product attention: dense, and over a sliding window or chunks in O(L W); relative biases and rotations.

Which kernel computes a dense block is decided by one rule, the same in both frameworks (`choose`). "einsum", two
matrix products and an explicit softmax, is the default on a CPU and in float64, and the oracle everywhere. "fused" is
the default on a GPU: `jax.nn.dot_product_attention` (which takes the softmax in float32 whatever its inputs are) and
`torch.nn.functional.scaled_dot_product_attention`. A window is cut into blocks of W queries, which lie along the batch
axis of that kernel: there is no loop over windows. Chunks, inside which attention stays, are such blocks themselves.

"flex" takes a window in one call without cutting it: FlexAttention in PyTorch, `jax.nn.dot_product_attention` with its
`local_window_size` in JAX, which may make all L x T logits. What it cannot do runs as "fused" (`flexible`); on a CPU
FlexAttention is not fused and has no gradients. In PyTorch "auto" takes it for the windows of a compiled program on a
GPU that asks for no gradient. Measured (task speed.attention; H200, float32, window 128, 16 heads of 32, a learned
relative bias, 512 to 65,536 positions; time over that of "einsum"): forward 0.82 to 0.68 against 0.93 to 0.77 of
"fused"; forward and backward 0.59 to 3.3 against 0.96 to 0.84, because the gradient of the bias goes through atomic
additions. Outside of a compiled program every new length would cost seconds of compilation.

A query none of whose keys is allowed gets zero from every kernel.
"""

import functools
import math
from typing import Literal

import numpy as np

from implementations.common.config import ConfigError

Method = Literal["auto", "einsum", "fused", "flex"]
METHODS = ("auto", "einsum", "fused", "flex")

ON_GPU: Method = "fused"
"""What "auto" means on a GPU, in float32 and below."""

FLEX_WIDTH = 16
"""The least width of keys and values that FlexAttention's kernels take on a GPU."""

AUTO_WIDTHS = (16, 32, 64, 128)
"""Widths of keys and values with which "auto" takes FlexAttention, whose kernels are written for powers of two and keep
a tile of each in shared memory."""

QK_NORM_EPSILON = 1e-6
"""Added to the sum of squares of a query or key before the root (meliad)."""

ROTARY_THETA = 10_000.0


def choose(method: Method, on_gpu: bool, float64: bool) -> str:
    """The kernel of a dense block: `method`, or for "auto" the rule above; an unknown name raises `ConfigError`.

    "flex" is for windows: of a dense block it leaves "fused", and in float64 "einsum".
    """
    if method not in METHODS:
        raise ConfigError(f"attention method is {method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "auto":
        method = ON_GPU if on_gpu and not float64 else "einsum"
    if method == "flex":
        return "einsum" if float64 else "fused"
    return method


def flexible(
    method: Method,
    on_gpu: bool,
    float64: bool,
    widths: tuple[int, int],
    cut_gradient: bool,
    gap: bool,
    inference: bool,
) -> bool:
    """Whether "flex" takes a window.

    It must be asked for, or "auto" on a GPU in a compiled program without gradients (`inference`) with keys and values
    of `AUTO_WIDTHS`; in float32 or below, with no gradient to cut, no `gap` among the keys of a query, and on a GPU
    with `widths` of keys and values of at least `FLEX_WIDTH`.
    """
    suits = on_gpu and inference and all(width in AUTO_WIDTHS for width in widths)
    asked = method == "flex" or (method == "auto" and suits)
    return asked and not (float64 or cut_gradient or gap) and (min(widths) >= FLEX_WIDTH or not on_gpu)


def span(window: int, causal: bool, include_self: bool) -> tuple[int, int]:
    """The least and the greatest index of a key minus the index of the query that sees it, in `window_attention`."""
    if not causal:
        return 1 - window, window - 1
    return (1, window) if include_self else (0, window - 1)


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
