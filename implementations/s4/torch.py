"""S4 and S4D in PyTorch; `jax.py` beside it is its twin.

x_t = A_bar x_{t-1} + B_bar u_t,  y_t = 2 Re(C x_t) + D u_t, one such SSM per feature (arXiv 2111.00396, section 2)
S4:   A = Lambda - P P^*, A_bar = (2/step - A)^-1 (2/step + A), B_bar = (2/step - A)^-1 2 B
S4D:  A = Lambda, by zero-order hold or the same bilinear rule (arXiv 2206.11893, section 3)
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn

from implementations.common.config import check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.common.torch import BatchNorm, Dropout, LayerNorm, Linear, ending, owned, parameter, trailing
from implementations.ops.convolution.torch import causal_convolution, two_sided_convolution
from implementations.ops.scan.torch import multiply
from implementations.s4.config import LEAST_REAL_PART, BankConfig, Method, S4Config, S4DConfig, choose, initial_bank
from implementations.s4.kernels.torch import Diagonal, DiagonalPlusLowRank, iterate
from implementations.s5.torch import discretize


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """GELU with the exact error function, as S4 uses it."""
    return nn.functional.gelu(x, approximate="none")


def transformed(x: Float[Tensor, "*shape"], transform: str) -> Float[Tensor, "*shape"]:
    """A positive number from a parameter."""
    if transform == "exp":
        return torch.exp(x)
    if transform == "softplus":
        return torch.logaddexp(x, torch.zeros_like(x))
    return torch.maximum(x, torch.zeros_like(x)) + LEAST_REAL_PART if transform == "relu" else x


class S4Bank(nn.Module):
    """A bank of single-input SSMs with K outputs each: (B, L, D) -> (B, L, K, D)."""

    log_step: nn.Parameter
    A_real: nn.Parameter
    A_imag: nn.Parameter
    B: nn.Parameter
    C: nn.Parameter
    P: nn.Parameter
    D: nn.Parameter

    def __init__(self, config: BankConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        for name, values in initial_bank(config, keys).items():
            setattr(self, name, parameter(keys, values))

    def system(self, step_rescale: float = 1.0) -> Diagonal | DiagonalPlusLowRank:
        """The discretised SSMs: `kernel(length)`, `response(state, length)`, `last_state(u, state)`, and steps."""
        config = self.config
        times = config.d_model // config.copies
        real = transformed(self.A_real, config.real_transform)
        Lambda = repeat(-torch.stack([real, self.A_imag], -1), "s m i -> (v s) m i", v=times)
        B = repeat(self.B, "s m i -> (v s) m i", v=times)
        step = transformed(self.log_step, config.dt_transform)
        if isinstance(config, S4Config):
            P = repeat(self.P, "s m i -> (v s) m i", v=times)
            return DiagonalPlusLowRank(Lambda, P, B, self.C, step, config.truncated_length, step_rescale)
        assert isinstance(config, S4DConfig)
        steps = rearrange((step_rescale * step).expand(Lambda.shape[:2]), "d m -> (d m)")
        log_A_bar, gain = discretize(rearrange(Lambda, "d m i -> (d m) i"), steps, config.discretization)
        log_A_bar, gain = (rearrange(x, "(d m) i -> d m i", d=config.d_model) for x in (log_A_bar, gain))
        return Diagonal(log_A_bar, multiply(gain, B), self.C)

    def initial_state(self, batch: int) -> Float[Tensor, "B D M 2"] | None:
        """The state before the first position: zero, or None where the bank cannot stream."""
        return self._nothing(batch) if self.config.causal else None

    def forward(
        self,
        u: Float[Tensor, "B L D"],
        state: Float[Tensor, "B D M 2"] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        step_rescale: float = 1.0,
        scan: Method | None = None,
    ) -> tuple[Float[Tensor, "B L K D"], Float[Tensor, "B D M 2"] | None]:
        """Map a segment from a state to outputs and the state after it (None where bidirectional).

        `mask` is False where a position counts as zero, and as none at all at the end of the segment: the state is that
        after the last genuine position. `step_rescale` scales the time steps (another sampling rate).
        `scan` overrides the config's: "recurrent" steps through the positions, "direct" and "fft" convolve with the
        kernel of the segment's length; "auto" steps where there is one position, and else is the convolution's "auto".
        """
        config = self.config
        check_state(self, state, u.shape[0])
        method = choose(config, scan, u.shape[1])
        padding = None
        if mask is not None:
            u, padding = torch.where(mask[..., None], u, 0.0), trailing(mask)
        system = self.system(step_rescale)
        if method == "recurrent":
            before = self._nothing(u.shape[0]) if state is None else state
            x = iterate(system.advance, u, before)
            y, state = system.read(x), owned(ending(torch.cat([before[:, None], x], 1), padding, 1)[:, 0])
        elif config.bidirectional:
            kernel, reverse_kernel = torch.chunk(system.kernel(u.shape[1]), 2, dim=0)
            y = two_sided_convolution(u, kernel, reverse_kernel, config.reverse_offset, method)
        else:
            y = causal_convolution(u, system.kernel(u.shape[1]), method)
            if state is not None:
                y = y + rearrange(system.response(state, u.shape[1]), "b k d l -> b l k d")
            state = owned(system.last_state(u, state, padding))
        return y + self.D * u[:, :, None], state

    def block_ends(
        self,
        u: Float[Tensor, "B L D"],
        blocks: Float[Tensor, "B n W D"],
        state: Float[Tensor, "B D M 2"] | None = None,
        lead: Int[Tensor, " B"] | None = None,
        padding: Int[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B n K D"], Float[Tensor, "B D M 2"]]:
        """The outputs at the last position of each block of a segment, without those between, and the state after it.

        `blocks` are the segment `u` cut into blocks, with zeros in the places outside of it; `lead` of these precede
        it, where there is a state; `padding` positions at its end leave the state. The work is that of the states at
        the ends, whatever the number K of outputs.
        """
        system = self.system()
        y = system.read(system.block_states(blocks, state, lead))
        return y + self.D * blocks[:, :, -1:], owned(system.last_state(u, state, padding))

    def _nothing(self, batch):
        """A state of zeros."""
        shape = (batch, self.config.d_model, self.config.kept_states, 2)
        return torch.zeros(shape, dtype=self.D.dtype, device=self.D.device)


class S4Layer(nn.Module):
    """Norm, bank, exact GELU, mixing of the features and residual: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: BankConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        d_model = config.d_model
        if config.norm == "batch":
            self.norm = BatchNorm(d_model, config.bn_momentum, keys.child("norm"))
        else:
            self.norm = LayerNorm(d_model, keys.child("norm"))
        self.ssm = S4Bank(config, keys.child("ssm"))
        if config.output != "none":
            outputs = 2 * d_model if config.output == "glu" else d_model
            self.out = Linear(config.channels * d_model, outputs, keys.child("out"))
        self.dropout1 = Dropout(config.dropout, keys.child("dropout1"))
        self.dropout2 = Dropout(config.dropout, keys.child("dropout2"))

    def initial_state(self, batch: int) -> Float[Tensor, "B D M 2"] | None:
        """The state before the first token: zero, or None where the layer cannot stream."""
        return self.ssm.initial_state(batch)

    def reset(self, state: Float[Tensor, "B D M 2"] | None, start: Bool[Tensor, " B"]) -> Float[Tensor, "B D M 2"]:
        """The state, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        return torch.where(start[:, None, None, None], 0.0, state)

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        state: Float[Tensor, "B D M 2"] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        step_rescale: float = 1.0,
        scan: Method | None = None,
    ) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B D M 2"] | None]:
        """Map a segment of any length from a state to outputs and the state after it; see `S4Bank`.

        `mask` is True at genuine positions; it is heeded where `config.mask_padding` says so.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        mask = mask if config.mask_padding else None
        if mask is not None:
            x = torch.where(mask[..., None], x, 0.0)
        skip = x
        if config.prenorm:
            x = self.norm(x, mask, training)
        x, state = self.block(
            x, state, mask, training=training, dropout_seed=dropout_seed, step_rescale=step_rescale, scan=scan
        )
        x = skip + x
        if not config.prenorm:
            x = self.norm(x, mask, training)
        return x, state

    def block(
        self,
        x: Float[Tensor, "B L D"],
        state: Float[Tensor, "B D M 2"] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        step_rescale: float = 1.0,
        scan: Method | None = None,
    ) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B D M 2"] | None]:
        """The layer without norm and residual (the authors' S4Block)."""
        config = self.config
        x, state = self.ssm(x, state, mask, step_rescale=step_rescale, scan=scan)
        x = self.dropout1(gelu(rearrange(x, "b l k d -> b l (k d)")), dropout_seed, training)
        if config.output != "none":
            x = self.out(x)
        if config.output == "glu":
            value, gate = torch.chunk(x, 2, dim=-1)
            x = value * torch.sigmoid(gate)
        if config.output != "none":
            x = self.dropout2(x, dropout_seed, training)
        return x, state
