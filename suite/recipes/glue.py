"""SPADE on GLUE, without what makes the paper's numbers: a pre-trained model.

Zuo et al. 2022 (arXiv 2212.08136) pre-train a T5-like encoder-decoder and fine-tune it. Neither the weights nor the
numbers of the fine-tuning are published; here the model of `suite/recipes/summaries.py` is trained on the bytes of each
task, from scratch or from the weights of `suite/recipes/pretraining.py` (`--set initial_weights=FILE`), which measures
the architecture and the pipeline but not the paper. Classes are read from the decoder's first position, behind its
start token; `--set model.pooling=mean` reads them from the mean of the encoder's outputs, without the decoder.
"""

from __future__ import annotations

from collections.abc import Callable

from suite.data.glue import KINDS, TASKS
from suite.recipes import spade, summaries
from suite.recipes.base import DataSpec, Profile, Recipe
from suite.recipes.summaries import UNPUBLISHED, UNSTATED
from suite.training.optimizer import Schedule

BATCH_SIZE, EPOCHS, RATE, WEIGHT_DECAY, WARMUP = 32, 10, 3e-4, 0.01, 0.06


def recipe(task: str, profile: Profile = "paper") -> Recipe:
    """One task by its name; smoke and small have fewer examples, layers and features."""
    name, settings = TASKS[task]
    kind = KINDS[name]
    tested: int = settings.get("test", kind.test)
    train = {"paper": kind.train, "small": min(kind.train, 8_000), "smoke": min(kind.train, 600)}[profile]
    test = {"paper": tested, "small": min(tested, 2_000), "smoke": min(tested, 200)}[profile]
    epochs = {"paper": EPOCHS, "small": 5, "smoke": 2}[profile]
    total = train // BATCH_SIZE * epochs
    schedule = Schedule(warmup_steps=round(WARMUP * total), total_steps=total, decay="linear", warmup_from=0.0)
    return Recipe(
        model=summaries.model(profile).replace(classes=len(kind.labels) or 1, pooling="first"),
        optimizer=spade.encoder_decoder_optimizer(RATE if profile == "paper" else 3 * RATE, WEIGHT_DECAY, schedule),
        batch_size=BATCH_SIZE,
        evaluation_batch_size=BATCH_SIZE,
        epochs=epochs,
        data=DataSpec(name, {**settings, "train": train, "validation": 0, "test": test}),
        selection="last epoch",
        source={
            "model.layer, decoder_layer": spade.ENCODER_DECODER,
            "model.pooling": "the decoder's first position, as of T5-like models; not stated for SPADE",
            "model": UNPUBLISHED,
            "batch_size, epochs, optimizer": UNSTATED,
            "optimizer.groups": f"{spade.ENCODER_DECODER}: A and B of S4 keep their initial values",
            "selection": "development examples select nothing",
        },
    )


def _task(name: str) -> Callable[[Profile], Recipe]:
    return lambda profile="paper": recipe(name, profile)


RECIPES: dict[str, dict[str, Callable[[Profile], Recipe]]] = {"spade": {name: _task(name) for name in TASKS}}
