"""Cells for a TPU that is not here: every distinct program is compiled once, in a child process, and none is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from reports import records
from reports.console import counted
from reports.records import Record
from suite import provenance
from suite.hardware import ahead_of_time, detect
from suite.hardware.profiles import PROFILES
from suite.launch import local, result
from suite.launch.cost import Cost
from suite.launch.display import Display
from suite.launch.local import Launcher, Options, Outcome
from suite.matrix import Cell

TIMEOUT = 1_800.0
"""Seconds after which the compilation of a cell fails, where the command line says nothing."""

COMPILED = "its programs are compiled, nothing is run"


class Counted(Display):
    """Says of every outcome how many there are."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total, self.done = total, 0

    def outcome(self, label: str, status: str, reason: str) -> None:
        """What became of a cell, and how many are done."""
        self.done += 1
        super().outcome(f"[{self.done} of {self.total}] {label}", status, reason)


def is_absent(hardware: str) -> bool:
    """Whether programs for so-called hardware can only be compiled here."""
    return PROFILES[hardware].kind == "tpu" and hardware not in detect.present()


def plan(hardware: str, count: int, jobs: int) -> str:
    """What is done with `count` different cells for hardware that is not here, in a sentence."""
    have = ", ".join(detect.present())
    return (
        f"{PROFILES[hardware].title} is not on this machine, which has: {have}; nothing is run, {count} different ones "
        f"to compile, {jobs} at a time"
    )


def why_not(cell: Cell) -> str:
    """Why there is nothing to compile of a cell; empty where there is."""
    if cell.recipe is None and not cell.settings:
        title = PROFILES[cell.hardware].title
        return f"the parity ladder compares numbers, and there is no {title} here that could compute them"
    return detect.why_not(cell.framework, cell.hardware)


def finished(out: Path, cell: Cell, compilations: int, chips: int = 1) -> bool:
    """Whether there is nothing to do for a cell: it is measured or has no programs, or as many are compiled already,
    for as many chips."""
    path = local.records_path(out, cell)
    if not path.exists():
        return False
    of = records.read(path)
    target = of.provenance.get("compiled_for") or {}
    enough = target.get("compilations", 0) >= compilations and target.get("chips", 1) == chips
    return of.status in ("measured", "not run") or (of.status == "compiled" and enough)


def cost(cell: Cell, out: Path, compilations: int, chips: int, compiled: set[str]) -> Cost:
    """What a dry run says of a cell, where the programs `compiled` have been named before it; they are added to."""
    reason = why_not(cell)
    key = "" if reason else ahead_of_time.same_program(cell)
    if finished(out, cell, compilations, chips):
        reason = "compiled already"
    elif not reason and key in compiled:
        reason = "the same programs as a cell above"
    compiled.add(key)
    return Cost(0.0, reason) if reason else Cost(None, COMPILED)


def run(found: Sequence[Cell], options: Options) -> list[Outcome]:
    """Compile the programs of cells, each distinct one once, and write the record of every cell."""
    display, outcomes = Counted(len(found)), []
    groups: dict[str, list[Cell]] = {}
    for cell in found:
        reason = why_not(cell)
        chips = options.devices.get(cell.id, 1)
        if not options.fresh and finished(options.out, cell, options.compilations, chips):
            outcomes.append(Outcome(cell, "kept", "compiled already"))
        elif reason:
            outcomes.append(not_run(cell, reason, options))
        if outcomes and outcomes[-1].cell is cell:
            display.outcome(cell.label, outcomes[-1].status, outcomes[-1].reason)
        if not reason:
            groups.setdefault(ahead_of_time.same_program(cell), []).append(cell)
    kept = {outcome.cell.id for outcome in outcomes}
    examples = {key: _example(cells, kept, options) for key, cells in groups.items()}
    first = [cell for cell in examples.values() if cell is not None and cell.id not in kept]
    told = plan(found[0].hardware, len(first), options.jobs)
    display.say(f"{counted(len(found), 'cell')}: {told}")
    outcomes += Launcher(options, display).run([(cell, result.protocol(cell)) for cell in first])
    ended = {outcome.cell.id: outcome for outcome in outcomes}
    for key, example in examples.items():
        for cell in [cell for cell in groups[key] if cell.id not in ended]:
            assert example is not None
            outcomes.append(_like(cell, ended[example.id], options))
            display.outcome(cell.label, outcomes[-1].status, outcomes[-1].reason)
    return outcomes


def _example(cells: Sequence[Cell], kept: set[str], options: Options) -> Cell | None:
    """Of cells with the same programs, one that is compiled already, else the first to compile; None where all of them
    are measured."""
    for cell in cells:
        if cell.id in kept and records.read(local.records_path(options.out, cell)).status == "compiled":
            return cell
    return next((cell for cell in cells if cell.id not in kept), None)


def not_run(cell: Cell, reason: str, options: Options) -> Outcome:
    """Write the record of a cell that is not run, and why."""
    origin = provenance.collect(options.arguments)
    records.write(result.without_numbers(cell, "not run", reason, result.protocol(cell), origin), options.out)
    return Outcome(cell, "not run", reason)


def _like(cell: Cell, example: Outcome, options: Options) -> Outcome:
    """The outcome of a cell whose programs are those of another one, and its record where that one has one."""
    if example.status == "not finished":
        return Outcome(cell, "not finished", example.reason)
    of: Record = records.read(local.records_path(options.out, example.cell))
    origin = {**of.provenance, **provenance.collect(options.arguments), "same_programs_as": of.cell.id}
    own = result.without_numbers(cell, of.status, of.reason, result.protocol(cell), origin, of.log_tail)
    records.write(msgspec.structs.replace(own, metrics=of.metrics, tables=of.tables), options.out)
    return Outcome(cell, of.status, of.reason or f"the same programs as cell {of.cell.id}")
