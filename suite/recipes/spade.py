"""SPADE: Long Range Arena, and the presets of its language model and encoder-decoder.

Zuo, Liu, Jiao, Charles, Manavoglu, Zhao and Gao 2022 (arXiv 2212.08136). The released code trains a language model
(microsoft/EfficientLongSequenceModeling@0819294, `run_lm.sh`) and defines an encoder-decoder
(namisan/mt-dnn@3228e7c, `msrlongt5`). It holds no Long Range Arena: sizes, chunks and training of those runs are stated
nowhere that we know. Here they are Mega's (arXiv 2209.10655, table 8), on whose Mega-chunk one of SPADE's two published
rows stands; `source` says so for every number, and what is S4's or the bottom layer's is that of the language model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from implementations.models.config import ModelConfig
from implementations.spade.config import SpadeConfig, SpadeStackConfig
from implementations.transformer.config import TransformerConfig
from suite.recipes import language
from suite.recipes import lra as arena
from suite.recipes.base import DataSpec, LanguageTraining, Profile, Recipe, Selection
from suite.training.optimizer import Group, OptimizerSpec, Schedule

REPOSITORY = "microsoft/EfficientLongSequenceModeling@0819294"
ENCODER_DECODER = "namisan/mt-dnn@3228e7c msrlongt5/configuration.py, modeling_t5.py"
MEGA = "Ma et al. 2022 (arXiv 2209.10655), table 8; not stated for SPADE"

S4_LEAVES = ("A_real", "A_imag", "P", "B", "log_step", "C", "D")


def optimizer(
    rate: float,
    weight_decay: float,
    schedule: Schedule,
    *,
    A: float | None = 0.001,
    B: float | None = 0.001,
    dt: float | None = None,
    frozen: bool = False,
) -> OptimizerSpec:
    """AdamW with the released code's groups for S4: `--s4-lr {"A": .001, "B": .001, "dt": null}`.

    A (which is A_real, A_imag and P), B and dt (log_step) have rates of their own, None for the model's, 0 to keep them
    as they are; none of them decays. C and D are trained as the rest. `frozen`: all of S4 keeps its initial values.
    """
    rates = {"A": A, "B": B, "dt": dt}
    groups = {"regular": Group(rate, weight_decay)}
    groups |= {f"s4_{name}": Group(rate if own is None else own) for name, own in rates.items()}
    leaves = {"A_real": "A", "A_imag": "A", "P": "A", "B": "B", "log_step": "dt"}
    rule = {f"s4.{leaf}": f"s4_{name}" for leaf, name in leaves.items()}
    if frozen:
        groups = {"regular": groups["regular"], "frozen": Group(0.0)}
        rule = {f"s4.{leaf}": "frozen" for leaf in S4_LEAVES}
    return OptimizerSpec(groups=groups, rule=rule, schedule=schedule)


def stack(bottom: SpadeConfig, depth: int) -> SpadeStackConfig:
    """`bottom`, and the same without S4 above it."""
    return SpadeStackConfig(bottom=bottom, upper=bottom.replace(global_branch=False), depth=depth)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """One task's row of Mega's table, and the chunk or window."""

    depth: int
    d_model: int
    d_ff: int
    z: int
    v: int
    mega_attention: Literal["softmax", "laplace"]
    prenorm: bool
    batch_size: int
    rate: float
    dropout: float
    weight_decay: float
    epochs: int
    window: int = 128

    def layers(self, attention: Literal["window", "chunk", "mega"]) -> SpadeStackConfig:
        """The layers of the run."""
        bottom = SpadeConfig(
            d_model=self.d_model,
            heads=8,
            d_ff=self.d_ff,
            activation="silu" if attention == "mega" else "relu",
            attention=attention,
            window=self.window,
            positions="none" if attention == "mega" else "t5",
            mega_query_size=self.z,
            mega_value_size=self.v,
            mega_attention=self.mega_attention,
            prenorm=self.prenorm if attention == "mega" else True,
            dropout=self.dropout,
        )
        return stack(bottom, self.depth)

    def recipe(self, model: ModelConfig, data: DataSpec, selection: Selection) -> Recipe:
        """The training run: AdamW, one epoch of warm-up, cosine."""
        steps = data.settings["train"] // self.batch_size
        schedule = Schedule(warmup_steps=steps, total_steps=self.epochs * steps)
        return Recipe(
            model=model,
            optimizer=optimizer(self.rate, self.weight_decay, schedule),
            batch_size=self.batch_size,
            evaluation_batch_size=self.batch_size,
            epochs=self.epochs,
            data=data,
            selection=selection,
            source={
                "model.layer.bottom.combine, model.layer.bottom.s4": f"{REPOSITORY} run_lm.sh, spade-modules",
                "optimizer.groups.s4": f"{REPOSITORY} run_lm.sh, trainer.py",
                "depth, d_model, d_ff, z, v, window, batch_size, rate, dropout, weight_decay, epochs": MEGA,
                "heads, optimizer.schedule": "not stated: heads of run_lm.sh, one epoch of warm-up and a cosine",
                "data": "not stated: as Mega reads them (Text and Retrieval by bytes, Image by 0.48 and 0.24)",
                "selection": "not stated: on the validation split, Text on its test split, as the S4 line",
                "not expressed": (
                    "of what the authors put around the layers on these tasks nothing is known: encoder, pooling and "
                    "decoder are this project's; attention weights are dropped nowhere; norms are layer norms, "
                    "AdamW has b2 0.999, where Mega's table has scale and batch norms and b2 0.98"
                ),
            },
        )


TASKS: dict[arena.Task, Numbers] = {
    "listops": Numbers(6, 80, 160, 64, 160, "softmax", False, 64, 0.001, 0.1, 0.01, 60),
    "text": Numbers(4, 128, 256, 64, 256, "softmax", False, 50, 0.004, 0.1, 0.01, 50),
    "retrieval": Numbers(6, 128, 256, 64, 256, "softmax", False, 64, 0.003, 0.1, 0.04, 40),
    "image": Numbers(8, 160, 320, 96, 320, "laplace", True, 50, 0.01, 0.0, 0.02, 200),
    "pathfinder": Numbers(6, 128, 256, 64, 256, "laplace", True, 128, 0.01, 0.0, 0.01, 200),
    "pathx": Numbers(4, 64, 128, 32, 128, "laplace", True, 128, 0.01, 0.0, 0.01, 100, window=4096),
}
TASKS["path256"] = TASKS["pathx"]


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What a profile changes; `lengths` are the generator's bounds where they change too."""

    train: int
    evaluation: int
    epochs: int
    batch_size: int
    depth: int
    d_model: int
    heads: int
    window: int
    state_size: int
    rate: float | None = None
    lengths: tuple[int, int] | None = None


