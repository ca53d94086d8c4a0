"""Transformers: the baselines of the Long Range Arena, and the layers of the Block-Recurrent Transformer's baselines.

Tay et al. 2021 (arXiv 2011.04006): full attention and "Local Attention", configurations
`lra_benchmarks/*/configs/{base_*_config,transformer_base,local_base}.py` of google-research/long-range-arena@cd31e5c.

Hutchins, Schlag, Wu, Dyer and Neyshabur 2022 (arXiv 2203.07852), table 1: decoders of 12 or 13 layers that differ in
attention only. Numbers of the layer from `transformer/configs` of google-research/meliad@cc1aef5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from implementations.models.config import ModelConfig
from implementations.transformer.config import TransformerConfig
from suite.recipes import language, lra, meliad
from suite.recipes.base import Profile, Recipe, Selection
from suite.training.optimizer import Group, OptimizerSpec, Schedule


def decoder(**changes: Any) -> TransformerConfig:
    """A layer as all baselines of the paper share it: 12,582,912 parameters in its kernels.

    Size 150M: D 1024, 8 heads of 128, feed-forward 4096 with ReLU, no biases, RMS norms, queries and keys of length
    one. Dropout 0.05 (one mask per sequence and feature here; the authors also drop entries of the attention matrix).
    """
    return TransformerConfig(
        d_model=1024,
        heads=8,
        head_width=128,
        d_ff=4096,
        activation="relu",
        norm="rms",
        biases=False,
        causal=True,
        include_self=False,
        positions="t5",
        buckets=32,
        max_distance=128,
        qk_norm=True,
        dropout=0.05,
    ).replace(**changes)


def transformer() -> TransformerConfig:
    """Attention over the whole sequence."""
    return decoder()


def local(window: int = 512) -> TransformerConfig:
    """Attention over a sliding window; a sequence is trained on by itself, without a cache from the one before."""
    return decoder(attention="window", window=window)


def xl(window: int) -> TransformerConfig:
    """XL:512 and XL:2048: segments as long as the window, the cache without gradient."""
    return decoder(attention="xl", window=window, attend_start=True)


def slide() -> TransformerConfig:
    """Slide: segments of 4096 tokens, window 512, gradients between blocks, a cache from segment to segment."""
    return decoder(attention="window", window=512, attend_start=True)


BASELINES: dict[str, tuple[Callable[[], TransformerConfig], int, int]] = {
    "Transformer": (transformer, 12, 4096),
    "Local": (local, 12, 4096),
    "XL:512": (lambda: xl(512), 12, 512),
    "XL:2048": (lambda: xl(2048), 12, 2048),
    "Slide:12L": (slide, 12, 4096),
    "Slide:13L": (slide, 13, 4096),
}
"""Name -> layer, number of layers and tokens per segment."""

REPOSITORY = "google-research/long-range-arena@cd31e5c"

SOURCE = {
    "model, optimizer, batch_size": f"{REPOSITORY} lra_benchmarks/*/configs",
    "model.layer": f"{REPOSITORY} lra_benchmarks/models/transformer/transformer.py",
    "optimizer.b2, eps": f"{REPOSITORY} lra_benchmarks/listops/train.py:create_optimizer",
    "optimizer.schedule": f"{REPOSITORY} lra_benchmarks/utils/train_utils.py:create_learning_rate_scheduler",
    "epochs": "whole epochs that hold the published number of updates (num_train_steps)",
    "data, selection": "bytes as the authors read them, cut at 4,000 as the paper says (their configuration of Text "
    "cuts at 1,000); splits of the S4 line",
    "not expressed": (
        "the authors embed tokens with deviation 1 (here a linear map of one-hot vectors with bias, lecun-normal), "
        "pool a CLS token where their config says so (here the mean), end the stack in a norm and classify with a "
        "hidden layer of d_ff units and ReLU (retrieval: a second one of half as many), drop elements (here one mask "
        "per sequence and feature), also of the embedding, of the hidden layer and of the attention's weights, have no "
        "biases in the attention, and draw kernels by Xavier's rule; pixels are tokens there, values here; a cosine "
        "there ends one warm-up short of zero"
    ),
}


@dataclasses.dataclass(frozen=True)
class Published:
    """One configuration file, under its own names; `block_size` and `local` are those of local_base.py."""

    emb_dim: int
    num_heads: int
    num_layers: int
    qkv_dim: int
    mlp_dim: int
    batch_size: int
    learning_rate: float
    warmup: int
    num_train_steps: int
    epochs: int
    weight_decay: float
    decay: Literal["rsqrt", "cosine_after_warmup"]
    dropout_rate: float
    block_size: int
    learn_pos_emb: bool = False
    grad_clip_norm: float | None = None

    def layer(self, task: lra.Task) -> TransformerConfig:
        """The layer of full attention."""
        return TransformerConfig(
            d_model=self.emb_dim,
            heads=self.num_heads,
            head_width=self.qkv_dim // self.num_heads,
            d_ff=self.mlp_dim,
            activation="gelu",
            norm="layer",
            prenorm=True,
            positions="learned" if self.learn_pos_emb else "sinusoidal",
            max_length=lra.LENGTH[task] if self.learn_pos_emb else None,
            dropout=self.dropout_rate,
        )

    def recipe(self, task: lra.Task) -> Recipe:
        """The training run of the file."""
        selection: Selection = "best test accuracy" if task == "text" else "best validation accuracy"
        optimizer = OptimizerSpec(
            groups={"regular": Group(self.learning_rate, self.weight_decay)},
            rule={},
            schedule=Schedule(
                warmup_steps=self.warmup,
                total_steps=max(self.num_train_steps, self.warmup),
                decay=self.decay,
                warmup_from=0.0,
            ),
            b2=0.98,
            eps=1e-9,
            clip_norm=self.grad_clip_norm,
        )
        return Recipe(
            model=lra.model(task, self.layer(task), self.num_layers, "lra"),
            optimizer=optimizer,
            batch_size=self.batch_size,
            epochs=self.epochs,
            data=lra.data(task, "lra"),
            selection=selection,
            source=dict(SOURCE),
        )


PUBLISHED: dict[lra.Task, Published] = {
    "listops": Published(512, 8, 4, 512, 1024, 32, 0.05, 1_000, 5_000, 2, 0.1, "rsqrt", 0.1, 50),
    "text": Published(256, 4, 4, 256, 1024, 32, 0.05, 8_000, 20_000, 26, 0.1, "rsqrt", 0.1, 50),
    "retrieval": Published(128, 4, 4, 128, 512, 32, 0.05, 8_000, 5_000, 2, 0.1, "rsqrt", 0.1, 50),
    "image": Published(
        128, 8, 1, 64, 128, 256, 0.0005, 175, 35_000, 200, 0.0, "cosine_after_warmup", 0.3, 64, learn_pos_emb=True
    ),
    "pathfinder": Published(32, 4, 4, 16, 32, 512, 0.001, 312, 62_400, 200, 0.0, "cosine_after_warmup", 0.2, 64),
}
"""Path-X and Path-256 are not among them: the authors' Transformer does not fit, and no number is published."""

