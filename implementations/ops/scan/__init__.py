"""Linear recurrences x_t = a_t x_{t-1} + b_t with a diagonal a.

Which algorithm runs is decided by one rule, the same in both frameworks (`choose`): coefficients that change with the
position take the associative scan. Constant ones take the device kernel (`kernel/`) where it runs, which on an H200
takes a training step of S5 from 45 to 24 ms, and elsewhere the chunked form, whose work is matrix products on blocks of
`CHUNK` positions (tensor units and vector units of every device like those, and it needs few kernels). The convolution
form (FFT) is run where it is asked for.
"""

from typing import Literal

from implementations.common.config import ConfigError

CHUNK = 64
"""Positions per block of the chunked form."""

Method = Literal["auto", "associative", "chunked", "convolution", "kernel"]
METHODS = ("auto", "associative", "chunked", "convolution", "kernel")
PORTABLE = ("associative", "chunked", "convolution")
"""The algorithms that run on every device; "kernel" needs the device that it was written for."""


def choose(method: Method, varying: bool, kernel: bool = False) -> Method:
    """The algorithm that runs: `method`, or for "auto" the rule above, where `kernel` says whether the kernel runs.

    Coefficients that are `varying` exclude all but one.
    """
    if method not in METHODS:
        raise ConfigError(f"scan method is {method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "auto":
        return "associative" if varying else "kernel" if kernel else "chunked"
    if varying and method != "associative":
        raise ConfigError(
            f"scan method is {method!r}: coefficients that change with the position need 'associative' or 'auto'"
        )
    return method
