"""The first paddles of the contours of Pathfinder images, many images at once."""

import functools

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from suite.data.pathfinder_contours import HIGH, LOW, TRIALS, Canvas, Chains
from suite.data.pathfinder_paddles import DEGREES, FULL, TAKEN, Drawing, Paddles, paddles
from suite.data.words import below, nth

_PLACES_TRIED = 64


def _fits(tables: Paddles, tails: np.ndarray, orientations: np.ndarray) -> Bool[np.ndarray, " A"]:
    """Whether head and pivot of first paddles lie inside the image."""
    ends = np.stack([tails + tables.heads[orientations], tails + tables.pivots[orientations]])
    return np.all((ends >= 0) & (ends < tables.drawing.resolution), axis=(0, 2))


def _first(tables: Paddles, tails: np.ndarray, orientations: np.ndarray) -> Chains:
    return Chains(tails + tables.pivots[orientations], orientations, tails)


def free_places(tables: Paddles, mask: UInt8[np.ndarray, "w w"], orientation: int) -> np.ndarray:
    """The pixels (row, column) of one image where a first paddle of an orientation fits."""
    taken = mask >= TAKEN
    frame, resolution = tables.frame, tables.drawing.resolution
    blocked = np.zeros((resolution, resolution), dtype=bool)
    for dy, dx in tables.kernels[orientation].tolist():
        blocked |= taken[frame + dy : frame + dy + resolution, frame + dx : frame + dx + resolution]
    return np.argwhere(~blocked)


def seed(tables: Paddles, on: Canvas, keys: UInt64[np.ndarray, " A"]) -> tuple[Int64[np.ndarray, " found"], Chains]:
    """A first paddle anywhere in each image where it fits, if there is such a place: row numbers and chains.

    Pixels are tried at random; where none of _PLACES_TRIED is free, one is drawn from the list of all that are.
    """
    rows = np.arange(len(keys))
    found_rows, found = [rows[:0]], [Chains(*(np.zeros((0, *s), dtype=np.int64) for s in ((2,), (), (2,))))]
    for trial in range(TRIALS):
        trial_keys = nth(keys[rows], trial)
        orientations = below(nth(trial_keys, 0), DEGREES, HIGH)
        tails, any_free = _free_place(tables, on, rows, orientations, trial_keys)
        rows, tails, orientations = rows[any_free], tails[any_free], orientations[any_free]
        fits = _fits(tables, tails, orientations)
        found_rows.append(rows[fits])
        found.append(_first(tables, tails[fits], orientations[fits]))
        rows = rows[~fits]
    parts = ([getattr(chain, name) for chain in found] for name in ("pivots", "orientations", "places"))
    return np.concatenate(found_rows), Chains(*(np.concatenate(part) for part in parts))


def _free_place(
    tables: Paddles, on: Canvas, rows: np.ndarray, orientations: np.ndarray, keys: UInt64[np.ndarray, " A"]
) -> tuple[Int64[np.ndarray, "A 2"], Bool[np.ndarray, " A"]]:
    resolution = tables.drawing.resolution
    kernels = on.around(tables.kernels)
    tails = np.zeros((len(rows), 2), dtype=np.int64)
    any_free = np.zeros(len(rows), dtype=bool)
    pending = np.flatnonzero(tables.usable[orientations])
    for place in range(1, 1 + _PLACES_TRIED):
        if not len(pending):
            return tails, any_free
        words = nth(keys[pending], place)
        drawn = np.stack([below(words, resolution, HIGH), below(words, resolution, LOW)], axis=1)
        taken = on.taken(rows[pending], on.at(drawn)[:, None] + kernels[orientations[pending]])
        free = taken.max(axis=1) < TAKEN
        tails[pending[free]] = drawn[free]
        any_free[pending[free]] = True
        pending = pending[~free]
    words = nth(keys[pending], 1 + _PLACES_TRIED)
    for image, word in zip(pending.tolist(), words, strict=True):
        mask = on.masks[rows[image]].reshape(on.width, on.width)
        places = free_places(tables, mask, int(orientations[image]))
        if len(places):
            tails[image] = places[below(word[None], len(places), HIGH)[0]]
            any_free[image] = True
    return tails, any_free


def seed_pair(tables: Paddles, keys: UInt64[np.ndarray, " A"]) -> tuple[Int64[np.ndarray, " found"], list[Chains]]:
    """The first paddles of both long contours: one near the middle, one `seed_distance` away in any direction."""
    starts, counts = central_places(tables.drawing, tables.margin)
    possible = np.flatnonzero(counts)
    tails = np.zeros((len(keys), 2), dtype=np.int64)
    orientations = np.zeros((2, len(keys)), dtype=np.int64)
    alive = np.ones(len(keys), dtype=bool)
    pending = np.arange(len(keys))
    for trial in range(TRIALS):
        words = nth(keys[pending], trial)
        orientations[0, pending] = directions = possible[below(words, len(possible), HIGH)]
        tails[pending] = starts[directions, below(words, counts[directions], LOW)]
        pending = pending[~_fits(tables, tails[pending], directions)]
    alive[pending] = False
    second = np.zeros_like(tails)
    pending = np.flatnonzero(alive)
    for trial in range(TRIALS):
        words = nth(keys[pending], TRIALS + trial)
        orientations[1, pending] = below(words, DEGREES, HIGH)
        away = tables.seed_circle[below(words, DEGREES, LOW)]
        second[pending] = np.rint(tails[pending] + away / 2.0**32).astype(np.int64)
        pending = pending[~_fits(tables, second[pending], orientations[1, pending])]
    alive[pending] = False
    kept = np.flatnonzero(alive)
    return kept, [_first(tables, t[kept], o[kept]) for t, o in zip((tails, second), orientations, strict=True)]


@functools.lru_cache(maxsize=32)
def central_places(
    drawing: Drawing, margin: int
) -> tuple[Int64[np.ndarray, "360 places 2"], Int64[np.ndarray, " 360"]]:
    """Where the first paddle of the first long contour may lie by orientation (padded), and how many places these are.

    They are twice the seed distance away from each edge, and further by what the paddle covers.
    """
    tables = paddles(drawing, margin)
    frame = tables.frame
    mask = np.full((tables.width, tables.width), FULL, dtype=np.uint8)
    edge = frame + max(2 * drawing.seed_distance, drawing.padding)
    mask[edge:-edge, edge:-edge] = 0
    mask[:frame], mask[-frame:], mask[:, :frame], mask[:, -frame:] = 0, 0, 0, 0
    free = [free_places(tables, mask, orientation) for orientation in range(DEGREES)]
    counts = np.array([len(places) for places in free]) * tables.usable
    padded = np.zeros((DEGREES, max(map(len, free)), 2), dtype=np.int64)
    for orientation, places in enumerate(free):
        padded[orientation, : len(places)] = places
    return padded, counts
