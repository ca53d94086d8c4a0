"""The known contradictions: whole, tied to published numbers, and complete where arithmetic shows one."""

from pathlib import Path

import pytest
from report_document import Document
from test_published import CUT

from reports import contradictions, pages, published
from reports.published import PublishedError
from reports.render import Renderer

SHIPPED = published.shipped()


def test_every_line_of_the_literature_notes_is_there() -> None:
    found = {item.id: item for item in contradictions.load(SHIPPED)}
    noted = {"s5-versions", "s5-pathx-misprint", "averages", "luna", "s4-versions", "liquid-pathx", "fout-std"}
    assert set(found) >= noted | {"seqboat-pathx", "s5-initialisation"}
    assert {item.kind for item in found.values()} == set(contradictions.KINDS)
    values = {SHIPPED.number(anchor)[1].value for anchor in found["s5-versions"].numbers}
    assert values == {82.46, 87.46, 85.25, 98.58}
    assert [SHIPPED.number(anchor)[1].value for anchor in found["averages"].numbers] == [54.39, 53.66]
    assert [SHIPPED.number(anchor)[1].value for anchor in found["luna"].numbers] == [59.37, 61.95]
    assert [SHIPPED.number(anchor)[1].value for anchor in found["s4-versions"].numbers] == [80.48, 86.09, 85.86]


def test_averages_that_do_not_follow_from_their_rows_are_all_listed() -> None:
    (item,) = [item for item in contradictions.load(SHIPPED) if item.id == "averages-cut"]
    numbers = [SHIPPED.number(anchor)[1] for anchor in item.numbers]
    assert {number.name: number.value for number in numbers} == CUT


def test_reprints_of_one_row_agree_or_are_listed() -> None:
    """Two papers print one model, variant, task and metric: equal values, or a contradiction names one of them."""
    listed = {anchor for item in contradictions.load(SHIPPED) for anchor in item.numbers}
    families = {SHIPPED.number(anchor)[1].architecture for anchor in listed}
    seen: dict[tuple[str, ...], float] = {}
    odd = set()
    for paper in SHIPPED.papers:
        for n in paper.numbers:
            if n.value is None or not n.task.startswith("lra.") or n.version == "v1" or n.task == "lra.average":
                continue
            key = (n.architecture, n.variant, n.task, n.metric)
            if abs(seen.setdefault(key, n.value) - n.value) > 0.001 and n.table != "abstract":
                odd.add(n.architecture)
    assert odd == {"luna_256"}
    assert odd <= families


def test_the_bits_and_perplexities_of_the_block_recurrent_tables() -> None:
    for task, agrees in (("lm.pg19", True), ("lm.arxiv", True), ("lm.github", False)):
        bits = SHIPPED.number(f"block-recurrent-v3-{task}-rec-fixed-skip-bits-per-token-table-1")[1].value
        perplexity = SHIPPED.number(f"block-state-v4-{task}-brect-fixed-skip-token-perplexity-table-1")[1].value
        assert bits is not None
        assert perplexity is not None
        assert (abs(2**bits - perplexity) < 0.01) == agrees


def test_the_page_has_every_one_with_links_to_its_numbers(tmp_path: Path) -> None:
    renderer, made = Renderer(pages.SECTIONS), contradictions.contradictions_page(SHIPPED)
    (tmp_path / "page.html").write_bytes(renderer.html(made))
    page, text = Document(tmp_path / "page.html"), renderer.markdown(made).decode()
    found = contradictions.load(SHIPPED)
    assert {item.id for item in found} <= set(page.values("id"))
    assert all(item.title in page.text for item in found)
    links = {f"published/{SHIPPED.number(a)[0].paper.id}.html#{a}" for item in found for a in item.numbers}
    assert links <= set(page.values("href"))
    assert all(f'<a id="{item.id}"></a>' in text for item in found)


SPOILED = {
    "unknown number": (
        'numbers = ["',
        'numbers = ["x',
        r"no published number is called .* at `\$\.contradictions\[0\]`",
    ),
    "unknown kind": ('kind = "versions"', 'kind = "odd"', r"Invalid enum value 'odd'"),
    "there twice": ('id = "s5-abstract"', 'id = "s5-versions"', r"is there twice - at `\$\.contradictions\[1\]`"),
    "empty text": ('here = "The final', 'here = "" # "The final', "length >= 1"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_file_is_one_error_that_names_the_place(name: str, tmp_path: Path) -> None:
    old, new, message = SPOILED[name]
    text = contradictions.PATH.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "contradictions.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PublishedError, match=message) as caught:
        contradictions.load(SHIPPED, path)
    assert str(path) in str(caught.value)
    with pytest.raises(PublishedError, match="cannot read"):
        contradictions.load(SHIPPED, tmp_path / "nowhere.toml")
