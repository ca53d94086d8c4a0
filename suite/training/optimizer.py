"""One optimizer for both frameworks: a rule of update with decoupled weight decay, named groups, and rates that are
pure functions of the step. With g the gradient and t = step + 1:

"adam"
    m = b1 m + (1 - b1) g                       Kingma and Ba 2015, algorithm 1
    v = b2 v + (1 - b2) g^2
    a = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    p = p - rate (a + weight_decay p)           Loshchilov and Hutter 2019, algorithm 2
"radam"
    s = 2 / (1 - b2) - 1,  s_t = s - 2 t b2^t / (1 - b2^t)             Liu et al. 2020, algorithm 2
    k = sqrt((1 - b2^t) (s_t - 4) (s_t - 2) s / ((s - 4) (s - 2) s_t)) / (1 - b1^t)
    p = p - rate (k m / (sqrt(v) + eps) + weight_decay p), as fairseq's RAdam where s_t >= 5; before that
    p = p - rate (m / (1 - b1^t) + weight_decay p)
"adafactor"
    d = 1 - t^-decay_exponent                   Shazeer and Stern 2018, algorithms 4 and 5, section 7.2
    r = d r + (1 - d) mean over the longest axis of (g^2 + least_square)
    c = d c + (1 - d) mean over the next longest axis of (g^2 + least_square)
    u = g / sqrt(r c / mean r)                  arrays of one axis or a short second one: v = d v + (1 - d) (g^2 + ...)
    u = rate max(rms p, least_scale) u / max(1, rms u / clip_rms)
    m = b1 m + (1 - b1) u                       b1 = 0: no momentum, and nothing is kept for it
    p = p - m - rate weight_decay p             as optax.adafactor, but for the decay, which is there without the rate
"nesterov"
    m = b1 m + g                                Sutskever et al. 2013 as torch.optim.SGD and fairseq's NAG have it
    p = p - rate (g + b1 m + weight_decay p)

Nothing here knows a framework: the backends receive the groups once and the rates with every step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np

from implementations.common.config import Config, ConfigError, nearest


@dataclasses.dataclass(frozen=True)
class Group(Config):
    """Parameters that share a base rate and a decoupled weight decay."""

    rate: float
    weight_decay: float = 0.0

    def validate(self) -> None:
        self.require(0 <= self.rate < float("inf"), "rate", "expected a finite number >= 0")
        self.require(0 <= self.weight_decay < float("inf"), "weight_decay", "expected a finite number >= 0")


@dataclasses.dataclass(frozen=True)
class Schedule(Config):
    """Warm-up, then a decay towards `lr_min`, counted in updates.

    Warm-up: base (step + 1) / warmup_steps; where `warmup_from` is a number, from that rate at update 0 to base at
    update `warmup_steps`, with the power `warmup_power` of the step (fairseq, Long Range Arena).

    decay "cosine" takes its count from the global step but ends after `total_steps - warmup_steps` updates, so that the
    last `warmup_steps` updates run at `lr_min` (s5/train.py); "cosine_after_warmup" starts when the warm-up ends and
    ends with the run (S4: src/utils/optim/schedulers.py:CosineWarmup), and so does "linear" (fairseq: linear_decay);
    "rsqrt" divides by sqrt(max(step, warmup_steps)), warm-up included (Long Range Arena); "constant" does not decay.
    With `schedule_lag` the rate is set after each update: update 0 uses the base rate without warm-up and update k uses
    the schedule's value of k - 1 (s5/train_helpers.py:train_epoch).
    """

    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (("warmup_from", "warmup_power"),)

    warmup_steps: int
    total_steps: int
    lr_min: float = 0.0
    decay: Literal["cosine", "cosine_after_warmup", "linear", "rsqrt", "constant"] = "cosine"
    schedule_lag: bool = False
    warmup_from: float | None = None
    warmup_power: int = 1

    def validate(self) -> None:
        self.require(self.total_steps >= 1, "total_steps", "expected at least 1")
        fits = 0 <= self.warmup_steps <= self.total_steps
        self.require(fits, "warmup_steps", f"expected 0 to total_steps = {self.total_steps}")
        self.require(self.lr_min >= 0, "lr_min", "expected a number >= 0")
        self.require((self.warmup_from or 0) >= 0, "warmup_from", "expected None or a number >= 0")
        fits = self.warmup_power == 1 or (self.warmup_power > 1 and self.warmup_from is not None)
        self.require(fits, "warmup_power", "expected 1, or more where warmup_from is given")

    def rate(self, base: float, step: int) -> float:
        """The rate that update `step` (from 0) uses, given the base rate."""
        if not self.schedule_lag:
            return self._value(base, step)
        return base if step == 0 else self._value(base, step - 1)

    def _value(self, base: float, step: int) -> float:
        if self.decay == "rsqrt":
            base = base / max(step, self.warmup_steps, 1) ** 0.5
        if step < self.warmup_steps:
            if self.warmup_from is None:
                return base * (step + 1) / self.warmup_steps
            return self.warmup_from + (base - self.warmup_from) * (step / self.warmup_steps) ** self.warmup_power
        if self.decay in ("constant", "rsqrt"):
            return base
        end = max(self.total_steps - self.warmup_steps, 1)
        done = min(step if self.decay == "cosine" else step - self.warmup_steps, end) / end
        left = 1 - done if self.decay == "linear" else 0.5 * (1 + np.cos(np.pi * done))
        return float((base - self.lr_min) * left + self.lr_min)


@dataclasses.dataclass(frozen=True)
class OptimizerSpec(Config):
    """Groups, the rule that assigns a parameter path to one of them, the rule of update and the schedule.

    `rule` maps the end of a dotted path to a group: `{"B": "ssm"}` takes `layers.3.ssm.B`; the longest match wins and
    everything else belongs to `default_group`. With `norm_decay` False, norm scales and biases keep their rate and lose
    their decay (group "norm"). `clip_norm` limits the global gradient norm; None clips nothing.

    `algorithm` is one of those above: b1 is of all of them, b2 and eps are both Adams', the rest is Adafactor's, whose
    second moment is kept as two means where the two longest axes are both at least `factored_from` long; `clip_rms`
    None limits no update.
    """

    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("algorithm", "decay_exponent", "least_square", "least_scale", "clip_rms", "factored_from"),
    )

    groups: dict[str, Group]
    rule: dict[str, str]
    schedule: Schedule
    default_group: str = "regular"
    norm_decay: bool = True
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip_norm: float | None = None
    algorithm: Literal["adam", "radam", "adafactor", "nesterov"] = "adam"
    decay_exponent: float = 0.8
    least_square: float = 1e-30
    least_scale: float = 1e-3
    clip_rms: float | None = 1.0
    factored_from: int = 128

    def validate(self) -> None:
        for suffix, group in {**self.rule, "the default": self.default_group}.items():
            if group not in self.groups:
                raise ConfigError(f"OptimizerSpec.rule sends {suffix!r} to {group!r}: {nearest(group, self.groups)}")
        for name in ("b1", "b2"):
            self.require(0 <= getattr(self, name) < 1, name, "expected a number from 0 to below 1")
        for name in ("eps", "decay_exponent", "least_square", "least_scale"):
            self.require(getattr(self, name) > 0, name, "expected a positive number")
        for name in ("clip_norm", "clip_rms"):
            limit = getattr(self, name)
            self.require(limit is None or limit > 0, name, "expected None or a positive number")
        self.require(self.factored_from >= 1, "factored_from", "expected at least 1")

    def parameter_groups(self) -> dict[str, Group]:
        """Every group by name, with the undecayed "norm" group where `norm_decay` is False."""
        if self.norm_decay:
            return dict(self.groups)
        return {**self.groups, "norm": Group(rate=self.groups[self.default_group].rate)}

    def group_of(self, path: str) -> str:
        """The name of the group of a parameter path."""
        parts = path.split(".")
        if not self.norm_decay and any(part.startswith("norm") or part.endswith("norm") for part in parts[-2:-1]):
            return "norm"
        ends = (".".join(parts[i:]) for i in range(len(parts)))
        return next((self.rule[end] for end in ends if end in self.rule), self.default_group)

    def rates(self, step: int) -> dict[str, float]:
        """The rate of every group for update `step`, counted from 0."""
        return {name: self.schedule.rate(group.rate, step) for name, group in self.parameter_groups().items()}

    def bias_corrections(self, step: int) -> tuple[float, float]:
        """1 - b1^t and 1 - b2^t for update `step`, t = step + 1, in double precision for both frameworks."""
        return 1 - self.b1 ** (step + 1), 1 - self.b2 ** (step + 1)

    def constants(self, step: int) -> dict[str, float]:
        """What the rule of update takes of the number of update `step` alone, in double precision for both
        frameworks."""
        if self.algorithm == "adam":
            return dict(zip(("first_correction", "second_correction"), self.bias_corrections(step), strict=True))
        if self.algorithm == "radam":
            return self._rectification(*self.bias_corrections(step), step + 1)
        if self.algorithm == "adafactor":
            mixing = (step + 1) ** -self.decay_exponent
            return {"decay": 1 - mixing, "mixing": mixing}
        return {}

    def _rectification(self, first: float, second: float, t: int) -> dict[str, float]:
        """The scale of rectified Adam's updates, and 1 where they are divided by the second moment's root, else 0."""
        most = 2 / (1 - self.b2) - 1
        now = most - 2 * t * self.b2**t / second
        if now < 5:
            return {"scale": 1 / first, "adaptive": 0.0}
        share = (now - 4) * (now - 2) * most / ((most - 4) * (most - 2) * now)
        return {"scale": (second * share) ** 0.5 / first, "adaptive": 1.0}

    def factored(self, shape: Sequence[int]) -> tuple[int, int] | None:
        """The second longest and the longest axis of an array whose second moment Adafactor keeps as means, or None."""
        order = np.argsort(shape, kind="stable")
        if len(shape) < 2 or shape[order[-2]] < self.factored_from:
            return None
        return int(order[-2]), int(order[-1])

    def moments(self, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """What an update keeps of a parameter of a shape, by name, with its shape."""
        whole, axes = tuple(shape), self.factored(shape)
        first = {"first_moment": whole} if self.b1 or self.algorithm != "adafactor" else {}
        if self.algorithm == "nesterov":
            return first
        if self.algorithm in ("adam", "radam") or axes is None:
            return {**first, "second_moment": whole}
        rows, columns = (tuple(1 if i == axis else n for i, n in enumerate(shape)) for axis in reversed(axes))
        return {**first, "second_moment_rows": rows, "second_moment_columns": columns}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        groups = {n: g if isinstance(g, Group) else Group.from_dict(g) for n, g in values.get("groups", {}).items()}
        return super().from_dict({**values, "groups": groups})


OptConfig = Literal["standard", "BandCdecay", "BfastandCdecay", "noBCdecay"]

# Leaf name -> group, s5/train_helpers.py:create_train_state at lindermanlab/S5@3c18fdb. Its label "norm" names a nested
# dictionary and never matches a leaf: norm scales and biases are decayed with the rest.
_S5_RULES: dict[str, dict[str, str]] = {
    "standard": dict.fromkeys(("B", "Lambda_re", "Lambda_im", "log_step"), "ssm"),
    "BandCdecay": {"B": "b"} | dict.fromkeys(("Lambda_re", "Lambda_im", "log_step"), "ssm"),
    "BfastandCdecay": dict.fromkeys(("Lambda_re", "Lambda_im", "log_step"), "ssm"),
    "noBCdecay": dict.fromkeys(("B", "C", "C1", "C2", "D", "Lambda_re", "Lambda_im", "log_step"), "ssm"),
}


def s5_rule(opt_config: OptConfig, dt_global: bool = False) -> dict[str, str]:
    """Leaf name to group of one of the S5 authors' configurations; the time steps are in none with `dt_global`. Unknown
    names raise ConfigError."""
    if opt_config not in _S5_RULES:
        raise ConfigError(f"opt_config is {opt_config!r}: {nearest(opt_config, _S5_RULES)}")
    return {leaf: group for leaf, group in _S5_RULES[opt_config].items() if not (dt_global and leaf == "log_step")}


def s5_optimizer(
    opt_config: OptConfig,
    ssm_lr: float,
    lr: float,
    weight_decay: float,
    schedule: Schedule,
    dt_global: bool = False,
    norm_decay: bool = True,
) -> OptimizerSpec:
    """The S5 authors' optimizer: Adam at `ssm_lr` for group "ssm", AdamW at `lr` for "regular", and in BandCdecay AdamW
    at `ssm_lr` for B; `dt_global` moves the time steps to "regular". Unknown names raise ConfigError."""
    rule = s5_rule(opt_config, dt_global)
    groups = {"ssm": Group(ssm_lr), "regular": Group(lr, weight_decay)}
    if opt_config == "BandCdecay":
        groups["b"] = Group(ssm_lr, weight_decay)
    return OptimizerSpec(groups=groups, rule=rule, schedule=schedule, norm_decay=norm_decay)
