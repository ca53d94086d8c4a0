"""The command for a TPU that is not here: what is compiled once, kept, left out and said; a launcher is pretended."""

import importlib.util
from typing import ClassVar

import pytest
from tpu_cells import chosen, row_of

from reports import records
from suite import run
from suite.hardware import ahead_of_time, detect
from suite.hardware.ahead_of_time import Found
from suite.hardware.profiles import PROFILES
from suite.launch import ahead, compiled_result, devices, local, result
from suite.launch.local import Options, Outcome


class Pretended:
    """In place of the launcher: writes the records that children would write; cells of `failing` batch sizes fail."""

    started: ClassVar[list[str]] = []
    failing = ()

    def __init__(self, options, display):
        self.options, self.display = options, display

    def run(self, found):
        outcomes = []
        for cell, protocol in found:
            self.started.append(cell.id)
            if cell.recipe and cell.recipe.batch_size in self.failing:
                of = result.without_numbers(cell, "failed", "no such instruction", protocol, {})
            else:
                row = row_of(64) | {"flops": 5.0}
                reached = {"program": "training step", "longest_length": 64, "bound": "compilations"}
                only = Found("XLA", [row], [reached], row)
                chips = self.options.devices[cell.id]
                of = compiled_result.compiled(cell, protocol, only, {}, self.options.compilations, chips)
            records.write(of, self.options.out)
            outcomes.append(Outcome(cell, of.status, of.reason))
        return outcomes


@pytest.fixture
def pretended(monkeypatch):
    monkeypatch.setattr(ahead, "Launcher", Pretended)
    monkeypatch.setattr(Pretended, "started", [])
    monkeypatch.setattr(detect, "present", lambda: ["cpu"])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "libtpu" else find(name))
    return Pretended


COMMAND = ["--tasks", "lra.listops", "equivalence.s5", "--architectures", "s5", "--hardware", "tpu-v4"]


