"""S5 in JAX (Flax NNX); `torch.py` beside it is its twin.

x_k = Lambda_bar x_{k-1} + B_bar u_k,  y_k = 2 Re(C~ x_k) + D u_k      (arXiv 2208.04933, section 3 and appendix)
ZOH:       Lambda_bar = exp(Lambda step),  B_bar = (Lambda_bar - 1) / Lambda B~
bilinear:  Lambda_bar = (1 + step/2 Lambda) / (1 - step/2 Lambda),  B_bar = step / (1 - step/2 Lambda) B~
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from implementations.common import conventions
from implementations.common.config import check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.common.jax import BatchNorm, Dropout, LayerNorm, Linear, einsum, gelu, parameter
from implementations.ops.scan import Method, choose
from implementations.ops.scan.jax import (
    both_directions,
    exponential,
    invariant_recurrence,
    linear_recurrence,
    multiply,
)
from implementations.s5.config import S5Config, initial_ssm


def conjugate(x: Float[Array, "*x 2"]) -> Float[Array, "*x 2"]:
    """The conjugate of complex pairs."""
    return jnp.stack([x[..., 0], -x[..., 1]], -1)


def plus(real: float, x: Float[Array, "*x 2"]) -> Float[Array, "*x 2"]:
    """Complex pairs plus a real number."""
    return jnp.stack([x[..., 0] + real, x[..., 1]], -1)


def reciprocal(x: Float[Array, "*x 2"]) -> Float[Array, "*x 2"]:
    """1 / x for complex pairs."""
    return conjugate(x) / (x * x).sum(-1, keepdims=True)


def logarithm(x: Float[Array, "*x 2"]) -> Float[Array, "*x 2"]:
    """The principal logarithm of complex pairs; that of zero is a large negative number, whose exponential is zero.

    There the gradient is zero.
    """
    tiny = jnp.finfo(x.dtype).tiny
    x = jnp.where((x * x).sum(-1, keepdims=True) > tiny, x, jnp.array([tiny**0.5, 0.0], x.dtype))
    return jnp.stack([0.5 * jnp.log((x * x).sum(-1)), jnp.arctan2(x[..., 1], x[..., 0])], -1)


def discretize(
    Lambda: Float[Array, "P 2"], step: Float[Array, "*k P"], discretization: str
) -> tuple[Float[Array, "*k P 2"], Float[Array, "*k P 2"]]:
    """The logarithm of Lambda_bar and the gain that multiplies B~, for steps of any leading shape."""
    if discretization == "zoh":
        log_Lambda_bar = step[..., None] * Lambda
        return log_Lambda_bar, multiply(plus(-1.0, exponential(log_Lambda_bar)), reciprocal(Lambda))
    half = step[..., None] / 2 * Lambda
    inverse = reciprocal(plus(1.0, -half))
    return logarithm(multiply(inverse, plus(1.0, half))), step[..., None] * inverse


def last_state(
    x: Float[Array, "B L P 2"], state: Float[Array, "B P 2"] | None, mask: Bool[Array, "B L"] | None
) -> Float[Array, "B P 2"]:
    """The state after the last position that `mask` admits; the state before where it admits none."""
    if mask is None:
        return x[:, -1]
    before = jnp.zeros_like(x[:, 0]) if state is None else state
    count = (mask * (1 + jnp.arange(mask.shape[1]))).max(1)
    return jnp.concatenate([before[:, None], x], 1)[jnp.arange(x.shape[0]), count]


class S5SSM(nnx.Module):
    """The multi-input, multi-output SSM: (B, L, D) -> (B, L, D)."""

    Lambda_re: nnx.Param
    Lambda_im: nnx.Param
    B: nnx.Param
    C: nnx.Param
    C1: nnx.Param
    C2: nnx.Param
    D: nnx.Param
    log_step: nnx.Param

    def __init__(self, config: S5Config, keys: Keys) -> None:
        self.config = config
        for name, values in initial_ssm(config, keys).items():
            setattr(self, name, parameter(keys, values))

    def initial_state(self, batch: int) -> Float[Array, "B P 2"] | None:
        """The state before the first position: zero, or None where it cannot stream."""
        if not self.config.causal:
            return None
        return jnp.zeros((batch, self.config.kept_states, 2), self.D[...].dtype)

    def __call__(
        self,
        u: Float[Array, "B L D"],
        state: Float[Array, "B P 2"] | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        step_rescale: float = 1.0,
        timesteps: Float[Array, "B L"] | None = None,
        scan: Method | None = None,
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B P 2"] | None]:
        """Map a segment from a state to outputs and the state after it (None where bidirectional).

        `mask` is False where a position must not enter the states: the state returned is that after the last genuine
        position, and what such a position holds, NaN included, reaches no other. `timesteps` scale the time step per
        token (irregular sampling). `step_rescale` scales all of them (another sampling rate). `scan` overrides the
        config's.
        """
        config = self.config
        check_state(self, state, u.shape[0])
        method = scan or config.scan
        choose(method, timesteps is not None)  # refuses what cannot run; the recurrence chooses where it runs
        Lambda_re = self.Lambda_re[...]
        if config.clip_eigs:
            Lambda_re = jnp.minimum(Lambda_re, conventions.EIGENVALUE_CLIP)
        Lambda = jnp.stack([Lambda_re, self.Lambda_im[...]], -1)
        step = step_rescale * jnp.broadcast_to(jnp.exp(self.log_step[...][:, 0]), Lambda_re.shape)
        if timesteps is None:
            log_Lambda_bar, gain = discretize(Lambda, step, config.discretization)
            Bu = einsum("bld,pdi->blpi", u, multiply(gain[:, None], self.B[...]))
        else:
            log_Lambda_bar, gain = discretize(Lambda, timesteps[..., None] * step, config.discretization)
            Bu = multiply(gain, einsum("bld,pdi->blpi", u, self.B[...]))
        if mask is not None:
            Bu = jnp.where(mask[..., None, None], Bu, 0.0)
        if timesteps is not None:
            x = self._varying(log_Lambda_bar, Bu, state)
        elif config.bidirectional:
            x = both_directions(log_Lambda_bar, Bu, method)
        else:
            x = invariant_recurrence(log_Lambda_bar, Bu, state, method)
        C = jnp.concatenate([self.C1[...], self.C2[...]], 1) if hasattr(self, "C1") else self.C[...]
        y = einsum("blpi,dpi->bld", x, (2 if config.conj_sym else 1) * conjugate(C)) + self.D[...] * u
        return y, None if config.bidirectional else last_state(x, state, mask)

    def _varying(self, log_Lambda_bar, Bu, state):
        """The recurrence with a time step per token, by the associative scan."""
        decay = exponential(log_Lambda_bar)
        decay, Bu = jax.lax.complex(decay[..., 0], decay[..., 1]), jax.lax.complex(Bu[..., 0], Bu[..., 1])
        x = linear_recurrence(decay, Bu, None if state is None else jax.lax.complex(state[..., 0], state[..., 1]))
        if self.config.bidirectional:
            x = jnp.concatenate([x, linear_recurrence(decay, Bu, reverse=True)], -1)
        return jnp.stack([x.real, x.imag], -1)


class S5Layer(nnx.Module):
    """Norm, SSM, gated activation and residual: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: S5Config, keys: Keys) -> None:
        self.config = config
        d_model = config.d_model
        if config.norm == "batch":
            self.norm = BatchNorm(d_model, config.bn_momentum, keys.child("norm"))
        else:
            self.norm = LayerNorm(d_model, keys.child("norm"))
        self.ssm = S5SSM(config, keys.child("ssm"))
        if config.activation == "full_glu":
            self.out1 = Linear(d_model, d_model, keys.child("out1"))
        if config.activation != "gelu":
            self.out2 = Linear(d_model, d_model, keys.child("out2"))
        self.dropout1 = Dropout(config.dropout, keys.child("dropout1"))
        self.dropout2 = Dropout(config.dropout, keys.child("dropout2"))

    def initial_state(self, batch: int) -> Float[Array, "B P 2"] | None:
        """The state before the first token: zero, or None where the layer cannot stream."""
        return self.ssm.initial_state(batch)

    def reset(self, state: Float[Array, "B P 2"] | None, start: Bool[Array, " B"]) -> Float[Array, "B P 2"]:
        """The state, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        return jnp.where(start[:, None, None], 0.0, state)

    def __call__(
        self,
        x: Float[Array, "B L D"],
        state: Float[Array, "B P 2"] | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        step_rescale: float = 1.0,
        timesteps: Float[Array, "B L"] | None = None,
        scan: Method | None = None,
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B P 2"] | None]:
        """Map a segment of any length from a state to outputs and the state after it; see `S5SSM`.

        `mask` is True at genuine positions; it is heeded where `config.mask_padding` says so.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        mask = mask if config.mask_padding else None
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0.0)
        skip = x
        if config.prenorm:
            x = self.norm(x, mask, training)
        x, state = self.ssm(x, state, mask, step_rescale=step_rescale, timesteps=timesteps, scan=scan)
        if config.activation == "full_glu":
            x = self.dropout1(gelu(x), dropout_seed, training)
            x = self.out1(x) * jax.nn.sigmoid(self.out2(x))
            x = self.dropout2(x, dropout_seed, training)
        elif config.activation == "half_glu1":
            x = self.dropout1(gelu(x), dropout_seed, training)
            x = x * jax.nn.sigmoid(self.out2(x))
            x = self.dropout2(x, dropout_seed, training)
        elif config.activation == "half_glu2":
            gate = self.dropout1(gelu(x), dropout_seed, training)
            x = x * jax.nn.sigmoid(self.out2(gate))
            x = self.dropout2(x, dropout_seed, training)
        else:
            x = self.dropout1(gelu(x), dropout_seed, training)
        x = skip + x
        if not config.prenorm:
            x = self.norm(x, mask, training)
        return x, state
