"""SeqBoat's recipes: the published numbers, parameter counts, and the rates of the authors' schedule."""

import json

import pytest

from implementations.models.config import DualEncoderConfig
from suite.recipes import operations_per_token, recipes
from suite.recipes.base import PROFILES, Recipe, differences
from suite.recipes.seqboat import RECIPES, speech_commands
from suite.recipes.seqboat_language import enwik8

# experiment/run_lra_*.sh and fairseq/models/lra/model.py of renll/SeqBoat@5a34aed, column by column:
# depth, D, z, h, w, function, norm, prenorm, temperature, rate, decay, dropout, batch, updates, warm-up, M, bias
PUBLISHED = {
    "lra.listops": (
        *(6, 80, 64, 160, 128, "softmax", "layer", False, 0.3, 4e-3, 1e-3, 0.1),
        *(64, 90_000, 27_000, 2_002, "simple"),
    ),
    "lra.text": (
        *(4, 128, 64, 256, 128, "softmax", "scale", False, 0.3, 4e-3, 0.01, 0.1),
        *(50, 25_000, 10_000, 4_002, "local"),
    ),
    "lra.retrieval": (
        *(6, 128, 64, 256, 128, "softmax", "scale", False, 0.3, 3e-3, 0.04, 0.1),
        *(64, 91_960, 10_000, 4_002, "simple"),
    ),
    "lra.image": (
        *(8, 160, 96, 320, 128, "relu2", "batch", True, 0.4, 0.01, 0.02, 0.0),
        *(50, 180_000, 9_000, 1_024, "simple"),
    ),
    "lra.pathfinder": (
        *(6, 128, 64, 256, 128, "relu2", "batch", True, 1.0, 0.01, 0.01, 0.0),
        *(128, 250_000, 50_000, 1_024, "simple"),
    ),
    "lra.pathx": (
        *(4, 128, 64, 256, 256, "relu2", "batch", True, 1.0, 0.01, 0.01, 0.0),
        *(128, 125_000, 25_000, 16_384, "simple"),
    ),
}


def parameter_count(depth: int, D: int, z: int, h: int, table: int, norm: int, directions: int = 2) -> int:
    """By hand: projections, mixer of 16 averages, gamma and beta, bias, norm and temperature of each layer."""
    projections = D * (2 + D) + 2 + D + D * (z + 2 * h) + z + 2 * h + h * D + D
    return depth * (projections + directions * D * 16 * 4 + D + 4 * z + table + norm + 1)


PARAMETERS = {
    "lra.listops": parameter_count(6, 80, 64, 160, 2 * 2_002 - 1, 160),
    "lra.text": parameter_count(4, 128, 64, 256, 6 * 128 - 1, 1),
    "lra.retrieval": parameter_count(6, 128, 64, 256, 2 * 4_002 - 1, 1),
    "lra.image": parameter_count(8, 160, 96, 320, 2 * 1_024 - 1, 320),
    "lra.pathfinder": parameter_count(6, 128, 64, 256, 2 * 1_024 - 1, 256),
    "lra.pathx": parameter_count(4, 128, 64, 256, 2 * 16_384 - 1, 256),
}
# Without the tables of the relative bias: ListOps 368K, Text 563K, Retrieval 844K, Image 1.74M, Pathfinder 846K, Path-X
# 564K, counted from the authors' code.
WITHOUT_TABLES = {
    "lra.listops": 368e3,
    "lra.text": 563e3,
    "lra.retrieval": 844e3,
    "lra.image": 1.74e6,
    "lra.pathfinder": 846e3,
    "lra.pathx": 564e3,
}


