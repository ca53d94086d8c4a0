"""What a selection would cost, and what of it a budget has room for: `python -m suite.run --dry-run` and `--budget`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reports import records
from reports.console import counted
from reports.render import one_line
from suite.data import available, data_root
from suite.hardware import detect
from suite.hardware.profiles import PROFILES as HARDWARE
from suite.launch import ahead, budget, cost, local
from suite.matrix import Cell, SelectionError

MEASURED = Path(records.__file__).parent / "measured"
"""The records that come with the project."""
MEASURED_ALREADY, NO_DATA = "measured already, will not run", "no data here, will not run"
NO_BACKEND = "this framework does not run on this hardware, will not run"


def known_records(out: Path) -> list[records.Record]:
    """The records that tell what cells cost: those of the runs folder, and those that come with the project."""
    folders = [MEASURED, out] if (out / "records").is_dir() else [MEASURED]
    found = {record.cell.id: record for folder in folders for record in records.read_all(folder)}
    return list(found.values())


def priced(found: Sequence[Cell], options: argparse.Namespace) -> list[tuple[Cell, cost.Cost]]:
    """The cells with their estimated costs; what will not run costs nothing."""
    cores = max(1, detect.cores() // options.jobs)
    estimator, costs = cost.Estimator(known_records(options.out), cores, options.data, options.shared), []
    absent, compiled = ahead.is_absent(found[0].hardware), set()
    for cell in found:
        if absent:
            expected = ahead.cost(cell, options.out, options.compilations, options.shared.get(cell.id, 1), compiled)
        elif options.resume and local.finished(options.out, cell, data_root(options.data)):
            expected = cost.Cost(0.0, MEASURED_ALREADY, measured=True)
        elif (data := cell.recipe and cell.recipe.data) and not available(data.name, options.data, **data.settings):
            expected = cost.Cost(0.0, NO_DATA, measured=True)
        elif detect.why_not(cell.framework, cell.hardware):
            expected = cost.Cost(0.0, NO_BACKEND, measured=True)
        else:
            expected = estimator.estimate(cell)
        costs.append((cell, expected))
    return costs


def print_matrix(costs: Sequence[tuple[Cell, cost.Cost]], options: argparse.Namespace) -> None:
    """The cells with their estimated cost, those without data last."""
    titles = ("cell", "task", "architecture", "framework", "seed", "profile", "hardware")
    rows: list[tuple[str, ...]] = [(*titles, "time", "memory", "energy", "basis")]
    for cell, expected in sorted(costs, key=lambda priced: priced[1].basis == NO_DATA):
        task = f"{cell.task} {cell.factor} = {cell.level}" if cell.factor else cell.task
        words = (cell.id, task, cell.architecture, cell.framework, str(cell.seed), cell.profile, cell.hardware)
        numbers = (cost.duration(expected.seconds), cost.memory(expected.memory), cost.energy(expected.joules))
        rows.append(tuple(one_line(word) for word in (*words, *numbers, expected.basis)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    hardware = costs[0][0].hardware if costs else "cpu"
    if ahead.is_absent(hardware):
        todo = sum(row[-1] == ahead.COMPILED for row in rows)
        print(f"{counted(len(costs), 'cell')}: {ahead.plan(hardware, todo, options.jobs)}")
        return
    if hardware not in detect.present():
        print(f"{HARDWARE[hardware].title} is not on this machine: these are plans, and nothing of it runs here")
    absent = sum(one.basis == NO_DATA for _, one in costs)
    total = budget.wall_seconds(costs, places(hardware, options.jobs))
    unknown = sum(one.seconds is None for _, one in costs)
    joules = [one.joules for _, one in costs if one.joules is not None]
    told = f", {cost.energy(sum(joules))} in {len(joules)} of them" if joules else ""
    told += ", as if one after the other: they share a device" if one_device(hardware, options.jobs) else ""
    told += f"; {unknown} without an estimate are not counted" if unknown else ""
    unfit = sum(bool(one.lacks) for _, one in costs)
    told += f"; {unfit} expected not to fit into memory" if unfit else ""
    told += f"; {absent} more without data here will not run" if absent else ""
    cells_here = counted(len(costs) - absent, "cell")
    print(f"{cells_here}, estimated {cost.duration(total)} with {options.jobs} at a time{told}")


def within_budget(costs: Sequence[tuple[Cell, cost.Cost]], options: argparse.Namespace) -> list[Cell]:
    """The cells that fit into the budget, none where nothing does; says which do not and why.

    What will not run is counted apart: cells that are measured already, and those without data, which stay.
    """
    chosen, left_out = budget.choose(costs, options.budget, places(costs[0][0].hardware, options.jobs))
    for one in left_out:
        print(one_line(f"left out: {one.cell.label}, cell {one.cell.id}: {one.reason}"))
    kept, absent = ([cell for cell, one in costs if one.basis == basis] for basis in (MEASURED_ALREADY, NO_DATA))
    to_run = [cell for cell, one in costs if one.basis not in (MEASURED_ALREADY, NO_DATA, NO_BACKEND)]
    fitting = [cell for cell in to_run if cell in chosen]
    assumed = sum(not one.measured and cell in fitting for cell, one in costs)
    told = f"{len(fitting)} of {counted(len(to_run), 'cell')}" if fitting or not to_run else "nothing fits"
    told += f"; {assumed} priced by an assumed rate, not by a record" if assumed else ""
    told += f"; {len(kept)} measured already" if kept else ""
    told += f"; {len(absent)} without data here" if absent else ""
    print(f"budget of {cost.duration(options.budget)}: {told}")
    if absent:
        tasks = ", ".join(dict.fromkeys(cell.task for cell in absent))
        print(f"without data here: {tasks}; python -m suite.data doctor says how to get them")
    return chosen if fitting or not to_run else []


def refuse_budget(hardware: str, seconds: float | None) -> None:
    """Raise SelectionError for a budget of hardware that is only compiled for: nothing is measured, so nothing has a
    price."""
    if seconds is not None and ahead.is_absent(hardware):
        raise SelectionError(
            f"--budget chooses by estimated times, and {HARDWARE[hardware].title} is not on this machine: its programs "
            "are only compiled, which has no estimate; leave out --budget, with --time-limit the command ends after so "
            "long and goes on when it is given again"
        )


def default_jobs(found: Sequence[Cell], devices: int = 1) -> int:
    """One cell for each core on a CPU, where small models gain little from a second thread; one on an accelerator.

    A cell of several `devices` takes as many cores.
    """
    if ahead.is_absent(found[0].hardware):
        return min(detect.cores(), len(found))
    return min(max(detect.cores() // devices, 1), len(found)) if HARDWARE[found[0].hardware].kind == "cpu" else 1


def places(hardware: str, jobs: int) -> int:
    """How many of `jobs` cells at a time keep to their estimated times: at most as many as there are cores, and one of
    those that share a device."""
    return 1 if one_device(hardware, jobs) else min(jobs, detect.cores())


def one_device(hardware: str, jobs: int) -> bool:
    """Whether cells side by side share a GPU or TPU, and slow each other down by as much as is not known."""
    return jobs > 1 and HARDWARE[hardware].kind != "cpu"
