"""Processes that do one cell after another, where the start of a process would cost more than many a cell.

`Workers` is the side of the launcher; `python -m suite.launch.workers` is that of the process: it reads the path of a
specification, does the cell as `cell.py` does, its words in the log of that cell, and answers with the exit status. A
worker that dies or is killed takes the cell with it that it was at, and no other.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from suite.launch import cell

SHARE = 0.5
"""Of the machine's memory, what all workers may hold between two cells; one that holds more than its part of it does no
other cell."""
PROGRAM = ("-m", "suite.launch.workers")


def log_path(spec: Path) -> Path:
    """The log of the cell of a specification."""
    return spec.with_name(spec.name.replace(".spec.json", ".log"))


class Turn:
    """The turn of one cell in a worker, to those who wait for it like a process of its own."""

    def __init__(
        self, process: subprocess.Popen, environment: Mapping[str, str], spec: Path, cores: set[int] | None
    ) -> None:
        self.process, self.environment, self.cores = process, environment, cores
        self.returncode: int | None = None
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died since its last cell, which `poll` finds
            process.stdin.write(f"{spec}\n".encode())

    def poll(self) -> int | None:
        """The exit status of the cell, None before its end; where the worker has ended, that of the worker."""
        assert self.process.stdout is not None
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):
                answer = os.read(self.process.stdout.fileno(), 16)
                self.returncode = int(answer) if answer else self.process.wait() or cell.ERROR
        return self.returncode

    def wait(self) -> int:
        """Wait for the end of the worker."""
        return self.process.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal to the worker."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the worker."""
        self.process.kill()


class Workers:
    """As many workers as there are turns at a time; each is started when no other one is free.

    Each has cores of its own, where there are as many: the threads of a compiler that share all of them take a
    fifteenth more processor time.
    """

    def __init__(self, jobs: int = 1) -> None:
        self.turns: list[Turn] = []
        self.cores = shares(jobs)
        self.most = SHARE * psutil.virtual_memory().total / jobs

    def turn(self, spec: Path, environment: Mapping[str, str]) -> Turn:
        """Give a cell to a worker that is free, or to a new one."""
        process, cores = None, None
        for done in [turn for turn in self.turns if turn.returncode is not None]:
            self.turns.remove(done)
            if process is None and done.environment == environment and _holds(done.process) <= self.most:
                process, cores = done.process, done.cores
            else:
                _end(done.process)
        if process is None:
            process, cores = _start(spec, environment), next((c for c in self.cores if c not in self._taken()), None)
            if cores:
                with contextlib.suppress(OSError):  # it has died, which `poll` finds
                    os.sched_setaffinity(process.pid, cores)
        self.turns.append(Turn(process, environment, spec, cores))
        return self.turns[-1]

    def _taken(self) -> list[set[int]]:
        return [turn.cores for turn in self.turns if turn.cores]

    def end(self) -> None:
        """End every worker."""
        for turn in self.turns:
            _end(turn.process)
        self.turns.clear()


def shares(jobs: int) -> list[set[int]]:
    """The cores of each of so many workers; none where there are too few, or the system has no say in it."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [set(cores[first::jobs]) for first in range(jobs)] if len(cores) >= jobs else []


def _start(spec: Path, environment: Mapping[str, str]) -> subprocess.Popen:
    with log_path(spec).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return process


def _end(process: subprocess.Popen) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def _holds(process: subprocess.Popen) -> float:
    """Bytes of memory that a worker holds; infinitely many where it has died."""
    try:
        return psutil.Process(process.pid).memory_info().rss if process.poll() is None else float("inf")
    except psutil.Error:
        return float("inf")


def main() -> None:
    """Do the cells whose specifications are named, line by line, until there are no more.

    What tracing a program leaves is collected between cells: to look for it while a program is traced takes a quarter
    of the time.
    """
    gc.freeze()
    gc.disable()
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        spec = Path(line.strip())
        with log_path(spec).open("ab") as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        code = cell.main([str(spec)])
        gc.collect()
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(answers, f"{code}\n".encode())


if __name__ == "__main__":
    main()
