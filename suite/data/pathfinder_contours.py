"""Contours of Pathfinder images, many images at once: all take the same step, and those that fail leave.

Every random choice is a word of a SplitMix64 stream whose seed belongs to one image and one attempt, at a place in that
stream that is fixed for each choice; so an image depends on its own seed alone, not on the images drawn beside it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from suite.data.pathfinder_paddles import DEGREES, FULL, WEIGHT_ONE, Paddles
from suite.data.words import below, nth

TRIALS = 3
_CROSSES = 459
_LEAST_WEIGHT = int(1e-4 * FULL * WEIGHT_ONE)
HIGH, LOW = 32, 0


@dataclass
class Canvas:
    """What is taken in A images, as flat rows with a frame of `frame` pixels around each image that is never full."""

    masks: UInt8[np.ndarray, "A S"]
    frame: int
    width: int

    def at(self, positions: Int64[np.ndarray, "... 2"]) -> Int64[np.ndarray, "..."]:
        """Places in a row of `masks` of pixels (row, column)."""
        return (positions[..., 0] + self.frame) * self.width + positions[..., 1] + self.frame

    def around(self, offsets: Int64[np.ndarray, "... 2"]) -> Int64[np.ndarray, "..."]:
        """Differences of places in a row of `masks`."""
        return offsets[..., 0] * self.width + offsets[..., 1]

    def read(self, rows: np.ndarray, places: np.ndarray) -> UInt8[np.ndarray, "..."]:
        """Values of `masks` at places of rows."""
        start = rows.reshape(-1, *(1,) * (places.ndim - 1)) * self.masks.shape[1]
        return self.masks.reshape(-1).take(start + places)


@dataclass
class Chains:
    """The ends of A growing contours: pivot and orientation of the last paddle, and where it is drawn."""

    pivots: Int64[np.ndarray, "A 2"]
    orientations: Int64[np.ndarray, " A"]
    places: Int64[np.ndarray, "A 2"]

    def of(self, kept: np.ndarray) -> "Chains":
        return Chains(self.pivots[kept], self.orientations[kept], self.places[kept])


def canvas(tables: Paddles, count: int) -> Canvas:
    """Images of which only the padding is taken."""
    drawing = tables.drawing
    frame = tables.reach + tables.margin + 1
    image = np.full((drawing.resolution, drawing.resolution), FULL, dtype=np.uint8)
    image[drawing.padding : -drawing.padding, drawing.padding : -drawing.padding] = 0
    image = np.pad(image, frame)
    return Canvas(np.tile(image.reshape(1, -1), (count, 1)), frame, len(image))


def fill(tables: Paddles, on: Canvas, rows: np.ndarray, chains: Chains) -> None:
    """Take the surroundings of the chains' last tables."""
    start = rows * on.masks.shape[1] + on.at(chains.places)
    patch = start[:, None] + _patch(tables, on)
    flat = on.masks.reshape(-1)
    flat[patch] = np.maximum(flat[patch], tables.masks[chains.orientations].reshape(len(rows), tables.area))


def _patch(tables: Paddles, on: Canvas) -> Int64[np.ndarray, " kk"]:
    square = np.arange(-tables.reach, tables.reach + 1)
    return (square[:, None] * on.width + square).reshape(-1)


def extend(
    tables: Paddles, on: Canvas, rows: np.ndarray, chains: Chains, keys: UInt64[np.ndarray, " A"], first_word: int
) -> tuple[Bool[np.ndarray, " A"], Chains]:
    """One more paddle per chain: which found a place, and those chains' new ends.

    A head is drawn among the pixels of the circle, weighted by the turn and by how free they are, up to TRIALS times
    until the paddle crosses nothing. The paddle before becomes taken; the new one does not yet.
    """
    pivots = chains.pivots + tables.advance[chains.orientations]
    heads = pivots[:, None] + tables.ring
    resolution = tables.drawing.resolution
    inside = ((heads >= 0) & (heads < resolution)).all(axis=2)
    places = on.at(np.clip(heads, 0, resolution - 1))
    near = places[:, :, None] + on.around(tables.disc)
    free = FULL - on.read(rows, near).max(axis=2).astype(np.int64)
    weights = np.cumsum(free * inside * tables.weights[chains.orientations], axis=1)
    total = weights[:, -1]
    chosen = np.zeros(len(rows), dtype=np.int64)
    found = np.zeros(len(rows), dtype=bool)
    pending = np.flatnonzero(total >= _LEAST_WEIGHT)
    patch = _patch(tables, on)
    for trial in range(TRIALS):
        if not len(pending):
            break
        draw = below(nth(keys[pending], first_word + trial), total[pending], HIGH)
        index = (weights[pending] > draw[:, None]).argmax(axis=1)
        taken = on.read(rows[pending], places[pending, index][:, None] + patch).astype(np.int64)
        crosses = (taken + tables.masks[DEGREES + index].reshape(len(pending), tables.area)).max(axis=1) >= _CROSSES
        chosen[pending] = index
        found[pending] = ~crosses
        pending = pending[crosses]
    fill(tables, on, rows[found], chains.of(found))
    chosen = chosen[found]
    return found, Chains(pivots[found], DEGREES + chosen, heads[found, chosen])
