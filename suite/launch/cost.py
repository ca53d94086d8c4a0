"""What a cell will cost in time, memory and energy: by a record of the same run, else by the nearest measured one."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports import contended
from reports.console import counted
from reports.records import Record
from suite.data import DataError
from suite.hardware import detect
from suite.hardware.profiles import PROFILES, Hardware
from suite.launch.operations import evaluated_tokens, footprint, total_operations, update_operations
from suite.matrix import Cell
from suite.recipes.base import Recipe

NEAR = 30.0
"""By what factor the operations of an update may differ from those of a measured one that still says what it costs."""
SUSTAINED_CORE = 4e9
SUSTAINED_SHARE = 0.1
"""Operations per second of one processor core, and share of an accelerator's float32 peak, that training of these
models sustains: assumptions for where nothing near is measured, named in the output."""

BARE_PROCESS = {"jax": 500 * 2**20, "torch": 430 * 2**20}
"""Bytes of a process that trains next to nothing: interpreter, framework, compiler. Measured on Linux with a model of
558 parameters on the CPU; part of a process's peak memory whatever the recipe is."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds, bytes of memory and joules of a cell, each None where nothing is known; where the numbers come from.

    `measured` says that they come from a record, not from an assumed rate; `lacks` why the cell is not expected to fit
    into memory, empty where it is.
    """

    seconds: float | None
    basis: str
    memory: float | None = None
    joules: float | None = None
    measured: bool = False
    lacks: str = ""


class Estimator:
    """Prices cells by records: first one of the same recipe on the same hardware, of any seed; then the nearest of the
    same hardware, by framework, architecture and operations of an update, scaled by the operations of the whole run;
    then the nearest of another chip of the kind, scaled by the ratio of their peak rates or bandwidths as well.

    Memory is scaled by what parameters and activations take, beside what a process takes without them. Energy follows
    from a measured mean power, else from that of the board. Records whose device was shared (`reports.contended`) tell
    their memory, and no time or energy. With fewer cores or devices than a record's cell had, another takes longer in
    proportion; what more of them would save is not known, and nothing is counted on.

    `cores` are those that a cell on the CPU has for itself, `devices` how many train a cell, by its id, where that is
    not 1; `root` is the folder of the data, whose sizes count.
    """

    def __init__(
        self,
        known: Sequence[Record],
        cores: int,
        root: str | Path | None = None,
        devices: Mapping[str, int] | None = None,
    ) -> None:
        self.cores, self.root, self.devices = cores, root, devices or {}
        self.whole_memory = functools.cache(detect.memory)
        self.known = [record for record in known if record.status == "measured" and _seconds(record)]

    def estimate(self, cell: Cell) -> Cost:
        """The cost of a cell, and whether it is expected to fit."""
        cost, whole = self._estimate(cell), self.whole_memory(cell.hardware)
        if not whole or not cost.memory or cost.memory <= whole:
            return cost
        chip = PROFILES[cell.hardware].title
        told = f"does not fit: an estimated {memory(cost.memory)}, and {chip} has {memory(whole)}"
        return dataclasses.replace(cost, basis=f"{told}; {cost.basis}", lacks=told)

    def _estimate(self, cell: Cell) -> Cost:
        here = [record for record in self.known if record.cell.hardware == cell.hardware]
        same = _same(cell, [record for record in here if not contended.why(record)])
        if same is not None:
            return self._powered(cell, self._of(cell, same, 1.0, f"measured, cell {same.cell.id}"))
        if cell.recipe is None:
            return Cost(None, "no estimate: no such check or timing is measured on this hardware")
        operations = total_operations(cell, self.root)
        if operations is None:
            return Cost(None, "no estimate: the operations of this architecture are not counted")
        blind = cell.recipe.language is not None and evaluated_tokens(cell.recipe, self.root) == 0
        told = "; evaluations left out, the text is not prepared" if blind else ""
        cost = self._timed(cell, operations)
        cost = dataclasses.replace(cost, basis=cost.basis + told)
        return self._powered(cell, self._with_memory(cell, _same(cell, here), cost))

    def _timed(self, cell: Cell, operations: float) -> Cost:
        """Time, and energy where it is measured, of the nearest record; else by an assumed rate."""
        found, elsewhere = self._nearest(cell, operations), ""
        faster = 1.0
        if found is None and PROFILES[cell.hardware].kind == "gpu":
            found = self._nearest(cell, operations, other_chips=True)
            if found is not None:
                there = found[0].cell.hardware
                faster, of = _slower(cell, there)
                elsewhere = f" on {there}, times the ratio {faster:.3g} of the {of} of {there} and {cell.hardware}"
        if found is None:
            return _assumed(cell, operations, self.cores)
        record, ratio = found
        of = "" if record.cell.architecture == cell.architecture else f", {record.cell.architecture}"
        of += "" if record.cell.framework == cell.framework else f", {record.cell.framework}"
        times = f"{ratio:.2g} times the operations of cell {record.cell.id} ({record.cell.task}{of}){elsewhere}"
        cost = dataclasses.replace(self._of(cell, record, ratio, times), memory=None)
        if not elsewhere:
            return cost
        assert cost.seconds is not None
        return dataclasses.replace(cost, seconds=faster * cost.seconds, joules=None)

    def _of(self, cell: Cell, record: Record, ratio: float, basis: str) -> Cost:
        """The cost of `ratio` times the updates of a record, with the cores or devices of a cell."""
        cost, own, theirs = _of(record, ratio, basis), self._share(cell), _share(record)
        cost = dataclasses.replace(cost, memory=self._memory(cell, record))
        if theirs <= own:
            return cost
        assert cost.seconds is not None
        what = "core" if PROFILES[cell.hardware].kind == "cpu" else "device"
        told = f"{basis}, times {theirs / own:.3g} for {own} of its {counted(theirs, what)}"
        return dataclasses.replace(cost, seconds=theirs / own * cost.seconds, basis=told)

    def _share(self, cell: Cell) -> int:
        return self.cores if PROFILES[cell.hardware].kind == "cpu" else self.devices.get(cell.id, 1)

    def _memory(self, cell: Cell, record: Record) -> float | None:
        """The memory of a record, of a device where as many train as train a cell."""
        peak = _amount(record.timing.get("peak_memory_bytes"))
        return peak * _devices(record) / self.devices.get(cell.id, 1) if peak else _memory(record)

    def _with_memory(self, cell: Cell, same: Record | None, cost: Cost) -> Cost:
        """A cost with the memory of a record of the same recipe, else of the nearest one, scaled."""
        if same is not None and _memory(same):
            told = f"{cost.basis}; memory of cell {same.cell.id}"
            return dataclasses.replace(cost, memory=self._memory(cell, same), basis=told)
        own, kind, found = footprint(cell), PROFILES[cell.hardware].kind, []
        for record, other, *_ in self._counted:
            theirs, there = footprint(other), PROFILES.get(record.cell.hardware)
            alike = there and there.kind == kind and record.cell.framework == cell.framework
            if own and theirs and alike and _memory(record) and abs(math.log(own / theirs)) <= math.log(NEAR):
                stranger = record.cell.architecture != cell.architecture
                found.append(((stranger, abs(math.log(own / theirs)), record.cell.id), record, own / theirs))
        if not found:
            return cost
        _, record, ratio = min(found, key=lambda one: one[0])
        whole, bare = self._memory(cell, record) or 0.0, _bare(record)
        where = "" if record.cell.hardware == cell.hardware else f" on {record.cell.hardware}"
        told = f"; memory {ratio:.2g} times that of cell {record.cell.id}{where}, by parameters and activations"
        told += f", beside {memory(bare)} of the bare process" if bare else ""
        return dataclasses.replace(cost, memory=bare + ratio * (whole - bare), basis=cost.basis + told)

    def _powered(self, cell: Cell, cost: Cost) -> Cost:
        """A cost with energy: where none is measured, its time at the mean power of other runs on this hardware, or at
        that for which the board is built."""
        board, devices = PROFILES[cell.hardware].power, self.devices.get(cell.id, 1)
        if cost.joules is not None or not cost.seconds or PROFILES[cell.hardware].kind == "cpu":
            return cost
        powers = sorted(
            (_joules(record) or 0.0) / record.timing["total_seconds"] / _devices(record)
            for record in self.known
            if record.cell.hardware == cell.hardware and _joules(record) and not contended.why(record)
        )
        if powers:
            power = powers[len(powers) // 2] * devices
            told = f"; energy at {power:.0f} W, the median of the mean powers of {len(powers)} records of this hardware"
        elif board:
            power, of = board * devices, f"{devices} boards" if devices > 1 else "the board"
            told = f"; energy at an assumed {power:.0f} W, the power of {of}"
        else:
            return cost
        return dataclasses.replace(cost, joules=power * cost.seconds, basis=cost.basis + told)

    @functools.cached_property
    def _counted(self) -> list[tuple[Record, Cell, float, float]]:
        """Trainings with their cells, the operations of an update and those of the run."""
        found = []
        for record in self.known:
            cell = _cell(record)
            if cell is not None and cell.recipe is not None:
                update, total = _operations(cell, self.root)
                if update and total:
                    found.append((record, cell, update, total))
        return found

    def _nearest(self, cell: Cell, operations: float, other_chips: bool = False) -> tuple[Record, float] | None:
        """The record to scale, and by how much: of the same architecture and framework before another of either.

        With `other_chips` of those whose peak rate is known as that of the cell's hardware is.
        """
        assert cell.recipe is not None
        found, update = [], update_operations(cell)
        for record, other, theirs, total in self._counted:
            assert other.recipe is not None
            strangers = (record.cell.architecture != cell.architecture) + (record.cell.framework != cell.framework)
            alike = (other.recipe.language is None) == (cell.recipe.language is None) and not contended.why(record)
            fits = other_chips and _rate(cell, record.cell.hardware) and _rate(cell, cell.hardware)
            if not alike or not update or strangers > 1 or not (fits or record.cell.hardware == cell.hardware):
                continue
            apart = abs(math.log(update / theirs))
            if apart <= math.log(NEAR):
                found.append(((strangers, apart, record.cell.id), record, operations / total))
        _, record, ratio = min(found, key=lambda one: one[0], default=(None, None, 0.0))
        return None if record is None else (record, ratio)


def _rate(cell: Cell, name: str) -> float | None:
    """The peak rate of a GPU for the arithmetic of a cell, None for what is no GPU of the list."""
    assert cell.recipe is not None
    chip: Hardware | None = PROFILES.get(name)
    if chip is None or chip.kind != "gpu":
        return None
    if cell.recipe.model.compute_dtype == "bfloat16":
        return chip.bfloat16
    return chip.tf32 if cell.recipe.matmul_precision == "tf32" else chip.float32


def _slower(cell: Cell, there: str) -> tuple[float, str]:
    """How many times as long a cell takes on its hardware as on another GPU, by what bounds it there: peak rate or
    bandwidth, whichever falls more. The H200 is an H100 with faster memory."""
    rates = [("peak rates", _rate(cell, there), _rate(cell, cell.hardware))]
    rates += [("bandwidths", PROFILES[there].bandwidth, PROFILES[cell.hardware].bandwidth)]
    return max((other / own, name) for name, other, own in rates if other and own)


def _seconds(record: Record) -> bool:
    return _amount(record.timing.get("total_seconds")) is not None


def _same(cell: Cell, here: Sequence[Record]) -> Record | None:
    family = (cell.task, cell.architecture, cell.framework)
    recipe = cell.recipe.to_dict() if cell.recipe else cell.settings
    alike = [r for r in here if (r.cell.task, r.cell.architecture, r.cell.framework) == family]
    alike = [record for record in alike if _equal(record.recipe, recipe)]
    return min(alike, key=lambda record: (abs(record.cell.seed - cell.seed), record.cell.id), default=None)


def _of(record: Record, ratio: float, basis: str) -> Cost:
    """The cost of `ratio` times the updates of a record; it is compiled once, however many there are."""
    joules, whole = _joules(record), record.timing["total_seconds"]
    once = min(_amount(record.timing.get("compile_seconds")) or 0.0, whole)
    seconds = once + ratio * (whole - once)
    return Cost(seconds, basis, _memory(record), None if joules is None else seconds / whole * joules, True)


def _memory(record: Record) -> float | None:
    return _amount(record.timing.get("peak_memory_bytes")) or _amount(record.timing.get("process_peak_memory_bytes"))


def _devices(record: Record) -> int:
    """How many devices trained the cell of a record."""
    found = record.timing.get("devices")
    return found if isinstance(found, int) and 1 < found < 1_000 else 1


_THREADS = {"jax": "NPROC", "torch": "OMP_NUM_THREADS"}
"""The variable that tells a framework how many cores it has."""


def _share(record: Record) -> int:
    """How many cores, or devices of another kind than CPU, the cell of a record had; 1 where it does not say."""
    devices, chip = _devices(record), PROFILES.get(record.cell.hardware)
    if chip is None or chip.kind != "cpu":
        return devices
    machine, set_here = (record.provenance.get(name) for name in ("hardware", "environment"))
    cores = machine.get("cores") if isinstance(machine, dict) else None
    if not isinstance(cores, int) or not 1 <= cores < 10_000:
        return 1
    name = _THREADS.get(record.cell.framework, "NPROC")
    threads = str(set_here.get(name)) if isinstance(set_here, dict) else ""
    return min(cores, int(threads) * devices) if re.fullmatch("[1-9][0-9]{0,4}", threads) else cores


def _bare(record: Record) -> float:
    """The part of a record's memory that no recipe changes: of a device's none, of the host's a bare process."""
    if _amount(record.timing.get("peak_memory_bytes")):
        return 0.0
    return min(BARE_PROCESS.get(record.cell.framework, 0), _memory(record) or 0.0)


