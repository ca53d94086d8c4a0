"""The small layers every PyTorch twin is built from; `jax.py` beside it is its twin, name by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Shaped
from torch import Tensor, nn

from implementations.common import conventions
from implementations.common.conventions import Activation, ComputeDtype, MatmulPrecision
from implementations.common.initializers import Keys, lecun_normal, normal
from implementations.common.shards.torch import batch_mean, batch_sum, places, shards

_PRECISION = {"float32": "highest", "tf32": "high"}
_compute: ComputeDtype = conventions.COMPUTE_DTYPE


@contextlib.contextmanager
def matmul_precision(name: MatmulPrecision) -> Iterator[None]:
    """Matrix products and convolutions of this process run in `name` ("float32" or "tf32") inside: PyTorch has one
    switch for all products, and cuDNN one of its own."""
    previous, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(_PRECISION[name])
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(previous)
        torch.backends.cudnn.allow_tf32 = convolutions


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """`einsum` in the project's explicit matmul precision; on a CPU, and in float64, that is always full precision."""
    return torch.einsum(equation, *operands)


def compute_dtype(name: ComputeDtype) -> contextlib.AbstractContextManager[None]:
    """What `product` computes in inside (`conventions.COMPUTE_DTYPE`); nothing is set where it is so already."""
    return contextlib.nullcontext() if name == _compute else _computing(name)


@contextlib.contextmanager
def _computing(name: ComputeDtype) -> Iterator[None]:
    global _compute
    previous, _compute = _compute, name
    try:
        yield
    finally:
        _compute = previous


def lowered(x: Tensor) -> Tensor:
    """x in the compute dtype."""
    return x if _compute == "float32" else x.to(torch.bfloat16)


def product(equation: str, x: Tensor, y: Tensor) -> Tensor:
    """`einsum` of two operands in the compute dtype; the result is in their own."""
    if _compute == "float32":
        return einsum(equation, x, y)
    return torch.einsum(equation, lowered(x), lowered(y)).to(torch.promote_types(x.dtype, y.dtype))


def parameter(keys: Keys, values) -> nn.Parameter:
    """A parameter of the keys' dtype."""
    return nn.Parameter(torch.from_numpy(keys.cast(values)))


