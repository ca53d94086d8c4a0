"""The command line of the harness: `python -m suite.run`.

Exit status: 0 every cell is measured or has no data here; 1 a cell failed; 2 the command line or the machine does not
fit; 3 a cell was stopped (time limit, SIGTERM, Ctrl-C) and continues from its checkpoint with the same command.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from implementations import catalog
from implementations.common.config import ConfigError
from reports import records
from suite import provenance
from suite.ablations import factors
from suite.data import DataError, NoData, SettingsError, UnknownData, available, data_root, open_dataset
from suite.data import names as data_names
from suite.data.catalog import place
from suite.hardware import detect
from suite.hardware.profiles import PROFILES as HARDWARE
from suite.launch import cost, local, result
from suite.launch import devices as shared
from suite.launch.display import Display
from suite.launch.local import Launcher, Options, Outcome
from suite.matrix import Cell, Selection, SelectionError, cells
from suite.recipes.base import PROFILES
from suite.tasks import BENCHMARKS, FRAMEWORKS, all_tasks

DONE, FAILED, USAGE, NOT_FINISHED = 0, 1, 2, 3
EXAMPLE = (
    "python -m suite.run --tasks lra.listops --architectures s5 --frameworks jax torch --seeds 0 1 --profile smoke"
)


def duration(text: str) -> float:
    """Seconds of "90", "90s", "10m" or "2h"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90, 90s, 10m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600}[found[2]]


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return int(text)


def arguments_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m suite.run",
        description="Run a selection of the benchmark, cell by cell, and build the report.",
        epilog=f"Example: {EXAMPLE}. Exit status: 0 done, 1 a cell failed, 2 wrong command line or absent hardware, "
        "3 stopped before the end (run the same command again to continue).",
    )
    what = parser.add_argument_group("what to run")
    what.add_argument("--all", action="store_true", help="everything")
    what.add_argument("--benchmarks", nargs="+", default=[], metavar="NAME", help=", ".join(BENCHMARKS))
    what.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="tasks; --list names them")
    what.add_argument("--factors", nargs="+", default=[], metavar="NAME",
                      help="of the ablations, e.g. s5.blocks; default: all; --list names them")  # fmt: skip
    what.add_argument("--on", default="", metavar="TASK", dest="changed_task",
                      help="the task whose recipes the factors change, e.g. lm.book; default: lra.listops")  # fmt: skip
    what.add_argument("--architectures", nargs="+", default=[], metavar="NAME", help="default: all")
    what.add_argument("--frameworks", nargs="+", default=[], metavar="NAME", help="jax, torch; default: the installed")
    what.add_argument("--seeds", nargs="+", type=seed, default=[0], metavar="N", help="default: 0")
    what.add_argument(
        "--profile", default="smoke", help="smoke (minutes), small (hours on a CPU) or paper; default: smoke"
    )
    what.add_argument("--hardware", default="auto", help="auto, " + ", ".join(HARDWARE))
    what.add_argument("--set", action="append", default=[], dest="overrides", metavar="PATH=VALUE",
                      help="change a field of the recipes, e.g. epochs=2; repeatable")  # fmt: skip
    how = parser.add_argument_group("how to run it")
    how.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    how.add_argument("--data", type=Path, metavar="DIR", help="default: LONGSEQ_DATA, else data")
    jobs = "cells at a time; default: one for each core on a CPU, 1 elsewhere"
    how.add_argument("--jobs", type=positive, metavar="N", help=jobs)
    how.add_argument("--devices", type=shared.parse, metavar="N",
                     help="devices of this machine that train a cell together, or all: as many as share its batches "
                     "evenly; default: 1, on a TPU all")  # fmt: skip
    how.add_argument("--time-limit", type=duration, metavar="TIME",
                     help="end the command after e.g. 90s, 10m or 2h with checkpoints to continue from")  # fmt: skip
    how.add_argument("--timeout", type=duration, metavar="TIME", help="fail a cell that takes longer than this")
    how.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True,
                     help="keep measured cells and continue from checkpoints (default), or start anew")  # fmt: skip
    how.add_argument("--checkpoint-seconds", type=duration, default=60.0, metavar="TIME", help="default: 60s")
    how.add_argument("--checkpoint-steps", type=positive, metavar="N", help="also checkpoint every N updates")
    how.add_argument("--dry-run", action="store_true", help="print the cells and their estimated cost, run nothing")
    how.add_argument("--list", action="store_true", help="print what can be selected")
    return parser


