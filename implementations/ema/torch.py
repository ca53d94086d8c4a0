"""Multi-head EMA in PyTorch; `jax.py` beside it is its twin.

p = sigmoid(delta), q = 1 - p sigmoid(alpha)                                        (arXiv 2209.10655, section 3.1)
recurrence:  h_t = q h_(t-1) + p beta x_t,  y_t = sum over N of gamma / sqrt(N) h_t + omega x_t
kernel:      k_s = sum over N of gamma / sqrt(N) p beta q^s,  y = k * x + omega x
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from implementations.common.config import check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.common.torch import einsum, ending, owned, parameter, trailing
from implementations.ema.config import EMAConfig, initial_ema
from implementations.ops.convolution.torch import causal_convolution, two_sided_convolution


class MultiHeadEMA(nn.Module):
    """N moving averages per feature, summed: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: EMAConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        values = initial_ema(config, keys)
        self.delta = parameter(keys, values["delta"])
        self.alpha = parameter(keys, values["alpha"])
        self.beta = parameter(keys, values["beta"])
        self.gamma = parameter(keys, values["gamma"])
        if config.residual:
            self.omega = parameter(keys, values["omega"])

    def initial_state(self, batch: int) -> Float[Tensor, "B J K"] | None:
        """The state before the first token: zero (`EMAConfig.state_shape`), or None where the layer cannot stream."""
        return self._nothing(batch) if self.config.causal else None

    def reset(self, state: Float[Tensor, "B J K"] | None, start: Bool[Tensor, " B"]) -> Float[Tensor, "B J K"]:
        """The state, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        return torch.where(start[:, None, None], 0.0, state)

    def rates(self) -> tuple[Float[Tensor, "E N"], Float[Tensor, "E N"]]:
        """p, and the logarithm of q."""
        p = torch.sigmoid(self.delta)
        return p, torch.log1p(-p * torch.sigmoid(self.alpha))

    def impulse(self, length: int) -> tuple[Float[Tensor, "E N L"], Float[Tensor, "E N L"]]:
        """What an input leaves in each average 0 to L - 1 positions later, p beta q^s; and the powers 1 to L of q."""
        p, log_q = self.rates()
        exponents = torch.arange(length + 1, device=p.device).to(p.dtype)
        powers = torch.exp(log_q[..., None] * exponents)
        return (p * self.beta)[..., None] * powers[..., :-1], powers[..., 1:]

    def weights(self) -> Float[Tensor, "E N"]:
        """What each average counts in the output: gamma / sqrt(N)."""
        return self.gamma / math.sqrt(self.config.state_size)

    def kernel(self, length: int) -> Float[Tensor, "E L"]:
        """The convolution's kernel at lags 0 to L - 1, the one from the right in the last D rows."""
        return einsum("enl,en->el", self.impulse(length)[0], self.weights())

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: Float[Tensor, "B J K"] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B J K"] | None]:
        """Map a segment of any length, one token included, from a state to outputs and the state after it.

        `mask` is True at genuine positions; others do not enter the averages, and at the end of the segment they leave
        the state as it is. The layer does the same in training.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        check_state(self, state, x.shape[0])
        inputs = x if mask is None else torch.where(mask[..., None], x, 0.0)
        if config.bidirectional:
            forward, backward = torch.chunk(self.kernel(config.taps(x.shape[1])), 2, dim=0)
            y = two_sided_convolution(inputs, forward[None], backward[None], 0, config.convolution)[:, :, 0]
        elif config.truncation:
            y, state = self._truncated(inputs, state, None if mask is None else trailing(mask))
        else:
            y, state = self._averages(inputs, state, None if mask is None else trailing(mask))
        if config.residual:
            y = y + self.omega * x
        return nn.functional.silu(y) if config.activation == "silu" else y, state

    def _nothing(self, batch):
        """A state of zeros."""
        shape = self.config.state_shape(batch)
        return torch.zeros(shape, dtype=self.gamma.dtype, device=self.gamma.device)

    def _convolve(self, x, kernel):
        """x with one kernel per feature."""
        return causal_convolution(x, kernel[None], self.config.convolution)[:, :, 0]

    def _averages(self, x, state, padding):
        """The kernel on the segment, what is left of the state, and the averages after it."""
        impulse, powers = self.impulse(x.shape[1])
        weights = self.weights()
        y = self._convolve(x, einsum("dnl,dn->dl", impulse, weights))
        last = einsum("bld,dnl->bdn", ending(x, padding, x.shape[1]), torch.flip(impulse, (2,)))
        if state is not None:
            y = y + einsum("bdn,dnl->bld", state, weights[..., None] * powers)
            left = x.shape[1] if padding is None else (x.shape[1] - padding)[:, None, None]
            last = last + torch.exp(left * self.rates()[1]) * state
        return y, owned(last)

    def _truncated(self, x, state, padding):
        """A kernel of at most K lags on the segment, after the K - 1 inputs before it; and the last K - 1 inputs."""
        before = self._nothing(x.shape[0]) if state is None else state
        longer = torch.cat([before, x], 1)
        if state is None:
            y = self._convolve(x, self.kernel(self.config.taps(x.shape[1])))
        else:
            y = self._convolve(longer, self.kernel(before.shape[1] + 1))[:, before.shape[1] :]
        return y, owned(ending(longer, padding, before.shape[1]))
