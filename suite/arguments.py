"""The arguments of the harness's command line: what can be said, and how its words are read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from suite.hardware.profiles import PROFILES as HARDWARE
from suite.launch import devices as shared
from suite.tasks import BENCHMARKS

EXAMPLE = (
    "python -m suite.run --tasks lra.listops --architectures s5 --frameworks jax torch --seeds 0 1 --profile smoke"
)


def duration(text: str) -> float:
    """Seconds of "90", "90s", "10m" or "2h"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90, 90s, 10m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600}[found[2]]


def some_time(text: str) -> float:
    """A duration of more than nothing."""
    seconds = duration(text)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all; write e.g. 90s, 10m or 8h")
    return seconds


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 0")
    return int(text)


def arguments_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m suite.run",
        description="Run a selection of the benchmark, cell by cell, and build the report.",
        epilog=f"Example: {EXAMPLE}. Exit status: 0 done, cells without data left out; 1 a cell failed; 2 wrong "
        "command line, absent hardware, or no cell that has its data here; 3 stopped before the end (run the same "
        "command again to continue).",
    )
    what = parser.add_argument_group("what to run")
    what.add_argument("--all", action="store_true", help="everything")
    what.add_argument("--benchmarks", nargs="+", default=[], metavar="NAME", help=", ".join(BENCHMARKS))
    what.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="tasks; --list names them")
    what.add_argument("--factors", nargs="+", default=[], metavar="NAME",
                      help="of the ablations, e.g. s5.blocks; default: all; --list names them")  # fmt: skip
    what.add_argument("--on", default="", metavar="TASK", dest="changed_task",
                      help="the task whose recipes the factors change, e.g. lm.book; default: lra.listops")  # fmt: skip
    what.add_argument("--rows", nargs="+", default=[], metavar="NAME",
                      help="rows of the papers' tables in place of each architecture's own published recipe, e.g. "
                      "BST:MF:S4, with --profile paper; --list names them")  # fmt: skip
    what.add_argument("--architectures", nargs="+", default=[], metavar="NAME", help="default: all")
    what.add_argument("--frameworks", nargs="+", default=[], metavar="NAME", help="jax, torch; default: the installed")
    what.add_argument("--seeds", nargs="+", type=seed, default=[0], metavar="N", help="default: 0")
    what.add_argument(
        "--profile", default="smoke", help="smoke (minutes), small (hours to days on a CPU) or paper; default: smoke"
    )
    what.add_argument("--hardware", default="auto", help="auto, " + ", ".join(HARDWARE))
    what.add_argument("--set", action="append", default=[], dest="overrides", metavar="PATH=VALUE",
                      help="change a field of the recipes, e.g. epochs=2, rounds=1 of layer speed, or "
                      "initial_weights=FILE to start from weights that a run left; repeatable")  # fmt: skip
    how = parser.add_argument_group("how to run it")
    how.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    how.add_argument("--data", type=Path, metavar="DIR", help="default: LONGSEQ_DATA, else data")
    jobs = "cells at a time; default: one for each core on a CPU, 1 elsewhere"
    how.add_argument("--jobs", type=positive, metavar="N", help=jobs)
    how.add_argument("--devices", type=shared.parse, metavar="N",
                     help="devices of this machine that train a cell together, or all: as many as share its batches "
                     "evenly; default: 1, on a TPU all")  # fmt: skip
    how.add_argument("--time-limit", type=some_time, metavar="TIME",
                     help="end the command after e.g. 90s, 10m or 2h with checkpoints to continue from")  # fmt: skip
    how.add_argument("--timeout", type=some_time, metavar="TIME", help="fail a cell that takes longer than this")
    how.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True,
                     help="keep measured cells and continue from checkpoints (default), or start anew")  # fmt: skip
    how.add_argument("--checkpoint-seconds", type=duration, default=60.0, metavar="TIME", help="default: 60s")
    how.add_argument("--checkpoint-steps", type=positive, metavar="N", help="also checkpoint every N updates")
    how.add_argument("--budget", type=some_time, metavar="TIME",
                     help="run what is most informative within e.g. 8h, and say what is left out: every architecture "
                     "on every task once before second seeds, the cheapest first, twins together")  # fmt: skip
    how.add_argument("--compilations", type=seed, metavar="N",
                     help="for a TPU that is not here: programs compiled of a cell besides its training step, first "
                     "the evaluation, then longer inputs until one does not fit; of layers all lengths, with 0 the "
                     "longest; default: 4 in the profile paper, else 0")  # fmt: skip
    how.add_argument(
        "--dry-run",
        action="store_true",
        help="print the cells and their estimated cost, run nothing; also for a GPU that is not here",
    )
    how.add_argument("--list", action="store_true", help="print what can be selected")
    return parser