def select(options: argparse.Namespace) -> list[Cell]:
    """The cells that the command line asks for; raises errors that explain themselves."""
    if not (options.all or options.benchmarks or options.tasks):
        raise SelectionError("nothing is selected: say --all, --benchmarks NAME or --tasks NAME; --list names them")
    if options.all and (options.benchmarks or options.tasks):
        raise SelectionError("--all already takes every benchmark and task: leave out --benchmarks and --tasks")
    frameworks = options.frameworks or [name for name in FRAMEWORKS if _installed(name)]
    selection = Selection(
        benchmarks=tuple(options.benchmarks),
        tasks=tuple(options.tasks),
        architectures=tuple(options.architectures),
        frameworks=tuple(frameworks),
        seeds=tuple(options.seeds),
        profile=options.profile,
        hardware=detect.resolve(options.hardware),
        overrides=tuple(options.overrides),
        factors=tuple(options.factors),
        changed_task=options.changed_task,
    )
    found = cells(selection)
    for recipe in (cell.recipe for cell in found):
        if recipe is not None and recipe.data.name in data_names():
            place(recipe.data.name, options.data, recipe.data.settings)
    for framework in selection.frameworks:
        catalog.require_framework(framework)
    return found


def _installed(framework: str) -> bool:
    try:
        catalog.require_framework(framework)
    except catalog.MissingFramework as error:
        print(f"{framework} cells are left out: {error}", file=sys.stderr)
        return False
    return True


def print_list() -> None:
    """What can be selected."""
    for task in all_tasks().values():
        print(f"task          {task.name:<20} {task.title}")
    for name in catalog.names():
        print(f"architecture  {name:<20} {catalog.get(name).title}")
    for factor in factors().values():
        print(f"factor        {factor.name:<32} {', '.join(factor.levels)}; {factor.paper}")
    print(f"frameworks    {', '.join(FRAMEWORKS)}\nprofiles      {', '.join(PROFILES)}")
    for hardware in HARDWARE.values():
        print(f"hardware      {hardware.name:<20} {hardware.title}")


def print_matrix(found: Sequence[Cell], options: argparse.Namespace) -> None:
    """The cells with their estimated cost."""
    known = records.read_all(options.out) if (options.out / "records").is_dir() else []
    rows, total = [("cell", "task", "architecture", "framework", "seed", "profile", "hardware", "cost", "basis")], 0.0
    for cell in found:
        if local.finished(options.out, cell):
            expected = cost.Cost(0.0, "measured already, will not run")
        elif (data := cell.recipe and cell.recipe.data) and not available(data.name, options.data, **data.settings):
            expected = cost.Cost(0.0, "no data here, will not run")
        else:
            expected = cost.estimate(cell, known, _cores())
        total += expected.seconds or 0.0
        task = f"{cell.task} {cell.factor} = {cell.level}" if cell.factor else cell.task
        words = (cell.id, task, cell.architecture, cell.framework, str(cell.seed), cell.profile, cell.hardware)
        rows.append((*words, cost.duration(expected.seconds), expected.basis))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    print(f"{len(found)} cells, estimated {cost.duration(total / options.jobs)} with {options.jobs} at a time")


