"""What the documents tell users to type is run: as it stands where that takes seconds, else as `documents.py` says."""

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import documents
import numpy as np
import pytest
from documents import ROOT

from implementations import parameters
from implementations.models.config import ClassifierConfig
from implementations.s5.config import S5Config

TINY = (
    *("model.depth=1", "model.layer.d_model=8", "model.layer.ssm_size=8", "model.layer.blocks=2"),
    *("batch_size=4", "evaluation_batch_size=4", "epochs=1", "data.settings.train=40", "data.settings.validation=10"),
    *("data.settings.test=10", "data.settings.min_length=5", "data.settings.max_length=40"),
)
ABSENT = ("is not on this machine", "is not installed")
"""What is said where hardware or an extra is asked for that is not here."""
COMMANDS = documents.commands()
FRAGMENTS = [one for one in COMMANDS if one.startswith("--")]
VARIABLES = [one for one in COMMANDS if re.match("[A-Z_]+=", one)]
NOX = [one for one in COMMANDS if one.startswith("nox -s ")]
MODULES = [one for one in COMMANDS if one.startswith("python -m ") and one not in documents.NOT_RUN]


def called(main: Callable[[list[str]], int], arguments: list[str]) -> tuple[int, str]:
    """The exit status of a program and all that it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 2
    return status, said.getvalue()


def program(module: str) -> Callable[[list[str]], int]:
    """The function behind `python -m MODULE`."""
    return importlib.import_module("suite.data.__main__" if module == "suite.data" else module).main


def planned(arguments: list[str]) -> None:
    """Hold that a selection has cells, and a recipe for everything that it names; run nothing."""
    dry = [] if "--dry-run" in arguments else ["--dry-run"]
    status, said = called(program("suite.run"), arguments + dry)
    if "--hardware" in arguments and status == 2:
        assert any(absent in said for absent in ABSENT), said
        return
    assert status == 0, said
    assert re.search(r"^[0-9a-f]{12} ", said, re.MULTILINE) or "budget of" in said, said
    assert "--all" in arguments or "left out (no recipe" not in said, said


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Any:
    """A folder with what commands name: a few measured records, texts of one's own, weights; the tour's training is
    run here. Gives the ids of the tour's cells and of the tiny ones in their place."""
    folder = tmp_path_factory.mktemp("project")
    measured = folder / "reports/measured/records"
    measured.mkdir(parents=True)
    for cell in ("f7f087c3e128", "bec1c283aaed"):
        shutil.copy(ROOT / f"reports/measured/records/{cell}.json", measured)
    for split in ("train", "validation", "test"):
        (folder / "DIR" / split).mkdir(parents=True)
        (folder / "DIR" / split / "1.txt").write_text("It was the best of times, it was the worst of times.\n" * 30)
    config = ClassifierConfig(S5Config(d_model=8, ssm_size=8), 1, "tokens", 20, 10)
    parameters.save(folder / "FILE", {"decoder.bias": np.zeros(10, np.float32)}, config)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.delenv("LONGSEQ_DATA", raising=False)
        words = shlex.split(documents.SMOKE)[3:]
        tiny = [word for text in TINY for word in ("--set", text)]
        cells = []
        for more in ([], tiny):
            said = called(program("suite.run"), [*words, *more, "--hardware", "cpu", "--dry-run"])[1]
            cells.append(re.findall("^[0-9a-f]{12}", said, re.MULTILINE))
        assert [len(found) for found in cells] == [2, 2]
        status, said = called(program("suite.run"), [*words, *tiny, "--hardware", "cpu"])
        assert status == 0, said
        yield dict(zip(*cells, strict=True))


@pytest.fixture(scope="module")
def run(project) -> Callable[[str], tuple[int, str]]:
    """Runs a `python -m` command, once, with the reader's own names put in; gives its exit status and what it said."""
    done: dict[tuple[str, ...], tuple[int, str]] = {}
    own = {"RECORD": next(iter(project.values())), "PATH": "DIR", "A": "reports/measured", "B": "runs",
           "<name>": "s5", "NAME": "book", "SITE": "site", "RUNS": "runs"} | project  # fmt: skip

    def once(command: str) -> tuple[int, str]:
        words = tuple(own.get(word, word) for word in shlex.split(command)[2:] if word not in ("[RUNS", "...]"))
        if words not in done:
            done[words] = called(program(words[0]), list(words[1:]))
        return done[words]

    return once


def test_every_command_is_run_or_named_with_a_reason():
    known = {*FRAGMENTS, *VARIABLES, *NOX, *MODULES, *documents.NOT_RUN}
    assert [one for one in COMMANDS if one not in known] == []
    assert documents.SMOKE in COMMANDS
    tables = [*documents.NOT_RUN, *documents.TRAININGS, *documents.REFUSED]
    assert [one for one in tables if one not in COMMANDS] == []


