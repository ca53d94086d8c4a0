"""Recipes of the Block-State Transformer: ours where the paper has none, its rates by group, and the operations."""

import numpy as np
import pytest

from implementations.block_state.config import BlockStateConfig
from implementations.catalog import model_class
from implementations.common.initializers import Keys
from suite.recipes import operations_per_token
from suite.recipes.base import PROFILES, Recipe
from suite.recipes.block_state import RECIPES


@pytest.mark.parametrize("profile", PROFILES)
def test_listops_is_whole_and_says_that_it_is_ours(profile):
    recipe = RECIPES["lra.listops"](profile)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert "no recipe of the Long Range Arena is published" in recipe.source["all"]
    assert recipe.optimizer.schedule.total_steps == recipe.total_steps
    layer = recipe.model.layer
    assert isinstance(layer, BlockStateConfig)
    assert (layer.kernel == "s4") == (profile != "smoke")
    assert recipe.data.settings["max_length"] == (128 if profile == "smoke" else 2_000)


def test_what_makes_the_states_has_a_rate_of_its_own_without_decay():
    recipe = RECIPES["lra.listops"]("smoke")
    model = model_class(recipe.model, "torch")(recipe.model, Keys(0))
    groups = {path: recipe.optimizer.group_of(path) for path, _ in model.named_parameters()}
    slow = {path.removeprefix("layers.0.ssm.") for path, group in groups.items() if group == "ssm" and ".0." in path}
    assert slow == {"log_step", "A_real", "A_imag", "B"}
    assert groups["layers.1.ssm.C"] == groups["layers.1.context.key.kernel"] == "regular"
    assert recipe.optimizer.groups["ssm"].weight_decay == 0


def test_operations_are_twice_the_kernels_and_what_has_none():
    """Products with kernels cost two operations an entry; logits, filters and pointwise functions come on top."""
    model = RECIPES["lra.listops"]("paper").model
    parameters = model_class(model, "torch")(model, Keys(0)).named_parameters()
    kernels = sum(p.numel() for name, p in parameters if name.endswith("kernel"))
    counted = operations_per_token("block_state", model)
    assert counted is not None
    assert 2 * kernels < counted < 8 * kernels
    layer = model.layer
    assert isinstance(layer, BlockStateConfig)
    inner, D = layer.heads * layer.head_width, layer.d_model
    logits = 4 * inner * 3 * layer.window
    filters = 10 * 13 * D * 2 + 30 * D
    rest = model.depth * (logits + filters) + 2 * model.input_size * D
    own = model.depth * 2 * D * (8 * inner + 2 * layer.d_ff)
    np.testing.assert_allclose(counted, rest + own)
