"""SPADE on GLUE, without what makes the paper's numbers: a pre-trained model.

Zuo et al. 2022 (arXiv 2212.08136) pre-train a T5-like encoder-decoder and fine-tune it. Neither the weights nor the
numbers of the fine-tuning are published; here its encoder (`suite.recipes.spade.encoder`) is trained on the bytes of
each task, from scratch or from embedding and encoder of the weights of `suite/recipes/pretraining.py`
(`--set initial_weights=FILE`), which measures the architecture and the pipeline but not the paper.
"""

from __future__ import annotations

from collections.abc import Callable

from implementations.models.config import ClassifierConfig
from suite.data.glue import KINDS, VOCABULARY_SIZE
from suite.recipes import spade
from suite.recipes.base import DataSpec, Profile, Recipe
from suite.training.optimizer import Schedule

UNSTATED = "not stated for SPADE; a customary choice"
UNPUBLISHED = "no pre-trained SPADE is published: from scratch, or initial_weights; bytes in place of T5's vocabulary"
BATCH_SIZE, EPOCHS, RATE, WEIGHT_DECAY, WARMUP = 32, 10, 3e-4, 0.01, 0.06


def recipe(name: str, profile: Profile = "paper") -> Recipe:
    """One task by the name of its data set; smoke and small have fewer examples, layers and features."""
    kind = KINDS[name]
    train = {"paper": kind.train, "small": min(kind.train, 8_000), "smoke": min(kind.train, 600)}[profile]
    test = {"paper": kind.test, "small": kind.test, "smoke": min(kind.test, 200)}[profile]
    epochs = {"paper": EPOCHS, "small": 5, "smoke": 2}[profile]
    layer = spade.encoder()
    if profile != "paper":
        width, window, depth = {"small": (128, 65, 4), "smoke": (32, 17, 2)}[profile]
        sizes = {"d_model": width, "d_ff": 2 * width, "heads": 4, "window": window, "s4_state_size": 16}
        parts = {part: getattr(layer, part).replace(**sizes) for part in ("bottom", "upper")}
        layer = layer.replace(**parts, depth=depth)
    total = train // BATCH_SIZE * epochs
    schedule = Schedule(warmup_steps=round(WARMUP * total), total_steps=total, decay="linear", warmup_from=0.0)
    return Recipe(
        model=ClassifierConfig(layer, 1, "tokens", VOCABULARY_SIZE, len(kind.labels) or 1),
        optimizer=spade.encoder_decoder_optimizer(RATE if profile == "paper" else 3 * RATE, WEIGHT_DECAY, schedule),
        batch_size=BATCH_SIZE,
        evaluation_batch_size=BATCH_SIZE,
        epochs=epochs,
        data=DataSpec(name, {"train": train, "validation": 0, "test": test}),
        selection="last epoch",
        source={
            "model.layer": spade.ENCODER_DECODER,
            "model": UNPUBLISHED,
            "batch_size, epochs, optimizer": UNSTATED,
            "optimizer.groups": f"{spade.ENCODER_DECODER}: A and B of S4 keep their initial values",
            "selection": "development examples select nothing",
        },
    )


def _task(name: str) -> Callable[[Profile], Recipe]:
    return lambda profile="paper": recipe(name, profile)


RECIPES: dict[str, dict[str, Callable[[Profile], Recipe]]] = {
    "spade": {name.replace("_", "."): _task(name) for name in KINDS}
}
