"""The paddles of Pathfinder images: how each is drawn, what it keeps free around it, and where the next may lie.

A contour is a chain of paddles (short bars). The first lies in one of 360 directions, one per degree; each further one
has its head on a circle around a pivot beyond the one before it, of which only finitely many pixels lie on the circle.
So every drawing, every step and every weight is a table, made once. Orientations below `DEGREES` are those of first
paddles (degree = orientation - 180, in which the paddle points away from its tail); orientation `DEGREES + j` is that
of a paddle whose head is pixel j of the circle. All positions are (row, column).
"""

import functools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from suite.data import pathfinder_raster as raster

DEGREES = 360
ANTIALIAS = 2
TAKEN = 77
FULL = 255
CROSSES = 459
WEIGHT_ONE = 1 << 16
_FIXED_BITS = 32


@dataclass(frozen=True)
class Drawing:
    """How the images of one resolution are drawn; lengths in pixels, contrasts in percent of the markers'."""

    resolution: int
    padding: int
    seed_distance: int
    marker_radius: float
    paddle_length: int
    paddle_thickness: float
    paddle_margins: tuple[int, ...]
    continuity: float
    distractor_paddles: int
    contour_contrast: int
    distractor_contrast: int


@dataclass(frozen=True)
class Stamps:
    """Small images as lists: the flat offsets of their pixels from the centre, and the values there.

    Offsets are those in a mask, which has a frame around the image.
    """

    offsets: Int64[np.ndarray, "O n"]
    values: UInt8[np.ndarray, "O n"]


@dataclass(frozen=True)
class Paddles:
    """The tables of a drawing with one margin: O orientations, R pixels on the circle, K in a kernel, k = 2 reach + 1.

    `inks` and `masks` are the paddle and its surroundings, centred on the tail of a first paddle or on the head of a
    further one. What an image's paddles take is kept in a mask of `width` squared pixels, a `frame` around the image;
    `takes` are the masks, `nears` the masks dilated by the margin, `solids` the pixels that can cross another paddle's.
    `advance` leads from a pivot to the next; `weights` are the unnormalised probabilities of the next head
    by the orientation before it; `heads` and `pivots` those of a first paddle relative to its tail. A first paddle fits
    where no pixel at its `kernels` is taken (shorter ones repeat their first pixel). As published, an orientation whose
    kernel leaves the image altogether at some pixel fits nowhere: it is not `usable`.
    """

    drawing: Drawing
    margin: int
    reach: int
    frame: int
    width: int
    inks: UInt8[np.ndarray, "O k k"]
    masks: UInt8[np.ndarray, "O k k"]
    takes: Stamps
    nears: Stamps
    solids: Stamps
    ring: Int64[np.ndarray, "R 2"]
    advance: Int64[np.ndarray, "O 2"]
    weights: Int64[np.ndarray, "O R"]
    heads: Int64[np.ndarray, "360 2"]
    pivots: Int64[np.ndarray, "360 2"]
    kernels: Int64[np.ndarray, "360 K 2"]
    usable: Bool[np.ndarray, " 360"]
    seed_circle: Int64[np.ndarray, "360 2"]

    @property
    def area(self) -> int:
        """Pixels of one drawing: k * k."""
        return (2 * self.reach + 1) ** 2


def fixed(values: np.ndarray) -> Int64[np.ndarray, "..."]:
    """Reals as 32-bit binary fractions, so that the last bits in which libraries differ are gone."""
    return np.rint(values * (1 << _FIXED_BITS)).astype(np.int64)


def ceiling(values: np.ndarray) -> Int64[np.ndarray, "..."]:
    """The least integers not below the values."""
    return -(-fixed(values) >> _FIXED_BITS)


@functools.cache
def paddles(drawing: Drawing, margin: int) -> Paddles:
    """The tables of a drawing with one of its margins."""
    length = drawing.paddle_length
    reach = length + int(np.ceil(drawing.paddle_thickness)) + margin
    ring = _ring(length + margin)
    degrees = np.deg2rad(np.arange(DEGREES) - 180.0)
    first = np.stack([np.sin(degrees), np.cos(degrees)], axis=1)
    further = ring / np.sqrt(np.sum(ring * ring, axis=1, keepdims=True))
    directions = np.concatenate([first, further])
    drawn = [_draw(drawing, margin, reach, direction) for direction in np.concatenate([first, -further])]
    inks, masks = (np.stack(images) for images in zip(*drawn, strict=True))
    frame = reach + margin + 1
    width = drawing.resolution + 2 * frame
    heads = ceiling(length * first)
    kernels = _kernels(masks[:DEGREES], length + margin)
    angles = np.concatenate([degrees, np.arctan2(ring[:, 0], ring[:, 1])])
    return Paddles(
        drawing,
        margin,
        reach,
        frame,
        width,
        inks,
        masks,
        _stamps(masks, 1, width),
        _stamps(_dilated(masks, margin), 1, width),
        _stamps(masks, CROSSES - FULL, width),
        ring,
        ceiling((length + 2 * margin) * directions),
        _weights(angles, drawing.continuity),
        heads,
        heads + ceiling(-(length + margin) * first),
        kernels,
        _covers_corners(kernels),
        fixed(drawing.seed_distance * np.stack([np.sin(degrees), np.cos(degrees)], axis=1)),
    )


