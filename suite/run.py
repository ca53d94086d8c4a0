"""The command line of the harness: `python -m suite.run`.

Exit status: 0 every cell with data here is measured, or compiled for a TPU that is not here; 1 a cell failed; 2 the
command line, the machine or the folder of --out does not fit, or no cell could run, as their data are absent; 3 a cell
was stopped (time limit, SIGTERM, Ctrl-C) and continues from its checkpoint with the same command.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from implementations import catalog
from implementations.common.config import ConfigError
from reports import console, records
from reports.console import counted
from reports.render import one_line
from suite import planning, provenance
from suite.ablations import factors
from suite.arguments import arguments_parser
from suite.data import DataError, NoData, Prepared, SettingsError, UnknownData, data_root, open_dataset
from suite.data import names as data_names
from suite.data.catalog import place
from suite.hardware import detect
from suite.hardware.ahead_of_time import COMPILATIONS
from suite.hardware.profiles import PROFILES as HARDWARE
from suite.launch import ahead, cost, local, result
from suite.launch import devices as shared
from suite.launch.cell import TIME_LIMIT
from suite.launch.display import Display
from suite.launch.local import Launcher, Options, Outcome
from suite.launch.measured_data import OtherData
from suite.matrix import Cell, Selection, SelectionError, cells, left_out
from suite.recipes.base import PROFILES
from suite.recipes.rows import ROWS
from suite.tasks import BENCHMARKS, FRAMEWORKS, all_tasks
from suite.training import weights

DONE, FAILED, USAGE, NOT_FINISHED = 0, 1, 2, 3


def select(options: argparse.Namespace) -> list[Cell]:
    """The cells that the command line asks for; raises errors that explain themselves."""
    if not (options.all or options.benchmarks or options.tasks):
        more = (
            "--factors belong to --benchmarks ablation, --rows to --benchmarks lm"
            if options.factors or options.rows
            else ""
        )
        named = "nothing is selected: say --all, --benchmarks NAME or --tasks NAME; --list names them"
        raise SelectionError(f"{named}; {more}" if more else named)
    if options.all and (options.benchmarks or options.tasks):
        raise SelectionError("--all already takes every benchmark and task: leave out --benchmarks and --tasks")
    frameworks = options.frameworks or [name for name in FRAMEWORKS if _installed(name)]
    overrides, options.weights = weights.named(options.overrides, data_root(options.data))
    selection = Selection(
        benchmarks=tuple(options.benchmarks),
        tasks=tuple(options.tasks),
        architectures=tuple(options.architectures),
        frameworks=tuple(frameworks),
        seeds=tuple(options.seeds),
        profile=options.profile,
        hardware=detect.resolve(options.hardware, planned=options.dry_run),
        overrides=overrides,
        factors=tuple(options.factors),
        changed_task=options.changed_task,
        rows=tuple(options.rows),
    )
    found = cells(selection)
    for line in left_out(selection):
        print(line, file=sys.stderr)
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
    tasks = all_tasks().values()
    counts = {name: sum(task.benchmark == name for task in tasks) for name in BENCHMARKS}
    rows = [("benchmark", name, f"{count} task{'s' if count > 1 else ''}") for name, count in counts.items()]
    rows += [("task", task.name, task.title) for task in tasks]
    rows += [("architecture", name, catalog.get(name).title) for name in catalog.names()]
    rows += [("row", one.name, f"{one.architecture}; {one.table}") for one in ROWS.values()]
    rows += [("factor", one.name, f"{', '.join(one.levels)}; {one.paper}") for one in factors().values()]
    rows += [("hardware", one.name, one.title) for one in HARDWARE.values()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for kind, name, text in rows:
        print(f"{kind:<{widths[0]}}  {name:<{widths[1]}}  {text}")
    for kind, names in (("frameworks", FRAMEWORKS), ("profiles", PROFILES)):
        print(f"{kind:<{widths[0]}}  {', '.join(names)}")


class InUse(RuntimeError):
    """Another run is writing to the same folder; the message names it and the remedy."""


class Unwritable(RuntimeError):
    """Nothing can be written to the runs folder; the message names it and the remedy."""


class TimeUp(DataError):
    """The time limit has come before the data of a cell were prepared."""


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other runs out of a runs folder meanwhile: they would take each other's logs and records."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        opened = (out / ".lock").open("w")
    except OSError as error:
        why = error.strerror or error
        raise Unwritable(f"cannot write to {out} ({why}): choose a folder that can be written with --out") from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"another run is writing to {out}: wait for it, or choose another --out") from None
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt meanwhile, as Ctrl-C is; while cells run, the launcher takes both."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(found: Sequence[Cell], options: argparse.Namespace, arguments: Sequence[str]) -> list[Outcome]:
    """Prepare the data once, write the cells without data, and run the others; compile them for an absent TPU."""
    if ahead.is_absent(found[0].hardware):
        return ahead.run(found, launch_options(options, arguments))
    display, out = Display(), options.out
    kept = {cell.id for cell in found if options.resume and local.finished(out, cell, data_root(options.data))}
    outcomes = [Outcome(cell, "kept", "measured already") for cell in found if cell.id in kept]
    for cell in [cell for cell in found if detect.why_not(cell.framework, cell.hardware)]:
        outcomes.append(
            ahead.not_run(cell, detect.why_not(cell.framework, cell.hardware), launch_options(options, arguments))
        )
        display.outcome(cell.label, outcomes[-1].status, outcomes[-1].reason)
    done = {outcome.cell.id for outcome in outcomes}
    root, todo = data_root(options.data), [cell for cell in found if cell.id not in done]
    weights.keep(options.weights, root)

    def in_time(name: str, settings: dict[str, Any]) -> Prepared:
        if options.deadline is not None and time.time() >= options.deadline:
            raise TimeUp(f"{TIME_LIMIT} before its data were prepared")
        return open_dataset(name, root, **settings)

    opened = local.prepare(todo, in_time)
    ready = []
    for cell in todo:
        error = opened[cell.id]
        facts = result.protocol(cell)
        if error is None:
            ready.append((cell, facts))
        else:
            outcomes.append(_without_data(cell, error, facts, out, arguments))
            display.outcome(cell.label, outcomes[-1].status, outcomes[-1].reason)
    launcher = Launcher(launch_options(options, arguments), display)
    return outcomes + launcher.run(ready)


def launch_options(options: argparse.Namespace, arguments: Sequence[str]) -> Options:
    """How the command line wants cells to be launched."""
    compile_only = ahead.is_absent(detect.resolve(options.hardware))
    return Options(
        out=options.out,
        data=data_root(options.data),
        arguments=tuple(arguments),
        jobs=options.jobs,
        deadline=options.deadline,
        timeout=options.timeout or (ahead.TIMEOUT if compile_only else None),
        fresh=not options.resume,
        checkpoint_seconds=options.checkpoint_seconds,
        checkpoint_steps=options.checkpoint_steps,
        compile_only=compile_only,
        compilations=options.compilations,
        devices=options.shared,
    )


def _without_data(cell: Cell, error: DataError, facts: dict, out: Path, arguments: Sequence[str]) -> Outcome:
    if isinstance(error, TimeUp):
        return Outcome(cell, "not finished", str(error))
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
    print(
        f"{counted(len(outcomes), 'cell')}: " + ", ".join(f"{len(found)} {status}" for status, found in counts.items())
    )
    for outcome in counts.get("failed", []):
        print(one_line(f"failed: {outcome.cell.label}, cell {outcome.cell.id}: {outcome.reason}"))
    for outcome in counts.get("not finished", []):
        print(one_line(f"not finished: {outcome.cell.label}: {outcome.reason}; resume with the same command"))
    if "not finished" in counts:
        return NOT_FINISHED
    if "no data" in counts and set(counts) <= {"no data", "not run"}:
        print("nothing ran: the data are not here; python -m suite.data doctor says how to get them", file=sys.stderr)
        return USAGE
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
        planning.refuse_budget(found[0].hardware, options.budget)
        options.shared = shared.devices(found, options.devices)
        if options.compilations is None:
            options.compilations = COMPILATIONS[options.profile]
        for line in shared.idle(found, options.shared, options.devices):
            print(line, file=sys.stderr)
        options.jobs = options.jobs or planning.default_jobs(found, max(options.shared.values(), default=1))
        if options.dry_run or options.budget is not None:
            costs = planning.priced(found, options)
            found = found if options.budget is None else planning.within_budget(costs, options)
            if options.dry_run:
                planning.print_matrix([(cell, expected) for cell, expected in costs if cell in found], options)
                return DONE
            if not found:
                raise SelectionError(
                    f"nothing fits into --budget {cost.duration(options.budget)}, so nothing was run: give it more "
                    "time or choose smaller cells; --dry-run prices each"
                )
    except (
        SelectionError,
        ConfigError,
        SettingsError,
        detect.HardwareError,
        catalog.MissingFramework,
        records.RecordError,
        OtherData,
    ) as error:
        print(one_line(str(error)), file=sys.stderr)
        return USAGE
    return execute(found, options, arguments)


def execute(found: Sequence[Cell], options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the cells and build the report; gives the exit status."""
    try:
        with alone(options.out), interruptible():
            status = summary(run(found, options, arguments))
            return status if report(options.out) or status != DONE else FAILED
    except KeyboardInterrupt:
        print("stopped while no cell ran; nothing half-made is kept: resume with the same command", file=sys.stderr)
        return NOT_FINISHED
    except (InUse, Unwritable, OtherData) as error:
        print(one_line(str(error)), file=sys.stderr)
        return USAGE
    except records.RecordError as error:
        print(one_line(str(error)), file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"{error}: choose a folder that can be written with --out (and --data), then run again", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(console.exit_status(main))
