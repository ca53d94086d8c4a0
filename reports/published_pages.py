"""The pages of published numbers: what was transcribed from which source, and how far each number can be trusted."""

from collections import Counter
from collections.abc import Sequence

from reports.blocks import Block, Cell, Column, Heading, Items, Page, Paragraph, Row, Span, Table, chip, plain
from reports.published import FLAGS, LEGEND, Number, PaperNumbers, Published
from reports.tables import LONGEST_PRINTED, number_text, one_published, published_path

INTRODUCTION = (
    "Transcribed from papers and repositories, never measured here. A dash is a cross or a dash in print. Versions of "
    "a paper are kept apart, and numbers of different protocols are never averaged or ranked together."
)


def published_pages(published: Published) -> list[Page]:
    """The list of sources, and a page of numbers for each."""
    return [index_page(published), *(paper_page(paper) for paper in published.papers)]


def index_page(published: Published) -> Page:
    """Every source with its numbers by transcription status."""
    columns = (
        Column("Source"),
        Column("Where"),
        Column("Numbers", numeric=True),
        *(Column(name.capitalize(), numeric=True) for name in LEGEND),
        Column("References of verdicts", numeric=True),
    )
    rows = []
    for paper in published.papers:
        found = Counter(number.transcription for number in paper.numbers)
        counts = [len(paper.numbers), *(found[name] for name in LEGEND), sum(n.reference for n in paper.numbers)]
        about = paper.paper
        where = about.label if about.url else "several papers"
        cells = (plain(about.title, published_path(paper)), plain(where, about.url), *map(_count, counts))
        rows.append(Row(cells))
    legend = tuple((chip(name, name), Span(meaning)) for name, meaning in LEGEND.items())
    flags = tuple((Span(name, "", "strong"), Span(meaning)) for name, meaning in FLAGS.items())
    blocks: list[Block] = [
        Paragraph((Span(INTRODUCTION),), "lead"),
        Table("Sources, each with a page of its numbers", columns, tuple(rows)),
        Paragraph((Span("Where they disagree:"), Span("Known contradictions in the literature", "contradictions.*"))),
        Heading("How a number was transcribed", anchor="transcription"),
        Items(legend),
        Heading("What a number may be marked with", anchor="flags"),
        Items(flags),
    ]
    return Page("published", "Published numbers", "published", tuple(blocks))


def _count(value: int) -> Cell:
    return Cell((Span(str(value)),), value)


def paper_page(paper: PaperNumbers) -> Page:
    """Every number of one source."""
    about = paper.paper
    told = f"{about.authors}, {about.label}" if about.url else about.authors
    blocks: list[Block] = [Paragraph((Span(told), *([Span(about.url, about.url)] if about.url else [])), "lead")]
    if paper.sources:
        sources = (
            (Span(item.title, item.url), *([Span(item.authors, "", "quiet")] if item.authors else []))
            for item in paper.sources.values()
        )
        blocks.append(Items(tuple(sources), "Sources"))
    if paper.protocols:
        items = ((Span(name, "", "code"), Span(text)) for name, text in sorted(paper.protocols.items()))
        blocks.append(Items(tuple(items), "Protocols"))
    blocks += [Heading(f"All {len(paper.numbers)} numbers", anchor="numbers")]
    pairs = [(paper, number) for number in paper.numbers]
    blocks.append(published_table(f"Numbers of {about.title}", pairs, anchors=True))
    trail = (Span("Published numbers", "published.*"), Span("/ source"))
    return Page(published_path(paper)[:-2], about.title, "published", tuple(blocks), trail)


def published_note(item: Number) -> str:
    """What must be known of a published number besides its value."""
    words = f"“{item.printed}”" if len(item.printed) > LONGEST_PRINTED else ""
    sizes = [f"length {item.length:,}" if item.length else "", f"window {item.window:,}" if item.window else ""]
    parameters = f"parameters: {item.parameters}" if item.parameters else ""
    return "; ".join(part for part in (words, *item.flags, *sizes, parameters, item.note) if part)


def published_table(caption: str, pairs: Sequence[tuple[PaperNumbers, Number]], anchors: bool = False) -> Table:
    """Published numbers with source, table and transcription status; with `anchors` the place that others link to."""
    columns = (
        Column("As printed"),
        Column("Task", grow=True),
        Column("Metric", grow=True),
        Column("Value", numeric=True, sorts=one_published(number for _, number in pairs)),
        Column("n", numeric=True),
        Column("Transcription"),
        Column("Where", grow=True),
    )
    rows = []
    for paper, item in pairs:
        anchor, note, source = paper.anchor(item), published_note(item), paper.source(item)
        variant = [Span(item.variant, "", "quiet")] if item.variant and item.variant != item.name else []
        unit = [Span(item.unit, "", "quiet")] if item.unit else []
        version = "" if item.version == "unstated" else f"{item.version_note or item.version}, "
        where = [] if anchors and not paper.sources else [Span(source.label, source.url if anchors else "")]
        cells = (
            Cell((Span(item.name), Span(item.architecture, "", "quiet", line=True), *variant), item.name),
            Cell((Span(item.task), Span(item.dataset, "", "quiet", line=True))),
            Cell((Span(item.metric.replace("_", " ")), *unit)),
            Cell(
                (Span(number_text(item), "" if anchors else published_path(paper, item)),),
                "" if item.value is None else item.value,
            ),
            plain(str(item.n or "–")),
            Cell((chip(item.transcription + item.dagger, item.transcription),)),
            Cell((*where, Span(version + item.table), *([Span(note, "", "quiet", line=True)] if note else []))),
        )
        rows.append(Row(cells, anchor if anchors else ""))
    return Table(caption, columns, tuple(rows))
