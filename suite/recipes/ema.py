"""Multi-head EMA on ListOps by itself: a recipe of this project, published nowhere.

The moving average is a part of Mega and SeqBoat. Here each layer is one of them with its residual term omega x and a
SiLU, in both directions; features are mixed by the encoder and the decoder alone.
"""

from __future__ import annotations

from collections.abc import Callable

from implementations.ema.config import EMAConfig
from implementations.models.config import ModelConfig
from suite.recipes import language, lra
from suite.recipes.base import Profile, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

SMOKE = lra.Scaling(6_000, 1_000, 8, 50, 2, {"d_model": 64, "state_size": 8}, lengths=(20, 128))
SMALL = lra.Scaling(20_000, 2_000, 8, 50, 4, {})


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps, with Mega's optimizer at a higher rate; "paper" is this project's full size, no publication's."""
    layer = EMAConfig(d_model=128, state_size=16, bidirectional=True, residual=True, activation="silu")
    data = lra.data("listops")
    batch_size, epochs = 64, 40
    steps = data.settings["train"] // batch_size
    recipe = Recipe(
        model=lra.model("listops", layer, 4),
        optimizer=OptimizerSpec(
            groups={"regular": Group(0.01, 0.01)},
            rule={},
            schedule=Schedule(warmup_steps=2 * steps, total_steps=epochs * steps, decay="linear", warmup_from=0.0),
            b2=0.98,
            clip_norm=1.0,
        ),
        batch_size=batch_size,
        epochs=epochs,
        data=data,
        source={
            "all": "this project's own: no paper trains MH-EMA by itself on ListOps",
            "model.layer": "arXiv 2209.10655, section 3.1; state_size as in Mega's recipes",
            "data": "counts of the Long Range Arena release",
        },
    )
    return lra.profiled(recipe, profile, SMALL, SMOKE)


RECIPES: dict[str, Callable[[Profile], Recipe]] = {"lra.listops": lra_listops}


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position: convolutions and the encoder."""
    layer = lra.layer_of(model)
    assert isinstance(layer, EMAConfig)
    return model.depth * (lra.FFT_OPERATIONS + 10) * layer.d_model + 2 * model.input_size * layer.d_model


def language_layers(size: language.Size) -> language.Layers:
    """Moving averages of the past only, for language modelling; a recipe of this project.

    Nothing mixes features, so that more layers gain little: small has fewer parameters than the other architectures.
    """
    d_model, state_size, depth = {"smoke": (192, 16, 3), "small": (1_024, 16, 4)}[size]
    return language.Layers(EMAConfig(d_model=d_model, state_size=state_size, residual=True, activation="silu"), depth)


LANGUAGE_RECIPES = language.recipes(language_layers)
