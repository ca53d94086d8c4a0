"""Recipes: the published numbers, what the profiles make of them, and overrides from the command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from implementations import catalog
from implementations.common.config import ConfigError
from suite.recipes import recipes
from suite.recipes.base import PROFILES, Recipe, apply_overrides, differences
from suite.recipes.s5 import RECIPES

ROOT = Path(__file__).parents[2]
# bin/run_experiments/*.sh of lindermanlab/S5@3c18fdb, column by column:
# depth, D, P, J, C_init, activation, dropout, ssm_lr, lr, batch, epochs, weight decay, warm-up epochs
PUBLISHED = {
    "lra.listops": (8, 128, 16, 8, "lecun_normal", "half_glu2", 0.0, 1e-3, 3e-3, 50, 40, 0.04, 1),
    "lra.text": (6, 256, 192, 12, "lecun_normal", "half_glu2", 0.1, 1e-3, 4e-3, 50, 35, 0.07, 0),
    "lra.retrieval": (6, 128, 256, 16, "trunc_standard_normal", "half_glu1", 0.0, 1e-3, 2e-3, 32, 20, 0.05, 1),
    "lra.image": (6, 512, 384, 3, "lecun_normal", "half_glu1", 0.1, 1e-3, 4.5e-3, 50, 250, 0.07, 1),
    "lra.pathfinder": (6, 192, 256, 8, "trunc_standard_normal", "half_glu1", 0.05, 9e-4, 4.5e-3, 64, 200, 0.03, 1),
    "lra.pathx": (6, 128, 256, 16, "complex_normal", "half_glu1", 0.0, 6e-4, 1.8e-3, 32, 75, 0.06, 1),
}
PARAMETERS = {
    "lra.listops": 188_490,
    "lra.text": 1_321_154,
    "lra.retrieval": 772_098,
    "lra.image": 5_133_706,
    "lra.pathfinder": 1_113_602,
    "lra.pathx": 694_018,
}


@pytest.mark.parametrize("task", sorted(PUBLISHED))
def test_paper_recipe_is_the_published_one(task):
    recipe = RECIPES[task]("paper")
    layer, groups = recipe.model.layer, recipe.optimizer.groups
    warmup = recipe.optimizer.schedule.warmup_steps / recipe.steps_per_epoch
    numbers = (
        *(recipe.model.depth, layer.d_model, layer.ssm_size, layer.blocks, layer.C_init, layer.activation),
        *(layer.dropout, groups["ssm"].rate, pytest.approx(groups["regular"].rate), recipe.batch_size, recipe.epochs),
        *(groups["regular"].weight_decay, warmup),
    )
    assert PUBLISHED[task] == numbers
    assert groups["ssm"].weight_decay == 0
    assert (layer.norm, layer.prenorm, layer.bidirectional, layer.conj_sym) == ("batch", True, True, True)
    assert (layer.discretization, layer.mask_padding, layer.dt_max) == ("zoh", False, 0.1)
    assert layer.dt_min == (1e-4 if task == "lra.pathx" else 1e-3)
    assert layer.bn_momentum == (0.9 if task in ("lra.pathfinder", "lra.pathx") else 0.95)
    assert layer.clip_eigs == (task == "lra.image")
    schedule = recipe.optimizer.schedule
    assert (schedule.schedule_lag, schedule.lr_min, schedule.total_steps) == (True, 0.0, recipe.total_steps)
    assert recipe.optimizer.norm_decay
    assert recipe.optimizer.clip_norm is None


def test_opt_configs_and_time_steps():
    group = {task: RECIPES[task]("paper").optimizer.group_of for task in PUBLISHED}
    b = {task: group[task]("layers.0.ssm.B") for task in PUBLISHED}
    assert b == {
        "lra.listops": "regular",
        "lra.text": "ssm",
        "lra.retrieval": "ssm",
        "lra.image": "regular",
        "lra.pathfinder": "ssm",
        "lra.pathx": "b",
    }
    steps = {task for task in PUBLISHED if group[task]("layers.0.ssm.log_step") == "regular"}
    assert steps == {"lra.text", "lra.retrieval"}


def test_listops_has_the_releases_counts_and_epochs():
    recipe = RECIPES["lra.listops"]("paper")
    assert recipe.steps_per_epoch == 1_920
    assert recipe.total_steps == 76_800
    assert recipe.optimizer.schedule.warmup_steps == 1_920
    assert recipe.optimizer.rates(0)["regular"] == recipe.optimizer.groups["regular"].rate
    assert recipe.optimizer.rates(76_799)["regular"] == 0.0


@pytest.mark.parametrize("task", sorted(PARAMETERS))
def test_parameter_counts_of_the_published_models(task):
    torch = pytest.importorskip("torch")
    from implementations import catalog
    from implementations.common.initializers import Keys

    config = RECIPES[task]("paper").model
    model = catalog.model_class(config, "torch")(config, Keys(0))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[task]
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("task", sorted(PUBLISHED))
def test_profiles_are_valid_and_survive_json(task, profile):
    recipe = recipes("s5")[task](profile)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    published = RECIPES[task]("paper")
    assert recipe.optimizer.schedule.total_steps == recipe.total_steps
    assert bool(differences(recipe, published)) == (profile != "paper")
    shorter = task == "lra.listops" and profile == "smoke"
    same = ("max_depth", "max_args", "seed", "source", *(() if shorter else ("min_length", "max_length")))
    assert all(recipe.data.settings.get(k) == published.data.settings.get(k) for k in same)
    if profile != "paper":
        assert recipe.total_steps < published.total_steps
        warmups = [r.optimizer.schedule.warmup_steps / r.steps_per_epoch for r in (recipe, published)]
        assert warmups[0] == warmups[1]


def test_overrides_reach_every_level_and_stretch_the_schedule():
    recipe = RECIPES["lra.listops"]("paper")
    new = apply_overrides(
        recipe,
        [
            "epochs=3",
            "model.layer.dropout=0.1",
            "data.settings.train=500",
            "optimizer.groups.ssm.rate=1",
            "batch_size=10",
        ],
    )
    assert (new.epochs, new.model.layer.dropout, new.batch_size, new.steps_per_epoch) == (3, 0.1, 10, 50)
    assert new.optimizer.groups["ssm"].rate == 1.0
    assert isinstance(new.optimizer.groups["ssm"].rate, float)
    assert (new.optimizer.schedule.warmup_steps, new.optimizer.schedule.total_steps) == (50, 150)
    assert new.source == recipe.source
    assert recipe.epochs == 40
    fixed = apply_overrides(recipe, ["epochs=3", "optimizer.schedule.total_steps=76800"])
    assert fixed.optimizer.schedule.total_steps == 76_800
    assert apply_overrides(recipe, ["optimizer.clip_norm=1.0"]).optimizer.clip_norm == 1.0
    assert apply_overrides(recipe, ["model.layer.prenorm=False"]).model.layer.prenorm is False
    assert apply_overrides(recipe, []) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=3", "did you mean 'epochs'"),
        ("model.layer.dropuot=0.1", "did you mean 'dropout'"),
        ("epochs", "expected path=value"),
        ("epochs=three", "expected int"),
        ("epochs=1.5", "expected int"),
        ("epochs=true", "expected int"),
        ("epochs.more=1", "there is no 'more' to set"),
        ("epochs=0", "Recipe.epochs is 0"),
        ("model.layer.prenorm=1", "expected bool"),
        ("model.layer.activation=relu", "S5Config.activation is 'relu'"),
        ("optimizer.groups.ssm.rate=-1", "Group.rate"),
        ("batch_size=1000000", "at most the 96000 training examples"),
        ("matmul_precision=half", "matmul_precision"),
    ],
)
def test_wrong_overrides_are_one_clear_sentence(text, message):
    with pytest.raises(ConfigError, match=message):
        apply_overrides(RECIPES["lra.listops"]("paper"), [text])


def test_differences_name_the_path_and_both_values():
    recipe = RECIPES["lra.listops"]("paper")
    changed = apply_overrides(recipe, ["model.layer.dropout=0.25"])
    assert differences(changed, recipe) == ["model.layer.dropout is 0.25, published 0.0"]
    assert differences(recipe, recipe) == []
    own = recipe.replace(source={"all": "this project"})
    assert differences(changed, own) == ["model.layer.dropout is 0.25, in profile paper 0.0"]


def test_rates_of_a_profile_end_at_the_minimum():
    recipe = RECIPES["lra.listops"]("smoke")
    rates = [recipe.optimizer.rates(step)["regular"] for step in range(recipe.total_steps)]
    assert max(rates) == recipe.optimizer.groups["regular"].rate
    assert rates[-1] == 0.0
    assert np.isfinite(rates).all()


def test_an_architecture_without_recipes_has_none():
    assert recipes("no_such_architecture") == {}


def test_the_documents_say_which_smoke_recipes_are_too_small_to_learn():
    readme, house = (" ".join((ROOT / name).read_text("utf-8").split()) for name in ("README.md", "ARCHITECTURE.md"))
    for text in (readme, house):
        assert re.search(r"`smoke`[^.]* ListOps[^.]*, the pendulum and the book [^.]*must learn", text)
    (told,) = re.findall(
        r"([\d,]+) images of Pathfinder, (\d+) of Path-X and (\d+) of Path-256 end at the majority", readme
    )
    for task, count in zip(("lra.pathfinder", "lra.pathx", "lra.path256"), told, strict=True):
        found = [recipes(name)[task]("smoke") for name in catalog.names() if task in recipes(name)]
        assert {one.data.settings["train"] for one in found if one} == {int(count.replace(",", ""))}
