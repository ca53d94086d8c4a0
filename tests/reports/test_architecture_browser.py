"""The pages of the architectures in a real browser: formulas are drawn, words fit their boxes, nothing overflows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_browser import Browser, launch
from report_records import everything, store

from reports import architectures, build

pytestmark = pytest.mark.browser
NAMES = tuple(architectures.shipped())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    found = launch(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, one with records and the others without."""
    folder = tmp_path_factory.mktemp("architectures")
    return build.build([store(everything(), folder / "runs")], folder / "site").parent / "architectures"


@pytest.mark.parametrize("name", NAMES)
def test_a_phone_shows_the_whole_page(name: str, browser: Browser, pages: Path) -> None:
    browser.complaints.clear()
    browser.open(pages / f"{name}.html", width=360, height=740)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    inner = browser.run("[...document.querySelectorAll('.diagram, .formulas')].map(e => [e.tabIndex, e.clientWidth])")
    assert len(inner) > 3
    assert all(index == 0 and 200 < width <= 360 for index, width in inner)
    size = browser.run(
        "(() => { const t = document.querySelector('.diagram text'), s = t.ownerSVGElement;"
        " return 12.5 * s.getBoundingClientRect().width / s.viewBox.baseVal.width })()"
    )
    assert size > 9
    assert browser.complaints == []


@pytest.mark.parametrize("name", NAMES)
def test_headings_follow_each_other_and_the_diagram_has_a_name(name: str, browser: Browser, pages: Path) -> None:
    browser.open(pages / f"{name}.html")
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    said = browser.run(
        "[...document.querySelectorAll('.diagram svg')].map(s => s.getAttribute('aria-labelledby').split(' ')"
        ".map(id => document.getElementById(id)).map(e => [e.tagName, e.textContent.length]))"
    )
    assert [[tag for tag, _ in parts] for parts in said] == [["title", "desc"]]
    assert said[0][1][1] > 60


@pytest.mark.parametrize("name", NAMES)
def test_formulas_are_drawn_as_mathematics(name: str, browser: Browser, pages: Path) -> None:
    browser.open(pages / f"{name}.html")
    found = browser.run(
        "[...document.querySelectorAll('math')].map(m => [m.namespaceURI, m.getBoundingClientRect().height,"
        " m.getBoundingClientRect().width, m.querySelectorAll('merror').length,"
        " getComputedStyle(m.querySelector('annotation')).display])"
    )
    assert len(found) > 10
    for namespace, height, width, errors, annotation in found:
        assert namespace == "http://www.w3.org/1998/Math/MathML"
        assert height > 5
        assert width > 4
        assert errors == 0
        assert annotation == "none"
    fractions = browser.run("[...document.querySelectorAll('mfrac')].map(m => m.getBoundingClientRect().height)")
    assert all(height > 20 for height in fractions)


def boxes(browser: Browser) -> list[dict[str, Any]]:
    """Every text of the diagram: its own rectangle, its colours, and the frame that it belongs to."""
    return browser.run(
        """(() => {
          const svg = document.querySelector('.diagram svg');
          const box = (e) => { const b = e.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height]; };
          const colours = (e) => { const s = getComputedStyle(e); return [s.fill, Number(s.fillOpacity)]; };
          const frames = new Map([...svg.querySelectorAll('[data-frame]')].map((e) => [e.dataset.frame, e]));
          return [...svg.querySelectorAll('text')].map((t) => {
            const frame = frames.get(t.dataset.box);
            return {text: t.textContent, box: box(t), label: 'arrow' in t.dataset, colour: colours(t),
                    frame: frame ? box(frame) : null, tint: frame ? colours(frame) : null,
                    view: [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height],
                    paper: getComputedStyle(document.body).backgroundColor};
          });
        })()"""
    )


def apart(a: list[float], b: list[float]) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("name", NAMES)
def test_words_fit_their_boxes_and_labels_touch_nothing(name: str, browser: Browser, pages: Path) -> None:
    browser.open(pages / f"{name}.html")
    found = boxes(browser)
    assert len(found) > 8
    for item in found:
        left, top, right, bottom = item["box"]
        assert left >= 0
        assert top >= 0
        assert right <= item["view"][0]
        assert bottom <= item["view"][1]
        if item["frame"]:
            assert left >= item["frame"][0] + 2, item["text"]
            assert right <= item["frame"][2] - 2, item["text"]
    frames = [item["frame"] for item in found if item["frame"]]
    for item in found:
        if item["label"]:
            assert all(apart(item["box"], frame) for frame in frames), item["text"]
            others = [other["box"] for other in found if other is not item]
            assert all(apart(item["box"], other) for other in others), item["text"]


def rgb(colour: str) -> np.ndarray:
    return np.array([float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255


def luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_of_diagrams_have_contrast(scheme: str, browser: Browser, pages: Path) -> None:
    for name in NAMES:
        browser.open(pages / f"{name}.html", scheme=scheme)
        for item in boxes(browser):
            back = rgb(item["paper"])
            if item["tint"]:
                back = back + item["tint"][1] * (rgb(item["tint"][0]) - back)
            front = back + item["colour"][1] * (rgb(item["colour"][0]) - back)
            high, low = sorted((luminance(front), luminance(back)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{name}: {item['text']}"


def test_a_diagram_standing_alone_follows_the_scheme(browser: Browser, pages: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        browser.open(pages.parent / "figures" / "diagram-s5.svg", scheme=scheme)
        assert browser.run("document.documentElement.querySelector('title').textContent") == "Diagram of S5"
        colours[scheme] = browser.run("getComputedStyle(document.querySelector('text')).fill")
    assert colours == {"light": "rgb(29, 35, 41)", "dark": "rgb(227, 231, 234)"}
