"""Does a record come out again: `python -m suite.verify RECORD`.

Exit status: 0 reproduced; 1 not reproduced; 2 the record cannot be verified as given, with the reason and what helps.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from implementations import catalog
from implementations.common.config import ConfigError
from reports.blocks import Column, Row, Table, plain
from reports.consistency import contradictions
from reports.frames import text
from reports.records import Record, RecordError
from reports.render import one_line, text_table
from suite.arguments import positive, some_time
from suite.data import DataError, data_root, open_dataset
from suite.hardware import detect
from suite.hardware.profiles import PROFILES
from suite.launch import cost, result
from suite.matrix import Cell
from suite.replay import agreement, circumstances, rerun, source
from suite.replay.agreement import LARGEST_BOUND, Quantity
from suite.replay.rerun import Way
from suite.replay.source import CannotVerify

REPRODUCED, NOT_REPRODUCED, CANNOT = 0, 1, 2
FOLDERS = (Path("runs"), Path("reports/measured"))
EXAMPLES = """examples:
  python -m suite.verify runs/records/0439af6ff8aa.json           the first updates of a record
  python -m suite.verify 0439af6ff8aa --runs reports/measured     of a cell by its id
  python -m suite.verify 0439af6ff8aa --steps 200 --time-limit 1h
  python -m suite.verify 0439af6ff8aa --whole                     the run to its end

What must come out: on a CPU with the recorded code, versions, processor and thread settings the same bits. Elsewhere
each loss must agree within rounding: {factor:g} times as far as the losses part in a second run here whose initial
values are one unit in the last place away, as long as that is below {largest:.0%}; accuracies are shown and not judged.
Of parity ladders the same checks must pass. Of layer speeds the correctness gate and the programs are repeated and the
times are not, which is said; a failed one is not verified by that. A record that contradicts itself is not reproduced.

