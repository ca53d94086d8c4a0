"""Selections become cells: order, ids made of content, and clear answers to wrong names."""

import dataclasses
import json
import re

import pytest

from implementations import catalog
from suite.matrix import Cell, Selection, SelectionError, cells, left_out, published
from suite.tasks import BENCHMARKS, all_tasks

LISTOPS = Selection(tasks=("lra.listops",), architectures=("s5",), seeds=(0, 1))


def test_one_task_in_two_frameworks_with_two_seeds():
    found = cells(LISTOPS)
    assert [(c.framework, c.seed) for c in found] == [("jax", 0), ("torch", 0), ("jax", 1), ("torch", 1)]
    assert {(c.benchmark, c.task, c.architecture, c.profile, c.hardware) for c in found} == {
        ("lra", "lra.listops", "s5", "smoke", "cpu")
    }
    assert found == cells(LISTOPS)
    assert found[0].label == "lra.listops s5 jax seed 0"


def test_ids_follow_the_content():
    ids = [cell.id for cell in cells(LISTOPS)]
    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"[0-9a-f]{12}", i) for i in ids)
    again = dataclasses.replace(LISTOPS, seeds=(1, 0, 1))
    assert [cell.id for cell in cells(again)] == ids
    for change in (
        {"profile": "paper"},
        {"hardware": "h100"},
        {"overrides": ("epochs=2",)},
        {"overrides": ("data.settings.seed=1",)},
    ):
        assert not {cell.id for cell in cells(dataclasses.replace(LISTOPS, **change))} & set(ids)


def test_the_source_of_a_number_is_no_part_of_the_id():
    cell = cells(LISTOPS)[0]
    assert cell.recipe is not None
    noted = dataclasses.replace(cell, recipe=cell.recipe.replace(source={"all": "elsewhere"}))
    assert noted.id == cell.id


def test_ids_of_measured_records_stay():
    paper = cells(dataclasses.replace(LISTOPS, seeds=(0,), profile="paper", hardware="h200"))
    assert [cell.id for cell in paper] == ["0439af6ff8aa", "d2b83dbd9a4b"]
    again = cells(dataclasses.replace(LISTOPS, seeds=(0,), profile="paper", hardware="h200",
                                      overrides=("model.checkpoint=true",)))  # fmt: skip
    assert not {cell.id for cell in again} & {cell.id for cell in paper}
    assert all(cell.recipe is not None and cell.recipe.model.checkpoint for cell in again)


def test_cells_survive_json():
    for cell in cells(Selection(tasks=("lra.listops", "lra.retrieval", "equivalence.s5"))):
        again = Cell.from_dict(json.loads(json.dumps(cell.to_dict())))
        assert again == cell
        assert again.id == cell.id


def test_everything_is_selected_by_default_and_benchmarks_narrow_it():
    every = cells(Selection())
    assert {cell.task for cell in every} == set(all_tasks())
    lra = cells(Selection(benchmarks=("lra",)))
    assert [cell for cell in every if cell.benchmark == "lra"] == lra
    assert len({cell.task for cell in lra}) == 7
    both = cells(Selection(benchmarks=("equivalence",), tasks=("lra.text",)))
    assert {cell.task for cell in both} == {"lra.text", *(f"equivalence.{name}" for name in catalog.names())}


def test_an_equivalence_cell_needs_both_frameworks():
    (cell,) = cells(Selection(tasks=("equivalence.s5",)))
    assert (cell.framework, cell.recipe) == ("jax+torch", None)
    with pytest.raises(SelectionError, match="nothing to run"):
        cells(Selection(tasks=("equivalence.s5",), frameworks=("jax",)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("lra.listop",)}, "unknown task 'lra.listop': did you mean 'lra.listops'"),
        ({"architectures": ("s55",)}, "unknown architecture 's55': did you mean 's5'"),
        ({"frameworks": ("pytorch",)}, "unknown framework 'pytorch': did you mean 'torch'"),
        ({"benchmarks": ("Ira",)}, "unknown benchmark 'Ira': did you mean 'lra'"),
        ({"profile": "papr"}, "unknown profile 'papr': did you mean 'paper'"),
    ],
)
def test_unknown_names_answer_with_the_nearest(change, message):
    with pytest.raises(SelectionError, match=re.escape(message)):
        cells(dataclasses.replace(LISTOPS, **change))


