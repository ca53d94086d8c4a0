"""Factors and levels: recipes that differ in one thing, cells that share their base, and a study from end to end."""

import dataclasses
import json
import re

import pytest
from tiny_runs import OPTIONS

from reports.ablations import studies
from reports.records import read_all
from suite import recipes, run
from suite.ablations import STUDIES, factors
from suite.ablations.base import Factor, layer
from suite.launch import operations, result
from suite.matrix import Cell, Selection, SelectionError, cells, published
from suite.recipes.base import PROFILES, Profile, Recipe

FACTORS = list(factors().values())
S5 = Selection(benchmarks=("ablation",), architectures=("s5",), factors=("s5.blocks", "s5.step"), seeds=(0, 1))


def base_of(factor: Factor, profile: Profile) -> Recipe:
    """The recipe that a factor changes."""
    return recipes.recipes(factor.architecture)[factor.task](profile)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("factor", FACTORS, ids=[factor.name for factor in FACTORS])
def test_levels_change_the_model_or_its_rates_and_nothing_else(factor, profile):
    base = base_of(factor, profile)
    before = base.to_dict()
    variants = factor.variants(base)
    assert variants
    assert set(variants) < set(factor.levels), "the unchanged recipe is one of the levels"
    assert base.to_dict() == before
    for recipe in variants.values():
        assert recipe != base
        same = {f.name for f in dataclasses.fields(Recipe)} - {"model", "optimizer"}
        assert all(getattr(recipe, name) == getattr(base, name) for name in same)
        assert recipe.model.d_model == base.model.d_model
        assert recipe.optimizer.schedule == base.optimizer.schedule
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize("profile", PROFILES)
def test_no_recipe_is_run_twice(profile):
    found = cells(Selection(benchmarks=("ablation",), frameworks=("jax",), profile=profile))
    run_of = [(cell.architecture, json.dumps(cell.to_dict(identity=True)["recipe"], sort_keys=True)) for cell in found]
    assert len(set(run_of)) == len(run_of)
    assert sum(not cell.factor for cell in found) == len(STUDIES)


def test_every_study_has_the_factors_of_its_paper():
    named = {name: {f.name.partition(".")[2] for f in FACTORS if f.architecture == name} for name in STUDIES}
    assert named["s5"] >= {"initialization", "blocks", "state_size", "discretization", "step"}
    assert named["block_recurrent"] == {"gate", "configuration", "states", "window", "placement"}
    assert named["block_state"] == {"variant", "kernel", "layers", "state_size"}
    assert named["spade"] == {"layers", "window", "combine", "s4"}
    assert named["seqboat"] == {"working_memory", "attention", "activation", "mixer", "position"}


@pytest.mark.parametrize(
    ("factor", "level", "path", "value"),
    [
        ("s5.blocks", "2", "blocks", 2),
        ("block_recurrent.states", "x 1/4", "states", 128),
        ("block_state.kernel", "unstructured", "filter_length", 2000),
        ("spade.layers", "top", "first", 5),
        ("spade.window", "x 2", "upper.window", 256),
        ("seqboat.working_memory", "full", "window", None),
    ],
)
def test_a_level_of_the_paper_profile(factor, level, path, value):
    if factor == "block_recurrent.states":
        base = base_of(factors()[factor], "paper")
        base = base.replace(model=base.model.replace(layer=base.model.layer.replace(states=512)))
    else:
        base = base_of(factors()[factor], "paper")
    found = factors()[factor].variants(base)[level].model.layer
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_places_of_a_layer_among_sliding_ones():
    base = base_of(factors()["block_state.layers"], "paper")
    found = factors()["block_state.layers"].variants(base)
    contexts = {name: [i for i, own in enumerate(recipe.model.layers) if own.architecture == "block_state"]
                for name, recipe in found.items()}  # fmt: skip
    few = {"first": [0], "last": [5], "middle": [3], "every second": [0, 2, 4], "none": []}
    assert contexts == few | {
        "2 layers": [2, 5],
        "3 layers": [1, 3, 5],
        "4 layers": [1, 2, 4, 5],
        "5 layers": [0, 1, 3, 4, 5],
    } | {"layer 3 of 12": [1], "layer 9 of 12": [4]}  # layer 7 of 12 is the one in the middle of six
    for cell in cells(Selection(tasks=("ablation.block_state",), factors=("block_state.layers",))):
        assert operations.total_operations(cell)


