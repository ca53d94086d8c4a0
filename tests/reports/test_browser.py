"""Pages in a real browser: they fit, sort, follow the colour scheme and complain about nothing."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from matplotlib.image import imread
from report_browser import Browser, launch
from report_records import everything, make_record, store
from test_ablation_pages import study
from test_hardware_page import compiled
from test_language import record as language

from reports import build
from reports.records import Record

pytestmark = pytest.mark.browser
PAGES = {
    "index", "cells", "speed", "hardware", "published", "contradictions", "methods", "tasks/lra.listops",
    "tasks/ablation.s5", "tasks/length.pg19", "tasks/summaries.qmsum", "architectures/s5", "published/s5",
    "benchmarks/lm",
}  # fmt: skip


def speeds() -> list[Record]:
    """Layer speed in three modes: long names, a range of less than a decade, and one of many."""
    layers = ("block_recurrent", "BST:MH:S4", "about 75 %", "sliding window", "s5 (bidirectional)", "seqboat")
    rows = [
        {"layer": layer, "mode": mode, "length": length, "roofline_share": 0.2, "tokens_per_second": 1e6}
        | {f"ms_p{p}": p / 50 * (1 + place / 20) * (length / 128) ** power for p in (20, 50, 80)}
        for mode, power in (("forward", 1.2), ("forward and backward", 2.0), ("streaming step", 0.0))
        for length in (2**k for k in range(7, 17))
        for place, layer in enumerate(layers)
    ]
    gate = [{"layer": layer, "error": 1e-7, "tolerance": 1e-4, "passed": True} for layer in layers]
    tables = {"layer_speed": rows, "gate": gate}
    cell = {"benchmark": "speed", "task": "speed.layer", "metrics": {}, "curves": {}, "predictions": None}
    timing = {"total_seconds": 7_200.0, "energy_joules": 7.2e6}
    return [make_record("torch", tables=tables, timing=timing, **cell)]


def every_page() -> list[Record]:
    """Records of which every page of a report is made."""
    names = ("block_recurrent", "block_state", "ema", "s5", "seqboat", "transformer")
    lengths = {
        "perplexity_by_length": [{"length": 2**k, "bits_per_byte": 2.3 - 0.001 * k} for k in range(9, 17)],
        "perplexity_by_position": [{"position_to": 2**k - 1, "token_perplexity": 90 / k} for k in range(4, 21)],
    }
    length = {"benchmark": "length", "task": "length.pg19", "tables": lengths}
    models = [language(name, 2 + place / 10, **length) for place, name in enumerate(names)]
    written = [{"question": "What was decided?", "written": "word " * 60, "reference": "long" * 80}]
    summaries = make_record(
        "torch", benchmark="summaries", task="summaries.qmsum", architecture="spade", predictions=None,
        metrics={"test_rouge1": 0.21, "untrained_rouge1": 0.02}, tables={"summaries": written},
        protocol={"name": "qmsum", "metric": "test_rouge1"},
    )  # fmt: skip
    rates = [{"layer": layer, "mean": 0.4, "p05": 0.3, "p95": 0.6} for layer in range(6)]
    sparse = make_record("jax", architecture="seqboat", task="lra.image", tables={"activation_rates": rates})
    return [*everything(), *study(2), *models, *speeds(), compiled(task="lra.image", seed=3), summaries, sparse]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    found = launch(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with every page and records of every status."""
    folder = tmp_path_factory.mktemp("shown")
    return build.build([store(every_page(), folder / "runs")], folder / "site").parent


def pages(site: Path) -> list[str]:
    """Every page, of those of records one for each kind."""
    kinds = {(r.cell.task, r.status): f"cells/{r.cell.id}" for r in every_page()}
    found = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    return sorted(name for name in found if not name.startswith("cells/") or name in kinds.values())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_screenshots_show_the_page_in_its_colours(
    width: int, scheme: str, browser: Browser, site: Path, tmp_path: Path
) -> None:
    browser.open(site / "index.html", width=width, height=900, scheme=scheme)
    picture = imread(browser.screenshot(tmp_path / "page.png"))[..., :3]
    assert picture.shape[:2] == (900, width)
    grey = picture.mean(axis=2)
    background = np.median(grey)
    assert background > 0.9 if scheme == "light" else background < 0.2
    assert 0.02 < (np.abs(grey - background) > 0.2).mean() < 0.5  # there is text, and it is not everything
    assert np.unique((picture.reshape(-1, 3) * 255).astype(np.uint8), axis=0).shape[0] > 100


