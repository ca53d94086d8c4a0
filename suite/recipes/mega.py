"""Mega on the Long Range Arena: the authors' recipes, and what smoke and small make of them.

Ma et al. 2023 (arXiv 2209.10655), table 8; commands of `examples/mega/README.lra.md` and the model definitions of
`fairseq/models/lra/model.py` (mega_lra_*), both in the copy of renll/SeqBoat@5a34aed. These recipes attend to whole
sequences; Mega-chunk is the same with `chunk_size` 128 (4096 on Path-X): `chunked`, or `--set
model.layer.chunk_size=128`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from implementations.mega.config import MegaConfig
from implementations.models.config import ModelConfig
from suite.recipes import lra
from suite.recipes.base import Profile, Recipe, Selection
from suite.recipes.mega_language import LANGUAGE_RECIPES as LANGUAGE_RECIPES
from suite.training.optimizer import Group, OptimizerSpec, Schedule

REPOSITORY = "renll/SeqBoat@5a34aed"

SOURCE = {
    "model, optimizer, batch_size": f"{REPOSITORY} examples/mega/README.lra.md",
    "model.layer": f"{REPOSITORY} fairseq/models/lra/model.py: mega_lra_*; arXiv 2209.10655, table 8",
    "epochs": f"{REPOSITORY} examples/mega/README.lra.md: --max-update over the updates of an epoch",
    "optimizer.schedule": f"{REPOSITORY} fairseq/optim/lr_scheduler/linear_decay_schedule.py",
    "optimizer.clip_norm, b2, eps": f"{REPOSITORY} examples/mega/README.lra.md",
    "data": "the authors publish tokenised files of their own: bytes cut at 4,000 (Text, Retrieval), pixels "
    "standardised by 0.48 and 0.24 (Image) or 0.5 and 0.5, which are variants of the prepared data; counts of the S4 "
    "line",
    "model.layer.max_positions": "2002 on ListOps there; batches are padded to 2048 here",
    "not expressed": (
        "the authors drop elements of the embedding (tokens: deviation D^-1/2; pixels: weights of deviation 1, biases "
        "of 0.1), end a stack with pre-norm in a norm, and classify with a hidden layer of v units, dropout and GELU "
        "and a linear map without bias (retrieval: of two documents side by side); here a linear map of one-hot "
        "vectors or pixels with bias comes first and a linear decoder last (retrieval: a hidden layer of D units on "
        "four features of the documents); the batch statistics of Path-X are those of 16 sequences there (2 on each of "
        "8 GPUs, 8 times per update), of the batch of 128 here"
    ),
}


@dataclasses.dataclass(frozen=True)
class Published:
    """One command and its model definition, under the authors' names; the rows of table 8."""

    encoder_layers: int
    encoder_embed_dim: int
    encoder_hidden_dim: int
    z_dim: int
    attention: Literal["softmax", "laplace"]
    norm_type: Literal["layer", "scale", "batch"]
    normalize_before: bool
    max_positions: int
    batch: int
    lr: float
    weight_decay: float
    epochs: int
    max_update: int
    warmup_updates: int
    dropout: float = 0.1
    truncation_length: int = 1024
    warmup_power: int = 1
    n_dim: int = 16

    def layer(self, longest: int) -> MegaConfig:
        """The layer that the command trains, for sequences of at most `longest` positions with their padding."""
        return MegaConfig(
            d_model=self.encoder_embed_dim,
            query_size=self.z_dim,
            value_size=self.encoder_hidden_dim,
            feedforward_size=self.encoder_hidden_dim,
            state_size=self.n_dim,
            bidirectional=True,
            chunk_size=None,
            truncation=self.truncation_length,
            attention=self.attention,
            bias="simple",
            max_positions=max(self.max_positions, longest),
            norm=self.norm_type,
            prenorm=self.normalize_before,
            dropout=self.dropout,
            attention_dropout=0.0,
            hidden_dropout=0.0,
            feature_dropout=False,
            bn_momentum=0.9,
        )

    def recipe(self, task: lra.Task) -> Recipe:
        """The training run of the command."""
        selection: Selection = "best test accuracy" if task == "text" else "best validation accuracy"
        optimizer = OptimizerSpec(
            groups={"regular": Group(self.lr, self.weight_decay)},
            rule={},
            schedule=Schedule(
                warmup_steps=self.warmup_updates,
                total_steps=self.max_update,
                decay="linear",
                warmup_from=1e-7,
                warmup_power=self.warmup_power,
            ),
            b2=0.98,
            eps=1e-8,
            clip_norm=1.0,
        )
        return Recipe(
            model=lra.model(task, self.layer(lra.length(task, "mega")), self.encoder_layers, "mega"),
            optimizer=optimizer,
            batch_size=self.batch,
            epochs=self.epochs,
            data=lra.data(task, "mega"),
            selection=selection,
            source=dict(SOURCE),
        )


