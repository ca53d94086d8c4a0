"""The optimizer specification against the rates and updates of the S5 authors' own code."""

import json
from pathlib import Path

import numpy as np
import pytest

from implementations.common.config import ConfigError
from suite.training.optimizer import Group, OptimizerSpec, Schedule, s5_optimizer

GOLDEN = Path(__file__).parents[1] / "golden" / "s5_train"
LEAVES = ("B", "C", "C1", "C2", "D", "Lambda_re", "Lambda_im", "log_step")


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file}
    return arrays, json.loads(str(arrays["config"]))["hyper"]


def spec_of(hyper) -> OptimizerSpec:
    steps = hyper["steps_per_epoch"]
    schedule = Schedule(
        warmup_steps=hyper["warmup_end"] * steps,
        total_steps=hyper["epochs"] * steps,
        lr_min=hyper["lr_min"],
        schedule_lag=True,
    )
    return s5_optimizer(
        hyper["opt_config"],
        ssm_lr=hyper["ssm_lr_base"],
        lr=hyper["lr"],
        weight_decay=hyper["weight_decay"],
        schedule=schedule,
        dt_global=hyper["dt_global"],
    )


@pytest.mark.parametrize("name", ["standard", "BfastandCdecay"])
def test_rates_equal_the_authors(name):
    arrays, hyper = golden(name)
    spec = spec_of(hyper)
    rates = [spec.rates(step) for step in range(len(arrays["output/lr"]))]
    np.testing.assert_allclose([r["regular"] for r in rates], arrays["output/lr"], rtol=1e-15, atol=1e-19)
    np.testing.assert_allclose([r["ssm"] for r in rates], arrays["output/ssm_lr"], rtol=1e-15, atol=1e-19)
    # Group "none" of the authors is empty here: its rate is 0, and no parameter of ours belongs to such a group.
    assert not arrays["output/none_lr"].any()
    assert set(rates[0]) == {"ssm", "regular"}
    assert rates[0]["regular"] == hyper["lr"]
    assert rates[1]["regular"] == hyper["lr"] / hyper["steps_per_epoch"]
    assert rates[-1]["regular"] == hyper["lr_min"]


def test_schedule_without_lag_is_the_lagged_one_shifted():
    lagged = Schedule(warmup_steps=4, total_steps=20, schedule_lag=True)
    plain = lagged.replace(schedule_lag=False)
    assert [lagged.rate(2.0, k) for k in range(1, 20)] == [plain.rate(2.0, k) for k in range(19)]
    assert plain.rate(2.0, 0) == 0.5
    assert plain.rate(2.0, 3) == 2.0
    # The decay is chosen by the epoch of the update, the cosine counts from the global step: it starts at 4 of 16.
    assert plain.rate(2.0, 4) == pytest.approx(1 + np.cos(np.pi * 4 / 16))


def test_schedule_without_warmup_froms_at_the_base_rate():
    schedule = Schedule(warmup_steps=0, total_steps=10, lr_min=0.1, schedule_lag=True)
    assert schedule.rate(1.0, 0) == schedule.rate(1.0, 1) == 1.0
    assert schedule.rate(1.0, 6) == pytest.approx(0.55)
    assert schedule.rate(1.0, 50) == pytest.approx(0.1)
    assert Schedule(warmup_steps=0, total_steps=10, decay="constant").rate(1.0, 9) == 1.0


EXPECTED = {
    "standard": {"ssm": {"B", "Lambda_re", "Lambda_im", "log_step"}},
    "BandCdecay": {"ssm": {"Lambda_re", "Lambda_im", "log_step"}, "b": {"B"}},
    "BfastandCdecay": {"ssm": {"Lambda_re", "Lambda_im", "log_step"}},
    "noBCdecay": {"ssm": set(LEAVES)},
}


@pytest.mark.parametrize("dt_global", [False, True])
@pytest.mark.parametrize("opt_config", sorted(EXPECTED))
def test_groups_by_leaf_name(opt_config, dt_global):
    schedule = Schedule(warmup_steps=1, total_steps=5)
    spec = s5_optimizer(opt_config, 1e-3, 4e-3, 0.05, schedule, dt_global=dt_global)
    found: dict[str, set] = {}
    for leaf in LEAVES:
        found.setdefault(spec.group_of(f"layers.3.ssm.{leaf}"), set()).add(leaf)
    wanted = {group: leaves - ({"log_step"} if dt_global else set()) for group, leaves in EXPECTED[opt_config].items()}
    wanted["regular"] = set(LEAVES) - set().union(*wanted.values())
    assert found == {group: leaves for group, leaves in wanted.items() if leaves}
    for path in ("encoder.kernel", "layers.0.norm.scale", "layers.0.norm.bias", "layers.0.out2.bias", "decoder.bias"):
        assert spec.group_of(path) == "regular"
    groups = spec.parameter_groups()
    assert groups["ssm"] == Group(1e-3, 0.0)
    assert groups["regular"] == Group(4e-3, 0.05)
    assert ("b" in groups) == (opt_config == "BandCdecay")
    assert groups.get("b", Group(1e-3, 0.05)) == Group(1e-3, 0.05)


