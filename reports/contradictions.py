"""Known contradictions in the literature: where published numbers, or a paper and its code, disagree."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from reports import tables
from reports.blocks import Block, Cell, Column, Heading, Items, Page, Paragraph, Row, Span, Table, plain
from reports.published import Identifier, Published, PublishedError

PATH = Path(__file__).with_suffix(".toml")

KINDS: dict[str, str] = {
    "versions": "versions of one paper print different numbers",
    "averages": "one word for two ways of averaging",
    "values": "two sources print different values of one row",
    "rounding": "digits are cut or do not follow from their rows",
    "protocol": "the numbers were not made in the same way",
    "recipe": "paper and code, or two files of the code, differ",
    "statement": "what is said differs from what the tables hold",
}
Text = Annotated[str, msgspec.Meta(min_length=1)]
Schema = TypeVar("Schema")


class Contradiction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One disagreement: what is printed where, what this project does, and the published numbers it is about."""

    id: Identifier
    kind: Literal["versions", "averages", "values", "rounding", "protocol", "recipe", "statement"]
    title: Text
    what: Text
    here: Text
    numbers: tuple[str, ...]


class Contradictions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file of all disagreements."""

    schema: Literal["longseq-bench/contradictions/1"]
    contradictions: tuple[Contradiction, ...]


def load(published: Published, path: Path = PATH) -> tuple[Contradiction, ...]:
    """All disagreements, each with numbers that exist; raises PublishedError naming the file and the place."""
    found = read_toml(path, Contradictions).contradictions
    seen: set[str] = set()
    for index, item in enumerate(found):
        where = f"{path} is not valid: {{}} - at `$.contradictions[{index}]`"
        if item.id in seen:
            raise PublishedError(where.format(f"{item.id} is there twice"))
        seen.add(item.id)
        check_anchors(item.numbers, published, where)
    return found


def read_toml(path: Path, schema: type[Schema]) -> Schema:
    """A typed TOML file; raises PublishedError naming the file and the place in it."""
    try:
        return msgspec.toml.decode(Path(path).read_bytes(), type=schema)
    except OSError as error:
        raise PublishedError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PublishedError(f"{path} is not valid: {error}") from error


def check_anchors(anchors: tuple[str, ...], published: Published, where: str) -> None:
    """Every anchor names a published number; raises PublishedError with `where` around the reason."""
    for anchor in anchors:
        try:
            published.number(anchor)
        except PublishedError as error:
            raise PublishedError(where.format(error)) from error


def number_links(anchors: tuple[str, ...], published: Published) -> tuple[Span, ...]:
    """One line per published number: name, value linked to its row, version and transcription."""
    spans: list[Span] = []
    for anchor in anchors:
        paper, item = published.number(anchor)
        where = (
            f"{paper.source(item).label}, {item.version}" if item.version != "unstated" else paper.source(item).label
        )
        told = item.printed if len(item.printed) > tables.LONGEST_PRINTED else ""
        unit = f" {item.unit}" if item.unit and item.value is not None else ""
        spans += [
            Span(f"{item.name}:", line=bool(spans)),
            Span(tables.number_text(item) + unit, tables.published_path(paper, item)),
            *([Span(f"“{told}”")] if told else []),
            Span(f"{item.task}, {where}, {item.transcription}", "", "quiet"),
        ]
    return tuple(spans) or (Span("–", "", "quiet"),)


def contradictions_page(published: Published) -> Page:
    """Every disagreement with the numbers it is about and what this project does."""
    found = load(published)
    told = "Numbers of the literature that do not fit together, and what this project does about each."
    columns = (Column("What"), Column("In print", grow=True), Column("Here", grow=True), Column("Numbers", grow=True))
    rows = []
    for item in found:
        kind = Span(item.kind, "", "quiet", line=True)
        links = Cell(number_links(item.numbers, published))
        rows.append(
            Row((Cell((Span(item.title), kind), item.title), plain(item.what), plain(item.here), links), item.id)
        )
    kinds = tuple((Span(name, "", "strong"), Span(meaning)) for name, meaning in KINDS.items())
    blocks: list[Block] = [
        Paragraph((Span(told), Span("All published numbers", "published.*")), "lead"),
        Table(f"{len(found)} known contradictions", columns, tuple(rows)),
        Heading("Kinds", anchor="kinds"),
        Items(kinds),
    ]
    return Page("contradictions", "Known contradictions in the literature", "contradictions", tuple(blocks))
