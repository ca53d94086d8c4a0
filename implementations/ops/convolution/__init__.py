"""Convolutions of a sequence with kernels as long as itself: causal ones, and ones that see both directions.

Which algorithm runs is decided by one rule, the same in both frameworks (`choose`): short sequences take the direct
form, a product with the kernel's Toeplitz matrix, in which what must not matter is multiplied by exact zeros; longer
ones take the FFT, which mixes the rounding errors of all positions.
"""

from typing import Literal

from implementations.common.config import ConfigError

DIRECT = 64
"""The longest sequence that takes the direct form by itself."""

Method = Literal["auto", "direct", "fft"]
METHODS = ("auto", "direct", "fft")


def choose(method: Method, length: int) -> str:
    """The algorithm that runs: `method`, or for "auto" the rule above."""
    if method not in METHODS:
        raise ConfigError(f"convolution method is {method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "auto":
        return "direct" if length <= DIRECT else "fft"
    return method
