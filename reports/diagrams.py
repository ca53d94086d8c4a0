"""Diagrams of boxes and arrows on a grid, as inline SVG that reads on light and dark without a style sheet.

A diagram is data (`reports.architectures`): boxes with their centres in grid units, and arrows that run along the grid
from box to box, through the corners that `via` names. `layout` computes every rectangle and line; `svg` draws them.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import msgspec

COLUMN, ROW, GAP, MARGIN, LINE, FONT = 122.0, 60.0, 18.0, 16.0, 15.0, 12.5
CIRCLE, STUB, CORNER = 13.0, 1.5, 6.0
TINT = {
    "ssm": "#2f7fd1",
    "attention": "#d2622a",
    "feedforward": "#3d9150",
    "state": "#9065cf",
    "operation": "#7f8891",
    "gate": "#7f8891",
}

Kind = Literal["ssm", "attention", "feedforward", "state", "operation", "gate", "end"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,30}\Z")]
Point = tuple[float, float]


class DiagramError(ValueError):
    """A diagram cannot be laid out; the message names the box or arrow."""


class Box(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A box around `at` (column, row), `width` columns wide; a gate is a circle, an end only words."""

    id: Name
    text: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=3)]
    at: Point
    kind: Kind = "operation"
    width: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Arrow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An arrow between two boxes through corners; kinds: flow, skip (a residual or gate path), state (over time)."""

    source: Name
    target: Name
    via: tuple[Point, ...] = ()
    kind: Literal["flow", "skip", "state"] = "flow"
    label: str = ""


class Diagram(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Boxes and arrows with a caption and a description for those who do not see them."""

    caption: Annotated[str, msgspec.Meta(min_length=10)]
    description: Annotated[str, msgspec.Meta(min_length=60)]
    boxes: Annotated[tuple[Box, ...], msgspec.Meta(min_length=3)]
    arrows: Annotated[tuple[Arrow, ...], msgspec.Meta(min_length=2)]


@dataclass(frozen=True)
class Rectangle:
    """Left, top, right, bottom in user units."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> Point:
        """Its middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def overlaps(self, other: "Rectangle", margin: float = 0.0) -> bool:
        """Whether two rectangles come nearer to each other than `margin`."""
        across = self.left < other.right + margin and other.left < self.right + margin
        return across and self.top < other.bottom + margin and other.top < self.bottom + margin


@dataclass(frozen=True)
class Layout:
    """Where everything is: frames by box id, and per arrow its points and the place of its label."""

    width: float
    height: float
    frames: dict[str, Rectangle]
    lines: tuple[tuple[Point, ...], ...]
    labels: tuple[Rectangle | None, ...]


def layout(diagram: Diagram) -> Layout:
    """Rectangles and lines of a diagram; raises DiagramError where an arrow does not run along the grid."""
    boxes = {box.id: box for box in diagram.boxes}
    if len(boxes) != len(diagram.boxes):
        raise DiagramError("two boxes have the same id")
    raw = {name: _frame(box) for name, box in boxes.items()}
    lines = [_line(arrow, raw) for arrow in diagram.arrows]
    labels = [_label(arrow.label, line) for arrow, line in zip(diagram.arrows, lines, strict=True)]
    spots = [Rectangle(x, y, x, y) for line in lines for x, y in line]
    everything = [*raw.values(), *spots, *(label for label in labels if label)]
    left, top = (min(getattr(item, side) for item in everything) - MARGIN for side in ("left", "top"))
    right, bottom = (max(getattr(item, side) for item in everything) + MARGIN for side in ("right", "bottom"))

    def moved(r: Rectangle) -> Rectangle:
        return Rectangle(r.left - left, r.top - top, r.right - left, r.bottom - top)

    return Layout(
        right - left,
        bottom - top,
        {name: moved(frame) for name, frame in raw.items()},
        tuple(tuple((x - left, y - top) for x, y in line) for line in lines),
        tuple(moved(label) if label else None for label in labels),
    )


def svg(name: str, title: str, diagram: Diagram) -> str:
    """The diagram as SVG with title and description; `name` keeps its ids apart from those of other figures."""
    placed = layout(diagram)
    kinds = {arrow.kind for arrow in diagram.arrows}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {placed.width:.0f} {placed.height:.0f}" '
        f'width="{placed.width:.0f}" height="{placed.height:.0f}" aria-labelledby="{name}-title {name}-desc" '
        f'font-family="system-ui, sans-serif" font-size="{FONT}" style="min-width:{0.78 * placed.width:.0f}px">',
        f'<title id="{name}-title">{html.escape(title)}</title>',
        f'<desc id="{name}-desc">{html.escape(diagram.description)}</desc>',
        "<defs>",
    ]
    for kind in sorted(kinds):
        colour = _colour(kind)
        parts.append(
            f'<marker id="{name}-{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0.5 0.8 7.5 4 0.5 7.2z" fill="{colour}"/></marker>'
        )
    parts.append("</defs>")
    for arrow, line, label in zip(diagram.arrows, placed.lines, placed.labels, strict=True):
        dash = ' stroke-dasharray="5 3"' if arrow.kind == "state" else ""
        parts.append(
            f'<path d="{_path(line)}" fill="none" stroke="{_colour(arrow.kind)}" stroke-width="1.4"{dash} '
            f'marker-end="url(#{name}-{arrow.kind})"/>'
        )
        if label:
            x, y = label.centre
            parts.append(
                f'<text data-arrow="{arrow.source}" x="{x:.1f}" y="{y + 3.6:.1f}" text-anchor="middle" font-size="11" '
                f'fill="currentColor" fill-opacity="0.82">{html.escape(arrow.label)}</text>'
            )
    parts += [_drawn(box, placed.frames[box.id]) for box in diagram.boxes]
    return "".join(parts) + "</svg>"


