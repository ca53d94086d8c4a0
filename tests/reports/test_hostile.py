"""Records are untrusted input: no string of theirs becomes markup, a path or a formula of a figure."""

import re
from pathlib import Path
from typing import Any

import pytest
from report_document import Document
from report_records import make_record

from reports import build
from reports.records import Record
from reports.render import clean, fence, markdown, slug

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)> ' autofocus onfocus=alert(1)",
    "</title></style></code></pre></svg><iframe src=//evil.example>",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <https://evil.example>",
    "| pipe | `code` ``` fence\n\n# heading\n\n---\n\n- item\n\n1. one\n\n> quote",
    "{{ 7 * 7 }} {% raw %} ${7*7} $\\frac{1}{0}$ _x_ &lt;b&gt; &#60;b&#62;",
    "../../../etc/passwd",
    "a\x00b\x1b[31mred\u202egnp.exe\u200b",
)
OWN_SITES = r"https://(arxiv\.org/abs/[\d.]+|github\.com/state-spaces/s4|www\.nvidia\.com/[\w/-]+|docs\.cloud\.google\.com/tpu/docs/\w+)"
OWN_TAGS = {
    "html", "head", "meta", "title", "link", "style", "body", "a", "header", "nav", "main", "footer", "p", "h1",
    "h2", "h3", "ul", "li", "section", "span", "strong", "code", "pre", "br", "wbr", "div", "figure", "figcaption",
    "details", "summary",
    "table", "caption", "thead", "tbody", "tr", "th", "td", "script", "svg", "defs", "g", "path", "use", "text",
    "tspan", "clippath", "rect", "svg title", "desc", "marker", "circle", "math", "semantics", "annotation", "mrow",
    "mi", "mo", "mn", "mtext", "mspace", "mfrac", "msqrt", "msub", "msup", "msubsup", "munder", "mover", "munderover",
}  # fmt: skip
PLACES = {
    "metrics": lambda text: {text: 1.0, "test_accuracy": 0.4, "majority_accuracy": 0.2},
    "protocol": lambda text: {"name": text, "comparable_to": text, "differences": [text], text: text},
    "provenance": lambda text: {
        "command": f"python -m suite.run --set {text}",
        "commit": text,
        "dirty": text,
        "started": text,
        "hardware": {"cpu": text, "cores": text, "gpus": [{"name": text, "driver": text}], "tpu": text},
        "environment": {"XLA_FLAGS": text, text: text},
        "versions": {"jax": text, "torch": [text], text: text},
        "data": {text: text},
        "compiled_for": {"chip": text, "definitions": {text: text}},
    },
    "recipe": lambda text: {text: {text: [text]}, "language": text, "generation": {text: text}},
    "timing": lambda text: {
        text: text,
        "energy_joules": text,
        "energy_joules_definition": text,
        "total_seconds": text,
        "devices": text,
    },
    "tables": lambda text: {text: [{text: text}]},
}


def hostile_records() -> list[Record]:
    """Every string in every place that a record has for strings, and in the names of its cell."""
    found = []
    for index, text in enumerate(HOSTILE):
        fields: dict[str, Any] = {name: place(text) for name, place in PLACES.items()}
        names: dict[str, Any] = dict.fromkeys(
            ("task", "architecture", "framework", "profile", "hardware", "benchmark"), text
        )
        found.append(make_record(id=f"measured-{index}", reason=text, log_tail=text, **(names | fields)))
        ladder = [dict.fromkeys(("rung", "check", "case", "dtype", "error_jax", "tolerance", "passed"), text)]
        parts: dict[str, Any] = {"task": text, "architecture": text}
        changes = {"reason": text, "log_tail": text, "tables": {"parity": ladder}}
        found.append(make_record(id=f"parity-{index}", status="failed", **(parts | changes)))
        found.append(make_record(id=f"plain-{index}", **parts))
        times = {"ms_p20": 1.0, "ms_p50": 1.5, "ms_p80": 2.0}
        rows = [{"layer": f"{text}{place}", "mode": text, "length": 8, **times} for place in range(2)]
        speed = {"metrics": {}, "curves": {}, "predictions": None, "tables": {"layer_speed": rows, "gate": rows}}
        found.append(make_record(id=f"speed-{index}", reason=text, **(parts | speed)))
        program = [{"program": text, "layer": text, "bound": text, "reason": text, "fits": text, "flops": text}]
        listed = {"tables": {"programs": program, "longest_inputs": program}, "provenance": fields["provenance"]}
        found.append(make_record(id=f"compiled-{index}", status="compiled", hardware="tpu-v4", **(parts | listed)))
        found.append(make_record(id=f"language-{index}", **(parts | _language(text))))
    return found


