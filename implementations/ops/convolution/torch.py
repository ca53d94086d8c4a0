"""Long convolutions in PyTorch; `jax.py` beside it is its twin. K kernels per feature give K outputs per feature."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from implementations.common.torch import einsum
from implementations.ops.convolution import Method, choose


def causal_convolution(
    x: Float[Tensor, "B L D"], kernel: Float[Tensor, "K D T"], method: Method = "auto"
) -> Float[Tensor, "B L K D"]:
    """y_t = sum over j <= t of kernel_j x_{t-j}; the methods of `implementations.ops.convolution.choose` agree."""
    length = x.shape[1]
    kernel = kernel[..., :length]
    if choose(method, length) == "direct":
        return _direct(x, kernel, 0)
    return _fft(x, kernel)


def two_sided_convolution(
    x: Float[Tensor, "B L D"],
    kernel: Float[Tensor, "K D T"],
    reverse_kernel: Float[Tensor, "K D T"],
    offset: int = 0,
    method: Method = "auto",
) -> Float[Tensor, "B L K D"]:
    """y_t = sum over j <= t of kernel_j x_{t-j} + sum over j >= 0 of reverse_kernel_j x_{t+offset+j}; offset 0 or 1."""
    length = x.shape[1]
    kernel, reverse_kernel = kernel[..., :length], reverse_kernel[..., :length]
    if choose(method, length) == "direct":
        return _direct(x, kernel, 0) + _direct(x.flip(1), reverse_kernel, offset).flip(1)
    size = _size(length)
    reverse_kernel = torch.nn.functional.pad(reverse_kernel, (0, size - reverse_kernel.shape[-1])).flip(-1)
    kernel = torch.nn.functional.pad(kernel, (0, size - kernel.shape[-1]))
    return _fft(x, kernel + torch.roll(reverse_kernel, 1 - offset, -1))


def _size(length: int) -> int:
    """The FFT's length: a power of two and at least twice the sequence's."""
    return 1 << (2 * length - 1).bit_length()


def _direct(x, kernel, delay):
    """The product with the Toeplitz matrix of kernel_{t-s-delay}, zero where the lag is outside the kernel."""
    position = torch.arange(x.shape[1], device=x.device)
    lag = position[:, None] - position[None, :] - delay
    inside = (lag >= 0) & (lag < kernel.shape[-1])
    matrix = kernel[..., torch.clamp(lag, 0, kernel.shape[-1] - 1)] * inside.to(kernel.dtype)
    return einsum("kdts,bsd->btkd", matrix, x)


def _fft(x, kernel):
    """The circular convolution of a size at which nothing wraps around into the first L positions."""
    length = x.shape[1]
    size = _size(length)
    x_f = torch.fft.rfft(x, size, dim=1)
    kernel_f = rearrange(torch.fft.rfft(kernel, size, dim=-1), "k d f -> f k d")
    return torch.fft.irfft(x_f[:, :, None] * kernel_f, size, dim=1)[:, :length]
