"""Recipes of S4, S4D, MH-EMA, Mega and the Transformer on the Long Range Arena."""

import json
from typing import Any

import pytest

from implementations import catalog
from implementations.common.initializers import Keys
from implementations.models.config import ClassifierConfig
from suite.data.catalog import place
from suite.recipes import mega, operations_per_token, recipes, s4, s4d, transformer
from suite.recipes.base import PROFILES, Recipe, differences

# configs/experiment/lra/s4-*.yaml of state-spaces/s4@e757cef:
# layers, D, N, n_ssm, pre-norm, dropout, dt_min, batch, rate, decay, epochs, warm-up, rates of A and of the time steps
S4 = {
    "lra.listops": (6, 256, 4, 1, False, 0.0, 1e-3, 32, 0.01, 0.05, 40, 12_000, 1e-3, 0.01),
    "lra.text": (6, 256, 4, 1, True, 0.0, 1e-3, 16, 0.01, 0.05, 32, 5_000, 1e-3, 0.01),
    "lra.retrieval": (6, 256, 4, 1, True, 0.0, 1e-3, 64, 0.01, 0.05, 20, 5_000, 1e-3, 0.01),
    "lra.image": (6, 512, 64, 1, False, 0.1, 1e-3, 50, 0.01, 0.05, 200, 18_000, 1e-3, 1e-3),
    "lra.pathfinder": (6, 256, 64, None, True, 0.0, 1e-3, 64, 0.004, 0.05, 200, 50_000, 1e-3, 1e-3),
    "lra.pathx": (6, 256, 64, None, True, 0.0, 1e-4, 16, 0.001, 0.05, 50, 50_000, 1e-3, 1e-3),
}
# arXiv 2209.10655, table 8, and the README's commands:
# depth, D, FFN, z, v, h, attention, norm, pre-norm, batch, rate, dropout, decay, epochs, warm-up
MEGA = {
    "lra.listops": (6, 80, 160, 64, 160, 16, "softmax", "layer", False, 64, 0.001, 0.1, 0.01, 60, 3_000),
    "lra.text": (4, 128, 256, 64, 256, 16, "softmax", "scale", False, 50, 0.004, 0.1, 0.01, 50, 10_000),
    "lra.retrieval": (6, 128, 256, 64, 256, 16, "softmax", "scale", False, 64, 0.003, 0.1, 0.04, 40, 10_000),
    "lra.image": (8, 160, 320, 96, 320, 16, "laplace", "batch", True, 50, 0.01, 0.0, 0.02, 200, 9_000),
    "lra.pathfinder": (6, 128, 256, 64, 256, 16, "laplace", "batch", True, 128, 0.01, 0.0, 0.01, 200, 50_000),
    "lra.pathx": (4, 64, 128, 32, 128, 16, "laplace", "batch", True, 128, 0.01, 0.0, 0.01, 100, 25_000),
}
# lra_benchmarks/*/configs of google-research/long-range-arena@cd31e5c:
# layers, D, heads, K, d_ff, dropout, positions, batch, rate, decay, warm-up, updates
TRANSFORMER = {
    "lra.listops": (4, 512, 8, 64, 1024, 0.1, "sinusoidal", 32, 0.05, 0.1, 1_000, 5_000),
    "lra.text": (4, 256, 4, 64, 1024, 0.1, "sinusoidal", 32, 0.05, 0.1, 8_000, 20_000),
    "lra.retrieval": (4, 128, 4, 32, 512, 0.1, "sinusoidal", 32, 0.05, 0.1, 8_000, 5_000),
    "lra.image": (1, 128, 8, 8, 128, 0.3, "learned", 256, 0.0005, 0.0, 175, 35_000),
    "lra.pathfinder": (4, 32, 4, 4, 32, 0.2, "sinusoidal", 512, 0.001, 0.0, 312, 62_400),
}
NAMES = ("s4", "s4d", "ema", "mega", "transformer")
CASES = [(name, task) for name in NAMES for task in recipes(name) if not task.startswith(("lm.", "length."))]


def parts(recipe: Recipe) -> tuple[Any, Any, Any, Any]:
    """Layer, model, optimizer and the group of most parameters."""
    model: Any = recipe.model
    return model.layer, model, recipe.optimizer, recipe.optimizer.groups["regular"]


@pytest.mark.parametrize("architecture", ["s4", "s4d"])
@pytest.mark.parametrize("task", S4)
def test_s4_recipes_are_the_published_ones(architecture, task):
    recipe = recipes(architecture)[task]("paper")
    layer, model, optimizer, regular = parts(recipe)
    own, steps = optimizer.groups["ssm"], optimizer.groups["step"]
    assert S4[task] == (
        *(model.depth, layer.d_model, layer.state_size, layer.n_ssm, layer.prenorm, layer.dropout, layer.dt_min),
        *(recipe.batch_size, regular.rate, regular.weight_decay, recipe.epochs),
        *(optimizer.schedule.warmup_steps, own.rate, steps.rate),
    )
    assert own.weight_decay == steps.weight_decay == 0
    assert (layer.norm, layer.bidirectional, layer.output, layer.dt_transform) == ("batch", True, "glu", "exp")
    assert (layer.reverse_offset, layer.mask_padding, layer.dt_max, layer.channels) == (1, False, 0.1, 1)
    groups = {name: optimizer.group_of(f"layers.1.ssm.{name}") for name in ("A_real", "A_imag", "B", "C", "D", "P")}
    assert groups == dict.fromkeys(("A_real", "A_imag", "B", "P"), "ssm") | {"C": "regular", "D": "regular"}
    assert optimizer.group_of("layers.1.ssm.log_step") == "step"
    assert optimizer.group_of("layers.1.norm.scale") == "regular"
    assert optimizer.schedule.decay == "cosine_after_warmup"
    if architecture == "s4":
        lengths = {"listops": 2048, "text": 4096, "retrieval": 4000, "image": 1024, "pathfinder": 1024, "pathx": 16384}
        assert layer.truncated_length == lengths[task.removeprefix("lra.")]
    else:
        assert (layer.initialization, layer.discretization) == ("legs", "zoh")


