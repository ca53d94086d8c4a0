"""A run that is killed at any moment and started again ends in the same bits as one that was left alone."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_runs
from test_verify import made
from tiny_runs import ROOT, cell, launch, numbers, record

from reports import records
from suite.launch.cell import leave_unfinished, progress_path, stop_rule
from suite.launch.display import Display
from suite.launch.local import Launcher, Options, _Running
from suite.training.checkpoint import CheckpointStore


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


# While a checkpoint's arrays are flushed; after its arrays and before its pointer; between checkpoints; while an old
# one is removed; while the record is put in its place.
MOMENTS = ("SIGKILL:fsync:1", "SIGKILL:replace:2", "SIGKILL:step:13", "SIGKILL:unlink:1", "SIGKILL:record:1")


@pytest.mark.parametrize("framework", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_killed_at_several_moments(framework, tmp_path, data, monkeypatch):
    pytest.importorskip(framework)
    found = cell(framework)
    (outcome,), _ = launch([found], tmp_path / "straight", data)
    assert outcome.status == "measured"
    steps = []
    for moment in MOMENTS:
        tiny_runs.dying(monkeypatch, tmp_path / "hook", moment)
        (outcome,), shown = launch([found], tmp_path / "killed", data, checkpoint_steps=4)
        assert outcome.status == "failed", moment
        assert "SIGKILL" in outcome.reason
        assert record(tmp_path / "killed", found).status == "failed"
        checkpoint = CheckpointStore(tmp_path / "killed" / "checkpoints" / found.id).load()
        steps.append(checkpoint.values["step"] if checkpoint else 0)
        assert "damaged" not in shown
    assert steps[0] == steps[1] == 0
    assert 0 < steps[2] <= 13 < steps[3] <= steps[4] == 30
    tiny_runs.dying(monkeypatch, tmp_path / "hook", None)
    (outcome,), shown = launch([found], tmp_path / "killed", data, checkpoint_steps=4)
    assert outcome.status == "measured"
    assert "resumed from the checkpoint at step 30 of 30" in shown
    straight, killed = (record(tmp_path / folder, found) for folder in ("straight", "killed"))
    assert numbers(killed) == numbers(straight)
    assert killed.timing["starts"] > straight.timing["starts"] == 1
    assert len(straight.curves["step_loss"]) == 30
    assert not list((tmp_path / "killed" / "checkpoints").iterdir())


def start(out: Path, data: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "suite.run", "--tasks", "lra.listops", "--architectures", "s5", *tiny_runs.OPTIONS]
    words = ["--frameworks", "torch", "--set", "epochs=30", "--out", str(out), "--data", str(data), *arguments]
    return subprocess.Popen(command + words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_step(process: subprocess.Popen, path: Path, step: int) -> int:
    """Wait until a running cell has reached a step."""
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        try:
            now = json.loads(path.read_text())["step"]
        except (OSError, ValueError):
            now = 0
        if now >= step:
            return now
        time.sleep(0.02)
    output = process.communicate(timeout=300)[0] if process.poll() is not None else "still running"
    raise AssertionError(f"the cell did not reach step {step}: {output}")


@pytest.mark.slow
def test_the_whole_command_is_killed_stopped_and_continued(tmp_path, data):
    pytest.importorskip("torch")
    found = cell("torch", "epochs=30")
    out, shown = tmp_path / "runs", progress_path(tmp_path / "runs", found)
    (outcome,), _ = launch([found], tmp_path / "straight", data)
    assert outcome.status == "measured"

    first = start(out, data)
    wait_for_step(first, shown, 20)
    first.kill()
    first.communicate(timeout=300)
    log, until = out / "logs" / f"{found.id}.log", time.monotonic() + 300
    while "launcher is gone" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    assert "stopped because the launcher is gone" in log.read_text()
    reached = CheckpointStore(out / "checkpoints" / found.id).load().values["step"]  # pyright: ignore[reportOptionalMemberAccess]
    assert 20 <= reached < 300

    second = start(out, data)
    wait_for_step(second, shown, reached + 20)
    second.send_signal(signal.SIGTERM)
    output = second.communicate(timeout=300)[0]
    assert second.returncode == 3, output
    assert "not finished: lra.listops s5 torch seed 0: stopped by SIGTERM at step" in output
    assert "resume with the same command" in output
    assert record(out, found).status == "not finished"

    third = start(out, data)
    output = third.communicate(timeout=300)[0]
    assert third.returncode == 0, output
    assert "resumed from the checkpoint" in output
    assert numbers(record(out, found)) == numbers(record(tmp_path / "straight", found))
    assert "site/index.html" in output


@pytest.mark.parametrize(
    ("number", "deadline", "reason"),
    [
        (signal.SIGINT, None, "stopped by Ctrl-C"),
        (signal.SIGTERM, None, "stopped by SIGTERM"),
        (signal.SIGTERM, 0.0, "stopped by the time limit"),
    ],
)
def test_a_cell_says_what_stopped_it(number, deadline, reason):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = stop_rule(deadline)
        assert deadline is not None or stop() is None
        signal.raise_signal(number)
        assert stop() == reason
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def test_the_launcher_passes_on_what_stopped_it(tmp_path):
    launcher = Launcher(Options(out=tmp_path, data=tmp_path), Display(io.StringIO()))
    for number in (signal.SIGINT, signal.SIGTERM):
        launcher._ask_to_stop(number, None)
    process, log = Ended(), (tmp_path / "log").open("wb")
    one = _Running(cell("torch"), {}, process, log, time.time())  # pyright: ignore[reportArgumentType]
    launcher._watch_the_clock([one])
    assert process.signals == [signal.SIGINT]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{one.cell.id}.log").write_text("")
    launcher._finish(one)
    (outcome,) = launcher.outcomes
    assert (outcome.status, outcome.reason) == ("not finished", "stopped by Ctrl-C before it wrote a checkpoint")


class Ended:
    """A process that the signal it is sent ends before it does anything about it."""

    def __init__(self):
        self.signals, self.returncode = [], None

    def send_signal(self, number):
        self.signals.append(number)
        self.returncode = -number


def test_the_time_limit_ends_a_cell_with_a_checkpoint(tmp_path, data):
    pytest.importorskip("torch")
    found = [cell("torch", "epochs=100000", seed=seed) for seed in (0, 1)]
    outcomes, shown = launch(found, tmp_path, data, deadline=time.time() + 12)
    assert [outcome.status for outcome in outcomes] == ["not finished"] * 2
    reasons = {outcome.cell.seed: outcome.reason for outcome in outcomes}
    assert "stopped by the time limit at step" in reasons[0]
    assert "a checkpoint is written" in reasons[0]
    assert "before it was started" in reasons[1]
    assert CheckpointStore(tmp_path / "checkpoints" / found[0].id).load() is not None
    assert not (tmp_path / "records" / f"{found[1].id}.json").exists()
    left = record(tmp_path, found[0])
    assert (left.status, left.reason in reasons[0]) == ("not finished", True)
    assert left.metrics["test_accuracy"] == left.curves["test_accuracy"][int(left.metrics["selected_epoch"] or 0) - 1]
    assert left.curves["step"][-1] == int(re.findall(r"at step (\d+) of", left.reason)[0])
    whole, evaluated = int(left.curves["step"][-1] or 0) // 10, len(left.curves["epoch"])
    assert evaluated in (whole - 1, whole), "the last one may have been stopped at"
    assert "not finished" in shown


def test_what_a_stopped_run_had_reached_is_left_out_where_it_cannot_be_written(tmp_path):
    of, full = made(cell("torch"), metrics={"test_accuracy": 0.5}), tmp_path / "full"
    leave_unfinished(of, "stopped by Ctrl-C", tmp_path)
    left = records.read(tmp_path / "records" / f"{of.cell.id}.json")
    assert (left.status, left.reason, left.metrics) == ("not finished", "stopped by Ctrl-C", of.metrics)
    full.write_text("no folder")
    leave_unfinished(of, "stopped by Ctrl-C", full)
    assert full.read_text() == "no folder"


def test_a_corrupt_checkpoint_falls_back_and_ends_in_the_same_bits(tmp_path, data, monkeypatch):
    pytest.importorskip("torch")
    found = cell("torch")
    launch([found], tmp_path / "straight", data)
    tiny_runs.dying(monkeypatch, tmp_path / "hook", "SIGKILL:step:25")
    launch([found], tmp_path / "runs", data, checkpoint_steps=4)
    tiny_runs.dying(monkeypatch, tmp_path / "hook", None)
    newest = max((tmp_path / "runs" / "checkpoints" / found.id).glob("*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-5] ^= 255
    newest.write_bytes(content)
    (outcome,), shown = launch([found], tmp_path / "runs", data, checkpoint_steps=4)
    assert outcome.status == "measured"
    assert f"checkpoint {newest.stem}.json is damaged" in shown
    assert "resumed from the checkpoint at step 20 of 30" in shown
    assert numbers(record(tmp_path / "runs", found)) == numbers(record(tmp_path / "straight", found))


def test_one_cell_is_never_run_by_two_processes(tmp_path, data):
    pytest.importorskip("torch")
    found = cell("torch")
    store = CheckpointStore(tmp_path / "checkpoints" / found.id)
    store.lock()
    (outcome,), _ = launch([found], tmp_path, data)
    assert outcome.status == "failed"
    assert "another process is running this cell" in outcome.reason
    store.unlock()
    (outcome,), _ = launch([found], tmp_path, data)
    assert outcome.status == "measured"
    assert os.path.exists(tmp_path / "records" / f"{found.id}.json")
