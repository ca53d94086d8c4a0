"""Rows of the papers' tables of language models, by name."""

import re
from typing import Any

import pytest

from reports.published import shipped
from suite import run
from suite.launch.result import protocol
from suite.matrix import Cell, Selection, SelectionError, cells
from suite.recipes.rows import ROWS


def cell(*rows: str, task: str = "lm.pg19", **selected: Any) -> Cell:
    (found,) = cells(
        Selection(**({"tasks": (task,), "frameworks": ("jax",), "profile": "paper", "rows": rows} | selected))
    )
    return found


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_the_papers_and_has_its_own_number(name):
    facts = protocol(cell(name))
    (lacking,) = facts["differences"]
    assert lacking.startswith("not expressed of the published recipe: the authors drop entries of the attention")
    assert (facts["published_row"], facts["comparable_to"]) == (name, "")
    known = shipped().reference("lm.pg19", ROWS[name].architecture, name)
    assert known is not None
    assert (known[1].name, known[1].protocol) == (name, "lm-block-recurrent")


def test_rows_differ_in_what_their_names_say():
    recipes: dict[str, Any] = {name: cell(name).recipe for name in ROWS}
    assert len({recipe.model for recipe in recipes.values()}) == len(ROWS)
    xl, slide = recipes["XL:512"], recipes["Slide:13L"]
    assert (xl.batch_size * xl.language.segment, xl.model.layer.attention) == (32 * 4096, "xl")
    assert (slide.model.depth, slide.language.segment, slide.batch_size) == (13, 4096, 32)
    large = recipes["BST:MF:UNSTRUCT-L"].model
    assert [i + 1 for i, layer in enumerate(large.layers) if layer.architecture == "block_state"] == [1, 5, 7, 12]
    assert {(layer.heads, layer.d_ff) for layer in large.layers} == {(16, 8192)}
    assert (large.layer.variant, large.layer.kernel) == ("MF", "unstructured")
    single = recipes["Feedback:lstm:single"].model.layer
    assert (single.recurrent.gate, single.recurrent.configuration, single.indices) == ("lstm", "single", (9,))


def test_an_architectures_own_recipe_is_one_of_its_rows():
    own = {"transformer": "Slide:12L", "block_recurrent": "Rec:fixed:skip", "block_state": "BST:SH:S4"}
    for architecture, name in {**own, "block_recurrent_feedback": "Feedback:fixed:skip"}.items():
        plain = cell(architectures=(architecture,))
        assert (plain.id, protocol(plain)["published_row"]) == (cell(name).id, name)


def test_what_departs_from_a_row_is_told_against_it():
    facts = protocol(cell("BST:MF:S4-L", overrides=("epochs=2",)))
    assert "published_row" not in facts
    *changed, _ = facts["differences"]
    assert {text.partition(" is ")[0] for text in changed} == {"epochs", "optimizer.schedule.total_steps"}


def test_rows_are_listed_and_wrong_ones_are_refused(capsys):
    assert run.main(["--list"]) == run.DONE
    assert re.search(r"^row +BST:MF:S4 +block_state; arXiv 2306.09539, table 1$", capsys.readouterr().out, re.M)
    with pytest.raises(SelectionError, match="unknown row 'BST:MF:S5': did you mean 'BST:MF:S4'"):
        cell("BST:MF:S5")
    with pytest.raises(SelectionError, match="--rows are published recipes, profile smoke has none: --profile paper"):
        cell("BST:MF:S4", profile="smoke")
    with pytest.raises(SelectionError, match="nothing to run"):
        cell("BST:MF:S4", task="lm.book")
