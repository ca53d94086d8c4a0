"""SPADE's encoder-decoder on summaries of meetings, without what makes the paper's numbers: a pre-trained model.

Zuo et al. 2022 (arXiv 2212.08136) pre-train a T5-like encoder-decoder by span corruption and fine-tune it. Neither the
weights nor the numbers of the fine-tuning on summaries can be had; here the model is trained on the bytes of each
question, transcript and answer, from scratch or from the weights of `suite/recipes/pretraining.py`
(`--set initial_weights=FILE`), which measures the architecture and the pipeline but not the paper.
"""

from __future__ import annotations

from collections.abc import Callable

from implementations.models.config import EncoderDecoderConfig
from implementations.transformer.config import TransformerConfig
from suite.data.glue import END, VOCABULARY_SIZE
from suite.recipes import spade
from suite.recipes.base import DataSpec, Generation, Profile, Recipe
from suite.training.optimizer import Schedule

UNSTATED = "not stated for SPADE; a customary choice"
UNPUBLISHED = "no pre-trained SPADE is published: from scratch, or initial_weights; bytes in place of T5's vocabulary"
BATCH_SIZE, RATE, WEIGHT_DECAY, WARMUP = 8, 1e-3, 0.01, 0.1
COUNTS = {"paper": (1_257, 272, 281), "small": (1_257, 272, 281), "smoke": (160, 16, 16)}
"""Questions of the splits: all of them in paper and small."""
LENGTHS = {"paper": (16_384, 512), "small": (2_048, 256), "smoke": (256, 64)}
EPOCHS = {"paper": 20, "small": 10, "smoke": 3}
START = 0
"""The token before the first, which is padding's, as in T5."""


def model(profile: Profile) -> EncoderDecoderConfig:
    """The T5-like model; narrower and shallower in small and smoke."""
    layer, depth, written = spade.encoder(), 6, LENGTHS[profile][1]
    sizes = {}
    if profile != "paper":
        width, window, depth = {"small": (128, 65, 4), "smoke": (32, 17, 2)}[profile]
        sizes = {"d_model": width, "d_ff": 2 * width, "heads": 4}
        parts = {
            part: getattr(layer, part).replace(**sizes, window=window, s4_state_size=16) for part in ("bottom", "upper")
        }
        layer = layer.replace(**parts, depth=depth)
        sizes["head_width"] = width // 4
    own = spade.decoder(**sizes, max_length=written)
    cross = TransformerConfig(
        d_model=own.d_model,
        heads=own.heads,
        head_width=own.head_width,
        d_ff=own.d_ff,
        activation=own.activation,
        prenorm=False,
        positions="none",
        dropout=own.dropout,
    )
    return EncoderDecoderConfig(
        layer=layer,
        depth=1,
        input_kind="tokens",
        input_size=VOCABULARY_SIZE,
        decoder_layer=own.replace(d_ff=0),
        decoder_depth=depth,
        cross=cross,
        scale_logits=True,
        start=START,
        end=END,
    )


def qmsum(profile: Profile = "paper") -> Recipe:
    """QMSum; smoke has fewer questions, and all but paper read the beginning of the transcripts only."""
    train, validation, test = COUNTS[profile]
    read, written = LENGTHS[profile]
    total = train // BATCH_SIZE * EPOCHS[profile]
    schedule = Schedule(warmup_steps=round(WARMUP * total), total_steps=total, decay="linear", warmup_from=0.0)
    return Recipe(
        model=model(profile),
        optimizer=spade.encoder_decoder_optimizer(RATE if profile == "paper" else 3 * RATE, WEIGHT_DECAY, schedule),
        batch_size=BATCH_SIZE,
        evaluation_batch_size=BATCH_SIZE,
        epochs=EPOCHS[profile],
        data=DataSpec("qmsum", {"train": train, "validation": validation, "test": test}),
        selection="best validation loss",
        source={
            "model.layer, decoder_layer": spade.ENCODER_DECODER,
            "model": UNPUBLISHED,
            "generation": f"{UNSTATED}; the beginning of a transcript in place of a search for what is relevant",
            "batch_size, epochs, optimizer": UNSTATED,
            "optimizer.groups": f"{spade.ENCODER_DECODER}: A and B of S4 keep their initial values",
        },
        generation=Generation(input_length=read, target_length=written, beams=4 if profile == "paper" else 1),
    )


RECIPES: dict[str, dict[str, Callable[[Profile], Recipe]]] = {"spade": {"summaries.qmsum": qmsum}}