NARROW = """({
  width: innerWidth, page: document.documentElement.scrollWidth,
  scroll: [...document.querySelectorAll('.scroll')].map(e => getComputedStyle(e).overflowX),
  captions: [...document.querySelectorAll('caption > span')].map(e => e.getBoundingClientRect().right),
  links: [...document.links].map(a => a.href).filter(href => href.startsWith('file:')),
})"""


def test_every_page_fits_a_phone_links_to_what_is_there_and_complains_about_nothing(
    browser: Browser, site: Path
) -> None:
    browser.complaints.clear()
    assert set(pages(site)) >= PAGES
    for page in pages(site):
        browser.open(site / f"{page}.html", width=360, height=740)
        seen = browser.run(NARROW)
        assert seen["width"] == 360
        assert seen["page"] <= 360, page
        assert set(seen["scroll"]) <= {"auto"}
        assert max(seen["captions"], default=0) <= 360, page
        for link in {unquote(urlsplit(href).path) for href in seen["links"]}:
            assert Path(link).is_file(), f"{page} links to {link}"
        assert browser.complaints == [], page


WIDE = """[...document.querySelectorAll('.scroll')].filter(
  e => e.firstElementChild.getBoundingClientRect().right > e.getBoundingClientRect().right + 1).map(e => e.ariaLabel)"""


@pytest.mark.parametrize(("medium", "width"), [("screen", 1280), ("print", 1032)])  # 1032: A4 across, less its margins
def test_no_table_is_wider_than_the_page(medium: str, width: int, browser: Browser, site: Path) -> None:
    measured = build.build([Path(build.__file__).parent / "measured"], site.parent / "measured").parent
    cells = [measured / "cells" / f"{name}.html" for name in ("bec1c283aaed", "2aefeaa0f787", "42124e29afd3")]
    everything = [*(site / f"{page}.html" for page in pages(site)), *measured.glob("*.html"), *cells]
    wide = {}
    for page in everything:
        browser.open(page, width=width)
        browser.call("Emulation.setEmulatedMedia", media=medium)
        wide[page.stem] = browser.run(WIDE)
    browser.call("Emulation.setEmulatedMedia", media="")
    assert {page: tables for page, tables in wide.items() if tables} == {}


WORDS_OF_FIGURES = """[...document.querySelectorAll('.plot:not(.diagram) svg')].map(svg => {
  const box = e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  return {box: box(svg), words: [...svg.querySelectorAll('text')].map(e => [e.textContent, ...box(e)]),
          ticks: ['xtick', 'ytick'].map(t => svg.querySelectorAll(`g[id*="${t}"] text`).length)};
})"""


def test_the_words_of_every_figure_are_inside_it_and_apart(browser: Browser, site: Path) -> None:
    count = 0
    for page in pages(site):
        browser.open(site / f"{page}.html")
        for figure in browser.run(WORDS_OF_FIGURES):
            count += 1
            left, _, right, _ = figure["box"]
            across, up = figure["ticks"]
            assert across >= 2, page
            assert up >= 1, page
            for word, start, _, end, _ in figure["words"]:
                assert start >= left - 1, f"{page}: {word}"
                assert end <= right + 1, f"{page}: {word}"
            for one, other in itertools.combinations(figure["words"], 2):
                room = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (1, 2)]
                assert min(room) <= 2, f"{page}: {one[0]!r} lies on {other[0]!r}"
    assert count > 30