def test_norm_decay_can_be_switched_off():
    spec = s5_optimizer("standard", 1e-3, 4e-3, 0.05, Schedule(1, 5), norm_decay=False)
    assert spec.group_of("layers.0.norm.bias") == spec.group_of("layers.0.norm.scale") == "norm"
    for name in ("norm1", "norm2", "norm_global", "decoder_norm"):
        assert spec.group_of(f"layers.0.{name}.scale") == "norm"
    assert spec.group_of("layers.0.out2.bias") == "regular"
    assert spec.parameter_groups()["norm"] == Group(4e-3, 0.0)
    assert spec.rates(3)["norm"] == spec.rates(3)["regular"]


def test_longest_rule_wins():
    groups = {"a": Group(1.0), "regular": Group(2.0)}
    spec = OptimizerSpec(groups, {"kernel": "a", "decoder.kernel": "regular"}, Schedule(0, 1))
    assert spec.group_of("encoder.kernel") == "a"
    assert spec.group_of("decoder.kernel") == "regular"
    assert spec.group_of("kernels") == "regular"


def test_round_trip_through_json():
    spec = spec_of(golden("standard")[1]).replace(clip_norm=1.0)
    assert OptimizerSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_bias_corrections():
    spec = spec_of(golden("standard")[1])
    assert spec.bias_corrections(0) == pytest.approx((0.1, 0.001))
    assert spec.bias_corrections(9) == pytest.approx((1 - 0.9**10, 1 - 0.999**10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b1": 1.5}, "OptimizerSpec.b1 is 1.5"),
        ({"rule": {"B": "smm"}}, "did you mean 'ssm'"),
        ({"clip_norm": 0.0}, "OptimizerSpec.clip_norm"),
        ({"eps": -1.0}, "OptimizerSpec.eps"),
    ],
)
def test_wrong_values_name_the_field(change, message):
    spec = spec_of(golden("standard")[1])
    with pytest.raises(ConfigError, match=message):
        spec.replace(**change)


def test_wrong_schedules_and_names():
    with pytest.raises(ConfigError, match="warmup_steps"):
        Schedule(warmup_steps=6, total_steps=5)
    with pytest.raises(ConfigError, match=r"Group\.rate is -1"):
        Group(rate=-1.0)
    with pytest.raises(ConfigError, match="did you mean 'standard'"):
        s5_optimizer("standart", 1e-3, 1e-3, 0.0, Schedule(0, 1))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="has no field 'lr_mim'"):
        Schedule.from_dict({"warmup_steps": 0, "total_steps": 1, "lr_mim": 0.0})


def test_a_run_that_ends_with_its_warm_up_has_rates():
    schedule = Schedule(warmup_steps=4, total_steps=4)
    assert [schedule.rate(1.0, step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_a_cosine_after_the_warmup_ends_with_the_run():
    schedule = Schedule(warmup_steps=4, total_steps=20, lr_min=0.1, decay="cosine_after_warmup")
    assert [schedule.rate(1.0, k) for k in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.rate(1.0, 12) == pytest.approx(0.55)
    assert schedule.rate(1.0, 20) == schedule.rate(1.0, 99) == pytest.approx(0.1)


def test_fairseqs_linear_decay():
    schedule = Schedule(warmup_steps=10, total_steps=30, decay="linear", warmup_from=1e-7)
    assert schedule.rate(0.01, 0) == 1e-7
    assert schedule.rate(0.01, 5) == pytest.approx(1e-7 + 5 * (0.01 - 1e-7) / 10)
    assert schedule.rate(0.01, 10) == 0.01
    assert schedule.rate(0.01, 20) == pytest.approx(0.005)
    assert schedule.rate(0.01, 30) == schedule.rate(0.01, 99) == 0.0
    squared = schedule.replace(warmup_power=2)
    assert squared.rate(0.01, 5) == pytest.approx(1e-7 + 25 * (0.01 - 1e-7) / 100)
    assert squared.rate(0.01, 10) == 0.01


def test_long_range_arenas_root_of_the_step():
    schedule = Schedule(warmup_steps=100, total_steps=500, decay="rsqrt", warmup_from=0.0)
    assert schedule.rate(0.05, 0) == 0.0
    assert schedule.rate(0.05, 50) == pytest.approx(0.05 * 0.5 / 10)
    assert schedule.rate(0.05, 100) == pytest.approx(0.05 / 10)
    assert schedule.rate(0.05, 400) == pytest.approx(0.05 / 20)


@pytest.mark.parametrize(("field", "value"), [("warmup_from", -1.0), ("warmup_power", 0), ("decay", "exponential")])
def test_wrong_schedules_name_the_field(field, value):
    with pytest.raises(ConfigError, match=rf"Schedule\.{field} is {value!r}"):
        Schedule(warmup_steps=1, total_steps=5, **{field: value})
