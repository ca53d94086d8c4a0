"""Linear recurrences in JAX; `torch.py` beside it is its twin.

Pairs: the `invariant_` functions take complex numbers as real arrays with a last axis (real, imaginary).
"""

from __future__ import annotations

import importlib.util

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jaxtyping import Array, Float, Num

from implementations.common.config import ConfigError
from implementations.common.jax import einsum, platform
from implementations.ops.scan import CHUNK, Method, choose

PALLAS = importlib.util.find_spec("jax.experimental.pallas.triton") is not None
"""Whether this JAX compiles Pallas kernels with Triton, which later releases may not."""


def multiply(x: Float[Array, "*x 2"], y: Float[Array, "*y 2"]) -> Float[Array, "*z 2"]:
    """The product of complex pairs."""
    return jnp.stack([x[..., 0] * y[..., 0] - x[..., 1] * y[..., 1], x[..., 0] * y[..., 1] + x[..., 1] * y[..., 0]], -1)


def exponential(x: Float[Array, "*x 2"]) -> Float[Array, "*x 2"]:
    """The exponential of complex pairs."""
    return jnp.exp(x[..., :1]) * jnp.stack([jnp.cos(x[..., 1]), jnp.sin(x[..., 1])], -1)


def powers(log_a: Float[Array, "P 2"], exponents: Num[Array, "*k"]) -> Float[Array, "*k P 2"]:
    """a^k for real exponents, from the logarithm of a."""
    return exponential(exponents[..., None, None] * log_a)


def linear_recurrence(
    a: Num[Array, "#B #L P"], b: Num[Array, "B L P"], initial: Num[Array, "B P"] | None = None, reverse: bool = False
) -> Num[Array, "B L P"]:
    """x_t = a_t x_{t-1} + b_t by an associative scan of logarithmic depth; real or complex, differentiable.

    `initial` is x_{-1} (zero if None), or x_L where `reverse` runs the recurrence from the last position to the first.
    """

    def combine(left, right):
        return right[0] * left[0], right[0] * left[1] + right[1]

    a = jnp.broadcast_to(a, b.shape)
    decay, x = jax.lax.associative_scan(combine, (a, b), reverse=reverse, axis=b.ndim - 2)
    return x if initial is None else x + decay * initial[..., None, :]


def invariant_recurrence(
    log_a: Float[Array, "P 2"],
    b: Float[Array, "B L P 2"],
    initial: Float[Array, "B P 2"] | None = None,
    method: Method = "auto",
) -> Float[Array, "B L P 2"]:
    """x_t = a x_{t-1} + b_t with a constant a, given by its logarithm; x_{-1} = `initial` (zero if None).

    All methods of `implementations.ops.scan.choose` agree on finite values; they differ in speed only. "chunked" and
    "convolution" sum over a block with weights that are zero for later positions: a NaN or an infinity in `b`, or
    powers of `a` that overflow, spoil earlier positions of their block too. "kernel" needs an NVIDIA GPU, and raises
    ConfigError elsewhere.
    """
    method = choose(method, varying=False, kernel=_kernel_runs())
    if method == "associative":
        a = exponential(log_a)[None, None]
        complex_initial = None if initial is None else jax.lax.complex(initial[..., 0], initial[..., 1])
        x = linear_recurrence(
            jax.lax.complex(a[..., 0], a[..., 1]), jax.lax.complex(b[..., 0], b[..., 1]), complex_initial
        )
        return jnp.stack([x.real, x.imag], -1)
    if method == "convolution":
        return _convolution(log_a, b, initial)
    if method == "kernel":
        return _kernel(log_a, b, initial)
    return _chunked(log_a, b, initial)


def _kernel_runs():
    """Whether the device kernel runs: on a single GPU, because a compiler that shares work out cannot cut it."""
    return PALLAS and platform() == "gpu" and jax.device_count() == 1


def _kernel(log_a, b, initial=None, directions=1):
    """The device kernel; raises ConfigError where it cannot run."""
    remedy = "choose scan='chunked' or 'auto'"
    if not PALLAS:
        raise ConfigError(f"scan method is 'kernel', which needs Pallas for Triton, and this JAX has none: {remedy}")
    if platform() != "gpu":
        raise ConfigError(f"scan method is 'kernel', which runs on GPUs, not on {platform()!r}: {remedy}")
    from implementations.ops.scan.kernel.jax import scan

    return scan(repeat(exponential(log_a), "p i -> (n p) i", n=directions), b, initial, directions=directions)


def _chunked(log_a, b, initial):
    """Within a block a triangular Toeplitz product; between blocks the same recurrence, with a^CHUNK, of their ends."""
    length = b.shape[1]
    if length <= CHUNK:
        x = _triangular(log_a, b[:, None])[:, 0]
        if initial is not None:
            x = x + multiply(powers(log_a, 1 + jnp.arange(length)), initial[:, None])
        return x
    padding = -length % CHUNK
    b = rearrange(jnp.pad(b, ((0, 0), (0, padding), (0, 0), (0, 0))), "b (c t) p i -> b c t p i", t=CHUNK)
    local = _triangular(log_a, b)
    ends = _chunked(CHUNK * log_a, local[:, :, -1], initial)
    first = jnp.zeros_like(ends[:, :1]) if initial is None else initial[:, None]
    before = jnp.concatenate([first, ends[:, :-1]], 1)
    x = local + multiply(powers(log_a, 1 + jnp.arange(CHUNK)), before[:, :, None])
    return rearrange(x, "b c t p i -> b (c t) p i")[:, :length]


def _triangular(log_a, b):
    """x_t = sum over s <= t of a^(t-s) b_s within each block; the complex product as a real one of twice the size."""
    position = jnp.arange(b.shape[2])
    lag = position[:, None] - position[None, :]
    kernel = powers(log_a, jnp.maximum(lag, 0)) * (lag >= 0)[..., None, None]
    real, imaginary = kernel[..., 0], kernel[..., 1]
    block = jnp.stack([jnp.stack([real, -imaginary], -1), jnp.stack([imaginary, real], -1)], -2)
    return einsum("tspij,bcspj->bctpi", block, b)


def _convolution(log_a, b, initial):
    """The recurrence as a causal convolution with the kernel a^l, by FFTs of at least twice the length."""
    length = b.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    kernel = powers(log_a, jnp.arange(length))
    kernel_f = jnp.fft.fft(jax.lax.complex(kernel[..., 0], kernel[..., 1]), size, axis=0)
    b_f = jnp.fft.fft(jax.lax.complex(b[..., 0], b[..., 1]), size, axis=1)
    x = jnp.fft.ifft(kernel_f * b_f, axis=1)[:, :length]
    x = jnp.stack([x.real, x.imag], -1)
    return x if initial is None else x + multiply(powers(log_a, 1 + jnp.arange(length)), initial[:, None])


def both_directions(log_a: Float[Array, "P 2"], b: Float[Array, "B L P 2"], method: Method) -> Float[Array, "B L Q 2"]:
    """The recurrence from the left and, in the second half of the Q = 2P states, from the right."""
    if choose(method, varying=False, kernel=_kernel_runs()) == "kernel":
        return _kernel(log_a, b, directions=2)
    b = jnp.concatenate([b, jnp.flip(b, 1)], 2)
    x = invariant_recurrence(repeat(log_a, "p i -> (n p) i", n=2), b, None, method)
    left, right = jnp.split(x, 2, axis=2)
    return jnp.concatenate([left, jnp.flip(right, 1)], 2)