LOCAL_CHANGES: dict[lra.Task, dict[str, Any]] = {
    "listops": {},
    "text": {},
    "retrieval": {},
    "image": {"num_heads": 2},
    "pathfinder": {"num_layers": 2, "emb_dim": 64, "qkv_dim": 32, "mlp_dim": 64, "dropout_rate": 0.1},
}
"""What local_base.py changes beside the attention."""

# The one place where smoke and small depart from the paper; lengths as in S5's smoke recipe of ListOps. Of 4,000 tokens
# smoke takes few: a batch's scores stay below half a gigabyte.
WIDTHS = {"d_model": 32, "heads": 4, "head_width": 8, "d_ff": 64, "dropout": 0.0}
SMOKE_LISTOPS = lra.Scaling(6_000, 1_000, 8, 50, 2, WIDTHS, lengths=(20, 128))
SMOKE = lra.Scaling(1_000, 250, 2, 25, 2, WIDTHS)
SMALL = lra.Scaling(20_000, 2_000, 8, 50, 4, {"d_model": 64, "heads": 4, "head_width": 16, "d_ff": 128})
NARROW = {**WIDTHS, "heads": 2, "head_width": 16}
SCALINGS: dict[tuple[lra.Task, Profile], lra.Scaling] = {
    ("listops", "smoke"): SMOKE_LISTOPS,
    ("text", "smoke"): lra.Scaling(40, 20, 2, 4, 2, NARROW),
    ("retrieval", "smoke"): lra.Scaling(20, 10, 2, 2, 2, NARROW),
}


