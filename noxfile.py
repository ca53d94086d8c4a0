"""Every way this project is run: `nox -s lra` (train, compare, report), `nox -s tests`, and the sessions beside them.

All sessions share one virtual environment, installed under `constraints.txt`: the versions that were tested.
"""

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

ENVIRONMENT = ".nox/longseq-bench"


def install(session: nox.Session) -> None:
    """The project, editable, with both frameworks and the development tools, in the tested versions."""
    session.install("-c", "constraints.txt", "-e", ".[jax,torch,data,dev]")


@nox.session(venv_location=ENVIRONMENT)
def lra(session: nox.Session) -> None:
    """Long Range Arena and the equivalence of the twins, to a report; arguments go to `python -m suite.run`."""
    install(session)
    session.run("python", "-m", "suite.run", "--benchmarks", "lra", "equivalence", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def tests(session: nox.Session) -> None:
    """The whole test suite on two processes; arguments go to pytest."""
    install(session)
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def parity(session: nox.Session) -> None:
    """The equivalence ladder on this machine's hardware, to a report; arguments go to `python -m suite.run`."""
    install(session)
    session.run("python", "-m", "suite.run", "--benchmarks", "equivalence", *session.posargs)


@nox.session(venv_location=ENVIRONMENT)
def report(session: nox.Session) -> None:
    """Render the pages of the measured records that are part of the project, or of the folders given."""
    install(session)
    session.run("python", "-m", "reports.build", *(session.posargs or ["reports/measured", "-o", "runs/measured-site"]))


@nox.session(venv_location=ENVIRONMENT)
def lint(session: nox.Session) -> None:
    """Style: ruff check and ruff format."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_location=ENVIRONMENT)
def types(session: nox.Session) -> None:
    """Static types: pyright."""
    install(session)
    session.run("pyright")
