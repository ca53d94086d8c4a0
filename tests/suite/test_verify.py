"""A record that is run again: what comes out again, what was changed by hand, and what cannot be verified."""

import contextlib
import dataclasses
import importlib.util
import io
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_runs import cell, launch

from reports.records import Record, read
from suite import provenance, verify
from suite.hardware import detect
from suite.launch import cell as child
from suite.launch import local, result
from suite.matrix import Cell, Selection, cells
from suite.replay import agreement, circumstances, rerun, source
from suite.replay.rerun import Again

COMMAND = ("--tasks", "lra.listops")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A tiny training and its data."""
    pytest.importorskip("torch")
    folder, found = tmp_path_factory.mktemp("verify"), cell("torch")
    (outcome,), _ = launch([found], folder / "runs", folder / "data", arguments=COMMAND)
    assert outcome.status == "measured", outcome.reason
    return folder, found


@pytest.fixture
def changed(measured, tmp_path) -> Callable[..., Path]:
    """Writes the record with some of its JSON changed; gives the file."""

    def write(change: Callable[[dict[str, Any]], Any]) -> Path:
        folder, found = measured
        values = json.loads((folder / "runs" / "records" / f"{found.id}.json").read_text())
        change(values)
        (tmp_path / "records").mkdir(exist_ok=True)
        path = tmp_path / "records" / f"{found.id}.json"
        path.write_text(json.dumps(values))
        return path

    return write


class Inside:
    """A child process that is none: the cell runs in this one, which has its framework already."""

    def __init__(self, command: list[str], stdout: Any, **options: Any) -> None:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with contextlib.redirect_stdout(io.TextIOWrapper(stdout, write_through=True)) as log:
            self.returncode = child.main(command[3:])
            log.detach()
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def poll(self) -> int:
        return self.returncode


@pytest.fixture
def inside(monkeypatch) -> None:
    """Cells run in this process."""
    monkeypatch.setattr(child, "faulthandler", SimpleNamespace(enable=lambda: None))  # capture has no file number
    known = {name: getattr(subprocess, name) for name in ("DEVNULL", "STDOUT")}
    monkeypatch.setattr(local, "subprocess", SimpleNamespace(Popen=Inside, **known))


def run(measured, path: Path | str, *options: str) -> int:
    return verify.main([str(path), "--data", str(measured[0] / "data"), *options])


def test_a_whole_run_comes_out_bit_for_bit(measured, capsys):
    folder, found = measured
    assert run(measured, found.id, "--runs", str(folder / "runs")) == 0
    shown = capsys.readouterr().out
    assert "running all 30 updates on cpu" in shown
    assert "reproduced bit for bit" in shown
    for quantity in ("step_loss", "validation_accuracy", "metric test_accuracy", "predicted classes"):
        (line,) = [line for line in shown.splitlines() if line.startswith(f"{quantity}  ")]
        assert "bit for bit" in line
    assert "data: 9 files, each with the recorded sha256" in shown
    assert not (folder / "runs" / "checkpoints" / found.id).exists()


def test_a_loss_changed_by_hand_does_not_come_out(measured, changed, inside, capsys, monkeypatch):
    def change(values: dict[str, Any]) -> None:
        values["curves"]["step_loss"][2] *= 1 + 1e-4
        values["curves"]["step_loss"][7] -= 1e-4 * values["curves"]["step_loss"][2] / (1 + 1e-4)  # the same mean
        values["provenance"]["versions"]["numpy"] = "1.0"  # so that rounding is allowed, and measured

    came, again = [], rerun.again
    monkeypatch.setattr(rerun, "again", lambda *given, **options: came.append(again(*given, **options)) or came[-1])
    assert run(measured, changed(change), "--steps", "5") == 1
    shown = capsys.readouterr().out
    assert [one.updates for one in came] == [5, 5]
    plain, moved = (np.array(one.curves["step_loss"]) for one in came)
    assert (plain != moved).any()
    np.testing.assert_allclose(moved, plain, rtol=1e-5)
    assert "running the first 5 of 30 updates on cpu" in shown
    assert "running 5 updates once more, from initial values one rounding away" in shown
    assert "step_loss at update 3 is" in shown
    assert "not reproduced: the difference is beyond what rounding does" in shown


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v["metrics"].update(test_accuracy=0.9), "metrics.test_accuracy is 0.9, but"),
        (lambda v: v["metrics"].update(selected_epoch=2), "metrics.selected_epoch is 2, but by the rule"),
        (lambda v: v["metrics"].update(last_test_accuracy=0.9), "metrics.last_test_accuracy is 0.9"),
        (lambda v: v["curves"]["step_loss"].__setitem__(29, 1.0), "curves.train_loss of epoch 3"),
        (lambda v: v["curves"]["validation_accuracy"].__setitem__(2, 0.9), "selects epoch 3"),
        (lambda v: v["curves"]["epoch_step"].__setitem__(1, 5), "curves.epoch_step does not rise"),
        (lambda v: v["timing"].update(step_seconds_p20=1e9), "step_seconds do not rise"),
    ],
)
def test_a_number_that_contradicts_another_needs_no_run(measured, changed, capsys, change, sentence):
    assert run(measured, changed(change)) == 1
    shown = capsys.readouterr().out
    assert sentence in shown
    assert "not reproduced: the record contradicts itself" in shown
    assert "running" not in shown


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v["recipe"].update(batch_size=5), "is not of the cell that it names"),
        (lambda v: v["recipe"].update(speed=5), "cannot run the recipe of record"),
        (lambda v: v["cell"].update(task="lra.listop"), "unknown task 'lra.listop': did you mean 'lra.listops'"),
        (lambda v: v["cell"].update(hardware="h10"), "unknown hardware 'h10'"),
        (lambda v: v["provenance"].update(command="python x.py"), "not written by python -m suite.run; repeat its"),
        (lambda v: v["provenance"]["data"].update({"test/labels.npy": "0" * 64}), "1 of 9 data files are not those"),
        (lambda v: v["provenance"]["data"].pop("test/labels.npy"), "1 of 8 data files are not those"),
        (lambda v: v["provenance"].pop("data"), "holds no hashes of its data"),
        (lambda v: v.update(status="compiled"), "is of a compilation"),
        (lambda v: v.update(status="failed", metrics={}, curves={}, reason="lost"), "is 'failed' (lost): it holds no"),
        (lambda v: v.update(schema="longseq-bench/record/9"), "is not valid"),
        (lambda v: v["metrics"].update(test_accuracy="high"), "is not valid"),
    ],
)
def test_what_cannot_be_verified_is_one_sentence_and_status_2(measured, changed, capsys, change, sentence):
    assert run(measured, changed(change)) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("cannot be verified: ")
    assert len(captured.err.strip().splitlines()) == 1
    assert "running" not in captured.out


@pytest.mark.parametrize("compiler", [True, False])
def test_unknown_records_and_absent_hardware(measured, tmp_path, capsys, monkeypatch, compiler):
    find = importlib.util.find_spec
    told = {"libtpu": object() if compiler else None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: told[name] if name in told else find(name))
    monkeypatch.setattr(detect, "present", lambda: ["cpu"])
    folder, found = measured
    runs = ("--runs", str(folder / "runs"))
    for name, options, sentence in (
        ("0123456789ab", runs, "no record of cell '0123456789ab'"),
        (str(tmp_path / "absent.json"), runs, "there is no file"),
        (str(folder / "runs" / "records"), runs, "records is a folder: give the path of a record"),
        (found.id, (*runs, "--hardware", "tpu-v4"), "hardware 'tpu-v4' (Google TPU v4) is not on this machine, which"),
        (found.id, (*runs, "--hardware", "h100"), "which has: cpu; verify it there, or leave out --hardware"),
        (found.id, (*runs, "--hardware", "h10"), "unknown hardware 'h10'"),
    ):
        assert run(measured, name, *options) == 2
        captured = capsys.readouterr()
        assert sentence in captured.err
        assert "running" not in captured.out
    (tmp_path / "records").mkdir()
    other = (folder / "runs" / "records" / f"{found.id}.json").read_text().replace('"seed": 0', '"seed": 1')
    (tmp_path / "records" / f"{found.id}.json").write_text(other)
    assert run(measured, found.id, *runs, str(tmp_path)) == 2
    assert "has different records" in capsys.readouterr().err


def made(of: Cell, **values: Any) -> Record:
    """A record as if a cell had been measured."""
    origin = {"command": "python -m suite.run", "data": {}}
    recipe = of.recipe.to_dict() if of.recipe else of.settings
    fields: dict[str, Any] = {"status": "measured", "recipe": recipe, "protocol": result.protocol(of)}
    return Record(cell=result.record_cell(of), provenance=origin, **{**fields, **values})


def store(of: Record, folder: Path) -> Path:
    from reports import records

    return records.write(of, folder)


def test_missing_data_name_the_command_that_gets_them(tmp_path, capsys):
    path = store(made(cell("torch", task="lra.text"), metrics={"test_accuracy": 0.5}), tmp_path)
    assert verify.main([str(path), "--data", str(tmp_path / "data")]) == 2
    assert "python -m suite.data fetch lra_text" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["equivalence.s5", "speed.layer", "lm.book", "ablation.s5"])
def test_every_kind_of_cell_is_found_again_from_its_record(task):
    selection = Selection(tasks=(task,), architectures=("s5",), frameworks=("jax", "torch"))
    for of in cells(selection):
        assert source.cell_of(made(of, metrics={"x": 1.0})) == of


def rows(*errors: float) -> list[dict[str, Any]]:
    return [
        {"rung": 3, "check": "forward", "case": str(case), "dtype": "float32", "error_jax": error, "passed": error < 1}
        for case, error in enumerate(errors)
    ]


def test_a_ladder_agrees_by_what_passes(monkeypatch, tmp_path, capsys):
    (of,) = cells(Selection(tasks=("equivalence.s5",), architectures=("s5",)))
    ladder = made(of, tables={"parity": rows(1e-7, 2e-7)}, metrics={"checks": 2, "failed_checks": 0})
    path = store(ladder, tmp_path)
    here = made(of, tables={"parity": rows(1e-7, 3e-7)})
    monkeypatch.setattr(rerun, "again", lambda *arguments, **options: Again(record=here))
    assert verify.main([str(path)]) == 0
    assert "reproduced within rounding, others are shown and not judged" in capsys.readouterr().out
    monkeypatch.setattr(circumstances, "alike", lambda *arguments: True)
    assert verify.main([str(path)]) == 1
    assert "errors of the checks is 2e-07 in the record and 3e-07 here" in capsys.readouterr().out
    (_, _, alone) = agreement.ladder(ladder, made(of, tables={"parity": rows(1e-7)}), strict=True)
    assert "rung 3 forward 1 float32" in alone.outside
    (passed, *_) = agreement.ladder(made(of), here, strict=False)
    assert passed.judgment == "not reproduced"
    other = [{**row, "error_torch": 1.0} for row in rows(1e-7, 2e-7)]
    assert agreement.ladder(ladder, made(of, tables={"parity": other}), strict=True)[1].judgment == "not reproduced"
    monkeypatch.undo()
    here = made(of, tables={"parity": rows(1e-7, 3.0)})
    monkeypatch.setattr(rerun, "again", lambda *arguments, **options: Again(record=here))
    assert verify.main([str(path)]) == 1
    assert verify.main([str(path), "--whole"]) == 2
    assert "--steps and --whole belong to trainings" in capsys.readouterr().err


def test_a_speed_cell_repeats_its_gate_and_no_time(tmp_path, inside, capsys):
    pytest.importorskip("torch")
    small = ("shortest=8", "longest=16", "rounds=1", 'modes=["forward"]')
    chosen = Selection(tasks=("speed.layer",), architectures=("ema",), frameworks=("torch",), overrides=small)
    (of,) = cells(chosen)
    gate = [{"layer": name, "error": 1e-7, "tolerance": 1e-4, "passed": True} for name in ("Slide", "ema")]
    path = store(made(of, tables={"gate": gate}, metrics={"longest_ratio": 2.0}), tmp_path)
    assert verify.main([str(path)]) == 0
    shown = capsys.readouterr().out
    assert "times are not compared" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("gates passed")]
    assert line.split()[2:4] == ["2", "2"]
    end = "gate passes again within rounding, others are shown and not judged; times not verified; judged: gates passed"
    assert shown.splitlines()[-1] == end
    store(made(of, tables={"gate": gate}, metrics={"longest_ratio": 2.0}, status="failed", reason="lost"), tmp_path)
    assert verify.main([str(path)]) == 2
    captured = capsys.readouterr()
    assert "reproduced" not in captured.out
    assert "the record is 'failed' (lost): its gate passes again (judged: gates passed), but" in captured.err
    gate[1]["passed"] = False
    store(made(of, tables={"gate": gate}, metrics={"longest_ratio": 2.0}), tmp_path)
    assert verify.main([str(path)]) == 1
    assert "tables.gate of ema: passed is False" in capsys.readouterr().out
    gate[1]["error"] = 1.0  # as a run would have written it
    here = made(of, tables={"gate": [{**row, "error": 1e-7, "passed": True} for row in gate]})
    compared = agreement.speed(made(of, tables={"gate": gate}), here, strict=False)
    assert [one.judgment for one in compared][:2] == ["not reproduced", "not judged"]
    short = made(of, tables={"gate": gate[:1]})
    for recorded, found, told in (
        (here, short, "layer ema in the record and None"),
        (short, here, "None in the record"),
    ):
        (_, alone, *_) = agreement.speed(recorded, found, strict=False)
        assert f"gates of one side only is {told}" in alone.outside


def faked(monkeypatch, *runs: Again | Exception) -> list[tuple[int | None, bool]]:
    """Runs that are none: what each gives or raises; the list fills with how many updates were asked for, and whether
    from moved values."""
    left, calls = list(runs), []

    def again(cell: Cell, way: Any, updates: int | None = None, moved: bool = False) -> Again:
        calls.append((updates, moved))
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(rerun, "again", again)
    return calls


def test_what_a_run_here_may_come_to(measured, monkeypatch, capsys):
    folder, found = measured
    arguments = (found.id, "--runs", str(folder / "runs"), "--steps", "7")
    of = read(folder / "runs" / "records" / f"{found.id}.json")
    monkeypatch.setattr(circumstances, "alike", lambda *given: False)

    def partly(factor: float) -> Again:
        losses = [factor * (loss or 0.0) for loss in of.curves["step_loss"][:5]]
        return Again(5, {"step": [1, 2, 3, 4, 5], "step_loss": losses}, ended="stopped by the time limit")

    calls = faked(monkeypatch, partly(1.0))
    assert run(measured, *arguments) == 0
    assert calls == [(7, False)]
    shown = capsys.readouterr().out
    assert "it came to update 5: stopped by the time limit" in shown
    assert "reproduced bit for bit" in shown
    calls = faked(monkeypatch, partly(1.1), partly(2.0))
    assert run(measured, *arguments) == 2
    assert calls == [(7, False), (5, True)]
    assert "no number could be judged" in capsys.readouterr().err
    faked(monkeypatch, Again(ended="diverged at step 3"))
    assert run(measured, *arguments) == 1
    assert "the run here diverged at step 3" in capsys.readouterr().out
    faked(monkeypatch, OSError(28, "No space left on device"))
    assert run(measured, *arguments) == 2
    assert "No space left on device: choose a folder that can be written" in capsys.readouterr().err


def test_a_time_limit_that_cannot_be_met_is_said_before_the_run(measured, changed, monkeypatch, capsys):
    calls = faked(monkeypatch)
    monkeypatch.setattr(verify, "open_dataset", lambda *place, **settings: pytest.fail("data are prepared before"))
    path = changed(lambda v: v["timing"].update(step_seconds_p20=1900, step_seconds_p50=2000, step_seconds_p80=2100))
    assert run(measured, path) == 2
    error = capsys.readouterr().err
    assert "the first loss of the record is the mean of updates 1 to 1, which take about 33 min on cpu here" in error
    assert error.strip().endswith("but the time limit is 10 min: give --time-limit 50m")
    assert calls == []
    (paper,) = cells(Selection(tasks=("lra.listops",), architectures=("s5",), frameworks=("jax",), profile="paper"))
    far = made(dataclasses.replace(paper, hardware="h200"), timing={"step_seconds_p50": 0.01})
    monkeypatch.setattr(detect, "cores", lambda: 2)
    with pytest.raises(source.CannotVerify, match=r"updates 1 to 39, .* at an assumed rate.* or verify it on h200"):
        verify.reachable(far, paper, 600.0)
    verify.reachable(far, paper, 36_000.0)
    verify.reachable(far, dataclasses.replace(paper, hardware="h200"), 600.0)


def test_circumstances_say_what_differs(measured, monkeypatch):
    folder, found = measured
    of = read(folder / "runs" / "records" / f"{found.id}.json")
    of.provenance["dirty"] = False
    monkeypatch.setattr(provenance, "changed_since", lambda head: [])
    same = circumstances.compare(of, found)
    assert circumstances.alike(same, found)
    of.provenance["commit"] = "0" * 40
    (code,) = [one for one in circumstances.compare(of, found) if one.name == "code"]
    assert code.same
    assert code.here.endswith(", no file that makes numbers changed")
    monkeypatch.setattr(provenance, "changed_since", lambda head: ["suite/training/loop.py"])
    other = {one.name: one for one in circumstances.compare(of, found)}
    assert other["code"].same is False
    assert "suite/training/loop.py" in other["code"].here
    monkeypatch.setattr(provenance, "changed_since", lambda head: [])
    of.provenance["versions"] |= {"torch": "1.0", "jax": "1.0", "pandas": "1.0"}
    of.provenance["hardware"]["cpu"] = "Another"
    found_here = {one.name: one for one in circumstances.compare(of, found)}
    assert [(found_here[n].same, found_here[n].decides) for n in ("torch", "jax", "pandas", "cpu")] == [
        (False, True), (False, False), (False, False), (False, True),
    ]  # fmt: skip
    of.timing["devices"] = 2
    assert {one.name: one.same for one in circumstances.compare(of, found)}["devices that share a batch"] is False
    for environment in (None, "none"):
        of.provenance["environment"] = environment
        assert {one.name: one.same for one in circumstances.compare(of, found)}["thread settings"] is None
        assert circumstances.environment(of) == {}


def test_what_decides_the_bits(measured, monkeypatch):
    folder, found = measured

    def alike(change: Callable[[dict[str, Any]], Any], **hardware: str) -> bool:
        of = read(folder / "runs" / "records" / f"{found.id}.json")
        of.provenance.update(dirty=False, environment=dict.fromkeys(provenance.THREADS, "1"))
        change(of.provenance)
        here = dataclasses.replace(found, **hardware)
        return circumstances.alike(circumstances.compare(of, here), here)

    monkeypatch.setattr(provenance, "changed_since", lambda head: [])
    assert alike(lambda origin: None)
    assert alike(lambda origin: origin["versions"].update(pandas="1.0", jax="1.0", triton="1.0"))
    assert alike(lambda origin: origin["hardware"].update(cores=999))
    assert not alike(lambda origin: origin["versions"].update(numpy="1.0"))
    assert not alike(lambda origin: origin.update(dirty=True))
    assert not alike(lambda origin: origin.update(versions=None))
    assert not alike(lambda origin: origin["hardware"].pop("cpu"))
    assert not alike(lambda origin: (origin["hardware"].update(cores=999), origin["environment"].popitem()))
    assert not alike(lambda origin: None, hardware="gpu")
    gpu = dataclasses.replace(found, hardware="gpu")
    assert circumstances.alike([], found)
    assert not circumstances.alike([], gpu)
    of = read(folder / "runs" / "records" / f"{found.id}.json")
    of.provenance["hardware"]["gpus"] = [{"name": "A card", "driver": "1"}] * 2
    cards = {one.name: one for one in circumstances.compare(of, gpu)}["GPUs"]
    assert (cards.recorded, cards.same) == ("2 x A card (driver 1)", False)
    of.provenance["environment"] = dict.fromkeys(provenance.ENVIRONMENT)
    assert set(circumstances.environment(of).values()) == {None}  # to be unset, which empty is not
    monkeypatch.setattr(provenance, "changed_since", lambda head: None)
    monkeypatch.setattr(provenance, "commit", lambda: ("unknown", None))
    assert not alike(lambda origin: origin.update(commit="unknown"))
    monkeypatch.setattr(provenance, "commit", lambda: ("c" * 40, False))
    assert alike(lambda origin: origin.update(commit="c" * 40))