def default_jobs(found: Sequence[Cell], devices: int = 1) -> int:
    """One cell for each core on a CPU, where small models gain little from a second thread; one on an accelerator.

    A cell of several `devices` takes as many cores.
    """
    return min(max(_cores() // devices, 1), len(found)) if HARDWARE[found[0].hardware].kind == "cpu" else 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class InUse(RuntimeError):
    """Another run is writing to the same folder; the message names it and the remedy."""


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a runs folder meanwhile: they would take each other's logs and records."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"another run is writing to {out}: wait for it, or choose another --out") from None
        yield


def run(found: Sequence[Cell], options: argparse.Namespace, arguments: Sequence[str]) -> list[Outcome]:
    """Prepare the data once, write the cells without data, and run the others."""
    display, out = Display(), options.out
    kept = {cell.id for cell in found if options.resume and local.finished(out, cell)}
    outcomes = [Outcome(cell, "kept", "measured already") for cell in found if cell.id in kept]
    root, todo = data_root(options.data), [cell for cell in found if cell.id not in kept]
    opened = local.prepare(todo, lambda name, settings: open_dataset(name, root, **settings))
    ready = []
    for cell in todo:
        error = opened[cell.id]
        facts = result.protocol(cell)
        if error is None:
            ready.append((cell, facts))
        else:
            outcomes.append(_without_data(cell, error, facts, out, arguments))
            display.outcome(cell.label, outcomes[-1].status, outcomes[-1].reason)
    launcher = Launcher(
        Options(
            out=out,
            data=root,
            arguments=tuple(arguments),
            jobs=options.jobs,
            deadline=options.deadline,
            timeout=options.timeout,
            fresh=not options.resume,
            checkpoint_seconds=options.checkpoint_seconds,
            checkpoint_steps=options.checkpoint_steps,
            devices=options.shared,
        ),
        display,
    )
    return outcomes + launcher.run(ready)


def _without_data(cell: Cell, error: DataError, facts: dict, out: Path, arguments: Sequence[str]) -> Outcome:
    absent = isinstance(error, NoData | UnknownData)
    reason = all_tasks()[cell.task].missing_data if isinstance(error, UnknownData) else str(error)
    status = "no data" if absent else "failed"
    origin = provenance.collect(arguments)
    records.write(result.without_numbers(cell, status, local.without_places(reason), facts, origin), out)
    return Outcome(cell, status, reason)


def summary(outcomes: Sequence[Outcome]) -> int:
    """Print what became of the cells and give the exit status."""
    counts = {
        status: [o for o in outcomes if o.status == status] for status in dict.fromkeys(o.status for o in outcomes)
    }
    print(f"{len(outcomes)} cells: " + ", ".join(f"{len(found)} {status}" for status, found in counts.items()))
    for outcome in counts.get("failed", []):
        print(f"failed: {outcome.cell.label}, cell {outcome.cell.id}: {outcome.reason}")
    for outcome in counts.get("not finished", []):
        print(f"not finished: {outcome.cell.label}: {outcome.reason}; resume with the same command")
    if "not finished" in counts:
        return NOT_FINISHED
    return FAILED if "failed" in counts else DONE


def report(out: Path) -> bool:
    """Build the pages of a runs folder, print its table and say where the pages are; False if that failed."""
    from reports import build  # here, because drawing libraries take seconds to import
    from reports.published import PublishedError

    try:
        index = build.build([out], out / "site")
        print(build.text_table([out]), end="")
    except (records.RecordError, PublishedError, build.BuildError) as error:
        print(error, file=sys.stderr)
        return False
    print(f"report: {index}")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    arguments, started = list(sys.argv[1:] if arguments is None else arguments), time.time()
    parser = arguments_parser()
    if not arguments:
        parser.print_help()
        return DONE
    options = parser.parse_args(arguments)
    options.deadline = None if options.time_limit is None else started + options.time_limit
    try:
        if options.list:
            print_list()
            return DONE
        found = select(options)
        options.shared = shared.devices(found, options.devices)
        options.jobs = options.jobs or default_jobs(found, max(options.shared.values()))
        if options.dry_run:
            print_matrix(found, options)
            return DONE
    except (
        SelectionError,
        ConfigError,
        SettingsError,
        detect.HardwareError,
        catalog.MissingFramework,
        records.RecordError,
    ) as error:
        print(error, file=sys.stderr)
        return USAGE
    try:
        with alone(options.out):
            status = summary(run(found, options, arguments))
    except InUse as error:
        print(error, file=sys.stderr)
        return USAGE
    except records.RecordError as error:
        print(error, file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"{error}: choose a folder that can be written with --out (and --data), then run again", file=sys.stderr)
        return FAILED
    return status if report(options.out) or status != DONE else FAILED


if __name__ == "__main__":
    sys.exit(main())
