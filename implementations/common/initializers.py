"""Initial values, drawn once in NumPy so that the same seed gives bit-identical parameters in both frameworks.

A value depends on the seed and on the parameter's path only, never on the order of construction. The words come from
Philox's raw output, whose stream NumPy guarantees, and are mapped to distributions by inverse distribution functions.
"""

from __future__ import annotations

import hashlib
import math
import zlib

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

Array = np.ndarray


class Keys:
    """A seed, a path below the model's root and the dtype of parameters drawn there.

    `Keys(seed).child("layers").child("3").draw(...)`: each path has a stream of its own.
    """

    def __init__(self, seed: int, dtype: str = "float32", path: tuple[str, ...] = ()) -> None:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed is {seed}: expected an integer from 0 to 2**63 - 1")
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype is {dtype!r}: expected 'float32' or 'float64'")
        self.seed, self.dtype, self.path = seed, dtype, path

    def child(self, name: str | int) -> Keys:
        """The keys one step further down the path."""
        return Keys(self.seed, self.dtype, (*self.path, str(name)))

    @property
    def site(self) -> int:
        """A 32-bit number of this path: tells one dropout site from another."""
        return zlib.crc32(".".join(self.path).encode())

    def uniform(self, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
        """Float64 values in the open interval (0, 1), 53 bits each."""
        digest = hashlib.sha256(f"{self.seed}/{'.'.join(self.path)}".encode()).digest()
        words = np.random.Philox(key=np.frombuffer(digest[:16], np.uint64)).random_raw(max(math.prod(shape), 1))
        values = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return values[: math.prod(shape)].reshape(shape)

    def cast(self, values: Array) -> Array:
        """Values in the dtype of the parameters."""
        return np.ascontiguousarray(values, dtype=self.dtype)


def normal(keys: Keys, shape: tuple[int, ...], stddev: float = 1.0) -> Float[Array, "*shape"]:
    """Float64 normal values of mean 0."""
    return stddev * ndtri(keys.uniform(shape))


def cut_normal(keys: Keys, shape: tuple[int, ...], stddev: float) -> Float[Array, "*shape"]:
    """Float64 normal values of deviation `stddev`, cut at two of them (PyTorch's `trunc_normal_`): what is left has
    a smaller deviation."""
    low = ndtr(-2.0)
    return stddev * ndtri(low + keys.uniform(shape) * (1.0 - 2.0 * low))


def truncated_normal(keys: Keys, shape: tuple[int, ...], stddev: float) -> Float[Array, "*shape"]:
    """Float64 normal values cut at two deviations, rescaled so that the result has deviation `stddev`."""
    deviation_of_cut_normal = 0.87962566103423978
    return cut_normal(keys, shape, stddev / deviation_of_cut_normal)


def lecun_normal(keys: Keys, shape: tuple[int, ...], fan_in: int | None = None) -> Float[Array, "*shape"]:
    """Float64 truncated normal values of variance 1/fan_in; fan_in is the last axis but one unless given."""
    return truncated_normal(keys, shape, math.sqrt(1.0 / (shape[-2] if fan_in is None else fan_in)))


def log_uniform(keys: Keys, shape: tuple[int, ...], low: float, high: float) -> Float[Array, "*shape"]:
    """Float64 logarithms of values log-uniform in [low, high]."""
    return math.log(low) + keys.uniform(shape) * (math.log(high) - math.log(low))