WORDS = """(() => {
  const back = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const worded = [...document.body.querySelectorAll("*")].filter((e) => e.checkVisibility() &&
    !e.closest("script, style") && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  const found = worded.map((e) => {
    const {color, fill, fontSize} = getComputedStyle(e);
    return JSON.stringify([e instanceof SVGElement ? fill : color, back(e), parseFloat(fontSize)]);
  });
  return [found.length, [...new Set(found)].map(JSON.parse)];
})()"""
"""How many elements hold words, and every colour, ground and size that any of them has."""
LARGE = 24.0
"""Pixels from which letters count as large, for which less contrast is enough."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "page", ["index", "cells", "hardware", "speed", "published", "published/s5", "benchmarks/lm", "tasks/ablation.s5"]
)
def test_text_has_contrast(page: str, scheme: str, browser: Browser, site: Path) -> None:
    browser.open(site / f"{page}.html", scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    count, kinds = browser.run(WORDS)
    assert count > 100
    assert len(kinds) > 5
    poor = [kind for kind in kinds if _contrast(*kind[:2]) < (3 if kind[2] >= LARGE else 4.5)]
    assert poor == []


def _contrast(front: str, back: str) -> float:
    """WCAG contrast of two CSS colours `rgb(r, g, b)`."""

    def luminance(colour: str) -> float:
        parts = np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(front), luminance(back)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def table(caption: str) -> str:
    """The table whose caption begins so, in the page's language."""
    return f"[...document.querySelectorAll('table')].find(t => t.caption.innerText.startsWith('{caption}'))"


