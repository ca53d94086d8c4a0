"""The small layers every JAX twin is built from; `torch.py` beside it is its twin, name by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer, Shaped

from implementations.common import conventions
from implementations.common.conventions import Activation, ComputeDtype, MatmulPrecision
from implementations.common.initializers import Keys, lecun_normal, normal

_PRECISION = {"float32": jax.lax.Precision.HIGHEST, "tf32": jax.lax.DotAlgorithmPreset.TF32_TF32_F32}
_precision: MatmulPrecision = conventions.MATMUL_PRECISION
_compute: ComputeDtype = conventions.COMPUTE_DTYPE
_platform: str | None = None


@contextlib.contextmanager
def compiling_for(name: str) -> Iterator[None]:
    """A function that is traced inside is meant for the platform `name` ("tpu"), which need not be here."""
    global _platform
    previous, _platform = _platform, name
    try:
        yield
    finally:
        _platform = previous


def platform() -> str:
    """The platform that functions are traced for: "cpu", "gpu" or "tpu".

    JAX tells a function nothing of where its arrays lie: on a machine with a GPU, put work on the CPU by
    `jax.default_device`.
    """
    chosen: Any = jax.config.jax_default_device  # pyright: ignore
    return _platform or getattr(chosen, "platform", chosen) or jax.default_backend()


@contextlib.contextmanager
def matmul_precision(name: MatmulPrecision) -> Iterator[None]:
    """Matrix products of this project run in `name` ("float32" or "tf32") while a function is traced inside."""
    global _precision
    previous, _precision = _precision, name
    try:
        yield
    finally:
        _precision = previous


def current_precision() -> MatmulPrecision:
    """What matrix products run in where a function is traced now."""
    return _precision


def einsum(equation: str, *operands: Array) -> Array:
    """`einsum` in the project's explicit matmul precision; on a CPU, and in float64, that is always full precision.

    A TPU has no tf32: there it is three products in bfloat16, which is what JAX calls high precision.
    """
    where = platform()
    full = where == "cpu" or operands[0].dtype == jnp.float64
    precision = _PRECISION["float32" if full else _precision]
    if where == "tpu" and _precision == "tf32" and not full:
        precision = jax.lax.Precision.HIGH
    return jnp.einsum(equation, *operands, precision=precision)


def compute_dtype(name: ComputeDtype) -> contextlib.AbstractContextManager[None]:
    """What `product` computes in while a function is traced inside; nothing is set where it is so already."""
    return contextlib.nullcontext() if name == _compute else _computing(name)


@contextlib.contextmanager
def _computing(name: ComputeDtype) -> Iterator[None]:
    global _compute
    previous, _compute = _compute, name
    try:
        yield
    finally:
        _compute = previous


def rounded(x: Array) -> Array:
    """x and its gradient rounded to bfloat16, in their dtype; a conversion there and back a compiler may leave out."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


def lowered(x: Array) -> Array:
    """x in the compute dtype."""
    return x if _compute == "float32" else rounded(x).astype(jnp.bfloat16)


def product(equation: str, x: Array, y: Array) -> Array:
    """`einsum` of two operands in the compute dtype; the result is in their own."""
    if _compute == "float32":
        return einsum(equation, x, y)
    return rounded(jnp.einsum(equation, lowered(x), lowered(y)).astype(jnp.result_type(x, y)))


def product_precision() -> contextlib.AbstractContextManager[object]:
    """Inside, JAX's own functions compute matrix products in the project's explicit matmul precision."""
    return jax.default_matmul_precision({"float32": "float32", "tf32": "tensorfloat32"}[_precision])


class BatchStatistic(nnx.Variable):
    """A running statistic: state of a module that is no parameter."""


def parameter(keys: Keys, values) -> nnx.Param:
    """A parameter of the keys' dtype."""
    return nnx.Param(jnp.array(keys.cast(values)))


def trailing(mask: Bool[Array, "B L"]) -> Integer[Array, " B"]:
    """How many positions at the end of each sequence are padding; those before a genuine one do not count."""
    return mask.shape[1] - jnp.where(mask, 1 + jnp.arange(mask.shape[1]), 0).max(1)


def ending(
    x: Shaped[Array, "B T *rest"], padding: Integer[Array, " B"] | None, count: int
) -> Shaped[Array, "B {count} *rest"]:
    """The last `count` positions of each sequence without the `padding` at its end; zeros where there are too few."""
    if padding is None:
        return x[:, x.shape[1] - count :]
    index = x.shape[1] - count - padding[:, None] + jnp.arange(count)
    y = x[jnp.arange(x.shape[0])[:, None], jnp.maximum(index, 0)]
    return jnp.where((index >= 0).reshape(*index.shape, *[1] * (x.ndim - 2)), y, jnp.zeros_like(y))


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """GELU in its tanh form (`conventions.GELU_APPROXIMATION`)."""
    return jax.nn.gelu(x, approximate=True)


