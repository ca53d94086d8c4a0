"""Pages to HTML, Markdown and plain text. Every string of a record passes through `clean` and an escape on its way."""

import base64
import hashlib
import html
import posixpath
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from reports.blocks import Cell, Page, Span, Spans, Table
from reports.mathematics import mathml

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 20_000

# Control characters, and those that reorder or hide text.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~$^!])")
_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("://", "&#58;//"), ("www.", "www&#46;"), ("@", "&#64;"))
_BLOCK_START = re.compile(r"^(\d*)([-+=.)])(?=\s|\2|$)")


def clean(value: str) -> str:
    """Replace characters that cannot be seen and cut what is longer than LONGEST, from the front."""
    value = _UNSEEN.sub("\ufffd", value.replace("\r\n", "\n"))
    return value if len(value) <= LONGEST else f"[… {len(value) - LONGEST} characters left out]\n{value[-LONGEST:]}"


def one_line(value: str) -> str:
    """Clean text without line breaks."""
    return " ".join(clean(value).split())


def breakable(value: str) -> Markup:
    """Clean text in HTML; one that is a long name, as `equivalence.block_recurrent`, may go on in another line."""
    text = clean(value)
    name = re.fullmatch(r"[a-z0-9]+([._][a-z0-9]+)+", text)
    return Markup(re.sub(r"([._])(?=[a-z])", r"\1<wbr>", text)) if name else escape(text)


def slug(value: str) -> str:
    """A file name for any string: itself if it is a plain one, else made plain with a hash that keeps it apart."""
    if re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,99}", value) and ".." not in value:
        return value
    safe = re.sub(r"[^a-z0-9_-]+", "-", unicodedata.normalize("NFKD", value).lower()).strip("-")[:60] or "x"
    return f"{safe}-{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()[:8]}"


def link(page: Page, href: str, suffix: str = ".html", places: Mapping[str, str] | None = None) -> str:
    """A root-relative path as seen from `page`; anchors and https URLs stay as they are. Page paths end in `.*`.

    `places` says where folders of the site lie that are kept elsewhere.
    """
    if href.startswith(("#", "https://")):
        return href
    path, hash_, anchor = href.partition("#")
    folder, slash, rest = path.partition("/")
    path = (places or {}).get(folder, folder) + slash + rest
    path = path[:-2] + suffix if path.endswith(".*") else path
    own = posixpath.dirname(page.path)
    inside = path.startswith(f"{own}/") or not own
    seen = path[len(own) :].lstrip("/") if inside else "../" * (own.count("/") + 1) + path
    return seen + hash_ + anchor


def markdown(value: str) -> str:
    """Text as Markdown that shows exactly it, on one line, also inside a table."""
    value = _MARKDOWN.sub(r"\\\1", one_line(value))
    for raw, entity in _ENTITIES:
        value = value.replace(raw, entity)
    return _BLOCK_START.sub(lambda match: f"{match[1]}&#{ord(match[2])};", value)


def markdown_spans(page: Page, spans: Spans, places: Mapping[str, str] | None = None) -> str:
    """Spans as one line of Markdown."""
    parts = []
    for span in spans:
        body = f"${span.text}$" if span.style == "math" else markdown(span.text)
        body = f"**{body}**" if span.style in ("strong", "chip", "value") and body else body
        body = f"[{body}]({link(page, span.href, '.md', places)})" if span.href else body
        parts.append(("<br>" if span.line and parts else "") + body)
    return " ".join(part for part in parts if part)


def fence(value: str) -> str:
    """A Markdown code block that its content cannot end."""
    value = clean(value).rstrip("\n")
    ticks = "`" * max([2, *(len(run) for run in re.findall("`+", value))])
    return f"{ticks}`text\n{value}\n{ticks}`"


def text_of(cell: Cell, brief: bool = False) -> str:
    """A cell as plain text on one line; `brief` leaves out what is quiet."""
    spans = [span for span in cell.spans if not (brief and span.style == "quiet" and len(span.text) > 1)]
    return " ".join(one_line(span.text) for span in spans)


def text_table(table: Table) -> str:
    """A table as aligned plain text, columns of sentences cut to what stands out in them."""
    lines = [[one_line(column.title) for column in table.columns]]
    for row in table.rows:
        pairs = zip(row.cells, table.columns, strict=True)
        lines.append([text_of(cell, brief=column.grow) for cell, column in pairs])
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    lines.insert(1, ["-" * width for width in widths])
    rows = ("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(row.rstrip() for row in rows) + "\n"


class Renderer:
    """The templates, loaded once; Markdown links to folders that are kept elsewhere follow `places`.

    Without `sections` a page stands alone: it has no navigation.
    """

    def __init__(self, sections: Sequence[Span], places: Mapping[str, str] | None = None):
        self._places = places
        loader = jinja2.FileSystemLoader(TEMPLATES)
        options = {"loader": loader, "undefined": jinja2.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
        self._html = jinja2.Environment(autoescape=True, finalize=_finalize, **options)
        self._html.filters |= {"mathml": mathml, "breakable": breakable}
        self._markdown = jinja2.Environment(autoescape=False, keep_trailing_newline=True, **options)
        self._markdown.filters |= {"md": markdown, "fence": fence}
        script = (TEMPLATES / "tables.js").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        self._common = {"sections": sections, "script": script, "script_hash": digest}
        self._style = (TEMPLATES / "style.css").read_text(encoding="utf-8")

    def html(self, page: Page) -> bytes:
        """A self-contained HTML page."""
        template = self._html.get_template("page.html.j2")
        text = template.render(page=page, style=self._style, href=lambda href: link(page, href), **self._common)
        return text.encode("utf-8")

    def markdown(self, page: Page) -> bytes:
        """The same page in Markdown, figures as files in `figures/`."""
        template = self._markdown.get_template("page.md.j2")
        text = template.render(
            page=page,
            spans=lambda spans: markdown_spans(page, spans, self._places),
            href=lambda href: link(page, href, ".md", self._places),
            alt=lambda value: html.escape(markdown(value)) if "<" in value else markdown(value),
            **self._common,
        )
        return (re.sub(r"\n{3,}", "\n\n", text).strip() + "\n").encode("utf-8")


def _finalize(value: object) -> object:
    return clean(value) if type(value) is str else value