def published(task: lra.Task, profile: Profile = "paper", window: bool = False) -> Recipe:
    """The recipe of a task in a profile, with full attention or, where `window`, with local attention.

    The authors' local attention stays inside blocks of `block_size` tokens; here a token sees as many to either side.
    """
    numbers = PUBLISHED[task]
    if not window:
        return lra.profiled(numbers.recipe(task), profile, *lra.of(SCALINGS, task, SMALL, SMOKE))
    numbers = dataclasses.replace(numbers, **LOCAL_CHANGES[task])
    recipe = numbers.recipe(task)
    layer = lra.layer_of(recipe.model).replace(attention="window", window=numbers.block_size)
    source = {
        **recipe.source,
        "model.layer.window": f"{REPOSITORY} lra_benchmarks/models/local: block_size, sliding here",
    }
    recipe = recipe.replace(model=recipe.model.replace(layer=layer), source=source)
    return lra.profiled(recipe, profile, *lra.of(SCALINGS, task, SMALL, SMOKE))


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps."""
    return published("listops", profile)


def lra_text(profile: Profile = "paper") -> Recipe:
    """Text (IMDb reviews by characters); no validation split, selected on the test set."""
    return published("text", profile)


def lra_retrieval(profile: Profile = "paper") -> Recipe:
    """Retrieval (AAN pairs by characters); the warm-up is longer than the run, as in the file."""
    return published("retrieval", profile)


def lra_image(profile: Profile = "paper") -> Recipe:
    """Image (CIFAR-10 in grey)."""
    return published("image", profile)


def lra_pathfinder(profile: Profile = "paper") -> Recipe:
    """Pathfinder."""
    return published("pathfinder", profile)


RECIPES: dict[str, Callable[[Profile], Recipe]] = {
    "lra.listops": lra_listops,
    "lra.text": lra_text,
    "lra.retrieval": lra_retrieval,
    "lra.image": lra_image,
    "lra.pathfinder": lra_pathfinder,
}

LOCAL: dict[str, Callable[[Profile], Recipe]] = {
    f"lra.{task}": partial(published, task, window=True) for task in PUBLISHED
}
"""The same with local attention; a run of `RECIPES` becomes one by `--set model.layer.attention=window --set
model.layer.window=50`."""


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position: matrix products and, of the window, the logits.

    Where attention is full the logits depend on the length; half of `max_length`, or of 1024, stands for it.
    """
    layer = model.layer
    assert isinstance(layer, TransformerConfig)
    D, inner = layer.d_model, layer.heads * layer.head_width
    seen = 2 * layer.window if layer.window is not None else (layer.max_length or 1024) // 2
    products = 8 * D * inner + (6 if layer.gated else 4) * D * layer.d_ff
    return model.depth * (products + 4 * inner * seen + 20 * D) + 2 * model.input_size * D


def language_layers(size: language.Size) -> language.Layers:
    """Slide in small, for language modelling; a recipe of this project. XL is `--set model.layer.attention=xl`."""
    changes, depth = {
        "smoke": ({"d_model": 64, "heads": 2, "head_width": 32, "d_ff": 128, "window": 32}, 3),
        "small": ({"d_model": 256, "heads": 4, "head_width": 64, "d_ff": 1_024, "window": 128}, 6),
    }[size]
    return language.Layers(slide().replace(**changes, dropout=language.SCALES[size].dropout), depth)


def published_language(task: language.Task) -> Recipe:
    """Slide:12L on books, papers or source code."""
    layer, depth, _ = BASELINES["Slide:12L"]
    return meliad.recipe(task, language.Layers(layer(), depth))


LANGUAGE_RECIPES = language.recipes(language_layers, {task: partial(published_language, task) for task in meliad.TASKS})
