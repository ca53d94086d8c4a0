"""Linear recurrences in PyTorch; `jax.py` beside it is its twin.

Pairs: the `invariant_` functions take complex numbers as real arrays with a last axis (real, imaginary).
"""

from __future__ import annotations

import importlib.util

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Num
from torch import Tensor

from implementations.common.torch import einsum
from implementations.ops.scan import CHUNK, Method, choose

TRITON = importlib.util.find_spec("triton") is not None
"""Asked once: a compiler of whole models does not follow the question."""


def multiply(x: Float[Tensor, "*x 2"], y: Float[Tensor, "*y 2"]) -> Float[Tensor, "*z 2"]:
    """The product of complex pairs."""
    return torch.stack(
        [x[..., 0] * y[..., 0] - x[..., 1] * y[..., 1], x[..., 0] * y[..., 1] + x[..., 1] * y[..., 0]], -1
    )


def exponential(x: Float[Tensor, "*x 2"]) -> Float[Tensor, "*x 2"]:
    """The exponential of complex pairs."""
    return torch.exp(x[..., :1]) * torch.stack([torch.cos(x[..., 1]), torch.sin(x[..., 1])], -1)


def powers(log_a: Float[Tensor, "P 2"], exponents: Num[Tensor, "*k"]) -> Float[Tensor, "*k P 2"]:
    """a^k for real exponents, from the logarithm of a."""
    return exponential(exponents[..., None, None] * log_a)


def linear_recurrence(
    a: Num[Tensor, "#B #L P"], b: Num[Tensor, "B L P"], initial: Num[Tensor, "B P"] | None = None, reverse: bool = False
) -> Num[Tensor, "B L P"]:
    """x_t = a_t x_{t-1} + b_t by an associative scan of logarithmic depth; real or complex, differentiable.

    `initial` is x_{-1} (zero if None), or x_L where `reverse` runs the recurrence from the last position to the first.
    """
    a = a.expand(b.shape)
    if reverse:
        decay, x = _associative(a.flip(-2), b.flip(-2))
        decay, x = decay.flip(-2), x.flip(-2)
    else:
        decay, x = _associative(a, b)
    return x if initial is None else x + decay * initial[..., None, :]


def _associative(a, b):
    """The scan of pairs (a, b) along the last axis but one: combine neighbours, scan the half, fill in between."""
    length = b.shape[-2]
    if length == 1:
        return a, b
    left, right = slice(0, length - 1, 2), slice(1, length, 2)
    odd_a, odd_b = _associative(
        a[..., right, :] * a[..., left, :], a[..., right, :] * b[..., left, :] + b[..., right, :]
    )
    later, count = slice(2, length, 2), (length - 1) // 2
    even_a = torch.cat([a[..., :1, :], a[..., later, :] * odd_a[..., :count, :]], -2)
    even_b = torch.cat([b[..., :1, :], a[..., later, :] * odd_b[..., :count, :] + b[..., later, :]], -2)
    return _interleave(even_a, odd_a), _interleave(even_b, odd_b)


def _interleave(even, odd):
    """Even and odd positions in turn; there is one even position more where the length is odd."""
    count = odd.shape[-2]
    pairs = torch.stack([even[..., :count, :], odd], -2).flatten(-3, -2)
    return torch.cat([pairs, even[..., count:, :]], -2)


def invariant_recurrence(
    log_a: Float[Tensor, "P 2"],
    b: Float[Tensor, "B L P 2"],
    initial: Float[Tensor, "B P 2"] | None = None,
    method: Method = "auto",
) -> Float[Tensor, "B L P 2"]:
    """x_t = a x_{t-1} + b_t with a constant a, given by its logarithm; x_{-1} = `initial` (zero if None).

    All methods of `implementations.ops.scan.choose` agree on finite values; they differ in speed only. "chunked" and
    "convolution" sum over a block with weights that are zero for later positions: a NaN or an infinity in `b`, or
    powers of `a` that overflow, spoil earlier positions of their block too. "kernel" needs an NVIDIA GPU and
    Triton, and raises ConfigError elsewhere.
    """
    method = choose(method, varying=False, kernel=_kernel_runs(b))
    if method == "associative":
        a = exponential(log_a)[None, None]
        complex_initial = None if initial is None else torch.complex(initial[..., 0], initial[..., 1])
        x = linear_recurrence(torch.complex(a[..., 0], a[..., 1]), torch.complex(b[..., 0], b[..., 1]), complex_initial)
        return torch.stack([x.real, x.imag], -1)
    if method == "convolution":
        return _convolution(log_a, b, initial)
    if method == "kernel":
        return _kernel(log_a, b, initial)
    return _chunked(log_a, b, initial)


