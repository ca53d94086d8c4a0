"""One cell in a process of its own: `python -m suite.launch.cell SPEC.json`, started by `local.py`.

Exit status: 0 the record says measured, 1 an error (its last line is the reason), 3 stopped with a checkpoint (its
record, where anything was evaluated, says not finished), 4 the record says failed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from reports import records
from suite import provenance
from suite.data import open_dataset
from suite.hardware import ahead_of_time, detect, energy
from suite.hardware.profiles import PROFILES
from suite.launch import compiled_result, generation_result, language_result, pretraining_result, result
from suite.matrix import Cell
from suite.speed.config import SpeedSettings
from suite.speed.measure import measure
from suite.training import loop, rounding, weights
from suite.training.activity import activation_rates
from suite.training.checkpoint import CheckpointStore
from suite.training.generation import loop as generation_loop
from suite.training.language import loop as language_loop
from suite.training.loop import REASON, Controls, Diverged, Stopped
from suite.training.pretraining import loop as pretraining_loop

MEASURED, ERROR, NOT_FINISHED, FAILED = 0, 1, 3, 4
TIME_LIMIT = "stopped by the time limit"
SHOW_SECONDS = 0.5
SAY_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Spec:
    """What the launcher tells a cell; paths are as the command line gave them."""

    cell: dict[str, Any]
    protocol: dict[str, Any]
    out: str
    data: str
    arguments: list[str]
    deadline: float | None = None
    fresh: bool = False
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    last_step: int | None = None
    moved: bool = False
    compile_only: bool = False
    compilations: int = 1
    devices: int = 1


def say(line: str) -> None:
    """A line for the log."""
    print(line, flush=True)


def progress_path(out: Path, cell: Cell) -> Path:
    """Where a running cell shows how far it is."""
    return out / "logs" / f"{cell.id}.progress.json"


def stopped_by(number: int) -> str:
    """What a signal tells a run, in words."""
    return "stopped by Ctrl-C" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"


def stop_rule(deadline: float | None) -> Callable[[], str | None]:
    """A function that gives the reason to stop, once there is one: a signal, the time limit, or a launcher gone."""
    asked: list[str] = []
    parent = os.getppid()

    def handle(number: int, frame: FrameType | None) -> None:
        asked.append(TIME_LIMIT if late() else stopped_by(number))

    def late() -> bool:
        return deadline is not None and time.time() >= deadline

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)

    def stop() -> str | None:
        if asked:
            return asked[0]
        if late():
            return TIME_LIMIT
        return "stopped because the launcher is gone" if os.getppid() != parent else None

    return stop


def _show_to(path: Path) -> Callable[[dict[str, Any]], None]:
    shown = said = 0.0

    def show(progress: dict[str, Any]) -> None:
        nonlocal shown, said
        now = time.monotonic()
        if now - said >= SAY_SECONDS:
            said = now
            say(f"step {progress['step']} of {progress['total']}, epoch {progress['epoch'] + 1}: {progress['text']}")
        if now - shown >= SHOW_SECONDS:
            shown = now
            temporary = path.with_suffix(".tmp")
            with contextlib.suppress(OSError):  # a full disk costs the progress bar, not the run
                temporary.write_text(json.dumps(progress))
                os.replace(temporary, path)

    return show


def stopwatch(cell: Cell) -> Callable[[], dict[str, Any]]:
    """A function that gives the seconds and joules since now, for the timing of a record."""
    started, joules = time.perf_counter(), energy.counter(PROFILES[cell.hardware].kind)
    before = joules()

    def read() -> dict[str, Any]:
        now = joules()
        used = None if before is None or now is None else now - before
        return {"total_seconds": time.perf_counter() - started, "energy_joules": used}

    return read


def require_chip(cell: Cell) -> None:
    """Raise HardwareError where a cell is for a TPU and JAX sees another one, RuntimeError where it sees none."""
    if PROFILES[cell.hardware].kind == "tpu":
        seen = importlib.import_module("suite.training.jax").local_devices("tpu")
        detect.require_chip(cell.hardware, seen[0].device_kind)


def run_training(cell: Cell, spec: Spec, stop: Callable[[], str | None]) -> int:
    """Train a cell to its end and write its record."""
    assert cell.recipe is not None
    out, settings = Path(spec.out), cell.recipe.data.settings
    data = open_dataset(cell.recipe.data.name, spec.data, prepare=False, verify=False, **settings)
    store = CheckpointStore(out / "checkpoints" / cell.id, say)
    store.lock()
    if spec.fresh:
        store.clear()
    train, measured = {
        "": (loop.train, result.measured),
        "language.": (language_loop.train, language_result.measured),
        "generation.": (generation_loop.train, generation_result.measured),
        "pretraining.": (pretraining_loop.train, pretraining_result.measured),
    }[cell.recipe.kind]
    place = "parallel." if spec.devices > 1 and cell.framework == "torch" else cell.recipe.kind
    module = importlib.import_module(f"suite.training.{place}{cell.framework}")
    backend = module.Backend(cell.recipe, cell.seed, PROFILES[cell.hardware].kind, devices=spec.devices)
    origin = start_from_weights(cell, Path(spec.data), backend)
    if spec.moved:
        backend.load_state(rounding.moved(backend.state()))
    device = backend.describe()
    many = f"{spec.devices} x " if spec.devices > 1 else ""
    say(f"{cell.label}: {cell.recipe.total_steps} updates on {many}{device['device']}")
    controls = Controls(
        stop=stop,
        say=say,
        show=_show_to(progress_path(out, cell)),
        checkpoint_seconds=spec.checkpoint_seconds,
        checkpoint_steps=spec.checkpoint_steps,
        last_step=spec.last_step,
        energy=energy.counter(PROFILES[cell.hardware].kind, spec.devices),
    )
    try:
        run = train(cell.recipe, data, backend, cell.seed, store, controls)  # pyright: ignore[reportArgumentType]
    except Stopped as stopped:
        store.unlock()
        if stopped.run is not None:
            origin |= provenance.collect(spec.arguments) | {"devices": spec.devices}
            leave_unfinished(measured(cell, spec.protocol, stopped.run, data, origin, device), str(stopped), out)  # pyright: ignore
        raise
    rates = () if cell.recipe.kind else (activation_rates(cell.recipe, backend, data.test),)  # pyright: ignore[reportArgumentType]
    origin |= provenance.collect(spec.arguments) | {"devices": spec.devices}
    if cell.recipe.span_corruption is not None:
        origin["weights"] = pretraining_result.leave_weights(cell, backend.state(), run, out)
    record = measured(cell, spec.protocol, run, data, origin, device, *rates)  # pyright: ignore
    records.write(record, out)
    store.remove()
    return MEASURED


def leave_unfinished(reached: records.Record, reason: str, out: Path) -> None:
    """Write what a stopped run had reached; its next start removes it. A full disk leaves the checkpoint alone."""
    with contextlib.suppress(records.RecordError):
        records.write(msgspec.structs.replace(reached, status="not finished", reason=reason), out)


def start_from_weights(cell: Cell, data: Path, backend: Any) -> dict[str, Any]:
    """Give a backend the weights that its recipe names; what they are, for the provenance, empty where it names none.

    Raises ParameterError where they are missing, damaged or do not fit.
    """
    assert cell.recipe is not None
    if not cell.recipe.initial_weights:
        return {}
    found = weights.kept(data, cell.recipe.initial_weights)
    state, new = weights.started(backend.state(), found, cell.recipe.model)
    backend.load_state(state)
    told = weights.told(found, new)
    say(f"started from {told}")
    return {"started_from": told}


def run_equivalence(cell: Cell, spec: Spec) -> int:
    """Run the parity ladder of an architecture and write its record."""
    module = importlib.import_module("suite.tasks.equivalence")
    cost = stopwatch(cell)
    rows = module.run(cell.architecture, cell.seed)
    record = result.parity(cell, rows, provenance.collect(spec.arguments), cost())
    records.write(record, Path(spec.out))
    say(record.reason or f"{cell.label}: all {len(rows)} checks passed")
    return FAILED if record.status == "failed" else MEASURED


def run_speed(cell: Cell, spec: Spec, stop: Callable[[], str | None]) -> int:
    """Time layers in turn and write the record, also of what was timed before a stop."""
    settings, hardware = SpeedSettings.from_dict(cell.settings), PROFILES[cell.hardware]
    twin, cost = importlib.import_module(f"suite.speed.{cell.framework}"), stopwatch(cell)
    gates, rows, stopped = measure(
        settings,
        lambda config: twin.Bench(config, hardware.kind, settings.matmul_precision, settings.recorded),
        twin.out_of_memory,
        hardware,
        say,
        stop,
    )
    if stopped and not rows:
        raise Stopped(stopped)
    record = result.speed(cell, gates, rows, stopped, provenance.collect(spec.arguments), cost())
    records.write(record, Path(spec.out))
    say(record.reason or f"{cell.label}: {len(rows)} rows")
    return FAILED if record.status == "failed" else MEASURED


def run_compiler(cell: Cell, spec: Spec) -> int:
    """Compile the programs of a cell for hardware that is not here and write its record."""
    twin, effort = importlib.import_module(f"suite.hardware.{cell.framework}"), ahead_of_time.EFFORTS[cell.profile]
    compiler = twin.Compiler(cell.hardware, spec.devices, effort=effort)
    cached = ahead_of_time.Cached(compiler, Path(spec.out) / "programs", spec.fresh, say)
    try:
        found = ahead_of_time.programs(cell, cached, spec.compilations)
    finally:
        compiler.forget()
    origin = provenance.collect(spec.arguments)
    record = compiled_result.compiled(cell, spec.protocol, found, origin, spec.compilations, spec.devices)
    records.write(record, Path(spec.out))
    return MEASURED


def main(arguments: list[str]) -> int:
    """Run the cell of a specification; every error ends in one line that begins with `cell failed: `."""
    faulthandler.enable()
    spec = Spec(**json.loads(Path(arguments[0]).read_text()))
    cell = Cell.from_dict(spec.cell)
    try:
        if spec.compile_only:
            return run_compiler(cell, spec)
        require_chip(cell)
        if cell.recipe is not None:
            return run_training(cell, spec, stop_rule(spec.deadline))
        return run_speed(cell, spec, stop_rule(spec.deadline)) if cell.settings else run_equivalence(cell, spec)
    except Stopped as stopped:
        say(f"{cell.label}: {stopped}")
        return NOT_FINISHED
    except Diverged as error:
        say(REASON + str(error))
        return ERROR
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        say(f"{REASON}{type(error).__name__}: {' '.join(str(error).split())[:1000]}")
        return ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
