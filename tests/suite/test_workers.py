"""Processes that do one cell after another: what dies there costs one cell, and none grows without bound."""

import dataclasses
import io
import os
import re
import signal
import time

import pytest

from reports import records
from suite.launch import workers
from suite.launch.display import Display
from suite.launch.local import Launcher, Options, records_path
from suite.matrix import Selection, cells

# In place of compiling: seed 1 ends its process, seed 2 fails, seed 4 does not end.
PROGRAM = """
import json, os, signal, time
from pathlib import Path
from reports import records
from suite.launch import cell, result, workers
from suite.matrix import Cell

def main(arguments):
    spec = json.loads(Path(arguments[0]).read_text())
    one = Cell.from_dict(spec["cell"])
    print("process", os.getpid(), flush=True)
    if one.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if one.seed == 2:
        print(cell.REASON + "no such instruction")
        return cell.ERROR
    if one.seed == 4:
        time.sleep(600)
    records.write(result.without_numbers(one, "compiled", "", {}, {}), Path(spec["out"]))
    return cell.MEASURED

cell.main = main
workers.main()
"""


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """A launcher whose workers pretend to compile."""
    program = tmp_path / "pretended.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(workers, "PROGRAM", (str(program),))
    options = Options(out=tmp_path / "runs", data=tmp_path, compile_only=True)
    return Launcher(options, Display(io.StringIO()))


def chosen(*seeds):
    """Cells for a TPU v4, with what stands for their protocols."""
    names = {"tasks": ("lra.listops",), "architectures": ("s5",), "frameworks": ("jax",), "hardware": "tpu-v4"}
    (one,) = cells(Selection(**names))
    return [(dataclasses.replace(one, seed=seed), {}) for seed in seeds]


def process_of(launcher, cell):
    """The process that the log of a cell names."""
    (found,) = re.findall(r"process (\d+)", (launcher.options.out / "logs" / f"{cell.id}.log").read_text())
    return int(found)


def test_a_cell_that_ends_its_process_takes_no_other_with_it(launcher):
    found = chosen(0, 1, 2, 3)
    outcomes = {outcome.cell.seed: outcome for outcome in launcher.run(found)}
    assert [outcomes[seed].status for seed in range(4)] == ["compiled", "failed", "failed", "compiled"]
    assert "killed by SIGKILL" in outcomes[1].reason
    assert outcomes[2].reason == "no such instruction"
    first, killed, failed, last = (process_of(launcher, cell) for cell, _ in found)
    assert first == killed != failed == last
    of = [records.read(records_path(launcher.options.out, cell)) for cell, _ in found]
    assert [record.status for record in of] == ["compiled", "failed", "failed", "compiled"]
    assert not launcher.workers.turns


def test_a_cell_that_takes_too_long_is_ended_with_its_process_alone(launcher, monkeypatch):
    shown = launcher.display.started

    def started(cell, log):
        shown(cell, log)
        if cell.seed == 4:
            while not log.exists() or "process" not in log.read_text():
                time.sleep(0.05)
            launcher.options = dataclasses.replace(launcher.options, timeout=0.2)
        else:
            launcher.options = dataclasses.replace(launcher.options, timeout=None)

    monkeypatch.setattr(launcher.display, "started", started)
    statuses = {o.cell.seed: (o.status, o.reason) for o in launcher.run(chosen(4, 0))}
    assert statuses == {4: ("failed", "timed out after 0.2 seconds"), 0: ("compiled", "")}


def test_a_worker_that_holds_too_much_does_no_other_cell(launcher):
    launcher.workers.most = 0
    found = chosen(0, 3)
    assert [outcome.status for outcome in launcher.run(found)] == ["compiled", "compiled"]
    first, second = (process_of(launcher, cell) for cell, _ in found)
    assert first != second


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system with a say in who runs where")
def test_workers_share_no_core_while_there_is_one_for_each(launcher, tmp_path, monkeypatch):
    cores = sorted(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)))
    assert workers.shares(2) == [{0, 2, 4}, {1, 3}]
    assert workers.shares(6) == []
    monkeypatch.undo()
    monkeypatch.setattr(workers, "PROGRAM", ("-c", "import sys; [None for line in sys.stdin]"))
    two, log = workers.Workers(len(cores)), tmp_path / "of.spec.json"
    turns = [two.turn(log, {}) for _ in cores]
    assert sorted(min(os.sched_getaffinity(turn.process.pid)) for turn in turns) == cores
    assert {len(os.sched_getaffinity(turn.process.pid)) for turn in turns} == {1}
    turns[0].returncode = 0
    again = two.turn(log, {"OTHER": "1"})  # another process has the cores of the one that it replaces
    assert os.sched_getaffinity(again.process.pid) == {cores[0]}
    two.end()
    few = workers.Workers(len(cores) + 1)
    assert few.turn(log, {}).cores is None
    few.end()


def test_a_worker_that_is_asked_to_end_does_so(launcher):
    (cell, protocol), other = chosen(4)[0], chosen(3)[0]
    shown = launcher.display.started

    def started(cell, log):
        shown(cell, log)
        while "process" not in log.read_text():
            time.sleep(0.05)
        launcher._ask_to_stop(signal.SIGTERM, None)

    launcher.display.started = started
    outcomes = launcher.run([(cell, protocol), other])
    assert [outcome.status for outcome in outcomes] == ["not finished", "not finished"]
    assert not records_path(launcher.options.out, cell).exists()
