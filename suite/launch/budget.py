"""Which cells of a selection to run where there is time for some only.

The rule, the same every time: what is measured already, or has no data here, costs nothing and stays. The twins of a
cell, one in each framework, are taken or left together, as numbers of one alone say nothing of the other; so are, of
an ablation, the changed cell and its base. Every architecture on every task, and every level of a factor, is taken
once before any has a second seed; among those of one seed the cheapest come first. What does not fit into what is
left of the budget is passed over for what does. A cell is left out that has no estimate, or that the memory of the
chip is not enough for.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence

from suite.launch.cost import Cost, duration
from suite.matrix import Cell


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A cell that is not run, and why."""

    cell: Cell
    reason: str


def choose(priced: Sequence[tuple[Cell, Cost]], seconds: float, jobs: int) -> tuple[list[Cell], list[LeftOut]]:
    """The cells that end within a budget of seconds, `jobs` of them side by side, in their order; and the others."""
    costs = {cell.id: cost for cell, cost in priced}
    every = {cell.id: cell for cell, _ in priced}
    taken: set[str] = set()
    left_out: dict[str, str] = {}
    spent = 0.0
    for bundle in _in_turn(list(every.values()), costs, jobs):
        needed = {cell.id for cell in bundle} - taken
        together = _wall([cell for name, cell in every.items() if name in taken | needed], costs, jobs)
        unfit = [cell for cell in bundle if cell.id in needed and _unfit(costs[cell.id])]
        if not unfit and together <= seconds:
            taken, spent = taken | needed, together
            continue
        for name in needed:
            if unfit:
                of = every[name] if every[name] in unfit else unfit[0]
                left_out[name] = ("" if of.id == name else f"its partner {of.label}: ") + _unfit(costs[of.id])
            else:
                more = duration(together - spent) + (" more with its partners" if len(needed) > 1 else " more")
                left_out[name] = f"would take {more}, {duration(seconds - spent)} are left"
    chosen = [cell for cell in every.values() if cell.id in taken]
    return chosen, [LeftOut(cell, left_out[cell.id]) for cell in every.values() if cell.id not in taken]


def _unfit(cost: Cost) -> str:
    """Why no budget has room for a cell; empty where one may."""
    if cost.lacks:
        return f"{cost.lacks}; a smaller --set batch_size or --set model.checkpoint=true takes less"
    return "no estimate of it; run it once without --budget" if cost.seconds is None else ""


def _in_turn(found: Sequence[Cell], costs: dict[str, Cost], jobs: int) -> list[list[Cell]]:
    """Bundles in the order in which they are taken."""
    bundles: dict[tuple[str, ...], list[Cell]] = {}
    by_id = {cell.id: cell for cell in found}
    rank: dict[tuple[str, ...], int] = {}
    seen: dict[tuple[str, ...], list[int]] = {}
    for cell in found:
        kind = (cell.task, cell.architecture, cell.profile, cell.hardware, cell.factor, cell.level)
        seeds = seen.setdefault(kind, [])
        if cell.seed not in seeds:
            seeds.append(cell.seed)
        key = (*kind, str(cell.seed))
        rank[key] = seeds.index(cell.seed)
        bundle = bundles.setdefault(key, [])
        bundle += [one for one in (by_id.get(cell.base), cell) if one is not None and one not in bundle]
    places = {key: place for place, key in enumerate(bundles)}
    order = sorted(bundles, key=lambda key: (rank[key], _wall(bundles[key], costs, jobs), places[key]))
    return [bundles[key] for key in order]


def _wall(cells: Sequence[Cell], costs: dict[str, Cost], jobs: int) -> float:
    return wall_seconds([(cell, costs[cell.id]) for cell in cells], jobs)


def wall_seconds(priced: Sequence[tuple[Cell, Cost]], jobs: int) -> float:
    """Seconds from the start of the first cell to the end of the last, as the launcher starts them: in order, each when
    one of `jobs` places is free; those that run alone wait for all, and all for them. What has no estimate takes none.
    """
    ends = [0.0] * max(1, min(jobs, len(priced)))
    for cell, cost in priced:
        if cell.alone:
            ends = [max(ends) + (cost.seconds or 0.0)] * len(ends)
        else:
            heapq.heapreplace(ends, ends[0] + (cost.seconds or 0.0))
    return max(ends)
