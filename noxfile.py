"""Every way this project is run: `nox -s lra` (train, compare, report), `nox -s tests`, and the sessions beside them.

All sessions share one virtual environment, `.nox/longseq-bench`, installed under `constraints.txt`: the versions that
were tested. nox itself would make one per session, each of a gigabyte.
"""

import os
import sys
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "none"

ENVIRONMENT = Path(__file__).parent / ".nox" / "longseq-bench"
PROGRAMS = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTEST = ("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", "-m")
"""Tests on two processes; what follows says which."""


def run(session: nox.Session, program: str, *arguments: str) -> None:
    """Run a program of the shared environment, which is made and brought up to date first."""
    if not (PROGRAMS / "python").exists():
        session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
    install = ("-m", "pip", "install", "--quiet", "-c", "constraints.txt", "-e", ".[jax,torch,data,language,dev]")
    session.run(str(PROGRAMS / "python"), *install, external=True)
    path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", "")])
    session.run(str(PROGRAMS / program), *arguments, external=True, env={"PATH": path})


@nox.session
def lra(session: nox.Session) -> None:
    """Long Range Arena and the equivalence of the twins, to a report; arguments go to `python -m suite.run`.

    S5 unless `--architectures` is among them: every other one adds minutes on two cores. With `--tasks`, these alone.
    """
    chosen = session.posargs
    all_of = [] if "--tasks" in chosen else ["--benchmarks", "lra", "equivalence"]
    run(session, "python", "-m", "suite.run", *all_of, "--architectures", "s5", *chosen)


@nox.session
def lm(session: nox.Session) -> None:
    """Language models on the book that is shipped, to a report; arguments go to `python -m suite.run`.

    Four architectures unless `--architectures` is among them, one task unless `--tasks` is.
    """
    chosen = session.posargs
    tasks = [] if "--tasks" in chosen or "--benchmarks" in chosen else ["--tasks", "lm.book"]
    few = ["--architectures", "s5", "transformer", "block_recurrent", "block_state"]
    names = [] if "--architectures" in chosen else few
    run(session, "python", "-m", "suite.run", *tasks, *names, *chosen)


@nox.session
def length(session: nox.Session) -> None:
    """Language models trained at one length and read at many, to a report; arguments go to `python -m suite.run`.

    Four architectures unless `--architectures` is among them, the book that is shipped unless `--tasks` is.
    """
    chosen = session.posargs
    tasks = [] if "--tasks" in chosen or "--benchmarks" in chosen else ["--tasks", "length.book"]
    few = ["--architectures", "s5", "transformer", "block_recurrent", "block_state"]
    names = [] if "--architectures" in chosen else few
    run(session, "python", "-m", "suite.run", *tasks, *names, *chosen)


@nox.session
def speed(session: nox.Session) -> None:
    """One layer of every architecture against sequence length, to a report; arguments go to `python -m suite.run`."""
    run(session, "python", "-m", "suite.run", "--benchmarks", "speed", *session.posargs)


@nox.session
def tpu(session: nox.Session) -> None:
    """Compile cells for a TPU that is not here, to a report, after the tests of that; arguments go to `python -m
    suite.run`, and with them it is not tested before."""
    run(session, "python", "-m", "pip", "install", "--quiet", "-c", "constraints.txt", "-e", ".[tpu]")
    if not session.posargs:
        run(session, "python", "-m", "pytest", "-m", "tpu", "tests/suite")
    few = ("--tasks", "lra.listops", "--architectures", "s5", "--frameworks", "jax")
    run(session, "python", "-m", "suite.run", "--hardware", "tpu-v4", *(session.posargs or few))


@nox.session
def ablations(session: nox.Session) -> None:
    """Ablations, to a report; arguments go to `python -m suite.run`, in place of a selection of a few minutes."""
    few = ("--architectures", "s5", "--factors", "s5.initialization", "--frameworks", "jax")
    few += ("--seeds", "0", "1", "2", "--set", "epochs=3")
    run(session, "python", "-m", "suite.run", "--benchmarks", "ablation", *(session.posargs or few))


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite on two processes, S5's parity ladder included; arguments go to pytest."""
    run(session, *PYTEST, "not ladder and not tpu", *session.posargs)


@nox.session
def ladders(session: nox.Session) -> None:
    """The parity ladders of the other architectures as tests, a minute or two each; arguments go to pytest."""
    run(session, *PYTEST, "ladder", "tests/parity", *session.posargs)


@nox.session
def parity(session: nox.Session) -> None:
    """The equivalence ladder on this machine's hardware, to a report; arguments go to `python -m suite.run`."""
    run(session, "python", "-m", "suite.run", "--benchmarks", "equivalence", *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """Render the pages of the measured records that are part of the project, or of the folders given."""
    arguments = session.posargs or ["reports/measured", "-o", "runs/measured-site"]
    run(session, "python", "-m", "reports.build", *arguments)


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff check and ruff format."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Static types: pyright."""
    run(session, "pyright")
