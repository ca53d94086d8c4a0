"""SPADE's recipes: groups of S4, presets, and profiles."""

import json

import pytest

from implementations import catalog
from implementations.common.initializers import Keys
from implementations.spade.config import SpadeStackConfig
from suite.recipes import operations_per_token, recipes
from suite.recipes.base import PROFILES, Recipe
from suite.recipes.spade import RECIPES, S4_LEAVES, TASKS, decoder, encoder, language_model, lra, optimizer, stack
from suite.training.optimizer import Schedule

SCHEDULE = Schedule(warmup_steps=1, total_steps=10)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("attention", ["window", "chunk", "mega"])
@pytest.mark.parametrize("task", TASKS)
def test_profiles_are_valid_and_survive_json(task, attention, profile):
    recipe = lra(task, profile, attention)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.optimizer.schedule.total_steps == recipe.total_steps
    stacked = recipe.model.layer
    assert isinstance(stacked, SpadeStackConfig)
    assert stacked.bottom.attention == attention
    assert [layer.global_branch for layer in stacked.layers] == [True] + [False] * (stacked.depth - 1)
    assert (operations_per_token("spade", recipe.model) or 0) > 0
    if attention == "window":
        assert recipes("spade")[f"lra.{task}"](profile) == recipe


def test_every_parameter_of_s4_is_in_its_group():
    recipe = RECIPES["lra.listops"]("smoke")
    model = catalog.model_class(recipe.model, "torch")(recipe.model, Keys(0))
    found = {path: recipe.optimizer.group_of(path) for path, _ in model.named_parameters()}
    groups = {"A_real": "s4_A", "A_imag": "s4_A", "P": "s4_A", "B": "s4_B", "log_step": "s4_dt"}
    own = {path.rpartition(".")[2]: group for path, group in found.items() if ".s4." in path}
    assert own == {leaf: groups.get(leaf, "regular") for leaf in S4_LEAVES}
    assert {group for path, group in found.items() if ".s4." not in path} == {"regular"}


def test_rates_of_s4():
    """`--s4-lr`: a number, null for the model's rate, 0 for none; without decay."""
    groups = optimizer(0.02, 0.1, SCHEDULE).groups
    assert {name: (group.rate, group.weight_decay) for name, group in groups.items()} == {
        "regular": (0.02, 0.1),
        "s4_A": (0.001, 0.0),
        "s4_B": (0.001, 0.0),
        "s4_dt": (0.02, 0.0),
    }
    frozen = optimizer(0.02, 0.1, SCHEDULE, frozen=True)
    assert {frozen.group_of(f"layers.0.layers.0.s4.{leaf}") for leaf in S4_LEAVES} == {"frozen"}
    assert frozen.rates(3)["frozen"] == 0
    assert optimizer(0.02, 0.1, SCHEDULE, A=0.0).rates(3)["s4_A"] == 0


def test_presets_are_the_released_sizes():
    """run_lm.sh with fairseq's transformer_lm_wiki103; configuration.py of the encoder-decoder."""
    layers = language_model().layers
    assert len(layers) == 16
    assert [layer.positions for layer in layers] == ["t5", *["shared"] * 15]
    first = layers[0]
    assert (first.d_model, first.heads, first.d_ff, first.window, first.s4_state_size) == (1024, 8, 4096, 512, 64)
    assert (first.causal, first.prenorm, first.combine, first.epsilon) == (True, True, "concat", 1e-5)
    assert (first.dropout, first.hidden_dropout, first.activation) == (0.3, 0.1, "relu")
    first = encoder().bottom
    assert (first.d_model, first.heads, first.d_ff, first.window, encoder().depth) == (512, 8, 2048, 129, 6)
    assert (first.causal, first.prenorm, first.epsilon) == (False, False, 1e-6)
    assert (decoder().attention, decoder().causal, decoder().positions) == ("full", True, "learned")


def test_parameters_of_the_language_model():
    """One relative bias; in 16 layers attention and feed-forward with their norms; and of S4 what one layer has."""
    small = language_model(d_model=64, heads=8, d_ff=256, s4_state_size=8)
    model = catalog.layer_class("spade_stack", "torch")(small, Keys(0))
    D, F, M = 64, 256, 4
    layers = 16 * (4 * D * D + 2 * D * F + F + D + 4 * D) + 8 * 32
    bottom = D + D * 2 * M + D * 2 * M * 2 + D * M * 2 + D + 2 * D * D + D + 4 * D
    assert sum(p.numel() for p in model.parameters()) == layers + bottom
    assert stack(small.bottom, 3).depth == 3


@pytest.mark.parametrize("task", recipes("spade"))
def test_every_recipe_trains_the_stack(task):
    """So that the stack needs none by its own name: what is told of it (`TRAINED_AS`) holds."""
    models = [recipe.model for profile in PROFILES if (recipe := recipes("spade")[task](profile))]
    assert models
    assert all(model.layer.architecture == "spade_stack" and not model.placed for model in models)
