"""Cells in child processes of this machine: what one of them does to itself does not reach the others."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, Literal

from reports import records
from suite import provenance
from suite.data import DataError, NoData, Prepared
from suite.hardware import ahead_of_time
from suite.hardware.profiles import PROFILES
from suite.launch import cell as child
from suite.launch import measured_data, result
from suite.launch.display import Display
from suite.launch.workers import Turn, Workers
from suite.matrix import Cell

Status = Literal["measured", "compiled", "kept", "failed", "no data", "not run", "not finished"]
GRACE_SECONDS = 30.0
"""How long a stopped cell may take to write its checkpoint before it is killed."""
POLL_SECONDS = 0.05
TAIL_LINES = 40
FULL = 2**20
"""Free bytes of a disk below which a log may have lost its end."""
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|OutOfMemoryError|out of memory|RESOURCE_EXHAUSTED|bad_alloc|Cannot allocate memory", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Options:
    """How cells are launched; only `moved` changes their numbers. `deadline` is Unix time, `timeout` seconds a cell;
    `devices` how many train a cell, by its id, where that is not 1.

    After `last_step` updates a training ends with a checkpoint; with `moved` it begins one rounding away from its
    initial values. `environment` has variables of the children, None where one is not to be set. `compile_only`: the
    programs of cells are compiled for hardware that is not here, none is run; `compilations` as in
    `ahead_of_time.programs`.
    """

    out: Path
    data: Path
    arguments: tuple[str, ...] = ()
    jobs: int = 1
    deadline: float | None = None
    timeout: float | None = None
    fresh: bool = False
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    last_step: int | None = None
    moved: bool = False
    environment: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    compile_only: bool = False
    compilations: int = 1
    devices: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    status: Status
    reason: str = ""


@dataclasses.dataclass
class _Running:
    cell: Cell
    protocol: dict[str, Any]
    process: subprocess.Popen | Turn
    log: IO[bytes]
    started: float
    stopped_at: float | None = None
    timed_out: bool = False


def environment(cell: Cell, jobs: int, compile_only: bool = False, devices: int = 1) -> dict[str, str]:
    """The environment of a child: its platform, its share of the cores, and where this source tree is.

    What is timed has all cores, since it runs alone.
    """
    values, jobs = dict(os.environ), 1 if cell.alone and not compile_only else jobs
    kind = PROFILES[cell.hardware].kind
    values["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}[kind]
    if compile_only:
        values |= ahead_of_time.environment(cell.hardware)
    if kind == "cpu" and devices > 1:
        values["JAX_NUM_CPU_DEVICES"] = str(devices)
    if jobs * devices > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = str(max(1, cores // (jobs * devices)))
        for name in provenance.THREADS:
            values.setdefault(name, share)
    if jobs > 1:
        values.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if (provenance.ROOT / "pyproject.toml").exists():
        values["PYTHONPATH"] = os.pathsep.join(filter(None, [str(provenance.ROOT), values.get("PYTHONPATH")]))
    return values


def _changed(environment: dict[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if name not in changes}
    return kept | {name: value for name, value in changes.items() if value is not None}


class Launcher:
    """Runs cells, at most `jobs` at a time, and gives each an outcome; a failed one gets its record here."""

    def __init__(self, options: Options, display: Display) -> None:
        self.options, self.display = options, display
        self.stop_reason: str | None = None
        self.stop_signal = signal.SIGTERM
        self.outcomes: list[Outcome] = []
        self.workers = Workers(options.jobs)

    def run(self, cells: Sequence[tuple[Cell, dict[str, Any]]]) -> list[Outcome]:
        """Run cells with their protocols, in order; SIGTERM and Ctrl-C stop them with resumable checkpoints."""
        waiting, running = list(cells), []
        self.options.out.joinpath("logs").mkdir(parents=True, exist_ok=True)
        before = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while waiting or running:
                self._watch_the_clock(running)
                if self.stop_reason:
                    waiting = self._leave(waiting)
                while waiting and self._room(waiting[0][0], running):
                    running.append(self._start(*waiting.pop(0)))
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    self._finish(one)
                self.display.update([one.cell for one in running], self.options.out)
                time.sleep(POLL_SECONDS)
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()
                one.log.close()
            self.workers.end()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.outcomes

    def _room(self, cell: Cell, running: list[_Running]) -> bool:
        """Whether a cell may start beside those that run."""
        alone = not self.options.compile_only and (cell.alone or any(one.cell.alone for one in running))
        return not running if alone else len(running) < self.options.jobs

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        if not self.stop_reason:
            self.stop_reason, self.stop_signal = child.stopped_by(number), signal.Signals(number)

    def _leave(self, waiting: list[tuple[Cell, dict[str, Any]]]) -> list[tuple[Cell, dict[str, Any]]]:
        for cell, _ in waiting:
            self._note(Outcome(cell, "not finished", f"{self.stop_reason} before it was started"))
        return []

    def _watch_the_clock(self, running: list[_Running]) -> None:
        """Stop cells that were asked to end, kill those that do not, and those that ran past the time-out."""
        now = time.time()
        if self.options.deadline is not None and now >= self.options.deadline:
            self.stop_reason = self.stop_reason or child.TIME_LIMIT
        for one in running:
            if self.options.timeout is not None and now - one.started > self.options.timeout and not one.timed_out:
                one.timed_out = True
                one.process.kill()
            if self.stop_reason and one.stopped_at is None:
                one.stopped_at = now
                one.process.send_signal(self.stop_signal)
            elif one.stopped_at is not None and now - one.stopped_at > GRACE_SECONDS:
                one.process.kill()

    def _start(self, cell: Cell, protocol: dict[str, Any]) -> _Running:
        options, logs = self.options, self.options.out / "logs"
        records_path(options.out, cell).unlink(missing_ok=True)
        spec = child.Spec(
            cell=cell.to_dict(),
            protocol=protocol,
            out=str(options.out),
            data=str(options.data),
            arguments=list(options.arguments),
            deadline=options.deadline,
            fresh=options.fresh,
            checkpoint_seconds=options.checkpoint_seconds,
            checkpoint_steps=options.checkpoint_steps,
            last_step=options.last_step,
            moved=options.moved,
            compile_only=options.compile_only,
            compilations=options.compilations,
            devices=options.devices.get(cell.id, 1),
        )
        path = logs / f"{cell.id}.spec.json"
        path.write_text(json.dumps(dataclasses.asdict(spec), indent=1))
        log = (logs / f"{cell.id}.log").open("wb")
        devices = 1 if options.compile_only else spec.devices
        process = self._process(path, log, environment(cell, options.jobs, options.compile_only, devices))
        self.display.started(cell, logs / f"{cell.id}.log")
        return _Running(cell, protocol, process, log, time.time())

    def _process(self, spec: Path, log: IO[bytes], environment: dict[str, str]) -> subprocess.Popen | Turn:
        """A process for the cell of a specification, which may have compiled others before."""
        environment = _changed(environment, self.options.environment)
        if self.options.compile_only:
            return self.workers.turn(spec, environment)
        return subprocess.Popen(
            [sys.executable, "-m", "suite.launch.cell", str(spec)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def _finish(self, one: _Running) -> None:
        one.log.close()
        cell, code = one.cell, one.process.returncode
        assert code is not None
        self.display.finished(cell)
        for kept in (child.progress_path(self.options.out, cell), self.options.out / "logs" / f"{cell.id}.spec.json"):
            kept.unlink(missing_ok=True)
        lines = (self.options.out / "logs" / f"{cell.id}.log").read_text(errors="replace").splitlines()
        ended = code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP) or (one.stopped_at is not None and code < 0)
        if code == child.MEASURED:
            self._note(Outcome(cell, "compiled" if self.options.compile_only else "measured"))
        elif code == child.FAILED:
            self._note(Outcome(cell, "failed", records.read(records_path(self.options.out, cell)).reason))
        elif code == child.NOT_FINISHED or (ended and not one.timed_out):
            asked = f"{self.stop_reason} before it wrote a checkpoint" if one.stopped_at is not None else None
            last = lines[-1] if lines and code == child.NOT_FINISHED else asked or f"ended by {_signal_name(code)}"
            self._note(Outcome(cell, "not finished", last.removeprefix(f"{cell.label}: ")))
        else:
            timeout = f"timed out after {self.options.timeout:g} seconds" if one.timed_out else None
            reason = timeout or why(code, lines) + self._full(lines)
            origin = provenance.collect(self.options.arguments)
            tail = without_places("\n".join(lines[-TAIL_LINES:]))
            record = result.without_numbers(cell, "failed", without_places(reason), one.protocol, origin, tail)
            try:
                records.write(record, self.options.out)
            except records.RecordError as error:
                reason = f"{reason}; {error}"
            self._note(Outcome(cell, "failed", reason))

    def _full(self, lines: Sequence[str]) -> str:
        """What a cell that ended without a word may have ended of."""
        out = self.options.out
        if any(line.startswith(child.REASON) for line in lines) or shutil.disk_usage(out).free >= FULL:
            return ""
        return f"; the disk of {out} is full: free it and run again, or choose another --out"

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.display.outcome(outcome.cell.label, outcome.status, outcome.reason)


def records_path(out: Path, cell: Cell) -> Path:
    """Where the record of a cell lies."""
    return out / "records" / f"{cell.id}.json"


def why(code: int, lines: Sequence[str]) -> str:
    """The reason of a failure in one sentence, from the exit status and the log."""
    told = next((line.removeprefix(child.REASON) for line in reversed(lines) if line.startswith(child.REASON)), None)
    text = told or "\n".join(lines[-TAIL_LINES:])
    if _OUT_OF_MEMORY.search(text):
        found = next((line for line in reversed(text.splitlines()) if _OUT_OF_MEMORY.search(line)), text)
        return f"out of memory: {found.strip()[:500]}"
    if told:
        return told
    if code == -signal.SIGKILL:
        return "killed by SIGKILL, most likely by the system because memory ran out (out of memory)"
    if code < 0:
        return f"crashed by {_signal_name(code)}"
    return f"ended with status {code} and without a record"


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"status {code}"


def without_places(text: str) -> str:
    """Text with the folders of this machine cut out of absolute paths."""
    for place in (str(provenance.ROOT), str(Path.cwd()), sys.prefix, sys.base_prefix, str(Path.home())):
        if len(place) > 1:
            text = text.replace(place + os.sep, "")
    return text


def finished(out: Path, cell: Cell, data: Path | None = None) -> bool:
    """Whether the cell has a measured record already, on the data under `data` where they are prepared there.

    Raises RecordError for a damaged record and OtherData for one of other data.
    """
    path = records_path(out, cell)
    record = records.read(path) if path.exists() else None
    if record is None or record.status != "measured":
        return False
    measured_data.check(record, cell, data)
    return True


def prepare(cells: Sequence[Cell], open_data: Callable[[str, dict[str, Any]], Prepared]) -> dict[str, DataError | None]:
    """Prepare and verify every data set of the cells once: by cell id, the error that stands in the cell's way."""
    opened: dict[str, DataError | None] = {}
    found: dict[str, DataError | None] = {}
    for cell in cells:
        key = json.dumps(cell.recipe.data.to_dict(), sort_keys=True) if cell.recipe else ""
        if cell.recipe and key not in opened:
            try:
                data = open_data(cell.recipe.data.name, cell.recipe.data.settings)
                without = f"{data.name} is prepared without its train split: nothing can be trained on {data.directory}"
                opened[key] = None if data.train.count else NoData(without)
            except DataError as error:
                opened[key] = error
        found[cell.id] = opened.get(key)
    return found
