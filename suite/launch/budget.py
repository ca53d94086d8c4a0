"""Which cells of a selection to run where there is time for some only.

The rule, the same every time: what is measured already, or has no data here, costs nothing and stays. The twins of a
cell, one in each framework, are taken or left together, as numbers of one alone say nothing of the other; so are, of
an ablation, the changed cell and its base. Every architecture on every task, and every level of a factor, is taken
once before any has a second seed; among those of one seed the cheapest come first. What does not fit into what is
left of the budget is passed over for what does. A cell without an estimate is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from suite.launch.cost import Cost, duration
from suite.matrix import Cell


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A cell that is not run, and why."""

    cell: Cell
    reason: str


def choose(priced: Sequence[tuple[Cell, Cost]], seconds: float, jobs: int) -> tuple[list[Cell], list[LeftOut]]:
    """The cells that fit into a budget of seconds with `jobs` at a time, in their order, and the others."""
    costs = {cell.id: cost for cell, cost in priced}
    every = {cell.id: cell for cell, _ in priced}
    taken: set[str] = set()
    left_out: dict[str, str] = {}
    left = seconds
    for bundle in _in_turn(list(every.values()), costs, jobs):
        needed = [cell for cell in bundle if cell.id not in taken]
        unknown = [cell for cell in needed if costs[cell.id].seconds is None]
        price = _price(needed, costs, jobs)
        for cell in needed:
            if unknown:
                of = "it" if cell in unknown else f"its partner {unknown[0].label}"
                left_out[cell.id] = f"no estimate of {of}; run it once without --budget"
            elif price > left:
                more = f"with its partners {duration(price)}" if len(needed) > 1 else duration(price)
                left_out[cell.id] = f"needs {more}, {duration(left)} are left"
            else:
                taken.add(cell.id)
        if not unknown and price <= left:
            left -= price
    chosen = [cell for cell in every.values() if cell.id in taken]
    return chosen, [LeftOut(every[name], reason) for name, reason in left_out.items() if name not in taken]


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
    order = sorted(bundles, key=lambda key: (rank[key], _price(bundles[key], costs, jobs), places[key]))
    return [bundles[key] for key in order]


def _price(cells: Sequence[Cell], costs: dict[str, Cost], jobs: int) -> float:
    """Wall-clock seconds of some cells; those that run alone have the machine for themselves."""
    return sum((costs[cell.id].seconds or 0.0) / (1 if cell.alone else jobs) for cell in cells)