class Linear(nnx.Module):
    """x @ kernel + bias; kernel (in, out) drawn lecun-normal, bias zero; `use_bias` False leaves the bias out."""

    def __init__(self, in_features: int, out_features: int, keys: Keys, use_bias: bool = True) -> None:
        self.kernel = parameter(keys, lecun_normal(keys.child("kernel"), (in_features, out_features)))
        self.use_bias = use_bias
        if use_bias:
            self.bias = parameter(keys, np.zeros(out_features))

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch E"]:
        y = product("...d,de->...e", x, self.kernel[...])
        return y + self.bias[...] if self.use_bias else y


class LayerNorm(nnx.Module):
    """Normalisation over the features, with scale and bias."""

    def __init__(self, features: int, keys: Keys, epsilon: float = conventions.LAYER_NORM_EPSILON) -> None:
        self.epsilon = epsilon
        self.scale = parameter(keys, np.ones(features))
        self.bias = parameter(keys, np.zeros(features))

    def __call__(
        self, x: Float[Array, "B L D"], mask: Bool[Array, "B L"] | None = None, training: bool = False
    ) -> Float[Array, "B L D"]:
        mean = x.mean(-1, keepdims=True)
        centred = x - mean
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + self.epsilon) * self.scale[...] + self.bias[...]


class RMSNorm(nnx.Module):
    """Division by the root mean square of the features, with a scale for each of them."""

    def __init__(self, features: int, keys: Keys, epsilon: float = conventions.RMS_NORM_EPSILON) -> None:
        self.epsilon = epsilon
        self.scale = parameter(keys, np.ones(features))

    def __call__(
        self, x: Float[Array, "B L D"], mask: Bool[Array, "B L"] | None = None, training: bool = False
    ) -> Float[Array, "B L D"]:
        square = (x * x).mean(-1, keepdims=True)
        return x * jax.lax.rsqrt(square + self.epsilon) * self.scale[...]


class ScaleNorm(RMSNorm):
    """Division by the root mean square of the features, with one scale for all (Mega's form of ScaleNorm)."""

    def __init__(self, keys: Keys, epsilon: float = conventions.RMS_NORM_EPSILON) -> None:
        super().__init__(1, keys, epsilon)


class Embedding(nnx.Module):
    """A table (count, D) of learned vectors, drawn normal of deviation `stddev`; called with integers below count."""

    def __init__(self, count: int, features: int, keys: Keys, stddev: float = 1.0) -> None:
        self.table = parameter(keys, normal(keys.child("table"), (count, features), stddev))

    def __call__(self, indices: Integer[Array, "*shape"]) -> Float[Array, "*shape D"]:
        return self.table[...][indices]


def activate(x: Float[Array, "*shape"], activation: Activation) -> Float[Array, "*shape"]:
    """The pointwise function of that name; "gelu" is the tanh form, "gelu_exact" the one with the error function."""
    if activation == "relu":
        return jax.nn.relu(x)
    if activation == "gelu":
        return gelu(x)
    if activation == "gelu_exact":
        return jax.nn.gelu(x, approximate=False)
    return jax.nn.silu(x)


class FeedForward(nnx.Module):
    """out(activation(hidden(x))) position by position; where `gated`, out(activation(gate(x)) * hidden(x))."""

    def __init__(
        self, features: int, hidden: int, keys: Keys, activation: Activation, gated: bool, use_bias: bool
    ) -> None:
        self.activation: Activation = activation
        self.gated = gated
        self.hidden = Linear(features, hidden, keys.child("hidden"), use_bias)
        if gated:
            self.gate = Linear(features, hidden, keys.child("gate"), use_bias)
        self.out = Linear(hidden, features, keys.child("out"), use_bias)

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        if self.gated:
            return self.out(activate(self.gate(x), self.activation) * self.hidden(x))
        return self.out(activate(self.hidden(x), self.activation))


class BatchNorm(nnx.Module):
    """Normalisation over batch and length; biased variance throughout, also in the running statistics.

    `momentum` is the share of the old running statistic that an update keeps. With a `mask`, only positions where it
    is True enter the batch's statistics. `unbiased`: as PyTorch, run the
    statistic of the variance on its unbiased estimate.
    """

    def __init__(self, features: int, momentum: float, keys: Keys, unbiased: bool = False) -> None:
        self.momentum, self.unbiased = momentum, unbiased
        self.scale = parameter(keys, np.ones(features))
        self.bias = parameter(keys, np.zeros(features))
        self.mean = BatchStatistic(jnp.array(keys.cast(np.zeros(features))))
        self.var = BatchStatistic(jnp.array(keys.cast(np.ones(features))))

    def __call__(
        self, x: Float[Array, "B L D"], mask: Bool[Array, "B L"] | None = None, training: bool = False
    ) -> Float[Array, "B L D"]:
        if training:
            if mask is None:
                count = x.shape[0] * x.shape[1]
                mean = x.mean((0, 1))
                variance = ((x - mean) ** 2).mean((0, 1))
            else:
                genuine = mask[..., None]
                count = genuine.sum().astype(x.dtype)
                mean = jnp.where(genuine, x, 0.0).sum((0, 1)) / count
                variance = (jnp.where(genuine, x - mean, 0.0) ** 2).sum((0, 1)) / count
            keep = self.momentum
            estimate = variance * (count / (count - 1 + (count == 1))) if self.unbiased else variance
            self.mean[...] = keep * self.mean[...] + (1 - keep) * jax.lax.stop_gradient(mean)
            self.var[...] = keep * self.var[...] + (1 - keep) * jax.lax.stop_gradient(estimate)
        else:
            mean, variance = self.mean[...], self.var[...]
        scale = self.scale[...] * jax.lax.rsqrt(variance + conventions.BATCH_NORM_EPSILON)
        return (x - mean) * scale + self.bias[...]