def _ring(radius: int) -> Int64[np.ndarray, "R 2"]:
    """The pixels of a circle around a pixel, sampled once per pixel of its length from direction 0 on."""
    angles = np.arange(0.0, 360.0, 360.0 / (2 * radius * np.pi)) * (np.pi / 180)
    points = fixed(radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)) >> _FIXED_BITS
    return np.unique(points, axis=0)


def _weights(angles: np.ndarray, continuity: float) -> Int64[np.ndarray, "O R"]:
    """The squared cosine of the turn times the continuity, nothing from a right angle on, in units of 2**-16."""
    turn = np.abs(angles[DEGREES:] - angles[:, None])
    turn = np.minimum(np.minimum(turn, 2 * np.pi - turn) * continuity, np.pi / 2)
    return np.rint(np.cos(turn) ** 2 * WEIGHT_ONE).astype(np.int64)


def _draw(drawing: Drawing, margin: int, reach: int, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A paddle from the centre in a direction, and the same dilated by the margin, both drawn larger and reduced."""
    centre, size = reach * ANTIALIAS, 2 * reach * ANTIALIAS + 1
    end = centre + ceiling(drawing.paddle_length * ANTIALIAS * direction)
    bar = raster.line(size, (centre, centre), (int(end[0]), int(end[1])), round(drawing.paddle_thickness * ANTIALIAS))
    surroundings = raster.dilate(bar, raster.disc(margin * ANTIALIAS))
    matrix = raster.filter_matrix(size, 2 * reach + 1)
    ink, mask = (raster.reduce(image.astype(np.uint8) * FULL, matrix, matrix) for image in (bar, surroundings))
    return ink, mask


def _dilated(masks: UInt8[np.ndarray, "O k k"], margin: int) -> UInt8[np.ndarray, "O m m"]:
    """The greatest value within the margin of each pixel, on images larger by the margin."""
    size = masks.shape[1] + 2 * margin
    padded = np.pad(masks, ((0, 0), (2 * margin, 2 * margin), (2 * margin, 2 * margin)))
    corners = (raster.disc(margin) + margin).tolist()
    return functools.reduce(np.maximum, (padded[:, y : y + size, x : x + size] for y, x in corners))


def _stamps(images: UInt8[np.ndarray, "O k k"], least: int, width: int) -> Stamps:
    """The pixels of at least a value, as lists of one length; shorter ones repeat their first pixel."""
    side = images.shape[1]
    lists = [np.flatnonzero(image >= least) for image in images]
    longest = max(map(len, lists))
    places = np.stack([np.append(pixels, np.repeat(pixels[:1], longest - len(pixels))) for pixels in lists])
    offsets = (places // side - side // 2) * width + places % side - side // 2
    return Stamps(offsets, np.take_along_axis(images.reshape(len(images), -1), places, axis=1))


def _kernels(masks: UInt8[np.ndarray, "360 k k"], reach: int) -> Int64[np.ndarray, "360 K 2"]:
    """Where a first paddle needs free pixels: its full mask, one pixel down and right of the tail, as published."""
    offsets = [np.argwhere(mask == FULL) - len(mask) // 2 + 1 for mask in masks]
    offsets = [o[(np.abs(o) <= reach).all(axis=1)] for o in offsets]
    most = max(len(o) for o in offsets)
    return np.stack([np.concatenate([o, np.repeat(o[:1], most - len(o), axis=0)]) for o in offsets])


def _covers_corners(kernels: Int64[np.ndarray, "360 K 2"]) -> Bool[np.ndarray, " 360"]:
    """Whether a kernel has a pixel inside the image wherever it is put, which the four corners decide.

    The published code dilates with OpenCV, which gives minus infinity where a kernel meets no pixel; the code takes a
    negative value anywhere for no free place at all.
    """
    dy, dx = kernels[..., 0], kernels[..., 1]
    corners = [(dy >= 0) & (dx >= 0), (dy >= 0) & (dx <= 0), (dy <= 0) & (dx >= 0), (dy <= 0) & (dx <= 0)]
    return np.logical_and.reduce([corner.any(axis=1) for corner in corners])


@functools.lru_cache(maxsize=4096)
def marker(drawing: Drawing, row: int, column: int) -> tuple[slice, slice, UInt8[np.ndarray, "r c"]]:
    """A marker at a pixel: rows and columns that it touches, and its brightness there."""
    radius, resolution = drawing.marker_radius, drawing.resolution
    reach = int(np.ceil(radius)) + 4
    rows = slice(max(row - reach, 0), min(row + reach + 1, resolution))
    columns = slice(max(column - reach, 0), min(column + reach + 1, resolution))
    y = np.arange(resolution * ANTIALIAS)[:, None] - row * ANTIALIAS
    x = np.arange(resolution * ANTIALIAS)[None, :] - column * ANTIALIAS
    circle = (y * y + x * x <= (radius * ANTIALIAS) ** 2).astype(np.uint8) * FULL
    matrix = raster.filter_matrix(resolution * ANTIALIAS, resolution)
    touched = np.flatnonzero(circle.any(axis=0))
    image = raster.reduce(circle[:, touched], matrix[rows], matrix[columns][:, touched])
    return rows, columns, image