def _frame(box: Box) -> Rectangle:
    x, y = box.at[0] * COLUMN, box.at[1] * ROW
    if box.kind == "gate":
        return Rectangle(x - CIRCLE, y - CIRCLE, x + CIRCLE, y + CIRCLE)
    half = 4 * max(map(len, box.text)) + 4 if box.kind == "end" else (box.width * COLUMN - GAP) / 2
    tall = (LINE * len(box.text) + (6 if box.kind == "end" else 14)) / 2
    return Rectangle(x - half, y - tall, x + half, y + tall)


def _line(arrow: Arrow, frames: dict[str, Rectangle]) -> tuple[Point, ...]:
    """Every corner of an arrow, from frame to frame."""
    for end in (arrow.source, arrow.target):
        if end not in frames:
            raise DiagramError(f"an arrow from {arrow.source} to {arrow.target}: there is no box {end}")
    source, target = frames[arrow.source], frames[arrow.target]
    corners = [(x * COLUMN, y * ROW) for x, y in arrow.via]
    where = f"the arrow from {arrow.source} to {arrow.target}"
    if corners:
        start, end = _edge(source, corners[0], where), _edge(target, corners[-1], where)
    else:
        start, end = _straight(source, target, where)
    line = (start, *corners, end)
    if any(abs(a - c) > 0.01 and abs(b - d) > 0.01 for (a, b), (c, d) in pairwise(line)):
        raise DiagramError(f"{where} does not run along the grid")
    return line


def _edge(frame: Rectangle, corner: Point, where: str) -> Point:
    """Where a line from a corner meets a frame."""
    x, y = corner
    if frame.left <= x <= frame.right:
        return x, frame.bottom if y > frame.bottom else frame.top
    if frame.top <= y <= frame.bottom:
        return frame.right if x > frame.right else frame.left, y
    raise DiagramError(f"{where} does not meet its box along the grid")


def _straight(source: Rectangle, target: Rectangle, where: str) -> tuple[Point, Point]:
    (a, b), (c, d) = source.centre, target.centre
    narrow = source if source.right - source.left < target.right - target.left else target
    x = narrow.centre[0]
    if max(source.left, target.left) <= x <= min(source.right, target.right):
        return (x, source.bottom if d > b else source.top), (x, target.top if d > b else target.bottom)
    y = (source if source.bottom - source.top < target.bottom - target.top else target).centre[1]
    if max(source.top, target.top) <= y <= min(source.bottom, target.bottom):
        return (source.right if c > a else source.left, y), (target.left if c > a else target.right, y)
    raise DiagramError(f"{where} needs a corner")


def _label(text: str, line: Sequence[Point]) -> Rectangle | None:
    """Beside the longest piece of a line: right of a vertical one, above a horizontal one."""
    if not text:
        return None
    (a, b), (c, d) = max(
        pairwise(line), key=lambda piece: abs(piece[0][0] - piece[1][0]) + abs(piece[0][1] - piece[1][1])
    )
    wide, x, y = 6.1 * len(text), (a + c) / 2, (b + d) / 2
    if a == c:
        return Rectangle(x + 7, y - 7, x + 7 + wide, y + 7)
    return Rectangle(x - wide / 2, y - 17, x + wide / 2, y - 3)


def _path(line: Sequence[Point]) -> str:
    """A path with rounded corners, which ends a little before the frame it points at."""
    points = list(line)
    (a, b), (c, d) = points[-2], points[-1]
    far = max(abs(c - a) + abs(d - b), 0.01)
    points[-1] = (c - STUB * (c - a) / far, d - STUB * (d - b) / far)
    found = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        entry, leave = _towards(corner, before), _towards(corner, after)
        found.append(f"L{entry[0]:.1f} {entry[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {leave[0]:.1f} {leave[1]:.1f}")
    found.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(found)


def _towards(corner: Point, other: Point) -> Point:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    step = min(CORNER, length / 2) / max(length, 0.01)
    return corner[0] + step * dx, corner[1] + step * dy


def _drawn(box: Box, frame: Rectangle) -> str:
    (x, y), colour = frame.centre, TINT.get(box.kind, "")
    parts = []
    if box.kind == "gate":
        parts.append(f'<circle data-frame="{box.id}" cx="{x:.1f}" cy="{y:.1f}" r="{CIRCLE}"{_paint(colour)}/>')
    elif box.kind != "end":
        wide, tall = frame.right - frame.left, frame.bottom - frame.top
        size = f'x="{frame.left:.1f}" y="{frame.top:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="6"'
        parts.append(f'<rect data-frame="{box.id}" {size}{_paint(colour)}/>')
    top = y - LINE * (len(box.text) - 1) / 2 + FONT * 0.35
    weight = ' font-weight="600"' if box.kind == "end" else ""
    for index, text in enumerate(box.text):
        quiet = ' fill-opacity="0.82" font-size="11"' if index and box.kind != "end" else ""
        parts.append(
            f'<text data-box="{box.id}" x="{x:.1f}" y="{top + LINE * index:.1f}" text-anchor="middle" '
            f'fill="currentColor"{weight}{quiet}>{html.escape(text)}</text>'
        )
    return "".join(parts)


def _paint(colour: str) -> str:
    return f' fill="{colour}" fill-opacity="0.15" stroke="{colour}" stroke-width="1.3"'


def _colour(kind: str) -> str:
    return {"skip": TINT["operation"], "state": TINT["state"]}.get(kind, "currentColor")
