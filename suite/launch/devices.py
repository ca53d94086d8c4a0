"""How many devices of this machine train a cell together: hardware, no part of its recipe or its id.

The batch of an update is the same however many share it, and so are its numbers up to float error.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Literal

from suite.hardware import detect
from suite.hardware.ahead_of_time import TOPOLOGIES
from suite.hardware.profiles import PROFILES
from suite.launch import ahead
from suite.matrix import Cell

Asked = int | Literal["all"] | None


def parse(text: str) -> Asked:
    """A whole number of at least 1, or "all"."""
    if text == "all":
        return "all"
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number of at least 1 nor all")
    return int(text)


def devices(found: Sequence[Cell], asked: Asked) -> dict[str, int]:
    """By the id of each cell, how many devices run it; raises HardwareError where they are not here or do not fit.

    "all" takes the most that share a batch evenly; None is "all" on a TPU and 1 elsewhere. Cells that train nothing
    run on one device. Of a TPU that is not here there are the chips of the topology that is compiled for; for a GPU
    that is not here any number is planned.
    """
    return {cell.id: _of(cell, asked) for cell in found}


def idle(found: Sequence[Cell], counts: Mapping[str, int], asked: Asked) -> list[str]:
    """Sentences for batches that leave devices of this machine without work that all were to share them."""
    lines = {}
    for cell in found:
        hardware = PROFILES[cell.hardware]
        here, n = detect.count(hardware.kind), counts[cell.id]
        everything = asked == "all" or (asked is None and hardware.kind == "tpu")
        if cell.recipe is not None and everything and not ahead.is_absent(cell.hardware) and n < here:
            batch = cell.recipe.batch_size
            told = f"batches of {batch} are shared evenly by {n} of the {here} {hardware.title} here"
            lines[batch] = f"{told}, the others are idle: --set batch_size takes another number"
    return list(lines.values())


def _of(cell: Cell, asked: Asked) -> int:
    hardware = PROFILES[cell.hardware]
    asked = asked or ("all" if hardware.kind == "tpu" else 1)
    if cell.recipe is None or asked == 1:
        return 1
    absent = ahead.is_absent(cell.hardware)
    batch, here = cell.recipe.batch_size, TOPOLOGIES[cell.hardware].chips if absent else detect.count(hardware.kind)
    if asked == "all":
        return max(n for n in range(1, here + 1) if batch % n == 0)
    planned = hardware.kind == "gpu" and cell.hardware not in detect.present()
    if hardware.kind != "cpu" and asked > here and not planned:
        raise detect.HardwareError(
            f"--devices {asked}: {'programs are compiled for' if absent else 'this machine has'} {here} of "
            f"{hardware.title}; choose fewer or all"
        )
    if batch % asked:
        fitting = ", ".join(str(n) for n in range(1, asked + 1) if batch % n == 0)
        raise detect.HardwareError(
            f"--devices {asked} cannot share the batches of {batch} of {cell.label} evenly: choose {fitting} or all"
        )
    return asked