def _language(text: str) -> dict[str, Any]:
    """Fields of a language model of whose numbers one is a string."""
    points = [{"length": 8, "bits_per_byte": 2.0}, {"length": 16, "bits_per_byte": text}, {"length": text}]
    layer = {"architecture": "block_state", "variant": text, "kernel": [text]}
    definitions = {"bits_per_byte": text, text: text}
    facts = {"name": text, "metric": "bits_per_byte", "metric_definitions": definitions, "tokenizer": text}
    return {
        "benchmark": "lm", "task": f"lm.{text}", "metrics": {"bits_per_byte": 2.0, text: 1.0}, "predictions": None,
        "recipe": {"model": {"layer": layer}}, "protocol": facts, "curves": {},
        "tables": {"perplexity_by_length": points, "summaries": [{text: text}]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def site(hostile: Path) -> Path:
    """A site of hostile records."""
    return hostile


def test_no_string_becomes_an_element_an_attribute_or_a_link(site: Path) -> None:
    for path in sorted(site.rglob("*.html")):
        page = Document(path)
        assert {tag for tag, _ in page.tags} <= OWN_TAGS, path.name
        assert page.count("script") == page.count("title") == page.count("main") == 1
        names = {name for _, attributes in page.tags for name in attributes}
        assert not [name for name in names if name.startswith("on") or name in ("autofocus", "src", "srcdoc")]
        links = [value for tag, attributes in page.tags if tag == "a" and (value := attributes.get("href"))]
        assert all(re.fullmatch(rf"({OWN_SITES}|[\w./#-]*)", link) for link in links), path.name


def test_what_was_hostile_is_still_there_to_read(site: Path) -> None:
    text = Document(site / "cells" / "measured-0.html").text
    assert "<script>alert(1)</script>" in text
    page = (site / "cells" / "measured-3.md").read_text(encoding="utf-8")
    assert r"\[click\](javascript:alert(1))" in page


def _without_code(page: str) -> str:
    """A Markdown page without its fenced blocks."""
    return re.sub(r"^(`{3,})text\n.*?\n\1$", "", page, flags=re.DOTALL | re.MULTILINE)


def test_no_string_becomes_markdown(site: Path) -> None:
    for path in sorted(site.rglob("*.md")):
        page = _without_code(path.read_text(encoding="utf-8"))
        markup = re.sub(r'<br>|<a id="[a-z0-9.-]*"></a>', "", page)
        assert "<" not in markup, path.name
        assert not re.search(r"(?<!\\)`", markup), path.name
        links = re.findall(r"(?<!\\)\]\(([^)]*)\)", page)
        assert all(re.fullmatch(rf"({OWN_SITES}|[\w./#-]+)", link) for link in links), path.name
        assert "://" not in re.sub(OWN_SITES, "", page), path.name
        headings = re.findall(r"^#+ .*$", page, flags=re.MULTILINE)
        assert "# heading" not in headings
        assert "\u202e" not in page
        assert "\x1b" not in page


def test_every_row_of_a_markdown_table_has_its_columns(site: Path) -> None:
    for path in sorted(site.rglob("*.md")):
        width = 0
        for line in _without_code(path.read_text(encoding="utf-8")).splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            found = len(re.findall(r"(?<!\\)\|", line))
            width = width or found
            assert found == width, f"{path.name}: {line[:200]}"


def test_files_stay_inside_the_site(site: Path) -> None:
    assert {path.name for path in site.parent.iterdir()} == {"site", "runs"}
    for path in site.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", path.name), path


def test_the_text_table_keeps_one_line_per_row(site: Path) -> None:
    lines = build.text_table([site.parent / "runs"]).partition("\n\n")[0].splitlines()
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 2 + 3 * len(HOSTILE)


@pytest.mark.parametrize("text", [*HOSTILE, "", ".", "..", "a/b", "CON\\x", "Ünïcode", "x" * 500])
def test_slugs_are_plain_distinct_names(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,99}", slug(text))
    assert ".." not in slug(text)
    assert slug(text) != slug(text + "!")
    assert slug("lra.listops") == "lra.listops"


def test_escapes() -> None:
    assert markdown("1. one") == "1&#46; one"
    assert markdown("- one") == "&#45; one"
    assert markdown("62.15 ± 0.23") == "62.15 ± 0.23"
    assert markdown("see https://a.b/c @me www.x.y") == "see https&#58;//a.b/c &#64;me www&#46;x.y"
    assert fence("a\n```\nb") == "````text\na\n```\nb\n````"
    assert clean("\ud800") == "\ufffd"
    assert clean("x" * 30_000).startswith("[… 10000 characters left out]\n")
