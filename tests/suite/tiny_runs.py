"""Real runs that take seconds: a tiny model on a few short ListOps sequences, and children that die on order."""

import io
import json
import os
from pathlib import Path
from typing import Any

from reports.records import Record, read
from suite.data import open_dataset
from suite.launch import local, result
from suite.launch.display import Display
from suite.matrix import Cell, Selection, cells

ROOT = Path(__file__).parents[2]
OVERRIDES = (
    *("model.depth=1", "model.layer.d_model=8", "model.layer.ssm_size=8", "model.layer.blocks=2"),
    *("model.layer.dropout=0.1", "batch_size=4", "evaluation_batch_size=4", "epochs=3"),
    *("data.settings.train=40", "data.settings.validation=10", "data.settings.test=10"),
    *("data.settings.min_length=5", "data.settings.max_length=40"),
)
OPTIONS = [word for text in OVERRIDES for word in ("--set", text)]

# Python imports a module of this name at start: it makes the child die at the moment that DIE names.
_DYING = """
import hashlib, os, signal, sys
DIE = os.environ.get("DIE")
if DIE and "suite.launch.cell" in sys.orig_argv:
    how, what, when = DIE.split(":")
    calls = 0

    def die():
        if how == "memory":
            bytearray(1 << 60)
        os.kill(os.getpid(), getattr(signal, how))

    def dying(function):
        def call(*arguments, **options):
            global calls
            if what == "record":
                calls += any("/records/" in str(argument) for argument in arguments)
            elif what == "step":
                calls += arguments[:1] == (f"dropout/0/{when}".encode(),)
            else:
                calls += what == "fsync" or "checkpoint-" in str(arguments[0])
            if calls == (1 if what == "step" else int(when)):
                die()
            return function(*arguments, **options)
        return call

    module, name = {"step": (hashlib, "sha256"), "record": (os, "replace")}.get(what, (os, what))
    setattr(module, name, dying(getattr(module, name)))
"""


def cell(framework: str, *overrides: str, seed: int = 0, task: str = "lra.listops") -> Cell:
    """A tiny cell on the CPU; `overrides` come after the ones that make it tiny."""
    chosen = (*OVERRIDES, *overrides) if task == "lra.listops" else overrides
    (found,) = cells(
        Selection(architectures=("s5",), tasks=(task,), frameworks=(framework,), seeds=(seed,), overrides=chosen)
    )
    return found


def launch(found: list[Cell], out: Path, data: Path, **options: Any) -> tuple[list[local.Outcome], str]:
    """Run cells in real child processes; gives the outcomes and what was shown."""
    shown = io.StringIO()
    errors = local.prepare(found, lambda name, settings: open_dataset(name, data, **settings))
    assert not any(errors.values()), errors
    launcher = local.Launcher(local.Options(out=out, data=data, **options), Display(shown))
    return launcher.run([(one, result.protocol(one)) for one in found]), shown.getvalue()


def dying(monkeypatch: Any, folder: Path, moment: str | None) -> None:
    """Children started from now on die at a moment, "SIGKILL:replace:2" say; None lets them live."""
    if moment is None:
        monkeypatch.delenv("DIE", raising=False)
        return
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_DYING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DIE", moment)


def record(out: Path, found: Cell) -> Record:
    """The record of a cell."""
    return read(local.records_path(out, found))


def numbers(of: Record) -> dict[str, Any]:
    """Everything in a record that a repetition must give again, bit for bit."""
    return json.loads(json.dumps({"metrics": of.metrics, "curves": of.curves, "predictions": of.predictions.data}))  # pyright: ignore[reportOptionalMemberAccess]
