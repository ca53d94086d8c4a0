"""The descriptions of the architectures: complete, right in form, drawable; and the pages made of them."""

import html
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from report_document import Document
from report_records import make_record, parity_rows, store
from test_hostile import HOSTILE, OWN_TAGS

from implementations import catalog
from reports import architectures, build, diagrams, mathematics, tables
from reports.architectures import AXES, ArchitectureError
from reports.diagrams import Rectangle
from suite.recipes import TRAINED_AS, recipes

NAMES = (
    "s5", "s4", "s4d", "ema", "mega", "transformer", "block_recurrent", "block_state", "spade", "seqboat",
)  # fmt: skip
FUNCTIONS = {
    rf"\operatorname{{{name}}}"
    for name in (
        "Re", "N", "U", "Norm", "RMSNorm", "GELU", "ReLU", "SiLU", "erf", "softmax", "split", "concat", "EMA", "SSM",
        "S4", "Local", "Attention", "FeedForward",
    )
}  # fmt: skip
SHIPPED = architectures.shipped()


def test_every_architecture_of_the_catalog_is_described() -> None:
    assert set(catalog.names()) <= set(architectures.described())
    assert set(SHIPPED) == set(NAMES)
    assert set(architectures.described()) - set(SHIPPED) == {"block_recurrent_feedback", "spade_stack"}


def test_pages_and_suite_agree_on_which_stacks_have_recipes() -> None:
    stacks = {name: (about, stack) for name, (about, stack) in architectures.described().items() if stack}
    assert {name: about.name for name, (about, stack) in stacks.items() if not stack.own_recipes} == TRAINED_AS
    for name, (_, stack) in stacks.items():
        assert bool(recipes(name)) == stack.own_recipes


