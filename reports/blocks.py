"""What a page is made of: a handful of blocks that the HTML, Markdown and plain-text renderers all know."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Span:
    """A piece of text; `href` is a path from the site's root, `#anchor` or an https URL made by this package.

    Styles: strong, quiet, code, value (a headline number), chip (a status or verdict, coloured by `kind`), math (LaTeX
    of this package, see reports.mathematics).
    """

    text: str
    href: str = ""
    style: str = ""
    kind: str = ""
    line: bool = False


Spans = Sequence[Span]


@dataclass(frozen=True)
class Cell:
    """A table cell; `sort` is what its column sorts by where the text would mislead."""

    spans: tuple[Span, ...]
    sort: float | str | None = None


@dataclass(frozen=True)
class Column:
    """A table column; `grow` columns hold sentences and may wrap. One whose values are not of one kind is not `sorts`:
    an order of them would be a ranking across tasks, metrics or protocols."""

    title: str
    numeric: bool = False
    grow: bool = False
    sorts: bool = True


@dataclass(frozen=True)
class Row:
    """A table row; the first cell is its header."""

    cells: tuple[Cell, ...]
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption; style facts is a compact list of names and values, which is not sorted. `search` names a
    field that keeps the rows with every word typed into it; long tables have one anyway. `folded` is what stands in its
    place until it is opened. Style dense lets every cell wrap, so that many columns fit."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    style: str = ""
    search: str = ""
    folded: str = ""
    block: str = field(default="table", init=False)


@dataclass(frozen=True)
class Heading:
    """A heading of level 2 or 3 with an anchor."""

    text: str
    level: int = 2
    anchor: str = ""
    block: str = field(default="heading", init=False)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; styles: lead, note."""

    spans: tuple[Span, ...]
    style: str = ""
    block: str = field(default="paragraph", init=False)


@dataclass(frozen=True)
class Items:
    """A bullet list; style callout draws a box with a title."""

    items: tuple[tuple[Span, ...], ...]
    title: str = ""
    style: str = ""
    block: str = field(default="items", init=False)


@dataclass(frozen=True)
class Code:
    """Text as it is: a command or the end of a log; `folded` is shown when its caption is opened."""

    text: str
    caption: str = ""
    folded: bool = False
    block: str = field(default="code", init=False)


@dataclass(frozen=True)
class Figure:
    """A figure; `svg` is markup made by reports.figures or .diagrams, `name` its file name without suffix.

    Style diagram keeps the size of its text where there is little room.
    """

    name: str
    svg: str
    caption: str
    alt: str
    style: str = ""
    block: str = field(default="figure", init=False)


@dataclass(frozen=True)
class Figures:
    """Figures side by side where there is room."""

    figures: tuple[Figure, ...]
    block: str = field(default="figures", init=False)


@dataclass(frozen=True)
class Formulas:
    """Formulas on lines of their own, as LaTeX of this package; `label` names them to a screen reader."""

    lines: tuple[str, ...]
    label: str
    block: str = field(default="formulas", init=False)


Block = Table | Heading | Paragraph | Items | Code | Figures | Formulas


@dataclass(frozen=True)
class Page:
    """One page; `path` is relative to the site's root, without suffix; `section` marks the entry of the navigation."""

    path: str
    title: str
    section: str
    blocks: tuple[Block, ...]
    crumbs: tuple[Span, ...] = ()


def plain(value: str, href: str = "", style: str = "") -> Cell:
    """A cell of one span."""
    return Cell((Span(value, href, style),))


def number(value: float | None, digits: int = 2) -> Cell:
    """A numeric cell, or a dash that sorts last."""
    return Cell((Span("–", style="quiet"),)) if value is None else Cell((Span(f"{value:.{digits}f}"),), value)


def chip(label: str, kind: str = "", href: str = "") -> Span:
    """A status or verdict."""
    return Span(label, href, "chip", (kind or label).replace(" ", "-"))