def _joules(record: Record) -> float | None:
    return _amount(record.timing.get("energy_joules"))


def _amount(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and 0 < value <= sys.float_info.max else None


def _cell(record: Record) -> Cell | None:
    """What was run; None where this version does not know such a recipe."""
    try:
        recipe = Recipe.from_dict(record.recipe) if record.recipe else None
    except (ValueError, TypeError, KeyError):
        return None
    one = record.cell
    where = (one.benchmark, one.task, one.architecture, one.framework, one.seed, one.profile, one.hardware)
    return Cell(*where, recipe)


def _operations(cell: Cell, root: str | Path | None) -> tuple[float | None, float | None]:
    """Operations of an update and of the run of a record's cell, None where this version does not know such a one."""
    try:
        return update_operations(cell), total_operations(cell, root)
    except (ValueError, TypeError, KeyError, ZeroDivisionError, DataError):
        return None, None


def _assumed(cell: Cell, operations: float, cores: int) -> Cost:
    hardware = PROFILES[cell.hardware]
    near = "no record is near; counted operations"
    if hardware.kind == "cpu":
        rate = SUSTAINED_CORE * cores
        return Cost(operations / rate, f"{near} at an assumed {rate:.0e} a second on {counted(cores, 'core')}")
    peak = hardware.float32 or hardware.bfloat16
    if peak is None:
        return Cost(None, "no estimate: no record is near, and the peak rate of this hardware is not known")
    share = f"an assumed {SUSTAINED_SHARE:.0%} of the peak rate"
    return Cost(operations / (SUSTAINED_SHARE * peak), f"{near} at {share}")


def assumed_update_seconds(cell: Cell, cores: int) -> float | None:
    """Seconds of one update by the assumed rates, None where operations or the peak rate are not known."""
    operations = update_operations(cell)
    return None if operations is None else _assumed(cell, operations, cores).seconds


def _equal(one: dict, other: dict) -> bool:
    return {**one, "source": None} == {**other, "source": None}


def duration(seconds: float | None) -> str:
    """Seconds in words: "40 s", "3 min", "2.5 h"."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def memory(size: float | None) -> str:
    """Bytes in words."""
    return "–" if size is None else f"{size / 2**30:.1f} GiB"


def energy(joules: float | None) -> str:
    """Joules in words."""
    if joules is None:
        return "–"
    return f"{joules / 3.6e3:.0f} Wh" if joules < 3.6e6 else f"{joules / 3.6e6:.1f} kWh"