def owned(x: Float[Tensor, "*shape"] | Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"] | Bool[Tensor, "*shape"]:
    """A copy for a state: a view would keep a whole segment in memory, with strides that a fresh state has not."""
    return x.clone(memory_format=torch.contiguous_format)


def trailing(mask: Bool[Tensor, "B L"]) -> Integer[Tensor, " B"]:
    """How many positions at the end of each sequence are padding; those before a genuine one do not count."""
    return mask.shape[1] - torch.where(mask, 1 + torch.arange(mask.shape[1], device=mask.device), 0).amax(1)


def ending(
    x: Shaped[Tensor, "B T *rest"], padding: Integer[Tensor, " B"] | None, count: int
) -> Shaped[Tensor, "B {count} *rest"]:
    """The last `count` positions of each sequence without the `padding` at its end; zeros where there are too few."""
    if padding is None:
        return x[:, x.shape[1] - count :]
    index = x.shape[1] - count - padding[:, None] + torch.arange(count, device=x.device)
    y = x[torch.arange(x.shape[0], device=x.device)[:, None], torch.clamp(index, min=0)]
    return torch.where((index >= 0).reshape(*index.shape, *[1] * (x.ndim - 2)), y, torch.zeros_like(y))


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """GELU in its tanh form (`conventions.GELU_APPROXIMATION`)."""
    return nn.functional.gelu(x, approximate="tanh")


class Linear(nn.Module):
    """x @ kernel + bias; kernel (in, out) drawn lecun-normal, bias zero; `use_bias` False leaves the bias out."""

    def __init__(self, in_features: int, out_features: int, keys: Keys, use_bias: bool = True) -> None:
        super().__init__()
        self.kernel = parameter(keys, lecun_normal(keys.child("kernel"), (in_features, out_features)))
        self.use_bias = use_bias
        if use_bias:
            self.bias = parameter(keys, np.zeros(out_features))

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        y = product("...d,de->...e", x, self.kernel)
        return y + self.bias if self.use_bias else y


class LayerNorm(nn.Module):
    """Normalisation over the features, with scale and bias."""

    def __init__(self, features: int, keys: Keys, epsilon: float = conventions.LAYER_NORM_EPSILON) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.scale = parameter(keys, np.ones(features))
        self.bias = parameter(keys, np.zeros(features))

    def forward(
        self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None, training: bool = False
    ) -> Float[Tensor, "B L D"]:
        mean = x.mean(-1, keepdim=True)
        centred = x - mean
        variance = (centred * centred).mean(-1, keepdim=True)
        return centred * torch.rsqrt(variance + self.epsilon) * self.scale + self.bias


class RMSNorm(nn.Module):
    """Division by the root mean square of the features, with a scale for each of them."""

    def __init__(self, features: int, keys: Keys, epsilon: float = conventions.RMS_NORM_EPSILON) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.scale = parameter(keys, np.ones(features))

    def forward(
        self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None, training: bool = False
    ) -> Float[Tensor, "B L D"]:
        square = (x * x).mean(-1, keepdim=True)
        return x * torch.rsqrt(square + self.epsilon) * self.scale


class ScaleNorm(RMSNorm):
    """Division by the root mean square of the features, with one scale for all (Mega's form of ScaleNorm)."""

    def __init__(self, keys: Keys, epsilon: float = conventions.RMS_NORM_EPSILON) -> None:
        super().__init__(1, keys, epsilon)


class Embedding(nn.Module):
    """A table (count, D) of learned vectors, drawn normal of deviation `stddev`; called with integers below count."""

    def __init__(self, count: int, features: int, keys: Keys, stddev: float = 1.0) -> None:
        super().__init__()
        self.table = parameter(keys, normal(keys.child("table"), (count, features), stddev))

    def forward(self, indices: Integer[Tensor, "*shape"]) -> Float[Tensor, "*shape D"]:
        return self.table[indices.long()]  # PyTorch takes uint8 for a mask, and no other small kind


def activate(x: Float[Tensor, "*shape"], activation: Activation) -> Float[Tensor, "*shape"]:
    """The pointwise function of that name; "gelu" is the tanh form, "gelu_exact" the one with the error function."""
    if activation == "relu":
        return torch.relu(x)
    if activation == "gelu":
        return gelu(x)
    if activation == "gelu_exact":
        return nn.functional.gelu(x, approximate="none")
    return nn.functional.silu(x)


class FeedForward(nn.Module):
    """out(activation(hidden(x))) position by position; where `gated`, out(activation(gate(x)) * hidden(x))."""

    def __init__(
        self, features: int, hidden: int, keys: Keys, activation: Activation, gated: bool, use_bias: bool
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.gated = gated
        self.hidden = Linear(features, hidden, keys.child("hidden"), use_bias)
        if gated:
            self.gate = Linear(features, hidden, keys.child("gate"), use_bias)
        self.out = Linear(hidden, features, keys.child("out"), use_bias)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        if self.gated:
            return self.out(activate(self.gate(x), self.activation) * self.hidden(x))
        return self.out(activate(self.hidden(x), self.activation))


class BatchNorm(nn.Module):
    """Normalisation over batch and length; biased variance throughout, also in the running statistics.

    `momentum` is the share of the old running statistic that an update keeps. With a `mask`, only positions where it
    is True enter the batch's statistics. `unbiased`: as PyTorch, run the
    statistic of the variance on its unbiased estimate. A batch in parts has the statistics of the whole of it.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, features: int, momentum: float, keys: Keys, unbiased: bool = False) -> None:
        super().__init__()
        self.momentum, self.unbiased = momentum, unbiased
        self.scale = parameter(keys, np.ones(features))
        self.bias = parameter(keys, np.zeros(features))
        self.register_buffer("mean", torch.from_numpy(keys.cast(np.zeros(features))))
        self.register_buffer("var", torch.from_numpy(keys.cast(np.ones(features))))

    def forward(
        self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None, training: bool = False
    ) -> Float[Tensor, "B L D"]:
        if training:
            if mask is None:
                count = x.shape[0] * x.shape[1] * shards()
                mean = batch_mean(x.mean((0, 1)))
                variance = batch_mean(((x - mean) ** 2).mean((0, 1)))
            else:
                genuine = mask[..., None]
                count = batch_sum(genuine.sum().to(x.dtype))
                mean = batch_sum(torch.where(genuine, x, 0.0).sum((0, 1))) / count
                variance = batch_sum((torch.where(genuine, x - mean, 0.0) ** 2).sum((0, 1))) / count
            keep = self.momentum
            estimate = variance * (count / (count - 1 + (count == 1))) if self.unbiased else variance
            self.mean.copy_(keep * self.mean + (1 - keep) * mean.detach())
            self.var.copy_(keep * self.var + (1 - keep) * estimate.detach())
        else:
            mean, variance = self.mean, self.var
        scale = self.scale * torch.rsqrt(variance + conventions.BATCH_NORM_EPSILON)
        return (x - mean) * scale + self.bias


def norm_of(kind: str, features: int, momentum: float, keys: Keys) -> LayerNorm | RMSNorm | BatchNorm:
    """The norm "layer", "scale", "rms" or "batch" as PyTorch has it: its epsilon, the unbiased running variance."""
    if kind == "batch":
        return BatchNorm(features, momentum, keys, unbiased=True)
    if kind == "scale":
        return ScaleNorm(keys, conventions.TORCH_LAYER_NORM_EPSILON)
    return (LayerNorm if kind == "layer" else RMSNorm)(features, keys, conventions.TORCH_LAYER_NORM_EPSILON)


def scramble(word: Integer[Tensor, "*shape"]) -> Integer[Tensor, "*shape"]:
    """The finaliser of MurmurHash3, a bijection of 32-bit words."""
    low = 0xFFFFFFFF
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & low
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & low
    return word ^ (word >> 16)


def random_words(
    seed: Integer[Tensor, ""] | int, site: int, count: int, device: torch.device
) -> Integer[Tensor, " count"]:
    """32-bit words that depend on (seed, site, position) only: the finaliser of MurmurHash3 over a counter.

    PyTorch has little arithmetic on unsigned 32-bit integers: the words live in int64 and are cut to 32 bits.
    """
    return words_at(seed, site, torch.arange(count, device=device))


def words_at(seed: Integer[Tensor, ""] | int, site: int, positions: Integer[Tensor, " n"]) -> Integer[Tensor, " n"]:
    """Those of the words of `random_words` that stand at `positions`.

    Positions are cut first of all: compiled for a GPU they would else be multiplied as 32-bit indices.
    """
    low = 0xFFFFFFFF
    word = ((positions & low) * 0x9E3779B9 + site) & low
    for salt in (seed & low, 0x85EBCA6B):
        word = scramble(word ^ salt)
    return word


class Dropout(nn.Module):
    """Dropout whose mask is one per sequence and feature, shared by all positions (S5, `broadcast_dims=[0]`).

    The mask is a pure function of (seed, site): no generator state, equal in both frameworks.
    """

    def __init__(self, rate: float, keys: Keys) -> None:
        super().__init__()
        self.rate, self.site = rate, keys.site

    def forward(
        self, x: Float[Tensor, "B L D"], seed: Integer[Tensor, ""] | int | None, training: bool = False
    ) -> Float[Tensor, "B L D"]:
        if not training or self.rate == 0.0:
            return x
        if seed is None:
            raise ValueError(f"dropout_seed is None: training with dropout {self.rate} needs an integer")
        words = words_at(seed, self.site, places(1, x.shape[0], x.shape[2], x.device))
        kept = (words >> 8) >= round(self.rate * 2**24)
        return x * (kept.reshape(x.shape[0], 1, x.shape[2]).to(x.dtype) / (1.0 - self.rate))


class ElementDropout(Dropout):
    """Dropout of single elements, counted with the positions outermost: more padding leaves the others' masks alone."""

    def forward(
        self, x: Float[Tensor, "B L D"], seed: Integer[Tensor, ""] | int | None, training: bool = False
    ) -> Float[Tensor, "B L D"]:
        if not training or self.rate == 0.0:
            return x
        if seed is None:
            raise ValueError(f"dropout_seed is None: training with dropout {self.rate} needs an integer")
        words = words_at(seed, self.site, places(x.shape[1], x.shape[0], x.shape[2], x.device))
        kept = (words >> 8) >= round(self.rate * 2**24)
        kept = kept.reshape(x.shape[1], x.shape[0], x.shape[2]).swapaxes(0, 1)
        return x * (kept.to(x.dtype) / (1.0 - self.rate))


def dropout_of(rate: float, keys: Keys, of_features: bool) -> Dropout:
    """Dropout of features, one mask for all positions, or of single elements."""
    return (Dropout if of_features else ElementDropout)(rate, keys)


class WeightDropout(Dropout):
    """Dropout of single weights (B, L, T) of attention; more queries or keys leave the others' masks alone."""

    def forward(
        self, x: Float[Tensor, "B L T"], seed: Integer[Tensor, ""] | int | None, training: bool = False
    ) -> Float[Tensor, "B L T"]:
        if not training or self.rate == 0.0:
            return x
        if seed is None:
            raise ValueError(f"dropout_seed is None: training with dropout {self.rate} needs an integer")
        rows = words_at(seed, self.site, places(x.shape[1], x.shape[0], 1, x.device))
        rows = rows.reshape(x.shape[1], x.shape[0], 1).swapaxes(0, 1)
        low = 0xFFFFFFFF
        words = scramble(rows ^ (((torch.arange(x.shape[2], device=x.device) & low) * 0x9E3779B9) & low))
        kept = (words >> 8) >= round(self.rate * 2**24)
        return x * (kept.to(x.dtype) / (1.0 - self.rate))