def _kernel_runs(b):
    """Whether the device kernel runs: on a GPU, where Triton is installed."""
    return b.is_cuda and TRITON


def _kernel(log_a, b, initial=None, directions=1):
    """The device kernel; raises ConfigError where it cannot run."""
    from implementations.ops.scan.kernel.torch import scan

    return scan(repeat(exponential(log_a), "p i -> (n p) i", n=directions), b, initial, directions=directions)


def _chunked(log_a, b, initial):
    """Within a block a triangular Toeplitz product; between blocks the same recurrence, with a^CHUNK, of their ends."""
    length = b.shape[1]
    if length <= CHUNK:
        x = _triangular(log_a, b[:, None])[:, 0]
        if initial is not None:
            x = x + multiply(powers(log_a, 1 + torch.arange(length, device=b.device)), initial[:, None])
        return x
    padding = -length % CHUNK
    b = rearrange(torch.nn.functional.pad(b, (0, 0, 0, 0, 0, padding)), "b (c t) p i -> b c t p i", t=CHUNK)
    local = _triangular(log_a, b)
    ends = _chunked(CHUNK * log_a, local[:, :, -1], initial)
    first = torch.zeros_like(ends[:, :1]) if initial is None else initial[:, None]
    before = torch.cat([first, ends[:, :-1]], 1)
    x = local + multiply(powers(log_a, 1 + torch.arange(CHUNK, device=b.device)), before[:, :, None])
    return rearrange(x, "b c t p i -> b (c t) p i")[:, :length]


def _triangular(log_a, b):
    """x_t = sum over s <= t of a^(t-s) b_s within each block; the complex product as a real one of twice the size."""
    position = torch.arange(b.shape[2], device=b.device)
    lag = position[:, None] - position[None, :]
    kernel = powers(log_a, torch.clamp(lag, min=0)) * (lag >= 0)[..., None, None]
    real, imaginary = kernel[..., 0], kernel[..., 1]
    block = torch.stack([torch.stack([real, -imaginary], -1), torch.stack([imaginary, real], -1)], -2)
    return einsum("tspij,bcspj->bctpi", block, b)


def _convolution(log_a, b, initial):
    """The recurrence as a causal convolution with the kernel a^l, by FFTs of at least twice the length."""
    length = b.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    kernel = powers(log_a, torch.arange(length, device=b.device))
    kernel_f = torch.fft.fft(torch.complex(kernel[..., 0], kernel[..., 1]), size, dim=0)
    b_f = torch.fft.fft(torch.complex(b[..., 0], b[..., 1]), size, dim=1)
    x = torch.fft.ifft(kernel_f * b_f, dim=1)[:, :length]
    x = torch.stack([x.real, x.imag], -1)
    return (
        x
        if initial is None
        else x + multiply(powers(log_a, 1 + torch.arange(length, device=b.device)), initial[:, None])
    )


def both_directions(
    log_a: Float[Tensor, "P 2"], b: Float[Tensor, "B L P 2"], method: Method
) -> Float[Tensor, "B L Q 2"]:
    """The recurrence from the left and, in the second half of the Q = 2P states, from the right."""
    if choose(method, varying=False, kernel=_kernel_runs(b)) == "kernel":
        return _kernel(log_a, b, directions=2)
    b = torch.cat([b, torch.flip(b, (1,))], 2)
    x = invariant_recurrence(repeat(log_a, "p i -> (n p) i", n=2), b, None, method)
    left, right = torch.chunk(x, 2, dim=2)
    return torch.cat([left, torch.flip(right, (1,))], 2)