def norm_of(kind: str, features: int, momentum: float, keys: Keys) -> LayerNorm | RMSNorm | BatchNorm:
    """The norm "layer", "scale", "rms" or "batch" as PyTorch has it: its epsilon, the unbiased running variance."""
    if kind == "batch":
        return BatchNorm(features, momentum, keys, unbiased=True)
    if kind == "scale":
        return ScaleNorm(keys, conventions.TORCH_LAYER_NORM_EPSILON)
    return (LayerNorm if kind == "layer" else RMSNorm)(features, keys, conventions.TORCH_LAYER_NORM_EPSILON)


def scramble(word: Integer[Array, "*shape"]) -> Integer[Array, "*shape"]:
    """The finaliser of MurmurHash3, a bijection of 32-bit words."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def random_words(seed: Integer[Array, ""] | int, site: int, count: int) -> Integer[Array, " count"]:
    """32-bit words that depend on (seed, site, position) only: the finaliser of MurmurHash3 over a counter."""
    word = jnp.arange(count, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9) + jnp.uint32(site)
    seed = jnp.uint32(seed & 0xFFFFFFFF) if isinstance(seed, int) else seed.astype(jnp.uint32)
    for salt in (seed, jnp.uint32(0x85EBCA6B)):
        word = scramble(word ^ salt)
    return word


class Dropout(nnx.Module):
    """Dropout whose mask is one per sequence and feature, shared by all positions (S5, `broadcast_dims=[0]`).

    The mask is a pure function of (seed, site): no generator state, equal in both frameworks.
    """

    def __init__(self, rate: float, keys: Keys) -> None:
        self.rate, self.site = rate, keys.site

    def __call__(
        self, x: Float[Array, "B L D"], seed: Integer[Array, ""] | int | None, training: bool = False
    ) -> Float[Array, "B L D"]:
        if not training or self.rate == 0.0:
            return x
        if seed is None:
            raise ValueError(f"dropout_seed is None: training with dropout {self.rate} needs an integer")
        words = random_words(seed, self.site, x.shape[0] * x.shape[2])
        kept = (words >> 8).astype(jnp.int32) >= round(self.rate * 2**24)
        return x * (kept.reshape(x.shape[0], 1, x.shape[2]).astype(x.dtype) / (1.0 - self.rate))


class ElementDropout(Dropout):
    """Dropout of single elements, counted with the positions outermost: more padding leaves the others' masks alone."""

    def __call__(
        self, x: Float[Array, "B L D"], seed: Integer[Array, ""] | int | None, training: bool = False
    ) -> Float[Array, "B L D"]:
        if not training or self.rate == 0.0:
            return x
        if seed is None:
            raise ValueError(f"dropout_seed is None: training with dropout {self.rate} needs an integer")
        words = random_words(seed, self.site, x.size)
        kept = (words >> 8).astype(jnp.int32) >= round(self.rate * 2**24)
        kept = kept.reshape(x.shape[1], x.shape[0], x.shape[2]).swapaxes(0, 1)
        return x * (kept.astype(x.dtype) / (1.0 - self.rate))


def dropout_of(rate: float, keys: Keys, of_features: bool) -> Dropout:
    """Dropout of features, one mask for all positions, or of single elements."""
    return (Dropout if of_features else ElementDropout)(rate, keys)


class WeightDropout(Dropout):
    """Dropout of single weights (B, L, T) of attention; more queries or keys leave the others' masks alone."""

    def __call__(
        self, x: Float[Array, "B L T"], seed: Integer[Array, ""] | int | None, training: bool = False
    ) -> Float[Array, "B L T"]:
        if not training or self.rate == 0.0:
            return x
        if seed is None:
            raise ValueError(f"dropout_seed is None: training with dropout {self.rate} needs an integer")
        rows = random_words(seed, self.site, x.shape[0] * x.shape[1])
        rows = rows.reshape(x.shape[1], x.shape[0], 1).swapaxes(0, 1)
        words = scramble(rows ^ (jnp.arange(x.shape[2], dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)))
        kept = (words >> 8).astype(jnp.int32) >= round(self.rate * 2**24)
        return x * (kept.astype(x.dtype) / (1.0 - self.rate))
