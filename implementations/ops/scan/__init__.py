"""Linear recurrences x_t = a_t x_{t-1} + b_t with a diagonal a.

Which algorithm runs is decided by one rule, the same in both frameworks (`choose`): coefficients that change with the
position take the associative scan; constant ones take the chunked form, whose work is matrix products on blocks of
`CHUNK` positions (tensor units and vector units of every device like those, and it needs few kernels); the
convolution form (FFT) and the device kernel (`kernel/`) are run where they are asked for.
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
    """The algorithm that runs: `method`, or for "auto" the rule above; `varying` coefficients exclude all but one."""
    if method not in METHODS:
        raise ConfigError(f"scan method is {method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "auto":
        return "associative" if varying else "kernel" if kernel else "chunked"
    if varying and method != "associative":
        raise ConfigError(
            f"scan method is {method!r}: coefficients that change with the position need 'associative' or 'auto'"
        )
    return method
