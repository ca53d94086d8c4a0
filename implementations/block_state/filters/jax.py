"""Unstructured filters in JAX (Flax NNX); `torch.py` beside it is its twin.

h_j = exp(-alpha t) Linear(PosEmb(j)), t = j / (T - 1),  y_t = sum over j of h_j u_{t-j} + D u_t   (arXiv 2306.09539)
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Bool, Float

from implementations.block_state.config import BlockStateConfig
from implementations.common.initializers import Keys, normal
from implementations.common.jax import Linear, einsum, ending, parameter, trailing
from implementations.ops.attention.jax import sinusoidal
from implementations.ops.convolution.jax import causal_convolution
from implementations.s4.config import Method


class UnstructuredBank(nnx.Module):
    """Filters that are a function of the lag, C of them per feature: (B, L, D) -> (B, L, C, D)."""

    def __init__(self, config: BlockStateConfig, keys: Keys) -> None:
        self.config = config
        self.filter = Linear(config.position_features, config.channels * config.d_model, keys.child("filter"))
        self.D = parameter(keys, normal(keys.child("D"), (config.channels, config.d_model)))

    def initial_state(self, batch: int) -> Float[Array, "B T D"] | None:
        """The inputs before the first position, T = `filter_length` - 1 zeros; None where the filters do not end."""
        if not self.config.streams:
            return None
        shape = (batch, self.config.filter_length - 1, self.config.d_model)
        return jnp.zeros(shape, self.D[...].dtype)

    def kernel(self, length: int) -> Float[Array, "C D T"]:
        """h_j = exp(-alpha t) Linear(PosEmb(j)) for j below `length`, or below `filter_length` where it ends there."""
        config, dtype = self.config, self.D[...].dtype
        lag = jnp.arange(min(length, config.filter_length) if config.streams else length)
        t = lag.astype(dtype) / max(config.filter_length - 1, 1)
        alpha = jnp.linspace(config.decay_min, config.decay_max, config.d_model, dtype=dtype)
        decay = jnp.exp(-alpha[:, None] * t)
        values = self.filter(sinusoidal(lag, config.position_features, self.D[...]))
        return rearrange(values, "t (c d) -> c d t", c=config.channels) * decay

    def __call__(
        self,
        u: Float[Array, "B L D"],
        state: Float[Array, "B T D"] | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        scan: Method | None = None,
    ) -> tuple[Float[Array, "B L C D"], Float[Array, "B T D"] | None]:
        """Map a segment and the inputs before it to outputs and the inputs before what follows."""
        config = self.config
        if mask is not None:
            u = u * mask[..., None].astype(u.dtype)
        kept, length = config.filter_length - 1, u.shape[1]
        known = u if state is None else jnp.concatenate([state, u], 1)
        kernel = self.kernel(known.shape[1])
        if length == 1:
            y = einsum("btd,cdt->bcd", known[:, -kernel.shape[-1] :], jnp.flip(kernel, -1))[:, None]
        else:
            method: Any = scan or config.scan
            y = causal_convolution(known, kernel, method)[:, -length:]
        if config.streams:
            known = jnp.pad(known, ((0, 0), (max(kept - known.shape[1], 0), 0), (0, 0)))
            padding = None if mask is None else trailing(mask)
            state = ending(known, padding, kept)
        return y + self.D[...] * u[:, :, None], state