PUBLISHED: dict[lra.Task, Published] = {
    "listops": Published(6, 80, 160, 64, "softmax", "layer", False, 2002, 64, 0.001, 0.01, 60, 90_000, 3_000),
    "text": Published(4, 128, 256, 64, "softmax", "scale", False, 4002, 50, 0.004, 0.01, 50, 25_000, 10_000),
    "retrieval": Published(6, 128, 256, 64, "softmax", "scale", False, 4002, 64, 0.003, 0.04, 40, 91_960, 10_000),
    "image": Published(8, 160, 320, 96, "laplace", "batch", True, 1024, 50, 0.01, 0.02, 200, 180_000, 9_000, 0.0),
    "pathfinder": Published(
        6, 128, 256, 64, "laplace", "batch", True, 1024, 128, 0.01, 0.01, 200, 250_000, 50_000, 0.0
    ),
    "pathx": Published(
        4, 64, 128, 32, "laplace", "batch", True, 16384, 128, 0.01, 0.01, 100, 125_000, 25_000, 0.0, 4096, 2
    ),
}
PUBLISHED["path256"] = dataclasses.replace(PUBLISHED["pathx"], max_positions=65536)

# The one place where smoke and small depart from the paper; lengths as in S5's smoke recipe of ListOps. Where sequences
# are 4,000 long or more, smoke takes few of them or attends inside chunks: a batch's scores stay below a gigabyte.
WIDTHS = {"d_model": 32, "query_size": 16, "value_size": 64, "feedforward_size": 64, "state_size": 8}
SMOKE_LISTOPS = lra.Scaling(
    6_000, 1_000, 8, 50, 2, {**WIDTHS, "max_positions": 256, "truncation": None}, lengths=(20, 128)
)
SMOKE = lra.Scaling(1_000, 250, 2, 25, 2, WIDTHS)
WIDER = {"d_model": 64, "query_size": 32, "value_size": 128, "feedforward_size": 128}
SMALL = lra.Scaling(20_000, 2_000, 8, 50, 4, WIDER)
SCALINGS: dict[tuple[lra.Task, Profile], lra.Scaling] = {
    ("listops", "smoke"): SMOKE_LISTOPS,
    ("text", "smoke"): lra.Scaling(100, 25, 2, 5, 2, WIDTHS),
    ("retrieval", "smoke"): lra.Scaling(60, 20, 2, 4, 2, WIDTHS),
    ("pathx", "small"): lra.Scaling(2_000, 500, 5, 10, 4, {**WIDER, "chunk_size": 1024}),
    **lra.long({**WIDTHS, "chunk_size": 256}, {**WIDER, "chunk_size": 1024}),
}


def published(task: lra.Task, profile: Profile = "paper") -> Recipe:
    """The recipe of a task in a profile."""
    recipe = PUBLISHED[task].recipe(task)
    if task == "path256":
        recipe = lra.derived(chunked(recipe))
        recipe = recipe.replace(source={**recipe.source, "model.layer.chunk_size": "that of Mega-chunk on Path-X"})
    return lra.profiled(recipe, profile, *lra.of(SCALINGS, task, SMALL, SMOKE))


def chunked(recipe: Recipe) -> Recipe:
    """The same recipe with Mega-chunk's attention: chunks of 128, of 4096 where sequences have 16384 or more."""
    layer = lra.layer_of(recipe.model)
    chunk = 4096 if layer.max_positions >= lra.LENGTH["pathx"] else 128
    return recipe.replace(model=recipe.model.replace(layer=layer.replace(chunk_size=chunk)))


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps."""
    return published("listops", profile)


def lra_text(profile: Profile = "paper") -> Recipe:
    """Text (IMDb reviews by characters); no validation split, selected on the test set."""
    return published("text", profile)


def lra_retrieval(profile: Profile = "paper") -> Recipe:
    """Retrieval (AAN pairs by characters)."""
    return published("retrieval", profile)


def lra_image(profile: Profile = "paper") -> Recipe:
    """Image (CIFAR-10 in grey)."""
    return published("image", profile)


def lra_pathfinder(profile: Profile = "paper") -> Recipe:
    """Pathfinder."""
    return published("pathfinder", profile)


def lra_pathx(profile: Profile = "paper") -> Recipe:
    """Path-X."""
    return published("pathx", profile)


def lra_path256(profile: Profile = "paper") -> Recipe:
    """Path-256, from Path-X's Mega-chunk: chunks of 4096, since whole sequences would cost sixteen times as much."""
    return published("path256", profile)


RECIPES: dict[str, Callable[[Profile], Recipe]] = {
    "lra.listops": lra_listops,
    "lra.text": lra_text,
    "lra.retrieval": lra_retrieval,
    "lra.image": lra_image,
    "lra.pathfinder": lra_pathfinder,
    "lra.pathx": lra_pathx,
    "lra.path256": lra_path256,
}


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position: matrix products, the average and the encoder.

    Attention to whole sequences depends on their length; the typical one stands for it.
    """
    layer = lra.layer_of(model)
    assert isinstance(layer, MegaConfig)
    D, z, v = layer.d_model, layer.query_size, layer.value_size
    seen = layer.chunk_size or min(layer.max_positions, lra.TYPICAL_LENGTH)
    products = 2 * D * v + 2 * D * (2 * D + z + v) + 2 * v * D + 4 * D * layer.feedforward_size
    return model.depth * (products + 2 * seen * (z + v) + (lra.FFT_OPERATIONS + 30) * D) + 2 * model.input_size * D