exit status: 0 reproduced, 1 not reproduced, 2 cannot be verified as given (the sentence says why and what helps)"""


def arguments_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m suite.verify",
        description="Run a measured cell again, or its first updates, and say whether its numbers come out again.",
        epilog=EXAMPLES.format(factor=agreement.ROUNDING, largest=LARGEST_BOUND),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("record", metavar="RECORD", help="file of a record, or the id of its cell")
    folders = "runs folders where a cell id is looked up; default: runs and reports/measured"
    parser.add_argument("--runs", nargs="+", type=Path, metavar="DIR", help=folders)
    parser.add_argument("--data", type=Path, metavar="DIR", help="default: LONGSEQ_DATA, else data")
    length = parser.add_mutually_exclusive_group()
    updates = f"updates to run, rounded up to a point of the recorded curve; default: {rerun.UPDATES}"
    length.add_argument("--steps", type=positive, metavar="N", help=updates)
    length.add_argument("--whole", action="store_true", help="run the cell to its end")
    limit = "stop a run after e.g. 90s, 10m or 2h and compare what there is; default: 10m"
    parser.add_argument("--time-limit", type=some_time, default=600.0, metavar="TIME", help=limit)
    where = "where to run; default: the recorded hardware, else the best of this machine"
    parser.add_argument("--hardware", default="", metavar="NAME", help=where)
    return parser


def verify(options: argparse.Namespace) -> int:
    """Verify a record; raises CannotVerify and other errors that explain themselves."""
    record, path = source.find(options.record, options.runs or [folder for folder in FOLDERS if folder.is_dir()])
    cell = record.cell
    print(f"record {one_line(str(path))}")
    print(one_line(f"{cell.task} {cell.architecture} {cell.framework} seed {cell.seed}, profile {cell.profile}, "
                   f"{cell.hardware}: {record.status}"))  # fmt: skip
    wrong = contradictions(record)
    if wrong:
        print(*(f"  {one_line(sentence)}" for sentence in wrong), sep="\n")
        print("not reproduced: the record contradicts itself; it was changed after it was written")
        return NOT_REPRODUCED
    return run_again(record, source.cell_of(record), options)


def run_again(record: Record, original: Cell, options: argparse.Namespace) -> int:
    """Run the cell of a record and judge what comes out."""
    cell = dataclasses.replace(original, hardware=_hardware(original, options.hardware))
    for framework in cell.framework.split("+"):
        catalog.require_framework(framework)
    if cell.recipe is None and (options.steps or options.whole):
        raise CannotVerify(
            "--steps and --whole belong to trainings: leave them out, this cell is run as it is told below"
        )
    found = circumstances.compare(record, cell)
    strict = circumstances.alike(found, cell)
    print(_circumstances(found), end="")
    way = Way(data_root(options.data), options.time_limit, circumstances.environment(record))
    if cell.recipe is not None:
        reachable(record, cell, options.time_limit)
        check_data(record, cell, way.data)
        return conclude(training(record, cell, options, way, strict), strict, record)
    if cell.settings:
        print(
            "running its correctness gate, and each program once at the shortest length; times are not compared",
            flush=True,
        )
        cell = dataclasses.replace(cell, settings=rerun.gate_only(cell.settings))
        compared = agreement.speed(record, _whole(cell, way), strict)
    else:
        print("running every check of the ladder", flush=True)
        compared = agreement.ladder(record, _whole(cell, way), strict)
    return conclude(compared, strict, record, gate_only=bool(cell.settings))


def _hardware(cell: Cell, asked: str) -> str:
    here = detect.present()
    if asked in PROFILES and asked not in here:
        raise detect.HardwareError(
            f"hardware {asked!r} ({PROFILES[asked].title}) is not on this machine, which has: {', '.join(here)}; "
            "verify it there, or leave out --hardware"
        )
    return cell.hardware if not asked and cell.hardware in here else detect.resolve(asked or "auto")


def _whole(cell: Cell, way: Way) -> Record:
    again = rerun.again(cell, way)
    assert again.record is not None
    return again.record


def check_data(record: Record, cell: Cell, root: Path) -> None:
    """Raise CannotVerify unless the data here are, file by file, those of the record; what can be made is made."""
    assert cell.recipe is not None
    data = open_dataset(cell.recipe.data.name, root, **cell.recipe.data.settings)
    recorded = record.provenance.get("data")
    if not isinstance(recorded, dict):
        raise CannotVerify(
            f"record {record.cell.id} holds no hashes of its data: it cannot be told whether these are they"
        )
    other = sorted(name for name in {*recorded, *data.hashes} if recorded.get(name) != data.hashes.get(name))
    if other:
        sides = [one_line(text(side.get(other[0]) or "none")) for side in (recorded, data.hashes)]
        raise CannotVerify(
            f"{len(other)} of {len(recorded)} data files are not those of the record, {one_line(other[0])} first "
            f"(recorded sha256 {sides[0]}, found {sides[1]}): get the recorded version of the data, or make them anew "
            f"with {data.command}"
        )
    print(f"data: {len(recorded)} files, each with the recorded sha256")


def training(record: Record, cell: Cell, options: argparse.Namespace, way: Way, strict: bool) -> list[Quantity]:
    """Run a training again, and where the bits may differ once more to see what rounding does to it."""
    recipe: Any = cell.recipe
    updates = recipe.total_steps if options.whole else rerun.first_updates(recipe, options.steps)
    what = "all" if updates == recipe.total_steps else f"the first {updates} of"
    print(f"running {what} {recipe.total_steps} updates on {cell.hardware}", flush=True)
    plain_run = rerun.again(cell, way, updates)
    if not plain_run.curves:
        return [Quantity("step_loss", 1, 0, float("inf"), 0.0, "not reproduced", f"the run here {plain_run.ended}")]
    if plain_run.updates < updates:
        print(f"it came to update {plain_run.updates}: {plain_run.ended}")
    compared = agreement.training(record, plain_run, agreement.exact)
    if strict or all(one.judgment == "bit for bit" for one in compared):
        return compared
    few = min(plain_run.updates, rerun.first_updates(recipe, options.steps))
    print(f"running {few} updates once more, from initial values one rounding away, to see how far rounding parts runs")
    bound = agreement.rounding_bound(recipe, plain_run, rerun.again(cell, way, few, moved=True))
    return agreement.training(record, plain_run, bound)


def reachable(record: Record, cell: Cell, limit: float) -> None:
    """Raise CannotVerify before a run whose time limit is expected to end before the first recorded point."""
    assert cell.recipe is not None
    points = result.window(cell.recipe)
    recorded = record.timing.get("step_seconds_p50")
    if cell.hardware == record.cell.hardware and isinstance(recorded, int | float):
        seconds, basis = points * recorded, "by the recorded time of an update"
    else:
        each = cost.assumed_update_seconds(cell, detect.cores())
        seconds, basis = points * (each or 0.0), "by counted operations at an assumed rate"
    if seconds > limit:
        elsewhere = "" if cell.hardware == record.cell.hardware else f", or verify it on {record.cell.hardware}"
        raise CannotVerify(
            f"the first loss of the record is the mean of updates 1 to {points}, which take about "
            f"{cost.duration(seconds)} on {cell.hardware} here ({basis}), but the time limit is "
            f"{cost.duration(limit)}: give --time-limit {math.ceil(1.5 * seconds / 60)}m{elsewhere}"
        )


def conclude(compared: Sequence[Quantity], strict: bool, record: Record, gate_only: bool = False) -> int:
    """Print what was compared and the verdict; gives the exit status.

    With `gate_only` times were recorded, and only their correctness gate was repeated.
    """
    rows = [_quantity(one) for one in compared]
    titles = ("quantity", "compared", "bit for bit", "largest relative deviation", "bound there", "judgment")
    print(_table(titles, rows), end="")
    judgments = {one.judgment for one in compared}
    outside = [one.outside for one in compared if one.outside]
    if outside:
        print(*(one_line(sentence) for sentence in outside[:5]), sep="\n")
        why = "the same bits were expected: code, versions and hardware are those recorded" if strict else (
            "the difference is beyond what rounding does")  # fmt: skip
        print(f"not reproduced: {why}")
        return NOT_REPRODUCED
    if judgments == {"not judged"} or not compared:
        raise CannotVerify(
            f"no number could be judged: rounding alone parts runs of this recipe by more than {LARGEST_BOUND:.0%} "
            "there; verify it with the recorded versions on the recorded hardware"
        )
    how = "bit for bit" if judgments == {"bit for bit"} else "within rounding"
    left = ", others are shown and not judged" if "not judged" in judgments else ""
    named = "judged: " + ", ".join(one.name for one in compared if one.compared and one.judgment != "not judged")
    if gate_only and record.status != "measured":
        raise CannotVerify(
            f"the record is {record.status!r} ({one_line(record.reason)}): its gate passes again ({named}), but the "
            "run did not end, and times are not verified"
        )
    if record.status != "measured":
        print(one_line(f"the recorded status is {record.status!r}: {record.reason}"))
    what = f"gate passes again {how}{left}; times not verified" if gate_only else f"reproduced {how}{left}"
    print(f"{what}; {named}")
    return REPRODUCED


def _quantity(one: Quantity) -> tuple[str, ...]:
    bound = "–" if one.judgment == "not judged" or one.bound is None else f"{one.bound:.1e}" if one.bound else "0"
    apart = f"{one.deviation:.1e}" if one.deviation else "0"
    return one.name, str(one.compared), str(one.identical), apart, bound, one.judgment


def _circumstances(found: Sequence[circumstances.Circumstance]) -> str:
    words = {True: "same", False: "differs", None: "not known"}
    rows = [
        (one.name, one.recorded, one.here, words[one.same] + ("" if one.decides or one.same else ", decides nothing"))
        for one in found
    ]
    return _table(("circumstance", "recorded", "here", ""), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    columns = tuple(Column(title) for title in titles)
    return text_table(Table("", columns, tuple(Row(tuple(plain(word) for word in row)) for row in rows)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    options = arguments_parser().parse_args(arguments)
    try:
        return verify(options)
    except (
        CannotVerify, DataError, ConfigError, RecordError, detect.HardwareError, catalog.MissingFramework,
    ) as error:  # fmt: skip
        print(f"cannot be verified: {one_line(str(error))}", file=sys.stderr)
    except OSError as error:
        print(
            f"cannot be verified: {error}: choose a folder that can be written with --data or TMPDIR", file=sys.stderr
        )
    return CANNOT


if __name__ == "__main__":
    sys.exit(main())