@pytest.mark.parametrize("name", catalog.names())
def test_the_first_paper_is_that_of_the_catalog(name: str) -> None:
    known = catalog.get(name)
    about, stack = architectures.described()[name]
    assert f"arXiv:{about.papers[0].arxiv}" == known.paper
    assert (stack or about).title == known.title


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_the_equations_is_defined(name: str) -> None:
    about = SHIPPED[name]
    defined: set[str] = set().union(*(mathematics.names(item.symbol) for item in about.symbols))
    used: set[str] = set().union(*(mathematics.names(line) for part in about.equations for line in part.lines))
    assert used - defined - FUNCTIONS - set(AXES) - {r"\pi", r"\mathrm{d}"} == set()
    assert defined - used <= set(AXES)
    assert sum(len(part.lines) for part in about.equations) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_words_are_plain(name: str) -> None:
    text = (architectures.FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    assert not re.search("[`<>|]", text)
    assert "TODO" not in text


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_diagram_lies_on_anything_else(name: str) -> None:
    diagram = SHIPPED[name].diagram
    placed = diagrams.layout(diagram)
    for (one, a), (other, b) in itertools.combinations(placed.frames.items(), 2):
        assert not a.overlaps(b, 6), f"{one} and {other}"
    for arrow, line in zip(diagram.arrows, placed.lines, strict=True):
        for (a, b), (c, d) in itertools.pairwise(line):
            piece = Rectangle(min(a, c), min(b, d), max(a, c), max(b, d))
            for box, frame in placed.frames.items():
                if box not in (arrow.source, arrow.target):
                    assert not piece.overlaps(frame, 4), f"{arrow.source} to {arrow.target} runs through {box}"
    pieces = [
        (index, Rectangle(min(a, c), min(b, d), max(a, c), max(b, d)))
        for index, line in enumerate(placed.lines)
        for (a, b), (c, d) in itertools.pairwise(line)
    ]
    labels = [(index, label) for index, label in enumerate(placed.labels) if label]
    for index, label in labels:
        assert not [box for box, frame in placed.frames.items() if label.overlaps(frame)], diagram.arrows[index].label
        assert not [i for i, piece in pieces if label.overlaps(piece)], diagram.arrows[index].label
        assert not [i for i, other in labels if i != index and label.overlaps(other)]


@pytest.mark.parametrize("name", NAMES)
def test_every_box_is_on_the_way_from_input_to_output(name: str) -> None:
    diagram = SHIPPED[name].diagram
    into, out = ({getattr(arrow, side) for arrow in diagram.arrows} for side in ("target", "source"))
    for box in diagram.boxes:
        assert box.id in into | out
        if box.kind not in ("end", "state"):
            assert box.id in out, box.id
            assert box.id in into or box.id == "parameters", box.id


SPOILT = {
    "no toml": (lambda text: text + "\n[", "not valid"),
    "another schema": (lambda text: text.replace("architecture/1", "architecture/9"), r"`\$\.schema`"),
    "unknown field": (lambda text: text.replace("summary =", "sumary ="), "sumary"),
    "missing field": (lambda text: text.replace('year = 2023', ""), r"`year` - at `\$\.papers\[0\]`"),
    "wrong type": (lambda text: text.replace("year = 2023", 'year = "2023"'), r"`\$\.papers\[\.\.\.\]\.year`|year"),
    "link elsewhere": (lambda text: text.replace('"2208.04933"', '"javascript:x"'), "arxiv"),
    "formula": (lambda text: text.replace(r"\exp(s)", r"\expp(s)"), r"\\expp is not in the subset"),
    "symbol": (lambda text: text.replace("symbol = 'D'", "symbol = 'D_'"), "where an atom is expected"),
    "arrow to nowhere": (lambda text: text.replace('target = "norm"', 'target = "nrm"'), "there is no box nrm"),
    "slanting arrow": (lambda text: text.replace("via = [[0, 5.1]]", "via = [[0.1, 4.2]]"), "grid"),
    "box twice": (lambda text: text.replace('id = "bu"', 'id = "scan"'), "same id"),
    "another name": (lambda text: text.replace('name = "s5"', 'name = "s6"'), "rename the file"),
    "not utf-8": (lambda text: text.replace("lindermanlab", "\udcff"), "not valid"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_description_is_one_error_that_names_file_and_place(name: str, tmp_path: Path) -> None:
    text = (architectures.FOLDER / "s5.toml").read_text(encoding="utf-8")
    spoil, message = SPOILT[name]
    spoilt = spoil(text)
    assert spoilt != text
    path = tmp_path / "s5.toml"
    path.write_bytes(spoilt.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArchitectureError, match=message) as caught:
        architectures.load(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


MODEL = {
    "model": "classifier",
    "depth": 8,
    "layer": {"architecture": "s5", "d_model": 128, "ssm_size": 16},
}


def shown_records() -> list[Any]:
    """S5 with measured, failed and missing cells and a failed parity check."""
    recipe = {"model": MODEL, "batch_size": 50, "epochs": 6}
    tail = {"timing": {"parameter_count": 188490}}
    found = [make_record("jax", seed, 0.38 + 0.01 * seed, recipe=recipe, **tail) for seed in range(3)]
    found.append(make_record("torch", 0, 0.39, recipe=recipe))
    wide = {**recipe, "model": MODEL | {"layer": {**MODEL["layer"], "d_model": 256}}}
    found.append(make_record("jax", task="lra.text", status="no data", recipe=wide, reason="lra.text is not prepared"))
    found.append(make_record("torch", task="lra.text", status="failed", recipe=wide, reason="loss is not finite"))
    parity = {"benchmark": "equivalence", "task": "equivalence.s5", "tables": {"parity": parity_rows()}}
    found.append(make_record("jax+torch", metrics={}, curves={}, predictions=None, recipe={}, **parity))
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with records of S5 only."""
    folder = tmp_path_factory.mktemp("architectures")
    return build.build([store(shown_records(), folder / "runs")], folder / "site").parent


def test_every_architecture_has_its_page_and_the_overview_links_to_it(site: Path) -> None:
    links = Document(site / "index.html").values("href")
    for name in NAMES:
        assert f"architectures/{name}.html" in links
        page = Document(site / "architectures" / f"{name}.html")
        assert page.count("svg") >= 1
        assert page.count("math") > 10
        assert SHIPPED[name].papers[0].url in page.values("href")
        assert (site / "figures" / f"diagram-{name}.svg").read_text(encoding="utf-8").startswith("<svg ")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "s5"])
def test_without_records_a_page_says_not_run_and_how_to(name: str, site: Path) -> None:
    for text in (
        Document(site / "architectures" / f"{name}.html").text,
        (site / "architectures" / f"{name}.md").read_text(encoding="utf-8").replace("\\", ""),
    ):
        assert text.count("not run") >= 3
        assert f"python -m suite.run --architectures {name} --profile smoke" in text
        assert f"python -m suite.run --benchmarks equivalence --architectures {name}" in text


def test_a_stack_has_a_page_that_leads_to_its_layer(site: Path) -> None:
    for name, (about, stack) in architectures.described().items():
        if not stack:
            continue
        assert f"architectures/{name}.html" in Document(site / "index.html").values("href")
        page = Document(site / "architectures" / f"{name}.html")
        assert stack.meaning in page.text
        assert f"{about.name}.html" in page.values("href")
        runs = f"python -m suite.run --architectures {name} --profile smoke" in page.text
        lent = f"{about.name}.html#results" in page.values("href")
        assert (runs, lent) == (stack.own_recipes, not stack.own_recipes)
        assert f"{name}.html" in Document(site / "architectures" / f"{about.name}.html").values("href")


def test_a_site_without_records_has_the_pages_too(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    index = build.build([tmp_path / "runs"], tmp_path / "site")
    links = Document(index).values("href")
    assert {f"architectures/{name}.html" for name in NAMES} <= set(links)
    assert all((index.parent / f"architectures/{name}.md").is_file() for name in NAMES)


def test_the_config_table_holds_the_fields_of_every_recipe(site: Path) -> None:
    page = (site / "architectures" / "s5.md").read_text(encoding="utf-8")
    assert "| Field | lra.listops, smoke | lra.text, smoke |" in page
    assert "| parameters | 188,490 | – |" in page
    assert r"| d\_model | 128 | 256 |" in page
    assert r"| ssm\_size | 16 | 16 |" in page
    assert r"| batch\_size | 50 | 50 |" in page


def test_the_parity_table_has_the_worst_error_and_failures_in_full(site: Path) -> None:
    page = (site / "architectures" / "s5.md").read_text(encoding="utf-8")
    assert "| **failed** | 1 of 2 | 1.1e-07 | 1.3e-07 | 4.0e-06 | 4.0e-06 of 2.6e-07 |" in page
    assert "| 0 | parameter paths and shapes are a bijection | &#45; | **passed** | 1 of 1 | – | – | 0 | 0 |" in page
    failed = page[page.index("### Failed checks") : page.index("3 of 4 checks pass")]
    assert "| 3 | forward | causal | float32 | 1.1e-07 | 1.3e-07 | 4.0e-06 | 2.6e-07 |" in failed
    assert "bidirectional" not in failed
    every = page[page.index("## Every check") :]
    assert every.count("cells/") == 4
    assert page.index("## Equivalence") < page.index("## Results") < page.index("## Every check")


def test_a_failed_check_whose_error_is_not_finite_is_the_worst() -> None:
    rows = [{**row, "error_between": None} for row in parity_rows()[1:]]
    rows[0] |= {"error_jax": None, "error_torch": None, "passed": False}
    assert tables.worst_cell(rows).spans[0].text == "not finite of 2.6e-07"
    assert tables.worst_cell(rows[1:]).spans[0].text == "1.3e-07 of 2.6e-07"
    assert tables.worst_cell([]).spans[0].text == "–"


def test_the_result_table_has_every_cell_and_its_interval(site: Path) -> None:
    page = (site / "architectures" / "s5.md").read_text(encoding="utf-8")
    results = page[page.index("## Results") : page.index("## Learning curves")]
    rows = [line for line in results.splitlines() if line.startswith("| [lra.")]
    assert [("| JAX |" in row, "| PyTorch |" in row) for row in rows] == [(True, False), (False, True)] * 2
    assert re.search(r"n = 3, seeds .* \| 3\d\.\d\d to 4\d\.\d\d \| 17\.80 \| \[\*\*62\.15", rows[0])
    assert re.search(r"n = 1, seed .* \| 3\d\.\d\d to 4\d\.\d\d \|", rows[1])
    assert "not comparable" in rows[0]
    assert "no data" in rows[2]
    assert "lra.text is not prepared" in rows[2]
    assert "failed" in rows[3]
    assert "loss is not finite" in rows[3]


def test_a_framework_that_was_not_run_has_its_command(tmp_path: Path) -> None:
    index = build.build([store([make_record("jax")], tmp_path / "runs")], tmp_path / "site")
    text = Document(index.parent / "architectures" / "s5.html").text
    assert "python -m suite.run --tasks lra.listops --architectures s5 --profile smoke --frameworks torch" in text


def plain(markdown: str) -> str:
    """Markdown as the words a reader sees."""
    text = re.sub(r"<a id=[^>]*></a>", "", markdown).replace("<br>", " ")
    text = re.sub(r"(?<!\\)\[((?:[^\]\\]|\\.)*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?<!\\)(\*\*|\$)", "", text)
    return html.unescape(re.sub(r"\\([\\`*_{}\[\]#|~$^!])", r"\1", text))


def words(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("name", NAMES)
def test_markdown_says_what_html_says(name: str, site: Path) -> None:
    source = (site / "architectures" / f"{name}.html").read_text(encoding="utf-8")
    page = (site / "architectures" / f"{name}.md").read_text(encoding="utf-8")
    about = SHIPPED[name]
    assert re.findall(r"^\$\$\n(.*)\n\$\$$", page, flags=re.MULTILINE) == [
        line for part in about.equations for line in part.lines
    ]
    formulas = [html.unescape(found) for found in re.findall(r"<annotation[^>]*>(.*?)</annotation>", source)]
    assert formulas == [
        *(line for part in about.equations for line in part.lines), *(item.symbol for item in about.symbols)
    ]  # fmt: skip
    headings = re.findall(r"<h([1-3])[^>]*>(.*?)</h\1>", source)
    found = re.findall(
        r"^(#{1,3}) (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    assert [(len(marks), plain(text)) for marks, text in found] == [
        (int(n), html.unescape(text)) for n, text in headings
    ]
    body = re.sub(r"<math.*?<annotation[^>]*>(.*?)</annotation></semantics></math>", r"\1", source, flags=re.DOTALL)
    body = re.sub(r"<svg.*?</svg>", "", body, flags=re.DOTALL)
    shown = words(plain(page))
    parts = re.findall(r"<(td|th|p|li|figcaption)\b[^>]*>(.*?)</\1>", body[body.index("<h1>") :], flags=re.DOTALL)
    assert len(parts) > 60
    for tag, part in parts:
        text = words(html.unescape(re.sub(r"<[^>]*>", "", part)))
        assert text in shown or text.startswith("Everynumberhere"), f"{tag} {text}"
    assert about.diagram.description in plain(page)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_record_of_a_known_architecture_stays_text(text: str, tmp_path: Path) -> None:
    recipe = {"model": {text: text, "layer": {text: [text], "d_model": text}}, "batch_size": text}
    ladder = [dict.fromkeys(("rung", "check", "case", "dtype", "error_jax", "tolerance", "passed"), text)]
    hostile = {"recipe": recipe, "protocol": {"name": text, "comparable_to": text}, "timing": {"parameter_count": text}}
    found = [
        make_record(id="a", status="failed", reason=text, **hostile),
        make_record(id="b", task=text, profile=text, hardware=text, framework=text, **hostile),
        make_record(id="c", status="failed", task="equivalence.s5", tables={"parity": ladder}),
    ]
    index = build.build([store(found, tmp_path / "runs")], tmp_path / "site")
    page = Document(index.parent / "architectures" / "s5.html")
    assert {tag for tag, _ in page.tags} <= OWN_TAGS
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "src"]
    links = [value for tag, attributes in page.tags if tag == "a" and (value := attributes.get("href"))]
    assert all(re.fullmatch(r"(https://arxiv\.org/abs/[\d.]+|[\w./#-]*)", link) for link in links)
    markdown = (index.parent / "architectures" / "s5.md").read_text(encoding="utf-8")
    markdown = re.sub(r"^(`{3,})text\n.*?\n\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert "<" not in re.sub(r'<br>|<a id="[a-z0-9.-]*"></a>', "", markdown)
    assert not re.search(r"(?<!\\)`", markdown)