@pytest.mark.parametrize("task", sorted(PUBLISHED))
def test_paper_recipe_is_the_published_one(task):
    recipe = RECIPES[task]("paper")
    layer, optimizer = recipe.model.layer, recipe.optimizer
    group, schedule = optimizer.groups["regular"], optimizer.schedule
    updates = PUBLISHED[task][13]
    numbers = (
        *(recipe.model.depth, layer.d_model, layer.query_size, layer.value_size, layer.window, layer.attention),
        *(layer.norm, layer.prenorm, layer.initial_temperature, group.rate, group.weight_decay, layer.dropout),
        *(recipe.batch_size, updates, schedule.warmup_steps, layer.max_positions, layer.bias),
    )
    assert numbers == PUBLISHED[task]
    assert schedule.total_steps == recipe.total_steps
    assert abs(recipe.total_steps - updates) < recipe.steps_per_epoch / 2
    assert (layer.truncation, layer.state_size) == (16_384 if task == "lra.pathx" else 1_024, 16)
    assert (layer.bidirectional, layer.always_act, layer.act_bias) == (True, False, 0)
    assert (layer.density_threshold, layer.masked_keys, layer.mask_padding) == (1.0, "none", True)
    assert (optimizer.b1, optimizer.b2, optimizer.eps, optimizer.clip_norm) == (0.9, 0.98, 1e-8, 1.0)
    assert (optimizer.norm_decay, optimizer.rule) == (True, {})
    assert isinstance(recipe.model, DualEncoderConfig) == (task == "lra.retrieval")


def test_rates_are_those_of_the_authors_schedule():
    schedule = RECIPES["lra.listops"]("paper").optimizer.schedule
    rates = [schedule.rate(4e-3, update) for update in (0, 1, 13_500, 27_000, 58_500, 89_999)]
    per_update = (4e-3 - 1e-7) / 27_000
    expected = [1e-7, 1e-7 + per_update, 1e-7 + 13_500 * per_update, 4e-3, 2e-3, 4e-3 / 63_000]
    assert rates == pytest.approx(expected, rel=1e-12)
    squared = RECIPES["lra.pathx"]("paper").optimizer.schedule
    assert squared.rate(0.01, 12_500) == pytest.approx(1e-7 + (0.01 - 1e-7) / 4, rel=1e-12)
    assert squared.rate(0.01, 25_000) == 0.01


@pytest.mark.parametrize("task", sorted(PARAMETERS))
def test_parameter_counts_of_the_layers(task):
    pytest.importorskip("torch")
    from implementations import catalog
    from implementations.common.initializers import Keys

    config = RECIPES[task]("paper").model
    model = catalog.model_class(config, "torch")(config, Keys(0))
    count = sum(p.numel() for p in model.layers.parameters())
    assert count == PARAMETERS[task]
    assert f"{count:,} parameters" in RECIPES[task].__doc__
    tables = sum(p.numel() for name, p in model.layers.named_parameters() if name.endswith("table"))
    assert count - tables == pytest.approx(WITHOUT_TABLES[task], rel=0.006)


def test_parameter_counts_of_the_presets():
    pytest.importorskip("torch")
    from implementations import catalog
    from implementations.common.initializers import Keys

    for preset, total in ((speech_commands, 290_080), (enwik8, 38_946_362)):
        config, depth = preset()
        layer = catalog.layer_class("seqboat", "torch")(config, Keys(0))
        assert depth * sum(p.numel() for p in layer.parameters()) == total
        assert f"{total:,} parameters" in preset.__doc__
    assert enwik8()[0].causal
    assert (enwik8()[0].truncation, enwik8()[0].dropout, speech_commands()[0].truncation) == (2_048, 0.15, 4_000)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("task", sorted(PUBLISHED))
def test_profiles_are_valid_and_survive_json(task, profile):
    recipe, published = recipes("seqboat")[task](profile), RECIPES[task]("paper")
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    schedule = recipe.optimizer.schedule
    assert schedule.total_steps == recipe.total_steps
    share = published.optimizer.schedule.warmup_steps / published.optimizer.schedule.total_steps
    assert schedule.warmup_steps == pytest.approx(share * recipe.total_steps, abs=1)
    assert bool(differences(recipe, published)) == (profile != "paper")
    operations = operations_per_token("seqboat", recipe.model)
    assert operations is not None
    assert operations > 0


def test_operations_follow_the_products():
    """Of one layer: 2 per weight of the projections, and of scores and outputs."""
    recipe = RECIPES["lra.listops"]("paper")
    operations = operations_per_token("seqboat", recipe.model)
    products = 6 * 2 * (80 * 82 + 80 * 384 + 160 * 80 + 3 * 128 * (64 + 160))
    assert operations is not None
    assert products < operations < 1.25 * products
