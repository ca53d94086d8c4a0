"""Small drawings that are the same on every machine: lines, discs, dilation and reduction of 8-bit images.

The rules are those of Pillow and OpenCV, with which the published images were drawn: Bresenham's line, a wide line as a
filled quadrilateral of whole-numbered corners, dilation by a set of offsets, and reduction by a Lanczos filter of
radius 3 in 22-bit fixed point (columns first). All is integer arithmetic but for the filter's coefficients and the
square roots of a wide line; the coefficients are rounded to 22 bits, far from the last bits in which libraries differ.
"""

import functools

import numpy as np
from jaxtyping import Bool, Int64, UInt8

_PRECISION = 22
_RADIUS = 3.0


def line(size: int, start: tuple[int, int], end: tuple[int, int], width: int) -> Bool[np.ndarray, "size size"]:
    """A line between two pixels (row, column), `width` pixels wide, on a square that holds it."""
    image = np.zeros((size, size), dtype=bool)
    if width == 1:
        _thin(image, start, end)
    elif start == end:
        image[start] = True
    else:
        _convex(image, _corners(start, end, width))
    return image


def _thin(image: np.ndarray, start: tuple[int, int], end: tuple[int, int]) -> None:
    (y, x), (dy, dx) = start, (abs(end[0] - start[0]), abs(end[1] - start[1]))
    step_y, step_x = 1 if end[0] > start[0] else -1, 1 if end[1] > start[1] else -1
    steep = dy >= dx
    longer, shorter = (dy, dx) if steep else (dx, dy)
    error = 2 * shorter - longer
    for _ in range(longer + 1):
        image[y, x] = True
        sideways = error >= 0 and shorter > 0
        error += 2 * shorter - (2 * longer if sideways else 0)
        y += step_y if steep or sideways else 0
        x += step_x if not steep or sideways else 0


def _corners(start: tuple[int, int], end: tuple[int, int], width: int) -> list[tuple[int, int]]:
    """The quadrilateral (row, column) of a wide line; of an even width one side is half a pixel further out."""
    dy, dx = end[0] - start[0], end[1] - start[1]
    length = np.sqrt(float(dx * dx + dy * dy))
    nearer, further = _half_down((width - 1) / 2) / length, _half_up((width - 1) / 2) / length
    left, right = _half_down(nearer * dy), _half_down(further * dy)
    above, below = _half_up(nearer * dx), _half_up(further * dx)
    return [
        (start[0] + below, start[1] - left),
        (end[0] + below, end[1] - left),
        (end[0] - above, end[1] + right),
        (start[0] - above, start[1] + right),
    ]


def _half_up(value: float) -> int:
    """To the nearest integer, halves away from zero."""
    return int(np.copysign(np.floor(abs(value) + 0.5), value))


def _half_down(value: float) -> int:
    """To the nearest integer, halves towards zero."""
    return int(np.copysign(np.ceil(abs(value) - 0.5), value))


def _convex(image: np.ndarray, corners: list[tuple[int, int]]) -> None:
    """Fill a convex polygon, each row from its first crossing, half a pixel rounded inwards, to its last."""
    for y in range(min(c[0] for c in corners), max(c[0] for c in corners) + 1):
        crossings = []
        for (y0, x0), (y1, x1) in zip(corners, corners[1:] + corners[:1], strict=True):
            if y0 == y1 == y:
                crossings += [float(x0), float(x1)]
            elif min(y0, y1) <= y <= max(y0, y1) and y0 != y1:
                crossings.append(x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        first, last = _half_up(min(crossings)), _half_down(max(crossings))
        image[y, first : last + 1] = True


def disc(radius: int) -> Int64[np.ndarray, "offsets 2"]:
    """The offsets (row, column) within a radius of the centre."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = y * y + x * x <= radius * radius
    return np.stack([y[inside], x[inside]], axis=1)


def dilate(image: Bool[np.ndarray, "rows columns"], offsets: Int64[np.ndarray, "offsets 2"]) -> np.ndarray:
    """True where any pixel at one of the (symmetric) offsets is."""
    reach = int(np.abs(offsets).max(initial=0))
    padded = np.pad(image, reach)
    rows, columns = image.shape
    result = np.zeros_like(image)
    for dy, dx in offsets.tolist():
        result |= padded[reach + dy : reach + dy + rows, reach + dx : reach + dx + columns]
    return result


def reduce(
    image: UInt8[np.ndarray, "rows columns"], rows: Int64[np.ndarray, "r rows"], columns: Int64[np.ndarray, "c columns"]
) -> UInt8[np.ndarray, "r c"]:
    """An image made smaller by the `filter_matrix` of its rows and of its columns."""
    narrow = _rounded(image.astype(np.int64) @ columns.T)
    return _rounded(rows @ narrow).astype(np.uint8)


def _rounded(sums: np.ndarray) -> np.ndarray:
    return np.clip((sums + (1 << (_PRECISION - 1))) >> _PRECISION, 0, 255)


@functools.cache
def filter_matrix(inputs: int, outputs: int) -> Int64[np.ndarray, "outputs inputs"]:
    """Coefficients, times 2**22, that reduce a row of pixels; each row of the matrix sums to about 2**22."""
    matrix = np.rint(_coefficients(inputs, outputs) * (1 << _PRECISION)).astype(np.int64)
    matrix.flags.writeable = False
    return matrix


def _coefficients(inputs: int, outputs: int) -> np.ndarray:
    scale = inputs / outputs
    matrix = np.zeros((outputs, inputs))
    for output in range(outputs):
        centre = (output + 0.5) * scale
        first = max(int(centre - _RADIUS * scale + 0.5), 0)
        last = min(int(centre + _RADIUS * scale + 0.5), inputs)
        weights = [_lanczos((place - centre + 0.5) / scale) for place in range(first, last)]
        matrix[output, first:last] = np.array(weights) / sum(weights)
    return matrix


def _lanczos(x: float) -> float:
    return float(np.sinc(x) * np.sinc(x / _RADIUS)) if -_RADIUS <= x < _RADIUS else 0.0
