"""Pathfinder images: two long contours, short ones as distractors, and two markers; many images at once.

The rules are those of the published generator (Linsley et al. 2018; Kim et al. 2020): the two long contours grow in
turn, a failure begins both anew; each distractor has five attempts and is left out if all fail; the markers lie on
the first paddle of one long contour and on the last paddle of the same (label 1) or of the other (label 0). As
published, the last paddle of the first long contour keeps no distractor away.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64, UInt8, UInt64

from suite.data.pathfinder_contours import HIGH, TRIALS, Canvas, Chains, canvas, extend, fill
from suite.data.pathfinder_paddles import FULL, Drawing, Paddles, marker, paddles
from suite.data.pathfinder_seeds import seed, seed_pair
from suite.data.words import below, nth, philox_words

_MARGIN, _LABEL, _ORIGIN, _CONTOURS, _DISTRACTORS = range(5)
_ATTEMPTS = 5
_FIRST_EXTENSION = 8
_PERCENT = 100
_WAVE = 1 << 24


@dataclass
class Segments:
    """The paddles of A images in the order they were placed: place, orientation (-1: none) and contrast in percent."""

    places: Int64[np.ndarray, "A paddles 2"]
    orientations: Int64[np.ndarray, "A paddles"]
    contrasts: Int64[np.ndarray, " paddles"]


@dataclass
class Images:
    """Images with their labels (1: both markers on one contour) and the markers' centres (row, column)."""

    pixels: UInt8[np.ndarray, "A resolution resolution"]
    labels: Int32[np.ndarray, " A"]
    markers: Int64[np.ndarray, "A 2 2"]


def images(drawing: Drawing, contour_length: int, seed: int, stream: int, start: int, count: int) -> Images:
    """Images `start` to `start + count` of a stream; each depends on the seed, the stream and its number alone."""
    keys = philox_words(seed, stream, start, count)
    margins = below(nth(keys, _MARGIN), len(drawing.paddle_margins), HIGH)
    size = (count, drawing.resolution, drawing.resolution)
    result = Images(np.zeros(size, np.uint8), np.zeros(count, np.int32), np.zeros((count, 2, 2), np.int64))
    for index, margin in enumerate(drawing.paddle_margins):
        rows = np.flatnonzero(margins == index)
        if len(rows):
            part = _of_one_margin(paddles(drawing, margin), contour_length, keys[rows])
            result.pixels[rows], result.labels[rows], result.markers[rows] = part.pixels, part.labels, part.markers
    return result


def _of_one_margin(tables: Paddles, contour_length: int, keys: UInt64[np.ndarray, " A"]) -> Images:
    drawing = tables.drawing
    segments, masks, first, last = _long_contours(tables, contour_length, nth(keys, _CONTOURS))
    distractor_length = contour_length // 3
    count = drawing.distractor_paddles // distractor_length
    others = [
        _distractor(tables, distractor_length, masks, nth(keys, _DISTRACTORS + distractor))
        for distractor in range(count)
    ]
    rows = np.arange(len(keys))
    labels = below(nth(keys, _LABEL), 2, HIGH)
    origin = below(nth(keys, _ORIGIN), 2, HIGH)
    terminal = np.where(labels == 1, origin, 1 - origin)
    markers = np.stack([first[rows, origin], last[rows, terminal]], axis=1)
    return Images(_render(tables, _joined([segments, *others]), markers), labels.astype(np.int32), markers)


