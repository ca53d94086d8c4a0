"""Pages in a real browser: they fit, sort, follow the colour scheme and complain about nothing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from report_browser import Browser, launch
from report_records import everything, store
from test_hostile import hostile_records

from reports import build

pytestmark = pytest.mark.browser
PAGES = (
    "index",
    "published",
    "published/s5",
    "published/block_state",
    "methods",
    "tasks/lra.listops",
    "architectures/s5",
    "cells/lra.listops-s5-jax-smoke-0",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    found = launch(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with records of every status."""
    folder = tmp_path_factory.mktemp("shown")
    return build.build([store(everything(), folder / "runs")], folder / "site").parent


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


@pytest.mark.parametrize("page", PAGES)
def test_no_page_is_wider_than_a_phone(page: str, browser: Browser, site: Path) -> None:
    browser.open(site / f"{page}.html", width=360, height=740)
    assert browser.run("innerWidth") == 360
    assert browser.run("document.documentElement.scrollWidth") <= 360
    wide = browser.run("[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length")
    scroll = browser.run("[...document.querySelectorAll('.scroll')].map(e => getComputedStyle(e).overflowX)")
    assert set(scroll) <= {"auto"}
    assert page in ("published", "speed", "methods", "cells/lra.listops-s5-jax-smoke-0") or wide > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(scheme: str, browser: Browser, site: Path) -> None:
    browser.open(site / "index.html", scheme=scheme)
    pairs = browser.run(
        """(() => {
          const back = (e) => {
            for (; e; e = e.parentElement) {
              const colour = getComputedStyle(e).backgroundColor;
              if (!colour.endsWith(", 0)")) return colour;
            }
            return "rgb(255, 255, 255)";
          };
          const some = ["p", "li", "td", "th", "a", "caption", "figcaption", ".quiet", ".chip", "button"];
          return some.flatMap((s) => [...document.querySelectorAll("main " + s)].map(
            (e) => [s, getComputedStyle(e).color, back(e)])); })()"""
    )
    assert len(pairs) > 50
    assert min(_contrast(front, back) for _, front, back in pairs) >= 4.5


def _contrast(front: str, back: str) -> float:
    """WCAG contrast of two CSS colours `rgb(r, g, b)`."""

    def luminance(colour: str) -> float:
        parts = np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(front), luminance(back)), reverse=True)
    return (high + 0.05) / (low + 0.05)


COLUMN = "[...document.querySelectorAll('table[data-sortable] tbody')].at(-1).rows"


def test_a_click_sorts_and_a_key_sorts_back(browser: Browser, site: Path) -> None:
    browser.open(site / "published" / "s5.html")
    values = f"[...{COLUMN}].map(row => row.cells[3].dataset.sort)"
    before = browser.run(values)
    head = "document.querySelector('table[data-sortable] thead').rows[0].cells[3]"
    browser.run(f"{head}.querySelector('button').click()")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    after = browser.run(values)
    present = [float(value) for value in after if value]
    assert present == sorted(present)
    assert after != before
    assert sorted(after) == sorted(before)
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


def test_names_sort_as_text(browser: Browser, site: Path) -> None:
    browser.open(site / "index.html")
    browser.run("document.querySelector('table[data-sortable] thead button').click()")
    names = browser.run(
        "[...document.querySelector('table[data-sortable]').tBodies[0].rows].map(r => r.cells[0].innerText)"
    )
    assert names == ["lra.image", "lra.listops", "lra.listops", "lra.text"]


def test_no_page_complains(browser: Browser, site: Path) -> None:
    browser.complaints.clear()
    for path in sorted(site.rglob("*.html")):
        browser.open(path)
    assert browser.complaints == []


def test_hostile_records_run_nothing(browser: Browser, tmp_path: Path) -> None:
    index = build.build([store(hostile_records(), tmp_path / "runs")], tmp_path / "site")
    for path in [index, *sorted(index.parent.glob("cells/measured-*.html"))]:
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