# The one place where smoke and small depart from the paper's recipe; ListOps is as short as in suite/recipes/s5.py.
SCALINGS: dict[tuple[arena.Task, Profile], Scaling] = {
    ("listops", "smoke"): Scaling(6_000, 1_000, 6, 50, 2, 32, 2, 8, 8, rate=0.003, lengths=(20, 128)),
    ("pathx", "smoke"): Scaling(80, 40, 1, 10, 2, 16, 2, 32, 8),
    ("path256", "smoke"): Scaling(16, 8, 1, 4, 2, 16, 2, 32, 8),
    ("path256", "small"): Scaling(1_000, 200, 5, 10, 4, 64, 4, 128, 16),
    ("listops", "small"): Scaling(20_000, 2_000, 8, 50, 4, 64, 4, 128, 16),
}
SMOKE = Scaling(1_000, 250, 2, 25, 2, 32, 4, 32, 16)
SMALL = Scaling(10_000, 1_000, 5, 50, 4, 64, 4, 128, 16)


def scale(recipe: Recipe, task: arena.Task, profile: Profile) -> Recipe:
    """The paper's recipe made smaller for a profile; its schedule keeps its epochs of warm-up."""
    if profile == "paper":
        return recipe
    to = SCALINGS.get((task, profile), SMOKE if profile == "smoke" else SMALL)
    layer: Any = recipe.model.layer
    sizes = {"d_model": to.d_model, "d_ff": 2 * to.d_model, "heads": to.heads, "window": to.window}
    sizes |= {"s4_state_size": to.state_size, "mega_query_size": to.d_model // 2, "mega_value_size": 2 * to.d_model}
    parts = {name: getattr(layer, name).replace(**sizes) for name in ("bottom", "upper")}
    counts = {"train": to.train, "test": to.evaluation}
    counts["validation"] = to.evaluation if recipe.data.settings["validation"] else 0
    if to.lengths is not None:
        counts |= {"min_length": to.lengths[0], "max_length": to.lengths[1]}
    groups = dict(recipe.optimizer.groups)
    if to.rate is not None:
        groups |= {name: groups[name].replace(rate=to.rate) for name in ("regular", "s4_dt")}
    return recipe.rescaled(
        model=recipe.model.replace(layer=layer.replace(**parts, depth=to.depth)),
        optimizer=recipe.optimizer.replace(groups=groups),
        data=recipe.data.replace(settings={**recipe.data.settings, **counts}),
        batch_size=to.batch_size,
        evaluation_batch_size=to.batch_size,
        epochs=to.epochs,
    )


def lra(
    task: arena.Task, profile: Profile = "paper", attention: Literal["window", "chunk", "mega"] = "window"
) -> Recipe:
    """A task of the Long Range Arena: SPADE softmax-window (ListOps 59.7), or with "mega" SPADE Mega-chunk (60.5)."""
    numbers = TASKS[task]
    model = arena.model(task, numbers.layers(attention), 1, "mega")
    selection: Selection = "best test accuracy" if task == "text" else "best validation accuracy"
    recipe = numbers.recipe(model, arena.data(task, "mega"), selection)
    return scale(arena.derived(recipe) if task == "path256" else recipe, task, profile)


def _task(name: arena.Task) -> Callable[[Profile], Recipe]:
    return lambda profile="paper": lra(name, profile)


RECIPES: dict[str, Callable[[Profile], Recipe]] = {f"lra.{name}": _task(name) for name in TASKS}


CUTOFFS, FACTOR, SOFTMAX_DROPOUT = (20_000, 60_000), 4, 0.2
"""Of the adaptive input and the tied adaptive softmax on WikiText-103 (fairseq's `transformer_lm_wiki103`)."""

MOMENTUM = 0.99
"""Of Nesterov's accelerated gradient where `run_lm.sh` says nothing: fairseq's default."""

SEGMENT = 3_072
"""Tokens per sample of `run_lm.sh`; sequences are cut without regard to sentences."""


def language_model(**changes: Any) -> SpadeStackConfig:
    """The 16 layers of the WikiText-103 language model (`run_lm.sh`): pre-norm, window 512 with the token itself, one
    relative bias for all layers, no absolute positions, no norm after the last layer; embeddings times sqrt(D).

    The authors' S4 sees what padding holds and keeps C~ for 3,072 positions as its parameter; ours sees none and keeps
    C (`mask_padding`, `s4_truncated_length`). Attention weights are not dropped here (there, at 0.1).
    """
    bottom = SpadeConfig(
        d_model=1024,
        heads=8,
        d_ff=4096,
        activation="relu",
        causal=True,
        window=512,
        combine="concat",
        s4_state_size=64,
        dropout=0.3,
        hidden_dropout=0.1,
    )
    return stack(bottom.replace(**changes), 16)


def encoder(**changes: Any) -> SpadeStackConfig:
    """The encoder of the T5-like model, at the class defaults of `msrlongt5` (the paper's sizes are not stated):
    post-norm, radius 128 to both sides, one relative bias for all layers, no absolute positions."""
    bottom = SpadeConfig(
        d_model=512,
        heads=8,
        d_ff=2048,
        activation="relu",
        window=129,
        combine="concat",
        s4_state_size=64,
        prenorm=False,
        epsilon=1e-6,
        dropout=0.1,
        hidden_dropout=0.1,
    )
    return stack(bottom.replace(**changes), 6)


def decoder(**changes: Any) -> TransformerConfig:
    """A self-attention layer of its decoder, of which there are 6: attention over the whole past, post-norm, learned
    absolute positions; cross-attention is the model's."""
    layer = TransformerConfig(
        d_model=512,
        heads=8,
        head_width=64,
        d_ff=2048,
        activation="relu",
        prenorm=False,
        causal=True,
        positions="learned",
        max_length=512,
        dropout=0.1,
    )
    return layer.replace(**changes)


def encoder_decoder_optimizer(rate: float, weight_decay: float, schedule: Schedule) -> OptimizerSpec:
    """The groups of the encoder-decoder: A and B of S4 keep their initial values, its time steps are trained."""
    return optimizer(rate, weight_decay, schedule, A=0.0, B=0.0, dt=None)


def _layer_operations(layer: SpadeConfig) -> float:
    """Floating-point operations of one layer per position: matrix products, attention and S4's convolution."""
    D, W = layer.d_model, layer.window
    if layer.attention == "mega":
        z, v = layer.mega_query_size, layer.mega_value_size
        local = 2 * D * (2 * D + z + 2 * v) + 2 * v * D + 2 * W * (z + v)
    else:
        local = 8 * D * D + 4 * D * (W * (1 + 2 * layer.neighbours) if layer.attention == "chunk" else 2 * W)
    total = local + 4 * D * layer.d_ff + 30 * D
    if layer.global_branch:
        convolution = 60 * D * (1 if layer.causal else 2)  # transforms of length 2 L, for L around 1,000
        mixing = {"none": 0, "linear": 2, "glu": 4}[layer.s4_output] + (4 if layer.combine == "concat" else 0)
        total += convolution + mixing * D * D
    return total


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position."""
    stacked = model.layer
    assert isinstance(stacked, SpadeStackConfig)
    layers = sum(_layer_operations(layer) for layer in stacked.layers)
    return model.depth * layers + 2 * model.input_size * stacked.d_model


def language_layers(size: language.Size) -> language.Layers:
    """The published language model's layers in small; a recipe of this project."""
    changes, depth = {
        "smoke": ({"d_model": 64, "heads": 2, "d_ff": 128, "window": 32, "s4_state_size": 16}, 3),
        "small": ({"d_model": 304, "heads": 4, "d_ff": 1_216, "window": 128, "s4_state_size": 64}, 4),
    }[size]
    dropout = language.SCALES[size].dropout
    bottom = language_model().bottom.replace(**changes, dropout=dropout, hidden_dropout=dropout)
    rule = tuple(f"s4.{leaf}" for leaf in ("A_real", "A_imag", "P", "B", "log_step"))
    return language.Layers(stack(bottom, depth), 1, rule=rule)


def wikitext103() -> Recipe:
    """The language model of `run_lm.sh` on WikiText-103."""
    steps, warmup, evaluations = 286_000, 16_000, 22
    model = language.model(
        "wikitext103",
        language.Layers(language_model(), 1),
        cutoffs=CUTOFFS,
        factor=FACTOR,
        scale_embedding=True,
        final_norm="none",
        embedding_dropout=0.3,
        output_dropout=SOFTMAX_DROPOUT,
    )
    script = f"{REPOSITORY} run_lm.sh"
    schedule = Schedule(
        warmup_steps=warmup,
        total_steps=steps,
        lr_min=1e-4,
        decay="cosine_after_warmup",
        warmup_from=1e-7,
    )
    return Recipe(
        model=model,
        optimizer=optimizer(1.0, 0.0, schedule).replace(algorithm="nesterov", b1=MOMENTUM, clip_norm=0.1),
        batch_size=3,
        evaluation_batch_size=3,
        epochs=evaluations,
        data=language.DATA["wikitext103"][0],
        selection="best validation loss",
        source={
            "model": f"{script}; fairseq transformer_lm_wiki103",
            "model.embedding_dropout, output_dropout": "fairseq: dropout 0.3 behind the embedding, 0.2 in the softmax",
            "language.segment, carried": f"{script}: 3,072 tokens a sample, cut without regard to sentences",
            "batch_size": f"{script}: update-freq 3 of one sample; the number of GPUs is not stated",
            "optimizer.algorithm, b1, clip_norm": f"{script}: nag at rate 1.0, clipped at 0.1; momentum as fairseq's",
            "optimizer.schedule": f"{script}: warm-up of 16,000 updates and one cosine of 270,000",
            "optimizer.groups": f"{script}: S4's A and B at 0.001, their time steps at the model's rate",
            "not expressed": "dropout of attention weights (0.1)",
            "language.evaluation, epochs, selection": "this project's: the script does not evaluate",
        },
        language=LanguageTraining(
            updates=steps // evaluations,
            segment=SEGMENT,
            evaluation_segment=SEGMENT,
            carried=False,
            evaluation="strided",
            stride=SEGMENT // 2,
        ),
    )


LANGUAGE_RECIPES = language.recipes(language_layers, {"wikitext103": wikitext103})
