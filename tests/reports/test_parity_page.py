"""The page of the parity ladder: every architecture on every rung, and nothing passed that was not run."""

from pathlib import Path
from typing import Any

import pytest
from report_document import Document
from report_records import everything, make_record, parity_rows, store

from implementations import catalog
from reports import build, overview, pages, parity_page, published, tables
from reports.records import Record
from reports.render import Renderer, text_of

ROOT = Path(build.__file__).parents[1]


def report(found: list[Record]) -> pages.Report:
    """A report of some records."""
    return pages.Report.of(found, published.shipped())


def ladder(architecture: str, rows: list[dict]) -> Record:
    """A record of the ladder."""
    cell: dict[str, Any] = {
        "benchmark": "equivalence",
        "task": f"equivalence.{architecture}",
        "architecture": architecture,
    }
    return make_record("jax+torch", metrics={}, curves={}, predictions=None, tables={"parity": rows}, **cell)


def row(table: tables.Table, name: str) -> list[str]:
    """The texts of the row of an architecture."""
    return next(texts for r in table.rows if (texts := [text_of(cell) for cell in r.cells])[0] == name)


def test_every_architecture_is_on_every_rung() -> None:
    passing = [line | {"passed": True} for line in parity_rows()]
    found = report([ladder("s5", parity_rows()), ladder("s4", passing)])
    table = parity_page.rungs_table(found)
    assert [text_of(r.cells[0]) for r in table.rows] == found.pages_of
    assert set(found.pages_of) == set(catalog.names())
    assert row(table, "s5")[1:6] == ["failed", "1 of 1", "–", "1 of 1", "1 of 2"]
    assert row(table, "s4")[1:6] == ["passed", "1 of 1", "–", "1 of 1", "2 of 2"]
    assert row(table, "s4")[-1] == "cpu (Example CPU, 2 cores) 0123456789ab"
    assert row(table, "mega") == ["mega", "not run", *["–"] * 9]
    words = text_of(tables.Cell(tuple(parity_page.summary(found))))
    count = len(found.pages_of)
    assert words == f"1 passed 1 failed {count - 2} not run Ladders of {count} architectures; 7 of 8 checks pass."


def test_the_overview_counts_the_ladders_and_names_the_other_tasks() -> None:
    found = report([ladder("s5", parity_rows()), ladder("s4", parity_rows()), make_record()])
    words = text_of(tables.Cell(tuple(overview.scope(found))))
    assert words.startswith("s4, s5 on lra.listops, 2 equivalence ladders ·")


def test_what_was_not_run_has_its_command() -> None:
    page = Renderer(pages.SECTIONS).markdown(parity_page.parity_page(report([ladder("s5", parity_rows())]))).decode()
    missing = page[page.index("## Not run") :]
    assert r"suite.run --benchmarks equivalence --architectures block\_state" in missing
    assert "--architectures s5 " not in missing
    pairs = page[page.index("## Errors of every pair") : page.index("## Rungs outside")]
    assert "| float32 | 3 | 1.1e-07 | 1.3e-07 | 4.0e-06 | 4.0e-06 of 2.6e-07 |" in pairs


def test_training_counts_only_seeds_of_both_frameworks() -> None:
    both = [make_record(f, s, profile="small") for f in ("jax", "torch") for s in (0, 1)]
    found = report([*both, make_record("jax", 2, profile="small")])
    assert text_of(parity_page.trained_cell(found, "s5")) == "lra.listops small, 2 shared seeds"
    assert text_of(parity_page.trained_cell(report([make_record("jax")]), "s5")).startswith("not run python -m suite")
    assert text_of(parity_page.trained_cell(found, "spade_stack")) == "as spade, whose recipes train it"


@pytest.mark.parametrize("name", parity_page.GOLDEN)
def test_the_golden_tests_are_there_and_about_it(name: str) -> None:
    assert name in catalog.names()
    for file in parity_page.GOLDEN[name]:
        assert (ROOT / "tests" / "parity" / file).is_file()


def test_the_overview_has_one_line_of_it(tmp_path: Path) -> None:
    site = build.build([store(everything(), tmp_path / "runs")], tmp_path / "site").parent
    page = Document(site / "index.html")
    assert "parity.html" in page.values("href")
    assert "3 of 4 checks pass." in page.text
    assert "Parity ladder, JAX against PyTorch" not in page.text
