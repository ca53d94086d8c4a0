"""Contours of Pathfinder images, many images at once: all take the same step, and those that fail leave.

Every random choice is a word of a SplitMix64 stream whose seed belongs to one image and one attempt, at a place in that
stream that is fixed for each choice; so an image depends on its own seed alone, not on the images drawn beside it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from suite.data.pathfinder_paddles import CROSSES, DEGREES, FULL, WEIGHT_ONE, Paddles
from suite.data.words import below, nth

TRIALS = 3
_LEAST_WEIGHT = int(1e-4 * FULL * WEIGHT_ONE)
HIGH, LOW = 32, 0


@dataclass
class Canvas:
    """What is taken in A images, and how near something taken is: flat rows, each image with a frame around it."""

    masks: UInt8[np.ndarray, "A S"]
    near: UInt8[np.ndarray, "A S"]
    frame: int
    width: int

    def of(self, rows: np.ndarray) -> "Canvas":
        """A copy of some images."""
        return Canvas(self.masks[rows], self.near[rows], self.frame, self.width)

    def put(self, rows: np.ndarray, other: "Canvas", others: np.ndarray) -> None:
        """Take some images from another canvas."""
        self.masks[rows] = other.masks[others]
        self.near[rows] = other.near[others]

    def at(self, positions: Int64[np.ndarray, "... 2"]) -> Int64[np.ndarray, "..."]:
        """Places in a row of `masks` of pixels (row, column)."""
        return (positions[..., 0] + self.frame) * self.width + positions[..., 1] + self.frame

    def around(self, offsets: Int64[np.ndarray, "... 2"]) -> Int64[np.ndarray, "..."]:
        """Differences of places in a row of `masks`."""
        return offsets[..., 0] * self.width + offsets[..., 1]

    def taken(self, rows: np.ndarray, places: np.ndarray) -> UInt8[np.ndarray, "..."]:
        """Values of `masks` at places of rows."""
        return self.masks.reshape(-1).take(self._flat(rows, places))

    def nearby(self, rows: np.ndarray, places: np.ndarray) -> UInt8[np.ndarray, "..."]:
        """Values of `near` at places of rows."""
        return self.near.reshape(-1).take(self._flat(rows, places))

    def _flat(self, rows: np.ndarray, places: np.ndarray) -> Int64[np.ndarray, "..."]:
        return rows.reshape(-1, *(1,) * (places.ndim - 1)) * self.masks.shape[1] + places


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
    drawing, margin = tables.drawing, tables.margin
    images = []
    for padding in (drawing.padding, drawing.padding + margin):
        image = np.full((drawing.resolution, drawing.resolution), FULL, dtype=np.uint8)
        image[padding:-padding, padding:-padding] = 0
        images.append(np.tile(np.pad(image, tables.frame).reshape(1, -1), (count, 1)))
    return Canvas(images[0], images[1], tables.frame, tables.width)


def fill(tables: Paddles, on: Canvas, rows: np.ndarray, chains: Chains) -> None:
    """Take the surroundings of the chains' last paddles."""
    start = (rows * on.masks.shape[1] + on.at(chains.places))[:, None]
    for values, stamps in ((on.masks, tables.takes), (on.near, tables.nears)):
        flat = values.reshape(-1)
        where = start + stamps.offsets[chains.orientations]
        flat[where] = np.maximum(flat[where], stamps.values[chains.orientations])


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
    free = FULL - on.nearby(rows, places).astype(np.int64)
    weights = np.cumsum(free * inside * tables.weights[chains.orientations], axis=1)
    total = weights[:, -1]
    chosen = np.zeros(len(rows), dtype=np.int64)
    found = np.zeros(len(rows), dtype=bool)
    pending = np.flatnonzero(total >= _LEAST_WEIGHT)
    for trial in range(TRIALS):
        if not len(pending):
            break
        draw = below(nth(keys[pending], first_word + trial), total[pending], HIGH)
        index = (weights[pending] > draw[:, None]).argmax(axis=1)
        around = places[pending, index][:, None] + tables.solids.offsets[DEGREES + index]
        taken = on.taken(rows[pending], around).astype(np.int64)
        crosses = (taken + tables.solids.values[DEGREES + index]).max(axis=1) >= CROSSES
        chosen[pending] = index
        found[pending] = ~crosses
        pending = pending[crosses]
    fill(tables, on, rows[found], chains.of(found))
    chosen = chosen[found]
    return found, Chains(pivots[found], DEGREES + chosen, heads[found, chosen])
