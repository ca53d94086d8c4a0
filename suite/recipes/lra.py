"""The Long Range Arena for every architecture: its prepared data, and what smoke and small make of a published recipe.

S5's recipes have scalings of their own (`suite.recipes.s5`), which came first and stand in published records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from implementations.common.config import Config
from implementations.models.config import ClassifierConfig, DualEncoderConfig, ModelConfig
from suite.recipes.base import DataSpec, Profile, Recipe
from suite.recipes.s5 import LISTOPS_RELEASE

Task = Literal["listops", "text", "retrieval", "image", "pathfinder", "pathx", "path256"]
Line = Literal["s4", "mega", "lra"]
"""Who reads the data how: the S4 and S5 papers, Mega and SeqBoat, or Tay et al. 2021."""

DATA: dict[Task, dict[str, Any]] = {
    "listops": LISTOPS_RELEASE,
    "text": {"train": 25_000, "validation": 0, "test": 25_000},
    "retrieval": {"train": 147_086, "validation": 18_090, "test": 17_437},
    "image": {"train": 45_000, "validation": 5_000, "test": 10_000},
    "pathfinder": {"train": 160_000, "validation": 20_000, "test": 20_000},
    "pathx": {"train": 160_000, "validation": 20_000, "test": 20_000},
    "path256": {"train": 160_000, "validation": 20_000, "test": 20_000, "resolution": 256},
}
"""The splits, which are those of the S4 line: Mega and SeqBoat publish files of their own, with the same counts."""

VARIANTS: dict[Line, dict[Task, str]] = {
    "s4": {},
    "mega": {"text": "lra", "retrieval": "lra", "image": "mega"},
    "lra": {"text": "lra", "retrieval": "lra"},
}
"""The variant of the prepared data by line, where it is not that of the S4 line: bytes in place of characters, and
pixels standardised by 0.48 and 0.24. Of ListOps, Pathfinder and Path-X there is one."""

INPUTS: dict[Task, tuple[Literal["tokens", "values"], int, int]] = {
    "listops": ("tokens", 20, 10),
    "text": ("tokens", 135, 2),
    "retrieval": ("tokens", 98, 2),
    "image": ("values", 1, 10),
    "pathfinder": ("values", 1, 2),
    "pathx": ("values", 1, 2),
    "path256": ("values", 1, 2),
}
"""Kind of input, its size (vocabulary or channels), and the number of classes."""

BYTES = 257
"""Entries of the vocabulary of variant "lra" of Text and Retrieval: padding and the bytes."""

LENGTH: dict[Task, int] = {
    "listops": 2048,
    "text": 4096,
    "retrieval": 4000,
    "image": 1024,
    "pathfinder": 1024,
    "pathx": 16384,
    "path256": 65536,
}
"""The longest sequence of the S4 line (`l_max` of the authors' data sets)."""

PATH256 = (
    "derived in this project from the recipe of Path-X, since none is published for 256 x 256: the numbers are those "
    "of 128 x 128 but for what follows the length, which is four times as long (positions; the least time step of an "
    "SSM is a quarter)"
)
"""What a recipe of Path-256 says of its sources."""

TYPICAL_LENGTH = 1024
"""What estimates of cost take where the cost of a position depends on the length."""

FFT_OPERATIONS = 2 * 5 * 11
"""Per position and feature: an FFT forwards and one back, of twice the typical length."""


def data(task: Task, line: Line = "s4") -> DataSpec:
    """The prepared data of a task, as a line of papers reads them."""
    variant, name = VARIANTS[line].get(task), "pathx" if task == "path256" else task
    return DataSpec(f"lra_{name}", {**DATA[task], **({"variant": variant} if variant else {})})


def length(task: Task, line: Line = "s4") -> int:
    """The longest sequence of a task in a line's variant of the data, with its padding."""
    return 4000 if VARIANTS[line].get(task) == "lra" else LENGTH[task]


def model(task: Task, layer: Config, depth: int, line: Line = "s4") -> ClassifierConfig | DualEncoderConfig:
    """A stack of layers for a task, mean-pooled; retrieval encodes two documents."""
    kind, size, classes = INPUTS[task]
    size = BYTES if VARIANTS[line].get(task) == "lra" else size
    cls = DualEncoderConfig if task == "retrieval" else ClassifierConfig
    return cls(layer=layer, depth=depth, input_kind=kind, input_size=size, classes=classes, pooling="mean")


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What a profile changes of a published recipe: `layer` fields; `lengths`, the bounds of the ListOps generator; and
    `rate`, a factor of the base rates."""

    train: int
    evaluation: int
    epochs: int
    batch_size: int
    depth: int
    layer: dict[str, Any]
    lengths: tuple[int, int] | None = None
    rate: float = 1.0


def scaled(recipe: Recipe, to: Scaling, warmup: Literal["epochs", "share"] = "share") -> Recipe:
    """The published recipe made smaller; its warm-up keeps its share of the run, or its number of epochs."""
    settings = recipe.data.settings
    counts: dict[str, Any] = {"train": to.train, "test": to.evaluation}
    counts["validation"] = to.evaluation if settings["validation"] else 0
    if to.lengths is not None:
        counts |= {"min_length": to.lengths[0], "max_length": to.lengths[1]}
    spec: Any = recipe.model
    groups = {name: group.replace(rate=to.rate * group.rate) for name, group in recipe.optimizer.groups.items()}
    return recipe.rescaled(
        warmup,
        matmul_precision="float32",
        optimizer=recipe.optimizer.replace(groups=groups),
        model=spec.replace(layer=spec.layer.replace(**to.layer), depth=to.depth),
        data=recipe.data.replace(settings={**settings, **counts}),
        batch_size=to.batch_size,
        evaluation_batch_size=to.batch_size,
        epochs=to.epochs,
    )


def long(smoke: dict[str, Any], small: dict[str, Any]) -> dict[tuple[Task, Profile], Scaling]:
    """Scalings of images too large for two cores to learn: smoke ends at the majority class and shows that their
    pixels pass, as S5's does."""
    return {
        ("pathx", "smoke"): Scaling(80, 40, 1, 10, 2, smoke),
        ("path256", "smoke"): Scaling(16, 8, 1, 4, 2, smoke),
        ("path256", "small"): Scaling(1_000, 200, 5, 10, 4, small),
    }


def of(scalings: Mapping[tuple[Task, Profile], Scaling], task: Task, small: Scaling, smoke: Scaling):
    """The scalings of a task for small and smoke, those given where it has none of its own."""
    return scalings.get((task, "small"), small), scalings.get((task, "smoke"), smoke)


def profiled(recipe: Recipe, profile: Profile, small: Scaling, smoke: Scaling) -> Recipe:
    """The recipe of a profile."""
    return recipe if profile == "paper" else scaled(recipe, small if profile == "small" else smoke)


def derived(recipe: Recipe) -> Recipe:
    """A recipe of Path-256 that says where its numbers come from."""
    return recipe.replace(source={"all": PATH256, **recipe.source})


def layer_of(spec: ModelConfig) -> Any:
    """The config of a model's layers."""
    return spec.layer
