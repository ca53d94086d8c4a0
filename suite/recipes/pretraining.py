"""SPADE's encoder-decoder before it is fine-tuned: span corruption of the bytes of books.

Zuo et al. 2022 (arXiv 2212.08136) pre-train a T5-like model and publish neither its weights nor its training. The model
is that of `suite/recipes/summaries.py` in each profile, so that every parameter starts a summary, or a classifier of
`suite/recipes/glue.py` but for the head that reads the classes (`suite/training/weights.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

from suite.recipes import spade, summaries
from suite.recipes.base import DataSpec, Profile, Recipe, SpanCorruption
from suite.training.optimizer import Schedule

Text = Literal["book", "pg19", "pg19_like"]
TEXTS: tuple[Text, ...] = ("book", "pg19", "pg19_like")
T5 = "T5 (Raffel et al. 2020, section 3.1); not stated for SPADE"
BYT5 = "ByT5 (Xue et al. 2022, section 3.1); not stated for SPADE"
SPANS = {
    "paper": SpanCorruption(updates=16_384, length=1_024, evaluated=4_096),
    "small": SpanCorruption(updates=2_000, length=1_024, evaluated=512),
    "smoke": SpanCorruption(updates=100, length=256, evaluated=64),
}
EPOCHS = {"paper": 32, "small": 8, "smoke": 3}
BATCH_SIZE = {"paper": 128, "small": 16, "smoke": 16}
RATE = {"paper": 1e-3, "small": 2e-3, "smoke": 6e-3}
WARMUP = 0.02


def recipe(text: Text, profile: Profile = "paper") -> Recipe | None:
    """Span corruption of a text; None in the paper profile but for PG-19, which is nearest to a paper's collection."""
    if profile == "paper" and text != "pg19":
        return None
    spans = SPANS[profile]
    total = spans.updates * EPOCHS[profile]
    schedule = Schedule(warmup_steps=round(WARMUP * total), total_steps=total, decay="linear", warmup_from=0.0)
    return Recipe(
        model=summaries.model(profile),
        optimizer=spade.encoder_decoder_optimizer(RATE[profile], summaries.WEIGHT_DECAY, schedule),
        batch_size=BATCH_SIZE[profile],
        evaluation_batch_size=BATCH_SIZE[profile],
        epochs=EPOCHS[profile],
        data=DataSpec(text, {}),
        selection="last epoch",
        source={
            "model.layer, decoder_layer": spade.ENCODER_DECODER,
            "model": "bytes in place of T5's vocabulary; the texts of SPADE's pre-training are not stated",
            "span_corruption.noise_density, batch_size, updates": T5,
            "span_corruption.length, mean_span_length": f"{BYT5}: 1,024 bytes, spans of 20",
            "optimizer": summaries.UNSTATED,
            "optimizer.groups": f"{spade.ENCODER_DECODER}: A and B of S4 keep their initial values",
            "selection, evaluated": "this project's",
        },
        span_corruption=spans,
    )


def _task(text: Text) -> Callable[[Profile], Recipe | None]:
    return functools.partial(recipe, text)


RECIPES: dict[str, dict[str, Callable[[Profile], Recipe | None]]] = {
    "spade": {f"pretraining.{text}": _task(text) for text in TEXTS}
}
