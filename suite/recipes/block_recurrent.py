"""The Block-Recurrent Transformer: the published sizes, and ListOps by which the harness is tried.

Hutchins, Schlag, Wu, Dyer and Neyshabur 2022 (arXiv 2203.07852), table 1: decoders of 12 layers, the third from the end
recurrent. Numbers from `transformer/configs` of google-research/meliad@cc1aef5: base_memory.gin, size/*.gin,
recurrent/*.gin. The paper has language modelling only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from implementations.models.config import ClassifierConfig, ModelConfig
from implementations.transformer.config import TransformerConfig
from suite.recipes import language, meliad
from suite.recipes.base import DataSpec, Profile, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

SIZES: dict[str, tuple[int, int, int, int]] = {
    "37M": (512, 8, 64, 2048),
    "75M": (512, 8, 128, 4096),
    "150M": (1024, 8, 128, 4096),
    "300M": (1024, 16, 128, 8192),
    "600M": (2048, 16, 128, 8192),
    "1200M": (2048, 32, 128, 16384),
}
"""Name -> D, heads, their width and the width of the feed-forward part, each with 12 layers."""

DEPTH, RECURRENT = 12, (-3,)
TALL_DEPTH, TALL_RECURRENT = 24, (9, 19)
"""The two largest models of the scaling study (recurrent/tall_24L.gin)."""
SEGMENT = 4096


def recurrent(size: str = "150M", **changes: Any) -> BlockRecurrentConfig:
    """The recurrent layer of table 1: window 512, 512 states; fixed:skip unless `changes` say otherwise."""
    d_model, heads, head_width, d_ff = SIZES[size]
    return BlockRecurrentConfig(
        d_model=d_model,
        heads=heads,
        head_width=head_width,
        d_ff=d_ff,
        activation="relu",
        window=512,
        states=512,
        gate="fixed",
        configuration="skip",
        positions="t5",
        buckets=32,
        max_distance=128,
        dropout=0.05,
        attention_dropout=0.05,
    ).replace(**changes)


def sliding(size: str = "150M") -> TransformerConfig:
    """The layers around it (Slide; one mask per sequence and feature in their dropout)."""
    return recurrent(size).sliding


def feedback(size: str = "150M", **changes: Any) -> FeedbackConfig:
    """The whole stack with feedback (recurrent/block_feedback_512.gin)."""
    return FeedbackConfig(recurrent=recurrent(size, **changes), depth=DEPTH, recurrent_layers=RECURRENT)


TABLE: dict[str, BlockRecurrentConfig] = {
    f"Rec:{name}:{configuration}": recurrent(gate=gate, configuration=configuration)
    for name, gate in (("lstm", "lstm"), ("fixed", "fixed"))
    for configuration in ("dual", "single", "skip")
}
"""The recurrent layers of table 1; rows "Feedback" are in `suite/recipes/block_recurrent_feedback.py`."""


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps with recurrent layers only; a recipe of this project, since none of the Long Range Arena is published."""
    small = profile == "smoke"
    layer = BlockRecurrentConfig(
        d_model=32 if small else 128,
        heads=2 if small else 4,
        head_width=16 if small else 32,
        d_ff=64 if small else 512,
        window=32 if small else 128,
        states=16 if small else 64,
        dropout=0.0 if small else 0.05,
    )
    depth = {"smoke": 2, "small": 3, "paper": 4}[profile]
    train, evaluation, epochs = {
        "smoke": (8_000, 1_000, 8),
        "small": (20_000, 2_000, 8),
        "paper": (96_000, 2_000, 30),
    }[profile]
    lengths = (20, 128) if small else (500, 2_000)
    batch = 50
    steps = train // batch
    return Recipe(
        model=ClassifierConfig(layer=layer, depth=depth, input_kind="tokens", input_size=20, classes=10),
        optimizer=OptimizerSpec(
            groups={"regular": Group(0.003 if small else 0.001, 0.01)},
            rule={},
            schedule=Schedule(warmup_steps=steps, total_steps=epochs * steps),
            clip_norm=1.0,
        ),
        batch_size=batch,
        evaluation_batch_size=batch,
        epochs=epochs,
        data=DataSpec(
            "lra_listops",
            {
                "source": "generated",
                "train": train,
                "validation": evaluation,
                "test": evaluation,
                "seed": 0,
                "min_length": lengths[0],
                "max_length": lengths[1],
                "max_depth": 10,
                "max_args": 10,
            },
        ),
        source={
            "all": "this project; the paper (arXiv 2203.07852) publishes no recipe of the Long Range Arena",
            "layer": "google-research/meliad@cc1aef5, but for the sizes and the attention dropout",
        },
    )


