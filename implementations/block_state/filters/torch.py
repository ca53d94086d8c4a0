"""Unstructured filters in PyTorch; `jax.py` beside it is its twin.

h_j = exp(-alpha t) Linear(PosEmb(j)), t = j / (T - 1),  y_t = sum over j of h_j u_{t-j} + D u_t   (arXiv 2306.09539)
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from implementations.block_state.config import BlockStateConfig
from implementations.common.initializers import Keys, normal
from implementations.common.torch import Linear, einsum, ending, owned, parameter, trailing
from implementations.ops.attention.torch import sinusoidal
from implementations.ops.convolution.torch import causal_convolution
from implementations.s4.config import Method


class UnstructuredBank(nn.Module):
    """Filters that are a function of the lag, C of them per feature: (B, L, D) -> (B, L, C, D)."""

    def __init__(self, config: BlockStateConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.filter = Linear(config.position_features, config.channels * config.d_model, keys.child("filter"))
        self.D = parameter(keys, normal(keys.child("D"), (config.channels, config.d_model)))

    def initial_state(self, batch: int) -> Float[Tensor, "B T D"] | None:
        """The inputs before the first position, T = `filter_length` - 1 zeros; None where the filters do not end."""
        if not self.config.streams:
            return None
        shape = (batch, self.config.filter_length - 1, self.config.d_model)
        return torch.zeros(shape, dtype=self.D.dtype, device=self.D.device)

    def kernel(self, length: int) -> Float[Tensor, "C D T"]:
        """h_j = exp(-alpha t) Linear(PosEmb(j)) for j below `length`, or below `filter_length` where it ends there."""
        config, dtype = self.config, self.D.dtype
        lag = torch.arange(min(length, config.filter_length) if config.streams else length, device=self.D.device)
        t = lag.to(dtype) / max(config.filter_length - 1, 1)
        alpha = torch.linspace(config.decay_min, config.decay_max, config.d_model, dtype=dtype, device=self.D.device)
        decay = torch.exp(-alpha[:, None] * t)
        values = self.filter(sinusoidal(lag, config.position_features, self.D))
        return rearrange(values, "t (c d) -> c d t", c=config.channels) * decay

    def forward(
        self,
        u: Float[Tensor, "B L D"],
        state: Float[Tensor, "B T D"] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        scan: Method | None = None,
    ) -> tuple[Float[Tensor, "B L C D"], Float[Tensor, "B T D"] | None]:
        """Map a segment and the inputs before it to outputs and the inputs before what follows."""
        config = self.config
        if mask is not None:
            u = u * mask[..., None].to(u.dtype)
        kept, length = config.filter_length - 1, u.shape[1]
        known = u if state is None else torch.cat([state, u], 1)
        kernel = self.kernel(known.shape[1])
        if length == 1:
            y = einsum("btd,cdt->bcd", known[:, -kernel.shape[-1] :], kernel.flip(-1))[:, None]
        else:
            method: Any = scan or config.scan
            y = causal_convolution(known, kernel, method)[:, -length:]
        if config.streams:
            known = nn.functional.pad(known, (0, 0, max(kept - known.shape[1], 0), 0))
            padding = None if mask is None else trailing(mask)
            state = owned(ending(known, padding, kept))
        return y + self.D * u[:, :, None], state
