"""Linear recurrences x_t = a_t x_{t-1} + b_t with a diagonal a.

Which algorithm runs is decided by one rule, the same in both frameworks (`choose`): coefficients that change with the
position take the associative scan; constant ones take the chunked form, whose work is matrix products on blocks of
`CHUNK` positions (tensor units and vector units of every device like those, and it needs few kernels); the
convolution form (FFT) is run where it is asked for. A device kernel, should one pay, becomes one more method here.
"""

from typing import Literal

from implementations.common.config import ConfigError

CHUNK = 64
"""Positions per block of the chunked form."""

Method = Literal["auto", "associative", "chunked", "convolution"]
METHODS = ("auto", "associative", "chunked", "convolution")


def choose(method: Method, varying: bool) -> Method:
    """The algorithm that runs: `method`, or for "auto" the rule above; `varying` coefficients exclude two of them."""
    if method not in METHODS:
        raise ConfigError(f"scan method is {method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "auto":
        return "associative" if varying else "chunked"
    if varying and method != "associative":
        raise ConfigError(
            f"scan method is {method!r}: coefficients that change with the position need 'associative' or 'auto'"
        )
    return method