RECIPES: dict[str, Callable[[Profile], Recipe]] = {"lra.listops": lra_listops}


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position: both directions' products, the states' by block.

    The layers of a stack with feedback that do not recur have a second query, for the states.
    """
    layer = model.layer
    encoder = 2 * model.input_size * model.d_model
    if not isinstance(layer, FeedbackConfig):
        assert isinstance(layer, BlockRecurrentConfig)
        return model.depth * _layer_operations(layer) + encoder
    own, recurrent = layer.recurrent, len(layer.indices)
    tokens = _token_operations(own) + 20 * own.d_model
    return model.depth * (recurrent * _layer_operations(own) + (layer.depth - recurrent) * tokens) + encoder


def _token_operations(layer: BlockRecurrentConfig) -> float:
    """Of the tokens of a layer: their products, and attention to tokens and states."""
    D, inner = layer.d_model, layer.heads * layer.head_width
    return 12 * D * inner + 4 * D * layer.d_ff + 4 * inner * (2 * layer.window + 2 * layer.states)


def _layer_operations(layer: BlockRecurrentConfig) -> float:
    """Of a recurrent layer."""
    D, inner, S, W = layer.d_model, layer.heads * layer.head_width, layer.states, layer.window
    maps = 3 if layer.gate == "lstm" else 1  # z, and under an LSTM gate i and f
    states = 8 * D * inner + 4 * inner * (S + layer.cached)
    if layer.configuration != "single":
        states += maps * 4 * inner * D
    if layer.configuration != "skip":
        read = 2 * inner if layer.configuration == "single" else D
        states += 2 * read * layer.d_ff + maps * 2 * layer.d_ff * D
    return _token_operations(layer) + states * S / W + 20 * D


def language_layers(size: language.Size) -> language.Layers:
    """fixed:skip in small, for language modelling: the last layer but two recurs, or in smoke the last; a recipe of
    this project. Other gates and configurations are `--set model.layer.gate=lstm`."""
    changes, depth, place = {
        "smoke": ({"d_model": 64, "heads": 2, "head_width": 32, "d_ff": 128, "window": 32, "states": 16}, 2, 1),
        "small": ({"d_model": 256, "heads": 4, "head_width": 64, "d_ff": 1_024, "window": 128, "states": 128}, 5, 2),
    }[size]
    dropout = language.SCALES[size].dropout
    layer = recurrent().replace(**changes, dropout=dropout, attention_dropout=dropout)
    placed = tuple((i, layer.sliding) for i in range(depth) if i != place)
    return language.Layers(layer, depth, placed)


def published_language(task: language.Task, gate: str = "fixed", configuration: str = "skip") -> Recipe:
    """Rec:fixed:skip of table 1 on books, papers or source code; the others are in `suite/recipes/rows.py`."""
    layer = TABLE[f"Rec:{gate}:{configuration}"]
    recurs = {i % DEPTH for i in RECURRENT}
    placed = tuple((i, layer.sliding) for i in range(DEPTH) if i not in recurs)
    return meliad.recipe(task, language.Layers(layer, DEPTH, placed))


LANGUAGE_RECIPES = language.recipes(language_layers, {task: partial(published_language, task) for task in meliad.TASKS})