def test_the_command_compiles_once_and_keeps_what_is_compiled(pretended, tmp_path, capsys):
    arguments = [*COMMAND, "--seeds", "0", "1", "2", "--out", str(tmp_path)]
    assert run.main(arguments) == 0
    assert len(pretended.started) == 1
    assert "3 compiled" in capsys.readouterr().out
    found = {of.cell.id: of for of in records.read_all(tmp_path)}
    compiled = [of for of in found.values() if of.status == "compiled"]
    assert sorted(of.cell.seed for of in compiled) == [0, 1, 2]
    assert all(of.metrics == compiled[0].metrics and of.tables == compiled[0].tables for of in compiled)
    reasons = {of.cell.framework: of.reason for of in found.values() if of.status == "not run"}
    assert "PyTorch cells do not run on a Google TPU v4: that takes torch_xla" in reasons["torch"]
    assert "parity ladder" in reasons["jax+torch"]

    assert run.main(arguments) == 0
    assert len(pretended.started) == 1
    local.records_path(tmp_path, chosen(seed=1)).unlink()
    assert run.main(arguments) == 0
    assert len(pretended.started) == 1
    assert {of.cell.id: of for of in records.read_all(tmp_path)}.keys() == found.keys()
    assert {of.provenance["compiled_for"]["chips"] for of in compiled} == {2}  # of four, to share a batch of 50
    assert run.main([*arguments, "--compilations", "4"]) == 0
    assert len(pretended.started) == 2
    assert run.main([*arguments, "--compilations", "4", "--devices", "1"]) == 0
    assert len(pretended.started) == 3
    arguments += ["--devices", "1"]
    assert run.main([*arguments, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "compiled already" in shown
    told = "9 cells: Google TPU v4 is not on this machine, which has: cpu; nothing is run, 0 different ones to compile"
    assert told in shown


@pytest.mark.parametrize(("profile", "given", "expected"), [("small", [], 0), ("paper", [], 4), ("paper", ["0"], 0)])
def test_the_longest_input_is_looked_for_in_the_profile_paper(pretended, tmp_path, profile, given, expected):
    arguments = [*COMMAND[:2], *COMMAND[3:], "--frameworks", "jax", "--profile", profile, "--out", str(tmp_path)]
    assert run.main([*arguments, *(["--compilations", *given] if given else [])]) == 0
    (record,) = records.read_all(tmp_path)
    assert record.provenance["compiled_for"]["compilations"] == expected


def test_a_failure_is_a_record_of_every_cell_with_that_program(pretended, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Pretended, "failing", (7,))
    arguments = [*COMMAND[:2], *COMMAND[3:], "--frameworks", "jax", "--seeds", "0", "1", "--set", "batch_size=7"]
    assert run.main([*arguments, "--out", str(tmp_path)]) == 1
    assert "2 failed" in capsys.readouterr().out
    assert {of.reason for of in records.read_all(tmp_path)} == {"no such instruction"}


def test_pytorch_on_a_tpu_is_one_sentence_and_starts_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(detect, "present", lambda: ["tpu-v4", "cpu"])
    monkeypatch.setattr(local.Launcher, "_process", None)
    arguments = [*COMMAND[:2], *COMMAND[3:], "--frameworks", "torch", "--out", str(tmp_path), "--data", str(tmp_path)]
    assert run.main(arguments) == 0
    (record,) = records.read_all(tmp_path)
    assert (record.status, record.cell.framework) == ("not run", "torch")
    assert "PyTorch cells do not run on a Google TPU v4: that takes torch_xla" in record.reason
    assert not detect.why_not("jax", "tpu-v4")
    assert not detect.why_not("torch", "h100")


def test_without_the_compiler_one_sentence_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(detect, "present", lambda: ["cpu"])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "libtpu" else find(name))
    assert run.main([*COMMAND, "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert "'tpu-v4' (Google TPU v4) is not on this machine" in said
    assert "pip install 'longseq-bench[tpu]'" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_budget_has_no_meaning_where_nothing_is_timed(pretended, tmp_path, capsys, more):
    assert run.main([*COMMAND, "--budget", "8h", "--out", str(tmp_path / "runs"), *more]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("--budget chooses by estimated times, and Google TPU v4 is not on this machine")
    assert "leave out --budget" in captured.err
    assert (captured.out, len(captured.err.strip().splitlines())) == ("", 1)
    assert not pretended.started
    assert not (tmp_path / "runs").exists()


def test_children_compile_without_looking_for_a_tpu(pretended, monkeypatch):
    values = local.environment(chosen(), 2, compile_only=True)
    assert values["JAX_PLATFORMS"] == "cpu"
    assert values["TPU_SKIP_MDS_QUERY"] == values["ALLOW_MULTIPLE_LIBTPU_LOAD"] == "1"
    assert local.environment(chosen(), 2)["JAX_PLATFORMS"] == "tpu,cpu"
    absent = {name for name in PROFILES if ahead.is_absent(name)}
    assert absent == set(ahead_of_time.TOPOLOGIES)
    monkeypatch.setattr(detect, "present", lambda: ["tpu-v4", "cpu"])
    assert not ahead.is_absent("tpu-v4")
    assert Options(out=None, data=None).compile_only is False  # pyright: ignore[reportArgumentType]


def test_the_chips_that_share_a_batch_are_those_of_the_topology(pretended):
    cells = [chosen(overrides=[f"batch_size={size}"]) for size in (48, 50, 7)]
    shared = devices.devices(cells, None)
    assert [shared[cell.id] for cell in cells] == [4, 2, 1]
    assert devices.devices([chosen("speed.layer")], None) == {chosen("speed.layer").id: 1}
    assert set(devices.devices(cells, 1).values()) == {1}
    with pytest.raises(detect.HardwareError, match="programs are compiled for 4 of Google TPU v4"):
        devices.devices(cells[:1], 8)
