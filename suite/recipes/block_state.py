"""Block-State Transformers: the sizes of the paper, its speed benchmark, and ListOps by which the harness is tried.

Pilault, Fathi, Firat, Pal, Bacon and Goroshin 2023 (arXiv 2306.09539). Their code is not released; they train "the same
setup" as the Block-Recurrent Transformer, so that layers are those of `transformer/configs` of
google-research/meliad@cc1aef5 wherever the paper is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from implementations.block_state.config import BlockStateConfig
from implementations.models.config import ClassifierConfig, ModelConfig
from implementations.transformer.config import TransformerConfig
from suite.recipes import language, meliad
from suite.recipes.base import DataSpec, Profile, Recipe
from suite.recipes.s5 import LISTOPS_RELEASE
from suite.training.optimizer import Group, OptimizerSpec, Schedule

Size = Literal["small", "large"]

DEPTH = 12
VOCABULARY = 32_128
"""Entries of the PG19 vocabulary (T5's)."""

SIZES: dict[Size, dict[str, Any]] = {
    "small": {"heads": 8, "d_ff": 4096},
    "large": {"heads": 16, "d_ff": 8192},
}
"""About 200M parameters with the vocabulary, and about 400M ("-L"); D is 1024 and heads are 128 wide in both."""

SSM_LEAVES = ("ssm.log_step", "ssm.A_real", "ssm.A_imag", "ssm.B", "ssm.P")
"""What has the rate of an SSM."""

PLACES: dict[Size, tuple[int, ...]] = {"small": (1, 7, 9), "large": (1, 5, 7, 12)}
"""The layers, counted from 1, that have contexts; the others are sliding-window Transformer layers."""


def layer(
    variant: Literal["SH", "MH", "MF"] = "SH",
    kernel: Literal["s4", "unstructured"] = "s4",
    size: Size = "small",
    **changes: Any,
) -> BlockStateConfig:
    """A Block-State layer of the paper's table 1: windows of 512 in segments of 4096, N = 16, 32 states in "MF".

    Dropout 0.05 as in Block-Recurrent's code, but only of what is added to the residual and with one mask per sequence
    and feature: there also of the normalised inputs and of the attention's weights, element by element.
    """
    return BlockStateConfig(
        d_model=1024,
        head_width=128,
        window=512,
        variant=variant,
        context_states=32,
        kernel=kernel,
        state_size=16,
        filter_length=4096,
        dropout=0.05,
        **SIZES[size],
    ).replace(**changes)


def stack(
    variant: Literal["SH", "MH", "MF"] = "SH", kernel: Literal["s4", "unstructured"] = "s4", size: Size = "small"
) -> tuple[BlockStateConfig | TransformerConfig, ...]:
    """The twelve layers of a model of table 1, the first first."""
    with_contexts = layer(variant, kernel, size)
    return tuple(with_contexts if i in PLACES[size] else with_contexts.sliding for i in range(1, DEPTH + 1))


def speed(variant: Literal["SH", "MH", "MF"] = "SH", kernel: Literal["s4", "unstructured"] = "s4") -> BlockStateConfig:
    """The layer whose forward pass the paper times: W 128, N 16, 16 heads, D 512; d_ff = 4 D as in all sizes."""
    return layer(
        variant, kernel, d_model=512, heads=16, head_width=32, d_ff=2048, window=128, state_size=16, dropout=0.0
    )


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps; a recipe of this project: the authors train language models only."""
    width, depth, train, evaluation, epochs = {
        "smoke": (32, 2, 3_000, 500, 5),
        "small": (64, 4, 20_000, 2_000, 8),
        "paper": (128, 6, 96_000, 2_000, 40),
    }[profile]
    settings = {**LISTOPS_RELEASE, "train": train, "validation": evaluation, "test": evaluation}
    if profile == "smoke":
        settings |= {"min_length": 20, "max_length": 128}
    small = profile == "smoke"
    block = BlockStateConfig(
        d_model=width,
        heads=2 if small else 8,
        head_width=16,
        d_ff=(2 if small else 4) * width,
        window=16 if small else 128,
        variant="SH",
        kernel="s4d" if small else "s4",
        state_size=16,
        activation="gelu",
    )
    batch = 50
    steps = train // batch
    optimizer = OptimizerSpec(
        groups={"regular": Group(0.003, 0.04), "ssm": Group(0.001)},
        rule=dict.fromkeys(SSM_LEAVES, "ssm"),
        schedule=Schedule(warmup_steps=steps, total_steps=epochs * steps),
        clip_norm=1.0,
    )
    return Recipe(
        model=ClassifierConfig(layer=block, depth=depth, input_kind="tokens", input_size=20, classes=10),
        optimizer=optimizer,
        batch_size=batch,
        evaluation_batch_size=batch,
        epochs=epochs,
        data=DataSpec("lra_listops", settings),
        source={
            "all": "chosen in this project; no recipe of the Long Range Arena is published for this architecture",
            "data": "counts and lengths of the Long Range Arena release in profile paper, shorter and fewer below",
        },
    )


RECIPES: dict[str, Callable[[Profile], Recipe]] = {"lra.listops": lra_listops}


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position: matrix products, the logits of both attentions and
    the convolution, as FFTs of a length of 4096."""
    layer = model.layer
    assert isinstance(layer, BlockStateConfig)
    D, inner, W = layer.d_model, layer.heads * layer.head_width, layer.window
    projected = {"SH": 1, "MH": 1, "MF": layer.context_states / W}[layer.variant]
    seen = (2 if layer.attend_previous_window else 1) * W
    contexts = layer.context_states if layer.variant == "MF" else W
    products = 2 * D * inner * (4 + 2 * projected) + 4 * inner * D + (6 if layer.gated else 4) * D * layer.d_ff
    transforms = 10 * 13 * D * (1 + layer.channels)
    return model.depth * (products + 4 * inner * (seen + contexts) + transforms + 30 * D) + 2 * model.input_size * D


def language_layers(size: language.Size) -> language.Layers:
    """SH with S4 in small, in the first layer (and the fifth of small), sliding windows above it; a recipe of this
    project. MH and MF are `--set model.layer.variant=MF`."""
    changes, depth, places = {
        "smoke": (
            {"d_model": 64, "heads": 2, "head_width": 32, "d_ff": 160, "window": 32, "context_states": 8},
            2,
            (0,),
        ),
        "small": (
            {"d_model": 256, "heads": 4, "head_width": 64, "d_ff": 1_024, "window": 128, "context_states": 32},
            5,
            (0, 3),
        ),
    }[size]
    with_contexts = layer(**changes, dropout=language.SCALES[size].dropout)
    placed = tuple((i, with_contexts.sliding) for i in range(depth) if i not in places)
    return language.Layers(with_contexts, depth, placed, SSM_LEAVES)


def published_language(
    task: language.Task,
    variant: Literal["SH", "MH", "MF"] = "SH",
    kernel: Literal["s4", "unstructured"] = "s4",
    size: Size = "small",
) -> Recipe:
    """BST:SH:S4 of table 1 on books, papers or source code; the others are in `suite/recipes/rows.py`."""
    layers = stack(variant, kernel, size)
    placed = tuple((i, other) for i, other in enumerate(layers) if i + 1 not in PLACES[size])
    source = {
        "model.layer": "arXiv 2306.09539, table 1: window 512, SSM state 16, contexts in layers 1, 7 and 9 (their "
        "places and the dropout are not confirmed)",
        "optimizer": "arXiv 2306.09539: the training setup of the Block-Recurrent Transformer, so Adafactor; a "
        "note that says Adam is not confirmed",
    }
    return meliad.recipe(task, language.Layers(layer(variant, kernel, size), DEPTH, placed), source)


LANGUAGE_RECIPES = language.recipes(language_layers, {task: partial(published_language, task) for task in meliad.TASKS})