def test_a_click_sorts_and_a_key_sorts_back(browser: Browser, site: Path) -> None:
    browser.open(site / "hardware.html")
    values = f"[...{table('Peak rates')}.tBodies[0].rows].map(row => row.cells[2].dataset.sort)"
    before = browser.run(values)
    head = f"{table('Peak rates')}.tHead.rows[0].cells[2]"
    browser.run(f"{head}.querySelector('button').click()")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    after = browser.run(values)
    present = [float(value) for value in after if value]
    assert present == sorted(present)
    assert after != before
    assert sorted(after) == sorted(before)
    assert len(present) < len(after), "some have no value"
    assert all(not value for value in after[len(present) :])
    browser.run(f"{head}.querySelector('button').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "descending"
    down = [float(value) for value in browser.run(values) if value]
    assert down == sorted(present, reverse=True)
    assert browser.run("document.querySelectorAll('th[aria-sort]').length") == 1


LRA = ("ListOps", "Text", "Retrieval", "Image", "Pathfinder", "Path-X", "Path-256")
UNSORTED = [
    ("index", "Mean", ["JAX", "PyTorch", "Majority class", "Published"]),
    ("architectures/s5", "Every cell", ["Value", "95 % interval", "Majority class", "Published"]),
    ("benchmarks/lra", "Long Range Arena, profile smoke", [*LRA, "Average"]),
    ("cells", "", ["Headline metric"]),
    ("published/s5", "Numbers of", ["Value"]),
    ("tasks/lra.listops", "Published on", ["Value"]),
    ("tasks/lra.listops", "Results on", ["JAX", "PyTorch", "Majority class"]),
    ("tasks/lra.image", "Results on", ["Published"]),
    ("tasks/length.pg19", "Results on", []),
    ("tasks/length.pg19", "Test split", []),
]
"""Tables and their columns of values that are not of one task, profile, metric and protocol."""


@pytest.mark.parametrize(("page", "caption", "columns"), UNSORTED, ids=lambda value: str(value)[:30])
def test_nothing_sorts_by_numbers_that_may_not_be_ranked(
    page: str, caption: str, columns: list[str], browser: Browser, site: Path
) -> None:
    browser.open(site / f"{page}.html")
    heads = browser.run(f"[...{table(caption)}.tHead.rows[0].cells].map(h => [h.innerText, h.childElementCount])")
    without = [name for name, buttons in heads if not buttons]
    assert without == columns
    assert any(buttons for _, buttons in heads)


BUTTONS = """[...document.querySelectorAll('.wordy thead button')].filter(
  b => !b.closest('details:not([open])')).map(b => {
  b.scrollIntoView({block: 'center'});
  const {x, y, width, height} = b.getBoundingClientRect();
  return [x, x + width, height, document.elementFromPoint(x + width / 2, y + height / 2) === b];
})"""


@pytest.mark.parametrize("page", ["index", "cells", "published/s5", "benchmarks/lra"])
def test_tables_sort_by_touch_where_there_is_little_room(page: str, browser: Browser, site: Path) -> None:
    browser.open(site / f"{page}.html", width=390, height=740)
    seen = browser.run(BUTTONS)
    assert len(seen) > 2
    for left, right, height, hit in seen:
        assert left >= 0, page
        assert right <= 390, page
        assert height >= 24, page
        assert hit, "a finger reaches it"
    head = "document.querySelector('.wordy thead th:has(button)')"
    browser.run(f"{head}.scrollIntoView({{block: 'center'}})")
    x, y = browser.run(f"(b => [b.x + 5, b.y + 5])({head}.firstChild.getBoundingClientRect())")
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert browser.run(f"{head}.ariaSort") == "ascending"


COLUMN = "[...document.querySelectorAll('table[data-sortable] tbody')].at(-1).rows"


def test_a_long_table_can_be_filtered(browser: Browser, site: Path) -> None:
    browser.open(site / "published" / "s5.html")
    shown = f"[...{COLUMN}].filter(row => row.offsetHeight > 0).length"
    assert browser.run(shown) == 219
    browser.run("document.querySelector('.filter input').focus()")
    browser.call("Input.insertText", text="LRA.listops s4")
    rows = browser.run(f"[...{COLUMN}].filter(row => row.offsetHeight > 0).map(row => row.textContent.toLowerCase())")
    assert 2 <= len(rows) < 20
    assert all("lra.listops" in row and "s4" in row for row in rows)
    assert browser.run("document.querySelector('.filter output').value") == f"{len(rows)} of 219 rows"
    browser.run("document.querySelector('.filter input').value = ''")
    browser.run("document.querySelector('.filter input').dispatchEvent(new Event('input'))")
    assert browser.run(shown) == 219
    browser.open(site / "contradictions.html", width=360)
    assert browser.run("document.querySelectorAll('.filter').length") == 1
    browser.open(site / "index.html")
    assert browser.run("document.querySelectorAll('.filter').length") == 0


def test_cells_are_searched_by_any_of_their_words_and_stay_sorted(browser: Browser, site: Path) -> None:
    rows = "[...document.querySelector('table[data-search]').tBodies[0].rows]"
    shown = f"{rows}.filter(row => row.offsetHeight > 0).map(row => [...row.cells].map(cell => cell.innerText))"
    browser.open(site / "cells.html", width=360)
    assert len(browser.run(shown)) == len(every_page())
    browser.run("document.querySelector('.filter input').focus()")
    browser.call("Input.insertText", text="PyTorch failed lra.listops")
    ((name, status, *_),) = browser.run(shown)
    assert name == "lra.listops-s5-torch-paper-0"
    assert "loss is not finite" in status
    assert browser.run("document.querySelector('.filter').innerText").startswith("Search cells")
    browser.run("document.querySelector('.filter input').select()")
    browser.call("Input.insertText", text="ablation.s5")
    browser.run("document.querySelectorAll('table[data-search] thead button')[5].click()")
    assert [row[5] for row in browser.run(shown)] == ["0", "0", "1", "1"]
    browser.run("document.querySelector('.filter input').select()")
    browser.call("Input.insertText", text="no such word")
    assert browser.run(shown) == []


def test_names_sort_as_text(browser: Browser, site: Path) -> None:
    browser.open(site / "index.html")
    browser.run("document.querySelector('table[data-sortable] thead button').click()")
    names = browser.run(
        "[...document.querySelector('table[data-sortable]').tBodies[0].rows].map(r => r.cells[0].innerText)"
    )
    assert len(names) > 10
    assert names == sorted(names)


def test_hostile_records_run_nothing(browser: Browser, hostile: Path) -> None:
    browser.complaints.clear()
    newer = [hostile / f"{name}.html" for name in ("index", "cells", "hardware", "speed", "benchmarks/lm")]
    for path in [*newer, *sorted(hostile.glob("cells/measured-*.html")), hostile / "cells" / "compiled-0.html"]:
        browser.open(path, width=360)
        assert browser.run("document.scripts.length") == 1
        assert browser.run("document.querySelectorAll('img, iframe, [onerror], [onfocus], [autofocus]').length") == 0
        assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.complaints == []


def test_figures_standing_alone_follow_the_scheme(browser: Browser, site: Path) -> None:
    path = next(iter(sorted(site.glob("figures/*-loss.svg"))))
    colours = {}
    for scheme in ("light", "dark"):
        browser.open(path, scheme=scheme)
        colours[scheme] = browser.run("getComputedStyle(document.documentElement).color")
    assert colours == {"light": "rgb(29, 35, 41)", "dark": "rgb(227, 231, 234)"}
