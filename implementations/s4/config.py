"""The configurations of one S4 and one S4D layer, shared by both twins, and their initial values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from implementations.common.config import Config, ConfigError
from implementations.common.hippo import normal_part
from implementations.common.initializers import Keys, log_uniform, normal

Method = Literal["auto", "direct", "fft", "recurrent"]
METHODS = ("auto", "direct", "fft", "recurrent")

LEAST_REAL_PART = 1e-4
"""What a decay rate is clamped to before its transform is inverted, and what "relu" adds."""


@dataclass(frozen=True)
class BankConfig(Config):
    """What S4 and S4D have in common: a bank of D single-input SSMs, and the layer around it.

    d_model: features D. state_size: N, of which one half of conjugate pairs is kept. channels: outputs K per feature.
    n_ssm: independent copies of (A, B), feature d using copy d mod n_ssm; None for one per feature. dt_min, dt_max:
    range of the initial time steps, log-uniform. dt_tie: one time step per feature, else one per state. dt_transform,
    real_transform: what maps the parameters to the time steps and to the decay rates; the authors' newer code prefers
    "softplus" for time steps, the published numbers used "exp". B_clip: bound of |Im B| of HiPPO's B at the start; None
    keeps the HiPPO matrix whole (it depends on the free phases of eigenvectors; those of `normal_part` are the authors'
    up to sign). bidirectional: a second set of C from the right. reverse_offset: the first position the reverse kernel
    sees, counted from the current one; 1 is the authors' documented off-by-one, 0 lets both kernels see it.
    output: what mixes the features after the exact GELU. norm, prenorm, bn_momentum (share of the old statistic kept),
    dropout: as in S5; the authors' batch norm keeps the unbiased variance in its running statistics, ours the biased.
    mask_padding: zero padded positions before the bank and keep them out of batch statistics; the authors' LRA runs let
    them in. scan: how the SSM is evaluated, see `S4Bank` of the twins.
    """

    kernel: ClassVar[str]

    d_model: int = 128
    state_size: int = 64
    channels: int = 1
    n_ssm: int | None = None
    dt_min: float = 0.001
    dt_max: float = 0.1
    dt_tie: bool = True
    dt_transform: Literal["exp", "softplus"] = "exp"
    real_transform: Literal["exp", "softplus", "relu", "none"] = "exp"
    B_clip: float | None = 2.0
    bidirectional: bool = False
    reverse_offset: Literal[0, 1] = 1
    output: Literal["glu", "linear", "none"] = "glu"
    norm: Literal["batch", "layer"] = "layer"
    prenorm: bool = True
    dropout: float = 0.0
    bn_momentum: float = 0.9
    mask_padding: bool = True
    scan: Method = "auto"

    def validate(self) -> None:
        for name in ("d_model", "channels"):
            self.require(getattr(self, name) >= 1, name, "expected at least 1")
        self.require(self.state_size >= 2 and self.state_size % 2 == 0, "state_size", "expected a positive even number")
        fits = self.n_ssm is None or (self.n_ssm >= 1 and self.d_model % self.n_ssm == 0)
        self.require(fits, "n_ssm", f"expected None or a divisor of d_model = {self.d_model}")
        self.require(0 < self.dt_min <= self.dt_max, "dt_min", f"expected 0 < dt_min <= dt_max = {self.dt_max}")
        self.require(self.B_clip is None or self.B_clip > 0, "B_clip", "expected None or a positive number")
        self.require(
            self.output != "none" or self.channels == 1, "output", "expected 'glu' or 'linear' with channels > 1"
        )
        self.require(0 <= self.dropout < 1, "dropout", "expected 0 <= dropout < 1")
        self.require(0 <= self.bn_momentum < 1, "bn_momentum", "expected 0 <= bn_momentum < 1")
        recurrent = self.scan == "recurrent" and self.bidirectional
        self.require(not recurrent, "scan", "expected 'auto', 'direct' or 'fft' where bidirectional")

    @property
    def kept_states(self) -> int:
        """M = N / 2: one state of each conjugate pair."""
        return self.state_size // 2

    @property
    def copies(self) -> int:
        """The number of independent (A, B)."""
        return self.d_model if self.n_ssm is None else self.n_ssm

    @property
    def causal(self) -> bool:
        """Whether the layer can stream: it looks at no later position."""
        return not self.bidirectional


@dataclass(frozen=True)
class S4Config(BankConfig):
    """One S4 layer (arXiv 2111.00396; authors' code state-spaces/s4 at e757cef): A = Lambda - P P^*, bilinear.

    initialization: HiPPO-LegS, whose correction P has rank 1. truncated_length: None keeps the C of the equations as
    the parameter, and a kernel of length L is computed from C~ = C (I - A_bar^L), exactly for any L; an integer l makes
    C~ for l positions itself the parameter, as in the authors' code (`l_max`), where an update then moves the kernel
    otherwise. Initial values are those of the authors either way: C is drawn, and turned into C~ where l is given.
    """

    architecture: ClassVar[str | None] = "s4"
    kernel: ClassVar[str] = "dplr"

    initialization: Literal["legs"] = "legs"
    truncated_length: int | None = None

    def validate(self) -> None:
        super().validate()
        fits = self.truncated_length is None or self.truncated_length >= 1
        self.require(fits, "truncated_length", "expected None or at least 1")


@dataclass(frozen=True)
class S4DConfig(BankConfig):
    """One S4D layer (arXiv 2206.11893; authors' code state-spaces/s4 at e757cef): A = Lambda is diagonal.

    initialization: imaginary parts of Lambda: "legs" HiPPO-LegS, "lin" pi n, "inv" N/pi (N/(2n+1) - 1), "inv2" and
    "quad" the variants of the authors' code; "real" puts -(n+1) on the real axis. B starts at HiPPO's for "legs"
    (without the factor 1/2 of the paper, as in the code), else at 1; it is trained, as in the authors' s4.py (their
    minimal s4d.py fixes B = 1). discretization: zero-order hold (the default of their layer/s4d.yaml), or bilinear.
    """

    architecture: ClassVar[str | None] = "s4d"
    kernel: ClassVar[str] = "diagonal"

    initialization: Literal["legs", "lin", "inv", "inv2", "quad", "real"] = "legs"
    discretization: Literal["zoh", "bilinear"] = "zoh"


def choose(config: BankConfig, method: Method | None, length: int) -> Method:
    """How a segment is evaluated: the caller's method, or the config's; "auto" steps where there is one position."""
    method = config.scan if method is None else method
    if method not in METHODS:
        raise ConfigError(f"scan method is {method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "recurrent" and config.bidirectional:
        raise ConfigError("scan method is 'recurrent': expected 'auto', 'direct' or 'fft' where bidirectional")
    return "recurrent" if method == "auto" and length == 1 and config.causal else method


def _pairs(values: np.ndarray) -> np.ndarray:
    return np.stack([np.real(values), np.imag(values)], -1)


def inverse_transform(values: np.ndarray, transform: str) -> np.ndarray:
    """The parameter that a transform maps to these positive values."""
    values = np.maximum(values, LEAST_REAL_PART)
    if transform == "exp":
        return np.log(values)
    return np.log(np.expm1(values)) if transform == "softplus" else values


def eigenvalues(initialization: str, size: int) -> np.ndarray:
    """The kept half of the initial Lambda (M,), imaginary parts not positive."""
    n = np.arange(size // 2)
    if initialization == "legs":
        return normal_part(size)[0][: size // 2]
    if initialization == "real":
        return -(1.0 + n) + 0j
    imaginary = {
        "lin": np.pi * n,
        "inv": size / np.pi * (size / (1 + 2 * n) - 1),
        "inv2": size / np.pi * (size / (1 + n) - 1),
        "quad": (1 + 2 * n) ** 2 / np.pi,
    }[initialization]
    return -0.5 - 1j * imaginary


def truncate(config: S4Config, values: dict[str, np.ndarray], length: int) -> np.ndarray:
    """C~ = C (I - A_bar^l) for l = `length`, from the values of a bank that hold C itself."""
    from implementations.s4.reference import discretize

    A_bar, _ = discretize(config, values, 1.0)
    C = values["C"][..., 0] + 1j * values["C"][..., 1]
    C = np.concatenate([C, C.conj()], -1)
    remaining = np.eye(config.state_size) - np.linalg.matrix_power(A_bar, length)
    return _pairs(np.einsum("kdn,dnm->kdm", C, remaining)[..., : config.kept_states])


def initial_bank(config: BankConfig, keys: Keys) -> dict[str, np.ndarray]:
    """Initial values of the bank as the authors' code draws them (models/s4/s4.py: dplr, nplr, SSMKernel).

    log_step (D, 1), or (D, M) untied; A_real, A_imag (S, M) with Lambda = -transform(A_real) - i A_imag; B (S, M, 2);
    C (K, D, M, 2), or twice as many, reverse ones last, where bidirectional; P (S, M, 2) for S4; D (K, D).
    """
    size, kept, copies = config.state_size, config.kept_states, config.copies
    hippo = config.initialization == "legs"  # pyright: ignore[reportAttributeAccessIssue]
    vectors = normal_part(size)[1][:, :kept].conj().T
    b = vectors @ np.sqrt(2.0 * np.arange(size) + 1) if hippo else np.ones(kept, complex)
    if hippo and config.B_clip is not None:
        b = np.real(b) + 1j * np.clip(np.imag(b), -config.B_clip, config.B_clip)
    diagonal = eigenvalues(config.initialization, size)  # pyright: ignore[reportAttributeAccessIssue]
    step = log_uniform(
        keys.child("log_step"), (config.d_model, 1 if config.dt_tie else kept), config.dt_min, config.dt_max
    )
    values = {
        "log_step": step if config.dt_transform == "exp" else np.log(np.expm1(np.exp(step))),
        "A_real": np.tile(inverse_transform(-np.real(diagonal), config.real_transform), (copies, 1)),
        "A_imag": np.tile(-np.imag(diagonal), (copies, 1)),
        "B": np.tile(_pairs(b), (copies, 1, 1)),
        "C": normal(keys.child("C"), (config.channels * (1 + config.bidirectional), config.d_model, kept, 2), 0.5**0.5),
    }
    if isinstance(config, S4Config):
        values["P"] = np.tile(_pairs(vectors @ np.sqrt(np.arange(size) + 0.5)), (copies, 1, 1))
        if config.truncated_length is not None:
            values["C"] = truncate(config, values, config.truncated_length)
    values["D"] = normal(keys.child("D"), (config.channels, config.d_model))
    return values
