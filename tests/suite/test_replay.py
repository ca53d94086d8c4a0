"""How far the numbers of two runs agree, and how a cell is run again."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_verify import made, store
from tiny_runs import cell

from reports.records import Record, encode_predictions
from suite import verify
from suite.launch import local
from suite.matrix import Selection, cells
from suite.replay import agreement, rerun, source
from suite.replay.agreement import Quantity
from suite.replay.rerun import Again
from suite.training import rounding
from suite.training.checkpoint import CheckpointStore


def quantities(recorded: list[float], found: list[float], moved: list[float]) -> list[Quantity]:
    of = cell("torch")
    steps = list(range(1, len(found) + 1))
    here, other = (Again(len(steps), {"step": steps, "step_loss": losses}) for losses in (found, moved))
    bound = agreement.rounding_bound(of.recipe, here, other)  # pyright: ignore[reportArgumentType]
    return agreement.training(made(of, curves={"step": steps, "step_loss": recorded}), here, bound)


def test_losses_may_part_as_far_as_rounding_parts_them():
    plain, eps = [2.0] * 3, float(np.finfo(np.float32).eps)
    allowed = 2.0 * (1 + 60 * eps)
    (one,) = quantities([allowed] * 3, plain, plain)
    assert (one.judgment, one.identical, one.compared) == ("within rounding", 0, 3)
    assert one.bound == 64 * eps
    (one,) = quantities([2.0, 2.0, 2.0 * (1 + 70 * eps)], plain, plain)
    assert one.judgment == "not reproduced"
    assert "step_loss at update 3" in one.outside
    both = [2.0 * (1 + 80 * eps), 2.0, 2.0 * (1 + 70 * eps)]
    assert "step_loss at update 1 is" in quantities(both, plain, plain)[0].outside
    (one,) = quantities([2.0, 2.0, 2.0 * (1 + 70 * eps)], plain, [2.0, 2.0 * (1 + 2 * eps), 2.0])
    assert one.judgment == "within rounding"
    (one,) = quantities([2.0, 2.0, 3.0], plain, [2.0, 2.0, 2.1])  # rounding alone moves it by 5 %
    assert (one.judgment, one.identical) == ("within rounding", 2)
    (one,) = quantities([3.0], [2.0], [2.1])
    assert one.judgment == "not judged"
    with pytest.raises(source.CannotVerify, match="no number could be judged"):
        verify.conclude([one], strict=False, record=made(cell("torch")))
    (one,) = quantities([2.0, float("nan")], [2.0, 2.0], [2.0, 2.0])
    assert one.judgment == "not reproduced"


def test_coarser_products_round_coarser_and_other_updates_are_other_curves():
    of, plain = cell("torch"), Again(1, {"step": [1], "step_loss": [2.0]})
    assert of.recipe is not None
    eps = float(np.finfo(np.float32).eps)
    for precision, factor in (("float32", 64.0), ("tf32", 64 * 2.0**13)):
        recipe = of.recipe.replace(matmul_precision=precision)
        assert agreement.rounding_bound(recipe, plain, plain)(1) == (factor * eps if factor * eps < 1e-2 else None)
    lowered = dataclasses.replace(of.recipe.model, compute_dtype="bfloat16")
    wide = Again(1, {"step": [1], "step_loss": [2.0]})
    assert agreement.rounding_bound(of.recipe.replace(model=lowered), plain, wide)(1) is None
    (one,) = agreement.training(made(of, curves={"step": [2], "step_loss": [2.0]}), plain, agreement.exact)
    assert (one.name, one.judgment) == ("step", "not reproduced")


def ended(**changes: Any) -> Record:
    """A run of two epochs to its end."""
    curves = {
        "step": [1, 2], "step_loss": [2.0, 1.0], "epoch": [1, 2], "epoch_step": [1, 2],
        "train_loss": [2.0, 1.0], "validation_accuracy": [0.5, 0.5], "test_nll_nats_per_token": [3.0, 2.0],
    }  # fmt: skip
    return made(cell("torch"), **{"curves": curves, "metrics": {"test_accuracy": 0.5}, "tables": {}, **changes})


@pytest.mark.parametrize(
    ("changes", "outside", "loose"),
    [
        ({"metrics": {"test_accuracy": 0.5, "x": 1.0}}, "metric x is 1.0 in the record and None here", "not judged"),
        ({"metrics": {}}, "metric test_accuracy is None in the record and 0.5 here", "not judged"),
        ({"tables": {"rates": [{"layer": 1}]}}, "table rates is 1 rows in the record", "not judged"),
        ({"curves": {"train_loss": [2.0, 1.1]}}, "train_loss at update 2 is 1.1", "not reproduced"),
        ({"curves": {"test_nll_nats_per_token": [3.0, 2.1]}}, "test_nll_nats_per_token at update 2", "not reproduced"),
        ({"curves": {"validation_accuracy": [0.5, 0.4]}}, "validation_accuracy at update 2 is 0.4", "not judged"),
        ({"predictions": 1}, "labels of the predictions", "not reproduced"),
    ],
)  # fmt: skip
def test_whatever_a_run_ends_with_is_compared(changes, outside, loose):
    found = ended()
    if "curves" in changes:
        changes = {"curves": {**found.curves, **changes["curves"]}}
    if "predictions" in changes:
        sides = [encode_predictions(np.array([0, 1]), np.array(labels), "test", 2) for labels in ([0, 1], [1, 0])]
        changes, found = {"predictions": sides[0]}, ended(predictions=sides[1])
    again = Again(2, found.curves, found)
    strictly = [one for one in agreement.training(ended(**changes), again, agreement.exact) if one.outside]
    assert strictly[0].outside.startswith(outside)
    assert strictly[0].judgment == "not reproduced"
    (plain,) = (
        one for one in agreement.training(ended(**changes), again, lambda update: 1e-6) if one.identical < one.compared
    )
    assert plain.judgment == loose


def test_the_same_numbers_are_the_same_bits_whatever_is_allowed():
    for bound in (agreement.exact, lambda update: 1e-6):
        found = agreement.training(ended(), Again(2, ended().curves, ended()), bound)
        assert {(one.judgment, one.identical == one.compared) for one in found} == {("bit for bit", True)}
        assert len(found) == 5


def test_the_largest_deviation_is_shown_and_programs_are_told_apart_by_mode():
    eps = float(np.finfo(np.float32).eps)
    (one,) = quantities([2.0 * (1 + 10 * eps), 2.0 * (1 + 60 * eps), 2.0], [2.0] * 3, [2.0] * 3)
    assert one.deviation == pytest.approx(60 * eps, rel=1e-3)
    modes = {"forward": 1.0, "streaming step": 2.0}
    rows = [{"mode": mode, "length": 8, "layer": "s5", "operations": count} for mode, count in modes.items()]
    timed = made(cell("torch"), tables={"gate": [{"layer": "s5", "error": 0.0, "passed": True}], "layer_speed": rows})
    assert [one.compared for one in agreement.speed(timed, timed, strict=True)] == [1, 1, 2]


def test_a_run_that_got_farther_than_its_record_is_compared_as_far_as_that_goes():
    cut = {name: values[:1] for name, values in ended().curves.items()}
    found = agreement.training(ended(curves=cut), Again(2, ended().curves), agreement.exact)
    assert {one.name: one.compared for one in found} == dict.fromkeys(
        ("step_loss", "train_loss", "validation_accuracy", "test_nll_nats_per_token"), 1
    )


def test_a_record_that_is_not_finished_is_compared_up_to_its_last_whole_point():
    of = cell("torch")
    recorded = {"step": [4, 8, 10], "step_loss": [3.0, 2.0, 1.9], "epoch": [1], "epoch_step": [8], "train_loss": [2.5]}
    left = made(of, status="not finished", curves=recorded, metrics={"test_accuracy": 0.4})
    longer = recorded | {"step": [4, 8, 12], "step_loss": [3.0, 2.0, 1.8]}
    again = Again(12, longer, record=made(of, curves=longer, metrics={"test_accuracy": 0.6}))
    found = agreement.training(left, again, agreement.exact)
    assert [(one.name, one.compared, one.judgment) for one in found] == [
        ("step_loss", 2, "bit for bit"),
        ("train_loss", 1, "bit for bit"),
    ]
    whole = agreement.training(made(of, curves=recorded), again, agreement.exact)
    assert whole[0].judgment == "not reproduced"


def test_tables_of_other_columns_are_no_rows_to_compare():
    sides = [ended(tables={"rates": [{name: 1}]}) for name in ("layer", "share")]
    (*_, one) = agreement.training(sides[0], Again(2, sides[1].curves, sides[1]), agreement.exact)
    assert one.outside == "table rates is 1 rows in the record and 1 rows of other columns here"


def test_updates_fill_whole_points_of_the_recorded_curve(tmp_path):
    long = cell("torch", "epochs=500").recipe  # 5000 updates, 3 to a point
    assert long is not None
    assert [rerun.first_updates(long, asked) for asked in (None, 1, 7, 10_000)] == [51, 3, 9, 5_000]
    with pytest.raises(source.CannotVerify, match=r"ended after 0 updates .*mean of updates 1 to 3: give a longer"):
        rerun._interrupted(long, tmp_path, "stopped by the time limit")


def test_a_run_is_started_as_the_recorded_one_and_ended_in_time(monkeypatch, tmp_path):
    seen, found = [], cell("torch")

    def launcher(status: Any, reason: str) -> Callable[..., Any]:
        outcome = local.Outcome(found, status, reason)
        return lambda options, display: seen.append(options) or SimpleNamespace(run=lambda cells: [outcome])

    way = rerun.Way(Path("data"), 60.0, {"NPROC": "2", "XLA_FLAGS": None})
    for status, reason in (("not finished", "stopped by SIGTERM"), ("failed", "out of memory")):
        monkeypatch.setattr(local, "Launcher", launcher(status, reason))
        with pytest.raises(source.CannotVerify, match=reason):
            rerun.again(found, way, 5, moved=True)
    monkeypatch.setattr(local, "Launcher", launcher("failed", "diverged at step 3"))
    assert rerun.again(found, way) == Again(ended="diverged at step 3")
    left = made(found, status="not finished", curves={"step": [1]}, metrics={"test_accuracy": 0.5})
    monkeypatch.setattr(local, "Launcher", launcher("not finished", "stopped by the time limit"))
    monkeypatch.setattr(local, "records_path", lambda out, cell: store(left, tmp_path))
    with pytest.raises(source.CannotVerify, match="ended after 0 updates"):  # not taken for a whole run
        rerun.again(found, way)
    assert (seen[0].last_step, seen[0].moved, seen[0].fresh, seen[2].last_step) == (5, True, True, None)
    assert seen[0].environment == way.environment
    assert 0 < seen[0].deadline - time.time() <= 60


def test_only_whole_points_of_the_curve_are_compared(tmp_path):
    long = cell("torch", "epochs=500").recipe  # 3 updates to a point
    assert long is not None
    CheckpointStore(tmp_path).save({"losses": np.float64([1, 2, 3, 4, 5])}, {"epochs": []})
    found = rerun._interrupted(long, tmp_path, "stopped by the time limit")
    assert (found.updates, found.curves) == (3, {"step": [3], "step_loss": [2.0]})
    (timed,) = cells(Selection(tasks=("speed.layer",), architectures=("ema",), frameworks=("torch",)))
    short = rerun.gate_only(timed.settings)
    assert short["longest"] == short["shortest"] == timed.settings["shortest"] < timed.settings["longest"]
    assert (short["modes"], short["layers"]) == (timed.settings["modes"], timed.settings["layers"])


def test_initial_values_move_by_one_rounding():
    state = {"parameters.a": np.float32([1.5, -3.0, 0.0]), "first_moment.a": np.ones(3, np.float32)}
    moved = rounding.moved(state)
    apart = np.abs(moved["parameters.a"] - state["parameters.a"]) / np.spacing(np.abs(state["parameters.a"]))
    assert apart[:2].tolist() in ([1, 1], [1, 2], [2, 1], [2, 2])
    assert apart[2] == 0
    twins = rounding.moved({f"parameters.{name}": np.ones(64, np.float32) for name in "ab"})
    assert (twins["parameters.a"] != twins["parameters.b"]).any()
    assert moved["first_moment.a"] is state["first_moment.a"]
    assert moved["parameters.a"].dtype == np.float32
