"""Which data and which published protocol the recipes of the Long Range Arena follow."""

from typing import Any

import pytest

from implementations.common.config import ConfigError
from reports.published import shipped
from suite.data.catalog import place
from suite.launch.result import protocol
from suite.matrix import Cell, Selection, cells
from suite.recipes import recipes
from suite.recipes.base import PROFILES, differences
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
    """A recipe that lacks something of the published one is judged by no number, and says what it lacks; nor is one of
    this project, where no recipe is published."""
    judged, lacking = [], 0
    for architecture, task in RECIPES:
        if not (known := shipped().reference(task, architecture)):
            continue
        whole = cell(architecture, task)
        facts = protocol(whole)
        assert whole.recipe is not None
        if "this project" in whole.recipe.source.get("all", ""):
            assert (known[1].protocol, known[1].dagger, facts["comparable_to"]) == ("lra-block-state", "†", "")
            continue
        lacks = whole.recipe.source.get("not expressed")
        assert facts["comparable_to"] == ("" if lacks else known[1].protocol), (architecture, task)
        assert f"not expressed of the published recipe: {lacks}" in facts["differences"] or not lacks
        assert "not_comparable" not in facts
        judged += [] if lacks else [(architecture, task)]
        lacking += bool(lacks)
    assert judged == [
        ("s5", f"lra.{task}") for task in ("listops", "text", "retrieval", "image", "pathfinder", "pathx")
    ]
    assert lacking == 5 * 6 + 5


@pytest.mark.parametrize("task", ["listops", "pathfinder", "pathx"])
def test_released_data_in_place_of_generated_ones_are_no_departure(task):
    published, released = (
        protocol(cell("s5", f"lra.{task}", *changes)) for changes in ((), ("data.settings.source=released",))
    )
    assert (published["source"], released["source"]) == ("generated", "released")
    assert published["comparable_to"] == released["comparable_to"] == "lra-s4-line"
    assert not [text for text in released["differences"] if "source" in text]
    changed = protocol(cell("s5", f"lra.{task}", "data.settings.source=released", "epochs=2"))
    assert changed["comparable_to"] == ""


def test_path_256_is_path_x_at_twice_the_resolution():
    for architecture in ("s5", "s4", "s4d", "mega", "seqboat", "spade"):
        whole = cell(architecture, "lra.path256")
        assert whole.recipe is not None
        facts = protocol(whole)
        assert (facts["maximum_length"], facts["dataset"], facts["comparable_to"]) == (65_536, "lra_pathx", "")
        assert facts["not_comparable"].startswith("no paper prints Path-256")
        assert "Path-X" in whole.recipe.source["all"]
        like: Any = recipes(architecture)["lra.pathx"]("paper")
        changed = {text.partition(" is ")[0] for text in differences(whole.recipe, like)}
        own = {"max_positions", "truncation", "truncated_length", "dt_min", "chunk_size"}
        assert changed <= {"data.settings.resolution", *(f"model.layer.{name}" for name in own)}


def test_images_longer_than_a_layer_takes_are_refused_at_selection():
    message = r"MegaConfig takes at most 16,384 positions: the sequences of Path-X .* have 65,536"
    with pytest.raises(ConfigError, match=message):
        cell("mega", "lra.pathx", "data.settings.resolution=256")
    assert cell("mega", "lra.pathx", "data.settings.resolution=256", "model.layer.chunk_size=4096")


def test_smoke_of_long_sequences_is_small_enough_for_two_cores():
    """Scores of one layer and batch, in float32, and positions of a whole run."""
    for (architecture, task), function in RECIPES.items():
        recipe: Any = function("smoke")
        facts = place(recipe.data.name, None, recipe.data.settings).settings.protocol()
        layer, length = recipe.model.layer, facts["maximum_length"]
        sequences = recipe.batch_size * facts.get("documents", 1)
        whole = getattr(layer, "attention", "") == "full" or architecture == "mega"
        keys = (getattr(layer, "chunk_size", None) or length) if whole else 0
        scores = 4 * sequences * getattr(layer, "heads", 1) * length * keys
        assert scores < 2**29, (architecture, task)
        positions = recipe.epochs * recipe.data.settings["train"] * facts.get("documents", 1) * length
        assert positions <= 17e6, (architecture, task)


@pytest.mark.parametrize("architecture", ["ema", "block_recurrent", "block_recurrent_feedback", "block_state"])
def test_recipes_of_this_project_say_that_no_paper_prints_their_numbers(architecture):
    facts = protocol(cell(architecture, "lra.listops"))
    assert facts["comparable_to"] == ""
    assert facts["not_comparable"] == f"no paper prints ListOps of {architecture}: the recipe is this project's own"


def test_another_variant_departs_from_the_recipe():
    facts = protocol(cell("mega", "lra.image", "data.settings.variant=s4"))
    assert facts["comparable_to"] == ""
    assert facts["differences"][0] == "data.settings.variant is s4, published mega"
    mean = {name: protocol(cell(name, "lra.image"))["input"]["mean"] for name in ("mega", "s5")}
    assert mean == {"mega": 0.48, "s5": 122.6 / 255}
