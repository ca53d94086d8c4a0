"""Cells in child processes: every way to end has its status, reason and exit code, and the others go on."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_runs
from tiny_runs import ROOT, cell, launch, numbers, record

from reports.records import decode_predictions
from suite.data import open_dataset
from suite.launch import local
from suite.launch.display import Display
from suite.matrix import Selection, cells


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def twins(tmp_path_factory, data):
    """Records of the same tiny cell in both frameworks, run side by side with a core each."""
    for framework in ("jax", "torch"):
        pytest.importorskip(framework)
    out, found = tmp_path_factory.mktemp("runs"), [cell("jax"), cell("torch")]
    outcomes, shown = launch(found, out, data, jobs=2, arguments=("--tasks", "lra.listops"))
    assert [outcome.status for outcome in outcomes] == ["measured", "measured"], shown
    return out, found, shown


def test_twins_start_equal_and_stay_close(twins):
    out, found, _ = twins
    jax, torch = (record(out, one) for one in found)
    np.testing.assert_allclose(jax.curves["step_loss"][:5], torch.curves["step_loss"][:5], rtol=1e-5)
    np.testing.assert_allclose(jax.curves["step_loss"], torch.curves["step_loss"], rtol=1e-3)
    assert jax.recipe == torch.recipe
    assert jax.protocol == torch.protocol
    assert jax.metrics["majority_accuracy"] == torch.metrics["majority_accuracy"]


def test_a_record_is_complete(twins, data):
    out, found, shown = twins
    for one in found:
        of = record(out, one)
        assert of.cell.id == one.id
        assert of.curves["epoch"] == [1, 2, 3]
        assert of.curves["epoch_step"] == [10, 20, 30]
        assert len(of.curves["step_loss"]) == len(of.curves["step"]) == 30
        accuracies = of.curves["validation_accuracy"]
        selected = int(np.argmax(accuracies))
        assert of.metrics["selected_epoch"] == selected + 1
        assert of.metrics["test_accuracy"] == of.curves["test_accuracy"][selected]
        prepared = open_dataset("lra_listops", data, **one.recipe.data.settings)
        predicted = decode_predictions(of.predictions)
        assert (predicted == prepared.test.labels).mean() == of.metrics["test_accuracy"]
        assert of.curves["train_loss"][0] == pytest.approx(np.mean(of.curves["step_loss"][:10]))
        assert of.provenance["command"] == "python -m suite.run --tasks lra.listops"
        assert of.provenance["data"] == prepared.hashes
        assert of.provenance["started"] <= of.provenance["finished"]
        assert of.timing["compile_seconds"] > 0
        assert of.timing["step_seconds_p20"] <= of.timing["step_seconds_p50"] <= of.timing["step_seconds_p80"]
        tokens = 4 * of.protocol["maximum_length"] / of.timing["step_seconds_p50"]
        assert of.timing["tokens_per_second"] == pytest.approx(tokens)
        assert of.timing["process_peak_memory_bytes"] > 2**25
        assert of.protocol["comparable_to"] == ""
        assert "epochs is 3, published 40" in of.protocol["differences"]
        assert f"{one.label}: measured" in shown
    assert not list((out / "logs").glob("*.json"))


def test_a_cell_loads_its_own_framework_only(twins):
    out, found, _ = twins
    assert [record(out, one).provenance["frameworks_loaded"] for one in found] == [["jax"], ["torch"]]
    program = (
        "import sys, suite.run, suite.launch.cell; print([m for m in ('jax', 'torch', 'flax') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_records_name_no_folder_of_this_machine(twins, tmp_path):
    out, found, _ = twins
    for one in found:
        text = local.records_path(out, one).read_text()
        for place in (str(ROOT), str(Path.home()), str(out)):
            assert len(place) < 3 or f"{place}/" not in text


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        ("SIGSEGV:step:3", "crashed by SIGSEGV"),
        ("SIGKILL:step:3", "killed by SIGKILL, most likely by the system because memory ran out"),
        ("memory:step:3", "out of memory: MemoryError"),
    ],
)
def test_a_crash_becomes_a_failed_record(tmp_path, data, monkeypatch, moment, reason):
    pytest.importorskip("torch")
    found = cell("torch")
    tiny_runs.dying(monkeypatch, tmp_path / "hook", moment)
    (outcome,), shown = launch([found], tmp_path / "runs", data)
    assert outcome.status == "failed"
    assert reason in outcome.reason
    failed = record(tmp_path / "runs", found)
    assert failed.status == "failed"
    assert reason in failed.reason
    assert "30 updates on cpu" in failed.log_tail
    assert failed.recipe == found.recipe.to_dict()  # pyright: ignore[reportOptionalMemberAccess]
    assert failed.protocol["name"] == "lra_listops/generated"
    assert f"{found.label}: failed ({reason}" in shown
    assert str(ROOT) not in local.records_path(tmp_path / "runs", found).read_text()


def test_one_failure_leaves_the_others_alone_and_a_failed_cell_runs_again(tmp_path, data):
    pytest.importorskip("torch")
    bad, good = cell("torch", "optimizer.groups.regular.rate=1e30"), cell("torch", seed=1)
    outcomes, _ = launch([bad, good], tmp_path, data, jobs=2)
    status = {outcome.cell.id: outcome for outcome in outcomes}
    assert status[good.id].status == "measured"
    assert status[bad.id].status == "failed"
    assert re.match(r"diverged at step \d+: the loss is (nan|inf)", status[bad.id].reason)
    assert not local.finished(tmp_path, bad)
    assert local.finished(tmp_path, good)
    first = local.records_path(tmp_path, bad).stat().st_mtime_ns
    (again,), _ = launch([bad], tmp_path, data)
    assert again.reason == status[bad.id].reason
    assert local.records_path(tmp_path, bad).stat().st_mtime_ns > first


def test_a_cell_that_takes_too_long_is_ended(tmp_path, data):
    pytest.importorskip("torch")
    found = cell("torch", "epochs=100000")
    (outcome,), _ = launch([found], tmp_path, data, timeout=5.0)
    assert outcome.status == "failed"
    assert record(tmp_path, found).reason == "timed out after 5 seconds"


def test_seeds_change_the_run_and_repetitions_do_not(twins, tmp_path, data, monkeypatch):
    out, (_, first), _ = twins
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    second = cell("torch", seed=1)
    launch([first, second], tmp_path, data)
    assert numbers(record(tmp_path, first)) == numbers(record(out, first))
    assert record(tmp_path, second).curves["step_loss"] != record(out, first).curves["step_loss"]


@pytest.mark.parametrize(
    ("code", "lines", "reason"),
    [
        (1, ["jaxlib.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes"], "out of memory: jaxlib"),
        (1, ["cell failed: OutOfMemoryError: CUDA out of memory."], "out of memory: OutOfMemoryError: CUDA"),
        (-signal.SIGABRT, ["terminate called after throwing an instance of 'std::bad_alloc'"], "out of memory: termin"),
        (-signal.SIGABRT, ["something else"], "crashed by SIGABRT"),
        (1, ["cell failed: ValueError: wrong"], "ValueError: wrong"),
        (7, ["nothing"], "ended with status 7 and without a record"),
        (-64, [], "crashed by"),
    ],
)
def test_reasons_from_status_and_log(code, lines, reason):
    assert local.why(code, lines).startswith(reason)


def test_a_full_disk_is_named_where_a_log_has_lost_its_end(tmp_path, data, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(local.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    tiny_runs.dying(monkeypatch, tmp_path / "hook", "SIGSEGV:step:1")
    ((outcome,), _), out = launch([cell("torch")], tmp_path / "runs", data), tmp_path / "runs"
    assert outcome.reason.startswith("crashed by SIGSEGV; ")
    assert outcome.reason.endswith(f"the disk of {out} is full: free it and run again, or choose another --out")
    launcher = local.Launcher(local.Options(out, data), Display())
    assert launcher._full(["cell failed: ValueError: wrong"]) == ""
    monkeypatch.undo()
    assert launcher._full([]) == ""


def test_children_share_the_cores(monkeypatch):
    for name in ("OMP_NUM_THREADS", "NPROC"):
        monkeypatch.delenv(name, raising=False)
    found = cell("torch")
    assert "OMP_NUM_THREADS" not in local.environment(found, jobs=1)
    values = local.environment(found, jobs=4)
    assert values["OMP_NUM_THREADS"] == values["NPROC"] == str(max(1, len(os.sched_getaffinity(0)) // 4))
    assert values["JAX_PLATFORMS"] == "cpu"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert local.environment(found, jobs=4)["OMP_NUM_THREADS"] == "3"


def test_what_is_timed_has_all_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (timed,) = cells(Selection(tasks=("speed.s5",), frameworks=("jax",)))
    assert timed.alone
    assert "OMP_NUM_THREADS" not in local.environment(timed, jobs=4)
    (compiled,) = cells(Selection(tasks=("speed.s5",), frameworks=("jax",), hardware="tpu-v4"))
    assert "OMP_NUM_THREADS" in local.environment(compiled, jobs=4, compile_only=True)
