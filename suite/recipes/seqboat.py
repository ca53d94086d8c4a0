"""SeqBoat on the Long Range Arena: the authors' published recipes, and what smoke and small make of them.

Ren, Liu, Wang, Xu, Zhu and Zhai 2023 (arXiv 2306.11197), scripts `experiment/run_lra_*.sh` and the model presets of
`fairseq/models/lra/model.py` at renll/SeqBoat@5a34aed. Every run of the authors compresses nothing in a batch one row
of which is fully active (`density_threshold=1.0`); with no padding in the images and norms by position elsewhere, their
padding reaches no genuine position otherwise.

What surrounds the layers is this project's classifier, not theirs (`NOT_EXPRESSED`): parameter counts are those of the
layers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

from implementations.models.config import ModelConfig
from implementations.seqboat.config import SeqBoatConfig
from suite.recipes import lra
from suite.recipes.base import DataSpec, Profile, Recipe, Selection
from suite.recipes.seqboat_language import LANGUAGE_RECIPES as LANGUAGE_RECIPES
from suite.training.optimizer import Group, OptimizerSpec, Schedule

REPOSITORY = "renll/SeqBoat@5a34aed"

NOT_EXPRESSED = (
    "the authors' fairseq/models/lra embeds tokens with deviation D^-1/2, here a linear map of one-hot vectors with "
    "bias; pixels with weights of deviation 1 and biases of 0.1, here lecun-normal and zero; they drop elements of the "
    "embedding, add scaled sinusoidal positions (--add-apos: Image, Pathfinder, Path-X), end a stack with pre-norm in "
    "a norm and classify with Linear, dropout, GELU and a linear map without bias, here with a linear map (Retrieval: "
    "with a hidden layer of D units in place of h, without dropout, and its GELU in the tanh form); the batch "
    "statistics of Path-X are those of 16 sequences there (2 on each of 8 GPUs, 8 times per update), of the batch of "
    "128 here"
)


@dataclasses.dataclass(frozen=True)
class Published:
    """One column of numbers of a script and its preset; `updates` and `warmup` count updates of the optimizer."""

    script: str
    encoder_layers: int
    encoder_embed_dim: int
    z_dim: int
    encoder_hidden_dim: int
    chunk_size: int
    attention: Literal["softmax", "relu2", "laplace"]
    norm: Literal["layer", "scale", "batch"]
    init_temp_scale: float
    lr: float
    weight_decay: float
    dropout: float
    batch_size: int
    updates: int
    warmup: int
    max_positions: int
    truncation: int = 1024
    normalize_before: bool = False
    local_pos: bool = False
    warmup_power: int = 1

    def layer(self) -> SeqBoatConfig:
        """The layer that the script trains."""
        return SeqBoatConfig(
            d_model=self.encoder_embed_dim,
            query_size=self.z_dim,
            value_size=self.encoder_hidden_dim,
            state_size=16,
            truncation=self.truncation,
            window=self.chunk_size,
            attention=self.attention,
            bias="local" if self.local_pos else "simple",
            max_positions=self.max_positions,
            initial_temperature=self.init_temp_scale,
            norm=self.norm,
            prenorm=self.normalize_before,
            dropout=self.dropout,
            density_threshold=1.0,
        )

    def recipe(self, model: Any, data: DataSpec, selection: Selection = "best validation accuracy") -> Recipe:
        """The training run of the script on `data`, in whole epochs: no more updates than the script's."""
        steps = data.settings["train"] // self.batch_size
        epochs = round(self.updates / steps)
        schedule = Schedule(
            warmup_steps=self.warmup,
            total_steps=epochs * steps,
            decay="linear",
            warmup_from=1e-7,
            warmup_power=self.warmup_power,
        )
        optimizer = OptimizerSpec(
            groups={"regular": Group(self.lr, self.weight_decay)}, rule={}, schedule=schedule, b2=0.98, clip_norm=1.0
        )
        return Recipe(
            model=model,
            optimizer=optimizer,
            batch_size=self.batch_size,
            evaluation_batch_size=32,
            epochs=epochs,
            data=data,
            selection=selection,
            compile=False,  # PyTorch counts the active tokens at run time, which a recorded step cannot
            source={
                "model.layer, optimizer, batch_size, epochs": f"{REPOSITORY} experiment/{self.script}",
                "model.layer widths": f"{REPOSITORY} fairseq/models/lra/model.py",
                "not expressed": NOT_EXPRESSED,
                "optimizer": f"{REPOSITORY} fairseq/optim/adam.py (its epsilon is not corrected for the bias)",
                "optimizer.schedule": f"{REPOSITORY} fairseq/optim/lr_scheduler/linear_decay_schedule.py",
                "data": "Mega's files: bytes cut at 4,000 (Text, Retrieval), pixels standardised by 0.48 and 0.24 "
                "(Image) or 0.5 and 0.5, which are variants of the prepared data; counts of the Long Range Arena "
                "release",
                "selection": f"{REPOSITORY} experiment/{self.script}",
            },
        )


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps, run_lra_listop.sh: 90,000 updates of 64; 392,196 parameters in the layers."""
    numbers = Published(
        script="run_lra_listop.sh",
        encoder_layers=6,
        encoder_embed_dim=80,
        z_dim=64,
        encoder_hidden_dim=160,
        chunk_size=128,
        attention="softmax",
        norm="layer",
        init_temp_scale=0.3,
        lr=0.004,
        weight_decay=0.001,
        dropout=0.1,
        batch_size=64,
        updates=90_000,
        warmup=27_000,
        max_positions=2_002,
    )
    return _lra("listops", profile, numbers)


def lra_text(profile: Profile = "paper") -> Recipe:
    """Text (IMDb reviews by characters), run_lra_text.sh: 25,000 updates of 50; 566,028 parameters in the layers."""
    numbers = Published(
        script="run_lra_text.sh",
        encoder_layers=4,
        encoder_embed_dim=128,
        z_dim=64,
        encoder_hidden_dim=256,
        chunk_size=128,
        attention="softmax",
        norm="scale",
        init_temp_scale=0.3,
        lr=0.004,
        weight_decay=0.01,
        dropout=0.1,
        batch_size=50,
        updates=25_000,
        warmup=10_000,
        max_positions=4_002,
        local_pos=True,
    )
    return _lra("text", profile, numbers, "best test accuracy")


def lra_retrieval(profile: Profile = "paper") -> Recipe:
    """Retrieval (AAN pairs, dual encoder), run_lra_aan.sh: 91,960 updates of 64; 892,458 parameters in the layers."""
    numbers = Published(
        script="run_lra_aan.sh",
        encoder_layers=6,
        encoder_embed_dim=128,
        z_dim=64,
        encoder_hidden_dim=256,
        chunk_size=128,
        attention="softmax",
        norm="scale",
        init_temp_scale=0.3,
        lr=0.003,
        weight_decay=0.04,
        dropout=0.1,
        batch_size=64,
        updates=91_960,
        warmup=10_000,
        max_positions=4_002,
    )
    return _lra("retrieval", profile, numbers)


def lra_image(profile: Profile = "paper") -> Recipe:
    """Image (CIFAR-10 in grey), run_lra_image.sh: 180,000 updates of 50; 1,754,640 parameters in the layers."""
    numbers = Published(
        script="run_lra_image.sh",
        encoder_layers=8,
        encoder_embed_dim=160,
        z_dim=96,
        encoder_hidden_dim=320,
        chunk_size=128,
        attention="relu2",
        norm="batch",
        init_temp_scale=0.4,
        lr=0.01,
        weight_decay=0.02,
        dropout=0.0,
        batch_size=50,
        updates=180_000,
        warmup=9_000,
        max_positions=1_024,
        normalize_before=True,
    )
    return _lra("image", profile, numbers)


def lra_pathfinder(profile: Profile = "paper") -> Recipe:
    """Pathfinder (32 x 32), run_lra_path.sh: 250,000 updates of 128; 858,252 parameters in the layers."""
    numbers = Published(
        script="run_lra_path.sh",
        encoder_layers=6,
        encoder_embed_dim=128,
        z_dim=64,
        encoder_hidden_dim=256,
        chunk_size=128,
        attention="relu2",
        norm="batch",
        init_temp_scale=1.0,
        lr=0.01,
        weight_decay=0.01,
        dropout=0.0,
        batch_size=128,
        updates=250_000,
        warmup=50_000,
        max_positions=1_024,
        normalize_before=True,
    )
    return _lra("pathfinder", profile, numbers)


PATHX = Published(
    script="run_lra_pathx.sh",
    encoder_layers=4,
    encoder_embed_dim=128,
    z_dim=64,
    encoder_hidden_dim=256,
    chunk_size=256,
    attention="relu2",
    norm="batch",
    init_temp_scale=1.0,
    lr=0.01,
    weight_decay=0.01,
    dropout=0.0,
    batch_size=128,
    updates=125_000,
    warmup=25_000,
    warmup_power=2,
    max_positions=128 * 128,
    truncation=128 * 128,
    normalize_before=True,
)


def lra_pathx(profile: Profile = "paper") -> Recipe:
    """Path-X (Pathfinder at 128 x 128), run_lra_pathx.sh: 125,000 updates of 2 x 8 on 8 GPUs, 695,048 parameters in the
    layers; four of them as in the script, where `examples/seqboat/README.lra.md` has six."""
    return _lra("pathx", profile, PATHX)


def lra_path256(profile: Profile = "paper") -> Recipe:
    """Path-256 (256 x 256), a recipe of this project from Path-X's; 1,088,264 parameters in the layers."""
    numbers = dataclasses.replace(PATHX, max_positions=256 * 256, truncation=256 * 256)
    return _lra("path256", profile, numbers)


