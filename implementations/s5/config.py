"""The configuration of one S5 layer, shared by both twins, and its initial values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from implementations.common import conventions
from implementations.common.config import Config
from implementations.common.hippo import diagonal, normal_blocks
from implementations.common.initializers import Keys, lecun_normal, log_uniform, normal
from implementations.ops.scan import Method


@dataclass(frozen=True)
class S5Config(Config):
    """One S5 layer (arXiv 2208.04933; authors' code lindermanlab/S5 at 3c18fdb).

    d_model: model width D. ssm_size: full state size; half of it is kept under conj_sym. blocks: J HiPPO-N blocks on
    the diagonal. Lambda_init: their eigenvalues ("hippo"), or others in their place; see `initial_ssm`. C_init: the
    authors' names; see `initial_ssm` for what they draw. discretization: zero-order hold, as in all published runs, or
    the bilinear rule. dt_min, dt_max: range of the initial time steps, log-uniform. timescale: a time step of every
    state ("vector", the authors' code) or one of all ("scalar"). clip_eigs: bound real parts of eigenvalues by -1e-4.
    bidirectional: a second scan from the right. activation: the block after the SSM. norm: over batch and length, or
    over features. prenorm: normalise before the SSM, else after the residual sum. dropout: before and behind the gate
    of the activation block, one mask per sequence and feature for all positions. bn_momentum: share of the old running
    statistic kept. mask_padding: keep padded positions out of the states and of the batch statistics, so that results
    do not depend on padding; the authors let padding in, which the paper recipes keep (False). scan: the algorithm of
    the recurrence.
    """

    architecture: ClassVar[str | None] = "s5"
    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (("Lambda_init",), ("timescale",))

    d_model: int = 128
    ssm_size: int = 64
    blocks: int = 1
    conj_sym: bool = True
    bidirectional: bool = False
    C_init: Literal["trunc_standard_normal", "lecun_normal", "complex_normal"] = "trunc_standard_normal"
    discretization: Literal["zoh", "bilinear"] = "zoh"
    dt_min: float = 0.001
    dt_max: float = 0.1
    clip_eigs: bool = False
    activation: Literal["full_glu", "half_glu1", "half_glu2", "gelu"] = "half_glu1"
    norm: Literal["batch", "layer"] = "layer"
    prenorm: bool = True
    dropout: float = 0.0
    bn_momentum: float = conventions.BATCH_NORM_MOMENTUM
    mask_padding: bool = True
    scan: Method = "auto"
    Lambda_init: Literal["hippo", "lin", "inv", "antisymmetric"] = "hippo"
    timescale: Literal["vector", "scalar"] = "vector"

    def validate(self) -> None:
        self.require(self.d_model >= 1, "d_model", "expected at least 1")
        self.require(self.blocks >= 1, "blocks", "expected at least 1")
        unit = self.blocks * (2 if self.conj_sym else 1)
        rule = f"expected a positive multiple of {unit} (blocks, and two states per pair under conj_sym)"
        self.require(self.ssm_size > 0 and self.ssm_size % unit == 0, "ssm_size", rule)
        self.require(0 < self.dt_min <= self.dt_max, "dt_min", f"expected 0 < dt_min <= dt_max = {self.dt_max}")
        self.require(0 <= self.dropout < 1, "dropout", "expected 0 <= dropout < 1")
        self.require(0 <= self.bn_momentum < 1, "bn_momentum", "expected 0 <= bn_momentum < 1")

    @property
    def kept_states(self) -> int:
        """P: the number of complex states that are computed."""
        return self.ssm_size // 2 if self.conj_sym else self.ssm_size

    @property
    def causal(self) -> bool:
        """Whether the layer can stream: it looks at no later position."""
        return not self.bidirectional


def _pairs(values: np.ndarray) -> np.ndarray:
    return np.stack([np.real(values), np.imag(values)], -1)


def _draw_c(config: S5Config, keys: Keys, v: np.ndarray) -> np.ndarray:
    """One C~ (D, P, 2), by the fan rules of the authors' code (JAX counts leading axes as receptive field)."""
    d_model, full = config.d_model, config.ssm_size
    if config.C_init == "complex_normal":
        return normal(keys, (d_model, config.kept_states, 2), 0.5**0.5)
    fan_in = full * d_model if config.C_init == "lecun_normal" else full
    drawn = lecun_normal(keys, (d_model, full, 2), fan_in)
    return _pairs((drawn[..., 0] + 1j * drawn[..., 1]) @ v)


def initial_ssm(config: S5Config, keys: Keys) -> dict[str, np.ndarray]:
    """Initial values of the SSM as the authors' code draws them (s5/ssm.py, s5/ssm_init.py, s5/train.py).

    Lambda_re, Lambda_im (P,); B (P, D, 2); C (D, P, 2), or C1 and C2 where bidirectional, or with complex_normal one C
    (D, 2P, 2); D (D,); log_step (P, 1), or (1, 1) where it is a scalar. B = V^-1 B0 with Var(B0) = 1/ssm_size; C = C0 V
    with a component variance of 1/(ssm_size d_model) ("lecun_normal") or 1/ssm_size ("trunc_standard_normal");
    "complex_normal" draws C itself with component variance 1/2.

    Lambda_init other than "hippo" changes the eigenvalues alone, of the whole state without blocks: "lin" and "inv" are
    those of S4D-Lin and S4D-Inv (S5-Lin and S5-Inv of the paper's appendix, which says no more of them),
    "antisymmetric" those of a random antisymmetric matrix.
    """
    eigenvalues, v, v_inverse = normal_blocks(config.ssm_size, config.blocks, config.conj_sym)
    if config.Lambda_init != "hippo":
        eigenvalues = diagonal(config.Lambda_init, config.ssm_size, config.conj_sym, keys.child("Lambda"))
    values = {
        "Lambda_re": np.real(eigenvalues),
        "Lambda_im": np.imag(eigenvalues),
        "B": _pairs(v_inverse @ lecun_normal(keys.child("B"), (config.ssm_size, config.d_model))),
    }
    if config.bidirectional:
        c1, c2 = (_draw_c(config, keys.child(name), v) for name in ("C1", "C2"))
        if config.C_init == "complex_normal":
            values["C"] = np.concatenate([c1, c2], 1)
        else:
            values |= {"C1": c1, "C2": c2}
    else:
        values["C"] = _draw_c(config, keys.child("C"), v)
    steps = 1 if config.timescale == "scalar" else config.kept_states
    values["D"] = normal(keys.child("D"), (config.d_model,))
    values["log_step"] = log_uniform(keys.child("log_step"), (steps, 1), config.dt_min, config.dt_max)
    return values
