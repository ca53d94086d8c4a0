"""The command line: what it prints, what it refuses, and what its exit status says."""

import argparse
import io
import json
import re
import signal
import subprocess
import sys

import pytest
from tiny_runs import OPTIONS, ROOT, cell, record

from reports.records import read_all
from suite import planning, run
from suite.arguments import EXAMPLE, duration
from suite.hardware import detect
from suite.launch import cost, local
from suite.launch.display import Display
from suite.launch.operations import total_operations
from suite.matrix import Selection, cells
from suite.tasks import BENCHMARKS

LISTOPS = ["--tasks", "lra.listops", "--architectures", "s5", "--hardware", "cpu"]


def test_bare_command_prints_help():
    child = subprocess.run([sys.executable, "-m", "suite.run"], cwd=ROOT, capture_output=True, text=True, check=True)
    for option in ("--all", "--benchmarks", "--profile", "--time-limit", "--dry-run", "--set", "--no-resume", "--jobs"):
        assert option in child.stdout
    assert EXAMPLE in " ".join(child.stdout.split())
    assert child.stderr == ""


def test_list(capsys):
    assert run.main(["--list"]) == 0
    shown = capsys.readouterr().out
    lines = [line.split("  ", 1) for line in shown.splitlines()]
    assert {"benchmark", "task", "architecture", "factor", "hardware"} < {kind for kind, _ in lines}
    found = [
        re.fullmatch(r"(\w+ +)(\S+ +)\S.*", line) for line in shown.splitlines() if not re.match("(frame|prof)", line)
    ]
    assert {one and one.span(2) for one in found} == {(14, found[0].end(2))}  # pyright: ignore[reportOptionalMemberAccess]
    for name in BENCHMARKS:
        assert re.search(rf"^benchmark +{name}  +\d+ tasks?$", shown, re.MULTILINE)
    for name in ("lra.listops", "lra.pathx", "equivalence.s5", "s5", "jax, torch", "smoke, small, paper", "tpu-v4"):
        assert name in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "lra.listop"], "unknown task 'lra.listop': did you mean 'lra.listops'"),
        (["--all", "--architectures", "S5"], "unknown architecture 'S5'"),
        (["--all", "--frameworks", "troch"], "unknown framework 'troch': did you mean 'torch'"),
        (["--all", "--profile", "papr"], "unknown profile 'papr': did you mean 'paper'"),
        (["--all", "--hardware", "h10"], "unknown hardware 'h10': did you mean 'h100'"),
        (["--all", "--hardware", "a100"], "hardware 'a100' (NVIDIA A100 80 GB SXM) is not on this machine"),
        (["--benchmarks", "lar"], "unknown benchmark 'lar': did you mean 'lra'"),
        ([*LISTOPS, "--set", "epoch=1"], "did you mean 'epochs'"),
        ([*LISTOPS, "--set", "data.settings.min_length=-1"], "min_length"),
        (
            ["--tasks", "lra.listops", "equivalence.s5", "equivalence.s4", "--set", "batch_size=8"],
            "--set 'batch_size=8': nothing can be set in equivalence.s5, equivalence.s4; run that without --set",
        ),
        (
            ["--tasks", "speed.s5", "--set", "round=1"],
            "speed.s5 of s5: --set 'round=1': there is no 'round' to set: did you mean 'rounds'",
        ),
        (["--profile", "smoke"], "nothing is selected"),
        (["--factors", "s5.blocks"], "--factors belong to --benchmarks ablation"),
        (["--all", "--tasks", "lra.text"], "leave out --benchmarks and --tasks"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_status_2(capsys, tmp_path, arguments, message):
    assert run.main([*arguments, "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert "Traceback" not in captured.err
    assert not (tmp_path / "runs").exists()


WRONG = [["--jobs", "0"], ["--seeds", "-1"], ["--time-limit", "soon"], ["--tsks", "x"]]
WRONG += [["--time-limit", "0"], ["--timeout", "0s"]]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_options_are_refused(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        run.main([*LISTOPS, *arguments])
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--jobs", "is no whole number of at least 1"),
        ("--seeds", "is no whole number of at least 0"),
        ("--devices", "is neither a whole number of at least 1 nor all"),
    ],
)
def test_a_raised_two_is_no_number(capsys, option, sentence):
    with pytest.raises(SystemExit):
        run.main([*LISTOPS, option, "²"])
    assert f"'²' {sentence}" in capsys.readouterr().err


def test_durations():
    assert [duration(text) for text in ("90", "90s", "10m", "2h", "1.5h")] == [90, 90, 600, 7200, 5400]
    with pytest.raises(argparse.ArgumentTypeError):
        duration("1d")
    assert [cost.duration(s) for s in (None, 5, 600, 7200)] == ["unknown", "5 s", "10 min", "2.0 h"]


def test_dry_run_prints_the_matrix_and_runs_nothing(capsys, tmp_path):
    arguments = [
        *LISTOPS,
        "--seeds",
        "0",
        "1",
        "--profile",
        "paper",
        "--dry-run",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "runs"),
    ]
    assert run.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    found = cells(Selection(architectures=("s5",), tasks=("lra.listops",), seeds=(0, 1), profile="paper"))
    assert [line.split()[0] for line in lines[1:-1]] == [one.id for one in found]
    assert all("counted operations" in line for line in lines[1:-1])
    assert re.match(r"4 cells, estimated \d+\.\d h with 1 at a time", lines[-1])
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_names_what_is_left_out(capsys, tmp_path):
    arguments = ["--tasks", "lm.book", "--architectures", "s5", "spade_stack", "--dry-run", "--out", str(tmp_path)]
    assert run.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == "left out (no recipe in profile smoke): lm.book of spade_stack, which spade trains\n"
    assert "spade_stack" not in captured.out


def test_costs_grow_with_the_profile():
    operations = []
    for profile in ("smoke", "small", "paper"):
        (one,) = cells(Selection(architectures=("s5",), tasks=("lra.listops",), frameworks=("jax",), profile=profile))
        operations.append(total_operations(one))
    assert operations == sorted(operations)
    assert operations[-1] > 1e16


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A command with one cell that can run and one whose data are not here."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("command")
    words = [
        "--architectures",
        "s5",
        "--tasks",
        "lra.listops",
        "lra.image",
        "--frameworks",
        "torch",
        "--hardware",
        "cpu",
    ]
    tiny = [word for word in OPTIONS if "length" not in word and word != "--set"]
    arguments = [*words, *(part for text in tiny for part in ("--set", text))]
    arguments += ["--out", str(folder / "runs"), "--data", str(folder / "data")]
    command = [sys.executable, "-m", "suite.run", *arguments]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    return folder, arguments, child


def test_a_command_runs_what_it_can_and_builds_the_report(finished):
    folder, _, child = finished
    assert child.returncode == 0, child.stdout + child.stderr
    status = {of.cell.task: of for of in read_all(folder / "runs")}
    assert {task: of.status for task, of in status.items()} == {"lra.listops": "measured", "lra.image": "no data"}
    assert "python -m suite.data fetch lra_image" in status["lra.image"].reason
    assert "2 cells: 1 no data, 1 measured" in child.stdout
    assert "lra.listops" in child.stdout
    assert "report:" in child.stdout
    index = folder / "runs" / "site" / "index.html"
    assert str(index) in child.stdout
    assert "no data" in index.read_text()
    assert "epoch 3 of 3, step 30" in child.stderr
    assert "\r" not in child.stderr


def test_a_measured_cell_is_kept_and_its_cost_is_known(finished, capsys):
    folder, arguments, _ = finished
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "runs" / "records").iterdir()}
    assert run.main(arguments) == 0
    assert "1 kept, 1 no data" in capsys.readouterr().out
    (measured,) = [of for of in read_all(folder / "runs") if of.status == "measured"]
    assert (folder / "runs" / "records" / f"{measured.cell.id}.json").stat().st_mtime_ns == before[
        f"{measured.cell.id}.json"
    ]
    assert run.main([*arguments, "--seeds", "0", "1", "--dry-run"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "lra.listops" in line]
    assert "measured already, will not run" in lines[0]
    assert f"measured, cell {measured.cell.id}" in lines[1]


def test_a_selection_without_any_data_is_status_2(tmp_path, capsys):
    arguments = ["--tasks", "lra.image", "lra.text", "--architectures", "s5", "--frameworks", "torch", "--hardware"]
    assert run.main([*arguments, "cpu", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]) == 2
    captured = capsys.readouterr()
    assert "2 cells: 2 no data" in captured.out
    assert "report:" in captured.out
    assert captured.err.splitlines()[-1].startswith("nothing ran: the data are not here; python -m suite.data doctor")
    assert {of.status for of in read_all(tmp_path / "runs")} == {"no data"}


def test_no_resume_runs_a_measured_cell_again(finished, capsys):
    folder, arguments, _ = finished
    (before,) = [of for of in read_all(folder / "runs") if of.status == "measured"]
    assert run.main([*arguments, "--no-resume"]) == 0
    assert "1 no data, 1 measured" in capsys.readouterr().out
    (after,) = [of for of in read_all(folder / "runs") if of.status == "measured"]
    assert after.provenance["started"] > before.provenance["started"]
    assert after.metrics == before.metrics


def test_a_failed_cell_means_status_1_and_a_summary(tmp_path, capsys):
    pytest.importorskip("torch")
    arguments = [
        "--architectures",
        "s5",
        "--tasks",
        "lra.listops",
        "--frameworks",
        "torch",
        "--hardware",
        "cpu",
        *OPTIONS,
    ]
    arguments += ["--set", "optimizer.groups.regular.rate=1e30", "--out", str(tmp_path / "runs")]
    assert run.main([*arguments, "--data", str(tmp_path / "data")]) == 1
    shown = capsys.readouterr().out
    assert "1 cell: 1 failed" in shown
    assert re.search(r"failed: lra\.listops s5 torch seed 0, cell [0-9a-f]{12}: diverged at step \d+", shown)
    assert "report:" in shown


def test_corrupt_data_fail_the_cell_and_name_the_mend(tmp_path, capsys):
    pytest.importorskip("torch")
    arguments = [
        "--architectures",
        "s5",
        "--tasks",
        "lra.listops",
        "--frameworks",
        "torch",
        "--hardware",
        "cpu",
        *OPTIONS,
    ]
    arguments += ["--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    found = cell("torch")
    assert found.recipe is not None
    run.open_dataset(found.recipe.data.name, tmp_path / "data", **found.recipe.data.settings)
    (labels,) = (tmp_path / "data").rglob("test/labels.npy")
    content = bytearray(labels.read_bytes())
    content[-1] ^= 1
    labels.write_bytes(content)
    assert run.main(arguments) == 1
    assert "is corrupt" in capsys.readouterr().out
    failed = record(tmp_path / "runs", found)
    assert "Mend it with: python -m suite.data prepare lra_listops" in failed.reason
    assert json.loads(local.records_path(tmp_path / "runs", found).read_text())["status"] == "failed"


@pytest.mark.slow
def test_the_parity_ladder_runs_as_a_cell(tmp_path, capsys):
    for framework in ("jax", "torch"):
        pytest.importorskip(framework)
    arguments = ["--tasks", "equivalence.s5", "--hardware", "cpu", "--out", str(tmp_path)]
    assert run.main(arguments) == 0, capsys.readouterr()
    (of,) = read_all(tmp_path)
    assert (of.status, of.cell.framework, of.cell.task) == ("measured", "jax+torch", "equivalence.s5")
    assert of.metrics["checks"] == len(of.tables["parity"]) > 50
    assert of.metrics["failed_checks"] == 0


def test_two_runs_never_share_a_folder(tmp_path, capsys):
    with run.alone(tmp_path):
        assert (
            run.main(["--architectures", "s5", "--tasks", "lra.text", "--out", str(tmp_path), "--data", str(tmp_path)])
            == 2
        )
    assert "another run is writing" in capsys.readouterr().err
    assert not (tmp_path / "records").exists()


def test_a_time_limit_ends_before_more_data_are_prepared(tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(run, "open_dataset", lambda name, root, **settings: opened.append(name))
    arguments = [*LISTOPS, "--frameworks", "jax", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    assert run.main([*arguments, "--time-limit", "0.0001s"]) == 3
    assert opened == []
    captured = capsys.readouterr()
    told = "stopped by the time limit before its data were prepared"
    assert f"not finished: lra.listops s5 jax seed 0: {told}; resume with the same command" in captured.out
    assert not (tmp_path / "runs" / "records").exists()


@pytest.fixture
def interrupted():
    """Ctrl-C interrupts, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["open_dataset", "report"])
def test_a_signal_while_no_cell_runs_is_one_sentence_and_status_3(tmp_path, capsys, monkeypatch, number, where):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    def struck(*arguments, **settings):
        signal.raise_signal(number)

    monkeypatch.setattr(run, where, struck)
    arguments = ["--tasks", "lra.listops" if where == "open_dataset" else "lra.text", "--architectures", "s5"]
    arguments += ["--hardware", "cpu", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    assert run.main(arguments) == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "stopped while no cell ran; nothing half-made is kept: resume with the same command"
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_words_of_damaged_records_and_failures_reach_a_terminal_as_text(tmp_path, capsys):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a\x1b[31m.json").write_text("{")
    assert run.main([*LISTOPS, "--out", str(tmp_path), "--dry-run"]) == 2
    shown = io.StringIO()
    Display(shown).outcome("lra.listops", "failed", "\x1b]0;owned\x07")
    run.summary([local.Outcome(cell("jax"), status, "\x1b[31mred") for status in ("failed", "not finished")])
    captured = capsys.readouterr()
    assert "\ufffd[31m.json is not valid" in captured.err
    assert captured.out.count("\ufffd[31mred") == 2
    assert "\x1b" not in captured.out + captured.err + shown.getvalue()


def test_an_unwritable_folder_names_the_remedy(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["--tasks", "lra.text", "--architectures", "s5", "--out", str(tmp_path / "file")]
    assert run.main([*arguments, "--data", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert re.fullmatch(r"cannot write to \S+ \(.+\): choose a folder that can be written with --out\n", captured.err)
    assert captured.out == ""


def test_a_dry_run_prices_no_cell_without_data(tmp_path, capsys):
    assert run.main(["--tasks", "lra.text", "--dry-run", "--out", str(tmp_path)]) == 0
    assert "no data here, will not run" in capsys.readouterr().out


def test_an_unknown_data_set_is_no_traceback(tmp_path, capsys):
    arguments = [
        "--architectures",
        "s5",
        "--tasks",
        "lra.listops",
        "--set",
        "data.name=foo",
        "--dry-run",
        "--out",
        str(tmp_path),
    ]
    assert run.main(arguments) == 0
    assert "no data here" in capsys.readouterr().out


def test_cells_share_the_cores_of_a_cpu_and_take_turns_on_a_gpu():
    found = cells(Selection(architectures=("s5",), tasks=("lra.listops",), seeds=(0, 1, 2, 3)))
    assert planning.default_jobs(found) == min(len(found), detect.cores())
    assert planning.default_jobs(found[:1]) == 1
    assert planning.default_jobs(cells(Selection(architectures=("s5",), tasks=("lra.listops",), hardware="h200"))) == 1