@pytest.mark.parametrize("task", MEGA)
def test_mega_recipes_are_the_published_ones(task):
    recipe = recipes("mega")[task]("paper")
    layer, model, optimizer, regular = parts(recipe)
    assert MEGA[task] == (
        *(model.depth, layer.d_model, layer.feedforward_size, layer.query_size, layer.value_size, layer.state_size),
        *(layer.attention, layer.norm, layer.prenorm, recipe.batch_size, regular.rate, layer.dropout),
        *(regular.weight_decay, recipe.epochs, optimizer.schedule.warmup_steps),
    )
    assert (layer.bidirectional, layer.chunk_size, layer.bias, layer.feature_dropout) == (True, None, "simple", False)
    assert layer.truncation == (4096 if task == "lra.pathx" else 1024)
    assert (optimizer.b1, optimizer.b2, optimizer.eps, optimizer.clip_norm) == (0.9, 0.98, 1e-8, 1.0)
    schedule = optimizer.schedule
    assert (schedule.decay, schedule.warmup_from) == ("linear", 1e-7)
    assert schedule.warmup_power == (2 if task == "lra.pathx" else 1)
    chunk = mega.chunked(recipe).model.layer.chunk_size
    assert chunk == (4096 if task == "lra.pathx" else 128)


@pytest.mark.parametrize("task", TRANSFORMER)
def test_transformer_recipes_are_the_published_ones(task):
    recipe = recipes("transformer")[task]("paper")
    layer, model, optimizer, regular = parts(recipe)
    updates = TRANSFORMER[task][-1]
    assert TRANSFORMER[task][:-1] == (
        *(model.depth, layer.d_model, layer.heads, layer.head_width, layer.d_ff, layer.dropout, layer.positions),
        *(recipe.batch_size, regular.rate, regular.weight_decay, optimizer.schedule.warmup_steps),
    )
    assert optimizer.schedule.total_steps == max(updates, optimizer.schedule.warmup_steps)
    assert 0 <= recipe.total_steps - updates < recipe.steps_per_epoch
    assert (optimizer.b2, optimizer.eps, optimizer.clip_norm) == (0.98, 1e-9, None)
    assert (layer.attention, layer.causal, layer.prenorm, layer.norm) == ("full", False, True, "layer")


def test_local_attention_is_the_baselines_with_a_window():
    assert transformer.LOCAL.keys() == TRANSFORMER.keys()
    for task, function in transformer.LOCAL.items():
        layer, _, _, _ = parts(function("paper"))
        assert (layer.attention, layer.causal) == ("window", False)
        assert layer.window == (64 if task in ("lra.image", "lra.pathfinder") else 50)
    full, local = transformer.RECIPES["lra.listops"]("paper"), transformer.LOCAL["lra.listops"]("paper")
    changed = {difference.partition(" is ")[0] for difference in differences(local, full)}
    assert changed == {"model.layer.attention", "model.layer.window"}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_profiles_are_valid_and_survive_json(architecture, task, profile):
    recipe = recipes(architecture)[task](profile)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.model.layer.architecture == architecture
    assert recipe.source
    published = recipes(architecture)[task]("paper")
    assert bool(differences(recipe, published)) == (profile != "paper")
    cost = operations_per_token(architecture, recipe.model)
    assert cost is not None
    assert cost > 0
    if profile != "paper":
        schedules = [r.optimizer.schedule for r in (recipe, published)]
        assert recipe.optimizer.schedule.total_steps == recipe.total_steps < published.total_steps
        shares = [schedule.warmup_steps / schedule.total_steps for schedule in schedules]
        assert shares[0] == pytest.approx(shares[1], abs=1 / recipe.total_steps)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("task", MEGA)
def test_megas_bias_reaches_over_every_padded_sequence(task, profile):
    recipe = recipes("mega")[task](profile)
    padded = place(recipe.data.name, None, recipe.data.settings).settings.protocol()["maximum_length"]
    layer: Any = recipe.model.layer
    assert layer.max_positions >= padded


def count(model: Any) -> int:
    """Parameters of a model."""
    built = catalog.model_class(model, "torch")(model, Keys(0))
    return sum(parameter.numel() for parameter in built.parameters())


@pytest.mark.parametrize(
    ("room", "depth", "d_model", "thousands"),
    [(s4, 4, 128, 300), (s4d, 4, 128, 267), (s4d, 6, 512, 3_960)],
)
def test_parameters_of_models_whose_counts_are_published(room, depth, d_model, thousands):
    """configs/experiment/mega/lra-image/README.md of state-spaces/s4: N 64, both directions, a norm at the end."""
    layer = room.RECIPES["lra.image"]("paper").model.layer.replace(n_ssm=None, d_model=d_model, state_size=64)
    model = ClassifierConfig(layer=layer, depth=depth, input_kind="values", input_size=1, classes=10)
    digits = 1_000 if thousands < 1_000 else 10_000
    assert round((count(model) + 2 * d_model) / digits) * digits == 1_000 * thousands


def test_parameters_of_mega_chunk_on_image():
    """The same file, "Runs in Mega repo": 2.82M, with the authors' head of 320 units in place of the decoder."""
    model: Any = mega.chunked(mega.RECIPES["lra.image"]("paper")).model
    head = 160 * 320 + 320 + 320 * 10
    assert round((count(model) - (160 * 10 + 10) + head) / 1e4) == 282