def test_every_task_is_complete():
    for name, task in all_tasks().items():
        assert task.name == name
        assert task.benchmark in BENCHMARKS
        assert task.benchmark != "lra" or (task.published("s5") or name == "lra.path256")


def test_published_recipe_of_a_cell():
    cell = cells(Selection(architectures=("s5",), tasks=("lra.listops",), profile="paper"))[0]
    assert published(cell) == cell.recipe
    assert published(cells(Selection(tasks=("equivalence.s5",)))[0]) is None


def test_a_setting_of_the_data_that_a_recipe_leaves_out_can_be_set():
    plain = Selection(tasks=("length.book",), architectures=("s5",), frameworks=("jax",))
    base, changed, same = (
        cells(dataclasses.replace(plain, overrides=overrides))[0]
        for overrides in ((), ("data.settings.tokenizer=characters",), ("epochs=4", "data.settings.tokenizer=bytes"))
    )
    assert base.recipe is not None
    assert changed.recipe is not None
    assert changed.recipe.data.settings == {**base.recipe.data.settings, "tokenizer": "characters"}
    assert changed.id != base.id
    assert same.id == base.id


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({}, []),
        ({"tasks": (), "architectures": ()}, []),
        (
            {"tasks": (), "architectures": (), "profile": "paper"},
            [
                "left out (no recipe in profile paper): lm.book, length.book, length.pg19, pretraining.book, "
                "pretraining.pg19_like of every architecture"
            ],
        ),
        (
            {"tasks": ("lra.text", "lra.image", "lra.pathx"), "architectures": ("s5", "transformer", "ema")},
            ["left out (no recipe in profile smoke): lra.text, lra.image of ema; lra.pathx of ema, transformer"],
        ),
        (
            {"tasks": ("speed.s5",), "architectures": ("s5", "s4")},
            ["left out (no recipe in profile smoke): speed.s5 of s4"],
        ),
        (
            {
                "tasks": (),
                "benchmarks": ("ablation",),
                "architectures": ("s5", "ema"),
                "factors": ("s5.step", "spade.s4"),
            },
            [
                "left out (nothing of this selection belongs to it): ema",
                "left out (the factor belongs to an architecture that is not selected): spade.s4",
            ],
        ),
        (
            {"tasks": (), "benchmarks": ("equivalence", "lra"), "frameworks": ("jax",)},
            ["left out (jax and torch are compared, only jax is selected): equivalence.s5"],
        ),
    ],
)
def test_what_has_no_cell_is_named_with_the_reason(change, lines):
    assert left_out(dataclasses.replace(LISTOPS, **change)) == lines


@pytest.mark.parametrize(
    ("override", "reads"),
    [
        ("model.layer.Lambda_init=inv", lambda recipe: recipe.model.layer.Lambda_init == "inv"),
        ("model.layer.timescale=scalar", lambda recipe: recipe.model.layer.timescale == "scalar"),
        ("model.compute_dtype=bfloat16", lambda recipe: recipe.model.compute_dtype == "bfloat16"),
        ("optimizer.schedule.warmup_from=0.0", lambda recipe: recipe.optimizer.schedule.warmup_from == 0.0),
        ("resampling=2", lambda recipe: recipe.resampling == 2),
    ],
)
def test_set_reaches_fields_that_came_later(override, reads):
    once = dataclasses.replace(LISTOPS, frameworks=("jax",), seeds=(0,))
    (plain,), (changed,) = cells(once), cells(dataclasses.replace(once, overrides=(override,)))
    assert reads(changed.recipe)
    assert not reads(plain.recipe)
    assert changed.id != plain.id
    back = {"Lambda_init": "hippo", "timescale": "vector"}.get(override.split("=")[0].rpartition(".")[2])
    if back:
        (same,) = cells(dataclasses.replace(once, overrides=(f"{override.split('=')[0]}={back}",)))
        assert same.id == plain.id


def test_set_takes_a_list_where_the_default_has_none():
    book = Selection(tasks=("lm.book",), architectures=("s5",), frameworks=("jax",))
    (plain,) = cells(book)
    (read,) = cells(dataclasses.replace(book, overrides=("language.lengths=[128, 1024]",)))
    assert plain.recipe is not None
    assert plain.recipe.language is not None
    assert read.recipe is not None
    assert read.recipe.language is not None
    assert (plain.recipe.language.lengths, read.recipe.language.lengths) == ((), (128, 1024))