@pytest.mark.parametrize("command", MODULES)
def test_a_command_runs(command, run):
    module, *arguments = shlex.split(command)[2:]
    if not arguments:  # a program is named
        assert callable(program(module))
    elif module == "pytest":
        assert all((ROOT / one).exists() for one in arguments if not one.startswith("-"))
    elif command in documents.TRAININGS or (module == "suite.run" and "--dry-run" in arguments):
        planned(["s5" if one == "<name>" else one for one in arguments])
    elif command == documents.SMOKE:
        status, said = run("python -m suite.compare runs runs")
        assert status == 0, said
    else:
        status, said = run(command)
        refused = documents.REFUSED.get(command)
        assert (status != 0) == (refused is not None), said
        assert said if refused is None else refused in said
        if module == "suite.verify":
            assert "reproduced bit for bit" in said
        if module == "reports.build":
            assert list(Path(arguments[arguments.index("-o") + 1].replace("SITE", "site")).glob("index.*"))


def test_own_data_are_found(run):
    prepare = next(one for one in MODULES if "prepare pg19" in one)
    assert run(prepare)[0] == 0
    command = next(one for one in documents.TRAININGS if "lm.pg19" in one)
    said = called(program("suite.run"), [*shlex.split(command)[3:], "--dry-run"])[1]
    assert "lm.pg19" in said
    assert "no data here" not in said


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_an_option_of_the_documents_fits_a_selection(fragment, project):
    option, *values = shlex.split(fragment)
    helped = called(program("suite.run"), ["--help"])[1]
    named = re.compile(re.escape(option) + r"(?![\w-])")
    if option != "--" and not named.search(helped):
        helped = called(program("suite.data"), ["prepare", "--help"])[1]
    elif values:
        planned([*shlex.split(documents.SMOKE)[3:], option, *values])
    assert option == "--" or named.search(helped)


def test_variables_of_the_documents_are_understood():
    given = dict(one.split("=", 1) for command in VARIABLES for one in shlex.split(command))
    found = importlib.util.find_spec("jax") is not None
    text = "import jax; jax.devices()" if found else "import numpy; numpy.eye(3) @ numpy.eye(3)"
    environment = {**os.environ, **given, "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr


@functools.cache
def sessions() -> Any:
    """The nox file, which may be read only once."""
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def programs(name: str, given: list[str]) -> list[list[str]]:
    """What a session runs with these arguments after `--`, installation left out."""
    seen: list[list[str]] = []
    session = SimpleNamespace(posargs=given, run=lambda *words, **_: seen.append([str(word) for word in words]))
    getattr(sessions(), name)(session)
    return [words for words in seen if "pip" not in words and "venv" not in words]


NAMES = re.findall(r"^@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)
ASKED = dict.fromkeys([f"nox -s {name}" for name in NAMES] + NOX)


@pytest.mark.parametrize("command", ASKED)
def test_what_a_session_runs_is_there(command, project):
    names, _, given = command.removeprefix("nox -s ").partition(" -- ")
    for name in names.split():
        for path, *words in programs(name, shlex.split(given)):
            if words[:2] == ["-m", "suite.run"]:
                planned(words[2:])
            elif words[:2] == ["-m", "reports.build"]:
                status, said = called(program("reports.build"), words[2:])
                assert status == 0, said
            elif words[:2] == ["-m", "pytest"]:
                asked = words[words.index("-m", 1) + 1]
                folders = [ROOT / one for one in words if one.startswith("tests/")]
                assert all(folder.exists() for folder in folders)
                assert set(re.findall("[a-z]+", asked)) - {"and", "not", "or"} <= {"ladder", "tpu", "slow", "browser"}
            else:
                assert Path(path).name in ("ruff", "pyright"), words


def test_tasks_that_are_named_are_all_that_the_session_of_the_arena_runs():
    (words,) = programs("lra", ["--tasks", "lra.listops"])
    assert words[1:] == ["-m", "suite.run", "--architectures", "s5", "--tasks", "lra.listops"]
    (words,) = programs("lra", [])
    assert words[3:6] == ["--benchmarks", "lra", "equivalence"]


def test_contributing_says_how_long_every_session_takes():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    assert [name for name, _ in rows] == NAMES


def test_the_examples_in_python_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(first, names)
    by_torch = names["y"]
    assert by_torch.shape == (2, 1, 64)
    exec(second, names)
    assert names["y"].shape == (2, 1001, 64)
    assert abs(by_torch.detach().numpy() - names["y"][:, -1:]).max() < 1e-4
