"""Which data and which published protocol the recipes of the Long Range Arena follow."""

from typing import Any

import pytest

from reports.published import shipped
from suite.data.catalog import place
from suite.launch.result import protocol
from suite.matrix import Cell, Selection, cells
from suite.recipes import recipes
from suite.recipes.base import PROFILES
from suite.tasks import all_tasks

TASKS = [name for name, task in all_tasks().items() if task.benchmark == "lra"]
RECIPES = {
    (name, task): recipes(name)[task]
    for name in ("s5", "s4", "s4d", "mega", "seqboat", "spade", "transformer", "ema", "block_recurrent", "block_state")
    for task in TASKS
    if task in recipes(name)
}
# Variants of Text, Retrieval and Image, by who published the numbers.
S4_LINE = {"lra.text": "s4", "lra.retrieval": "s4", "lra.image": "s4"}
MEGA = {"lra.text": "lra", "lra.retrieval": "lra", "lra.image": "mega"}
TAY = {"lra.text": "lra", "lra.retrieval": "lra", "lra.image": "s4"}
VARIANTS = dict.fromkeys(("s5", "s4", "s4d"), S4_LINE) | dict.fromkeys(("mega", "seqboat", "spade"), MEGA)


def cell(architecture: str, task: str, *overrides: str) -> Cell:
    selected = Selection(tasks=(task,), architectures=(architecture,), frameworks=("jax",), profile="paper")
    return cells(Selection(**{**vars(selected), "overrides": overrides}))[0]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_recipe_reads_the_variant_of_its_paper(profile):
    for (architecture, task), function in RECIPES.items():
        recipe: Any = function(profile)
        settings: Any = place(recipe.data.name, None, recipe.data.settings).settings
        wanted = (VARIANTS | {"transformer": TAY}).get(architecture, {}).get(task)
        assert getattr(settings, "variant", None) == wanted, (architecture, task)
        facts = settings.protocol()
        size = facts.get("one_hot_size", facts.get("vocabulary_size", 1))
        assert recipe.model.input_size == (20 if task == "lra.listops" else size), (architecture, task)
        longest = max(getattr(recipe.model.layer, name, None) or 0 for name in ("max_positions", "max_length"))
        padded = 2_000 if task == "lra.listops" and profile != "smoke" else facts["maximum_length"]
        assert longest == 0 or longest >= padded, (architecture, task)


def test_a_paper_recipe_follows_the_protocol_of_the_number_that_it_is_judged_by():
    judged = 0
    for architecture, task in RECIPES:
        if not (known := shipped().reference(task, architecture)):
            continue
        facts = protocol(cell(architecture, task))
        assert facts["comparable_to"] == known[1].protocol, (architecture, task)
        assert "not_comparable" not in facts
        judged += 1
    assert judged == 6 * 6 + 5


@pytest.mark.parametrize("architecture", ["ema", "block_recurrent", "block_state"])
def test_recipes_of_this_project_say_that_no_paper_prints_their_numbers(architecture):
    facts = protocol(cell(architecture, "lra.listops"))
    assert facts["comparable_to"] == ""
    assert facts["not_comparable"] == f"no paper prints ListOps of {architecture}: the recipe is this project's own"


def test_another_variant_departs_from_the_recipe():
    facts = protocol(cell("mega", "lra.image", "data.settings.variant=s4"))
    assert facts["comparable_to"] == ""
    assert facts["differences"] == ["data.settings.variant is s4, published mega"]
    mean = {name: protocol(cell(name, "lra.image"))["input"]["mean"] for name in ("mega", "s5")}
    assert mean == {"mega": 0.48, "s5": 122.6 / 255}