def speech_commands() -> tuple[SeqBoatConfig, int]:
    """The layer of SC10 on raw audio, experiment/run_sc.sh, and how many of them there are: 290,080 parameters."""
    layer = SeqBoatConfig(
        d_model=60,
        query_size=30,
        value_size=120,
        truncation=4_000,
        window=128,
        attention="relu2",
        bias="local",
        max_positions=16_000,
        initial_temperature=1.0,
        norm="batch",
        prenorm=True,
        density_threshold=1.0,
    )
    return layer, 8


def _scaling(
    train: int, evaluation: int, epochs: int, batch_size: int, depth: int, d_model: int, query_size: int,
    value_size: int, window: int, capacities: int = 2, lengths: tuple[int, int] | None = None,
) -> lra.Scaling:  # fmt: skip
    layer = {"d_model": d_model, "query_size": query_size, "value_size": value_size, "window": window}
    return lra.Scaling(train, evaluation, epochs, batch_size, depth, {**layer, "capacities": capacities}, lengths)


# The one place where smoke and small depart from the paper; the lengths of ListOps are those of S5's smoke profile. The
# runs of smoke are so short that compiling for several capacities takes longer than it saves; those of small compile
# for the whole length and its half.
SCALINGS: dict[tuple[lra.Task, Profile], lra.Scaling] = {
    ("listops", "smoke"): _scaling(8_000, 1_000, 3, 50, 2, 32, 16, 32, 16, 1, (20, 128)),
    ("listops", "small"): _scaling(20_000, 2_000, 8, 50, 4, 64, 32, 128, 64),
    ("pathx", "smoke"): _scaling(80, 40, 1, 10, 2, 16, 8, 32, 16, 1),
    ("path256", "smoke"): _scaling(16, 8, 1, 4, 2, 16, 8, 32, 16, 1),
    ("path256", "small"): _scaling(1_000, 200, 5, 10, 4, 64, 32, 128, 64),
}
SMOKE = _scaling(1_000, 250, 2, 25, 2, 32, 16, 64, 16, 1)
SMALL = _scaling(10_000, 1_000, 5, 50, 4, 64, 32, 128, 64)


def _lra(task: lra.Task, profile: Profile, numbers: Published, selection: Selection = "best validation accuracy"):
    """A task of the Long Range Arena; its recipe made smaller keeps its share of warm-up."""
    model = lra.model(task, numbers.layer(), numbers.encoder_layers, "mega")
    recipe = numbers.recipe(model, lra.data(task, "mega"), selection)
    recipe = lra.derived(recipe) if task == "path256" else recipe
    return lra.profiled(recipe, profile, *lra.of(SCALINGS, task, SMALL, SMOKE))


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
    """Floating-point operations of one forward pass per position where every token is active, which is the most there
    are: matrix products, scores and outputs of the attention, the mixer's FFTs and the encoder."""
    layer = model.layer
    assert isinstance(layer, SeqBoatConfig)
    D, z, h = layer.d_model, layer.query_size, layer.value_size
    seen = layer.max_positions if layer.window is None else layer.around * layer.window
    products = 2 * D * (D + 2) + 2 * D * (z + 2 * h) + 2 * h * D
    transforms = 20 * D * math.log2(2 * layer.max_positions)
    return model.depth * (products + 2 * seen * (z + h) + transforms + 30 * D) + 2 * model.input_size * D