def _long_contours(
    tables: Paddles, length: int, keys: UInt64[np.ndarray, " A"]
) -> tuple[Segments, Canvas, Int64[np.ndarray, "A 2 2"], Int64[np.ndarray, "A 2 2"]]:
    """Both long contours of each image, what they take, their tails and their heads.

    Of an image's numbered attempts the first that goes well counts; how many are made at once changes nothing.
    """
    count = len(keys)
    segments = _no_segments(count, 2 * length, tables.drawing.contour_contrast)
    masks = canvas(tables, count)
    pending, attempt, together = np.arange(count), 0, 2
    while len(pending):
        together = max(1, min(2 * together, _WAVE // masks.masks.shape[1] // len(pending)))
        attempts = attempt + np.repeat(np.arange(together), len(pending))
        rows, chains, working = _attempt(tables, length, nth(np.tile(keys[pending], together), attempts))
        images, earliest = np.unique(rows % len(pending), return_index=True)
        done = pending[images]
        for paddle, chain in enumerate(chains):
            segments.places[done, paddle] = chain.places[earliest]
            segments.orientations[done, paddle] = chain.orientations[earliest]
        masks.put(done, working, rows[earliest])
        pending, attempt = np.delete(pending, images), attempt + together
    return segments, masks, segments.places[:, :2], segments.places[:, -2:]


def _attempt(
    tables: Paddles, length: int, keys: UInt64[np.ndarray, " A"]
) -> tuple[Int64[np.ndarray, " found"], list[Chains], Canvas]:
    """One attempt at both long contours, a paddle of each in turn: the images where it went well, and their paddles."""
    rows, ends = seed_pair(tables, keys)
    on = canvas(tables, len(keys))
    placed = list(ends)
    for paddle in range(2 * (length - 1)):
        word = _FIRST_EXTENSION + TRIALS * paddle
        found, new = extend(tables, on, rows, placed[-2], keys[rows], word)
        rows = rows[found]
        placed = [*(chain.of(found) for chain in placed), new]
    fill(tables, on, rows, placed[-1])
    return rows, placed, on


def _distractor(tables: Paddles, length: int, on: Canvas, keys: UInt64[np.ndarray, " A"]) -> Segments:
    """One short contour in each image, or none where all attempts fail; what it covers becomes taken."""
    segments = _no_segments(len(keys), length, tables.drawing.distractor_contrast)
    pending = np.arange(len(keys))
    for attempt in range(_ATTEMPTS):
        if not len(pending):
            break
        working = on.of(pending)
        attempt_keys = nth(keys[pending], attempt)
        rows, chain = seed(tables, working, attempt_keys)
        placed = [chain]
        for paddle in range(length - 1):
            word = _FIRST_EXTENSION + TRIALS * paddle
            found, new = extend(tables, working, rows, placed[-1], attempt_keys[rows], word)
            rows = rows[found]
            placed = [*(chain.of(found) for chain in placed), new]
        fill(tables, working, rows, placed[-1])
        done = pending[rows]
        for paddle, chain in enumerate(placed):
            segments.places[done, paddle] = chain.places
            segments.orientations[done, paddle] = chain.orientations
        on.put(done, working, rows)
        pending = np.delete(pending, rows)
    return segments


def _no_segments(count: int, paddle_count: int, contrast: int) -> Segments:
    places = np.zeros((count, paddle_count, 2), dtype=np.int64)
    return Segments(places, np.full((count, paddle_count), -1), np.full(paddle_count, contrast))


def _joined(parts: list[Segments]) -> Segments:
    return Segments(
        np.concatenate([part.places for part in parts], axis=1),
        np.concatenate([part.orientations for part in parts], axis=1),
        np.concatenate([part.contrasts for part in parts]),
    )


def _render(tables: Paddles, segments: Segments, markers: Int64[np.ndarray, "A 2 2"]) -> np.ndarray:
    """All paddles at their contrast and the markers at full, the brightest winning; then stretched to 0 to 255."""
    drawing = tables.drawing
    resolution, frame = drawing.resolution, tables.reach
    width = resolution + 2 * frame
    light = np.zeros((len(markers), width, width), dtype=np.int32)
    flat = light.reshape(-1)
    square = np.arange(2 * tables.reach + 1)
    patch = (square[:, None] * width + square).reshape(-1)
    for paddle, contrast in enumerate(segments.contrasts.tolist()):
        rows = np.flatnonzero(segments.orientations[:, paddle] >= 0)
        places = segments.places[rows, paddle]
        where = (rows * width * width + places[:, 0] * width + places[:, 1])[:, None] + patch
        ink = (
            tables.inks[segments.orientations[rows, paddle]].reshape(len(rows), tables.area).astype(np.int32) * contrast
        )
        flat[where] = np.maximum(flat[where], ink)
    light = light[:, frame:-frame, frame:-frame].copy()
    for image, centres in zip(light, markers.tolist(), strict=True):
        for row, column in centres:
            rows, columns, brightness = marker(drawing, row, column)
            np.maximum(image[rows, columns], brightness.astype(np.int32) * _PERCENT, out=image[rows, columns])
    return _stretched(light)


def _stretched(light: Int32[np.ndarray, "A r r"]) -> UInt8[np.ndarray, "A r r"]:
    """Each image's range made 0 to 255, halves rounded up."""
    least = light.min(axis=(1, 2), keepdims=True).astype(np.int64)
    span = light.max(axis=(1, 2), keepdims=True) - least
    return (((light - least) * (2 * FULL) + span) // (2 * span)).astype(np.uint8)