def test_two_adjacent_layers_are_recurrent():
    factor = factors()["block_recurrent.placement"]
    model = factor.variants(base_of(factor, "paper"))["two adjacent"].model
    recurrent = [i for i, own in enumerate(model.layers) if own.architecture == "block_recurrent"]
    assert recurrent == [model.depth // 2 - 1, model.depth // 2]


def test_a_frozen_s4_has_no_rate_and_no_decay():
    recipe = factors()["spade.s4"].variants(base_of(factors()["spade.s4"], "paper"))["frozen"]
    group = recipe.optimizer.group_of("layers.0.layers.0.s4.A_real")
    assert recipe.optimizer.groups[group].rate == recipe.optimizer.groups[group].weight_decay == 0
    assert recipe.optimizer.group_of("layers.0.layers.0.feed_forward.hidden.kernel") == "regular"


def test_the_base_is_the_ordinary_cell_and_runs_once():
    found = cells(S5)
    ordinary = cells(Selection(tasks=("lra.listops",), architectures=("s5",), seeds=(0, 1)))
    assert [cell for cell in found if not cell.factor] == ordinary
    levels = [cell for cell in found if cell.factor]
    assert {(cell.factor, cell.level) for cell in levels} == {
        *(("s5.blocks", level) for level in ("1", "2", "4")),
        ("s5.step", "scalar"),
    }
    by_id = {cell.id: cell for cell in ordinary}
    for cell in levels:
        base = by_id[cell.base]
        assert (base.framework, base.seed) == (cell.framework, cell.seed)
        assert (cell.benchmark, cell.task) == ("ablation", "ablation.s5")
        assert f"{cell.factor} = {cell.level}" in cell.label
    both = cells(dataclasses.replace(S5, benchmarks=("lra", "ablation")))
    assert len({cell.id for cell in both}) == len(both)


@pytest.mark.parametrize("architecture", STUDIES)
def test_language_models_can_be_changed_too(architecture):
    asked = {"changed_task": "lm.book", "architectures": (architecture,), "factors": (), "frameworks": ("torch",)}
    for profile in ("smoke", "small"):
        found = cells(dataclasses.replace(S5, **asked, seeds=(0,), profile=profile))
        (base,) = [cell for cell in found if not cell.factor]
        assert (base.benchmark, base.task) == ("lm", "lm.book")
        for cell in found:
            assert cell.recipe is not None
            if cell.factor:
                assert (cell.base, cell.base_task) == (base.id, "lm.book")
                assert cell.recipe.model != base.recipe.model
        assert {factor.name for factor in FACTORS if factor.architecture == architecture} == {
            cell.factor for cell in found if cell.factor
        }


def test_the_window_of_a_language_model_changes_in_all_layers():
    asked = {"changed_task": "lm.book", "architectures": ("block_recurrent",), "factors": ("block_recurrent.window",)}
    found = cells(dataclasses.replace(S5, **asked))
    for cell in found:
        assert cell.recipe is not None
        assert len({own.window for own in cell.recipe.model.layers}) == 1  # pyright: ignore
    assert len({cell.recipe.model.layers[0].window for cell in found if cell.recipe}) == 4  # pyright: ignore


def test_overrides_reach_base_and_levels():
    found = cells(dataclasses.replace(S5, overrides=("epochs=2",)))
    assert {cell.recipe.epochs for cell in found if cell.recipe} == {2}
    assert not {cell.id for cell in found} & {cell.id for cell in cells(S5)}


def test_cells_of_levels_survive_json_and_ordinary_ones_say_nothing_of_factors():
    for cell in cells(S5):
        again = Cell.from_dict(json.loads(json.dumps(cell.to_dict())))
        assert again == cell
        assert again.id == cell.id
        assert ("factor" in cell.to_dict()) == bool(cell.factor)
        assert result.record_cell(cell).level == cell.level


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factors": ("s5.block",)}, "unknown factor 's5.block': did you mean 's5.blocks'"),
        ({"benchmarks": ("lra",)}, "say --benchmarks ablation"),
        ({"changed_task": "lm.boook"}, "unknown task to change 'lm.boook': did you mean 'lm.book'"),
        ({"changed_task": "lm.book", "profile": "paper"}, "which has no recipe of s5 in profile paper"),
        ({"architectures": ("seqboat",)}, "nothing to run"),
        ({"overrides": ("model.layer.ssm_size=8", "model.layer.blocks=2")}, "factor s5.blocks does not fit"),
    ],
)
def test_what_does_not_fit_is_one_sentence(change, message):
    with pytest.raises(SelectionError, match=re.escape(message)):
        cells(dataclasses.replace(S5, **change))


def test_a_factor_of_a_task_without_recipe_says_so(monkeypatch):
    factor = Factor("s5.x", "X", "X.", {"a": layer(blocks=1)}, task="glue.cola")
    monkeypatch.setattr("suite.matrix.factors", lambda: {"s5.x": factor})
    with pytest.raises(SelectionError, match=r"factor s5\.x changes glue\.cola, which has no recipe of s5"):
        cells(Selection(benchmarks=("ablation",), architectures=("s5",)))


def test_the_protocol_of_a_level_names_the_factor_and_the_departure_from_the_paper():
    cell = next(c for c in cells(dataclasses.replace(S5, profile="paper")) if c.level == "scalar")
    facts = result.protocol(cell)
    assert facts["ablation"]["name"] == "s5.step"
    assert facts["ablation"]["task"] == "lra.listops"
    assert facts["ablation"]["levels"] == ["vector", "scalar"]
    assert facts["ablation"]["base_level"] == "vector"
    assert facts["comparable_to"] == ""
    assert any("timescale is scalar" in text for text in facts["differences"])
    assert published(cell) == recipes.recipes("s5")["lra.listops"]("paper")
    base = next(c for c in cells(S5) if not c.factor)
    assert "ablation" not in result.protocol(base)


def test_list_names_factors_with_levels_and_papers(capsys):
    assert run.main(["--list"]) == 0
    shown = capsys.readouterr().out
    for name in ("s5.discretization", "zoh, bilinear", "block_recurrent.gate", "arXiv 2203.07852"):
        assert name in shown


def test_a_study_runs_from_the_command_to_its_page(tmp_path):
    out, data = tmp_path / "runs", tmp_path / "data"
    selection = ["--benchmarks", "ablation", "--factors", "s5.step", "--architectures", "s5", "--frameworks", "torch"]
    arguments = [*selection, *OPTIONS, "--hardware", "cpu", "--out", str(out), "--data", str(data)]
    assert run.main(arguments) == 0
    found = read_all(out)
    assert {record.cell.level for record in found} == {"", "scalar"}
    assert all(record.status == "measured" for record in found)
    (study,) = studies(found)
    ((family,),) = study.factors.values()
    (level,) = family.levels
    assert level.changes == {"model.layer.timescale": "scalar"}
    assert level.examples
    assert (family.base.parameters or 0) - (level.parameters or 0) == 3
    page = (out / "site" / "tasks" / "ablation.s5.html").read_text()
    assert "one seed: no interval" in page
