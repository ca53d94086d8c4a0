"""SeqBoat as a language model: the authors' recipe for enwik8, and layers of the sizes that are compared here.

Ren, Liu, Wang, Xu, Zhu and Zhai 2023 (arXiv 2306.11197), `examples/seqboat/README.lm.md` at renll/SeqBoat@5a34aed.
"""

from __future__ import annotations

from implementations.seqboat.config import SeqBoatConfig
from suite.recipes import language
from suite.recipes.base import LanguageTraining, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule


def enwik8() -> tuple[SeqBoatConfig, int]:
    """The layer of enwik8, examples/seqboat/README.lm.md (slag_lm_enwik8_base_v2), and how many of them there are:
    38,946,362 parameters.

    It streams: `density_threshold` is None, where the authors train one sequence of 8192 bytes on each GPU.
    """
    layer = SeqBoatConfig(
        d_model=616,
        query_size=128,
        value_size=1_232,
        truncation=2_048,
        bidirectional=False,
        window=1_024,
        bias="rotary",
        initial_temperature=1.0,
        prenorm=True,
        dropout=0.15,
    )
    return layer, 14


def language_layers(size: language.Size) -> language.Layers:
    """Layers that look back only, with rotary positions, for language modelling; a recipe of this project."""
    d_model, query_size, value_size, window, depth, capacities = {
        "smoke": (64, 32, 128, 32, 3, 1),
        "small": (384, 64, 768, 128, 4, 2),
    }[size]
    layer = SeqBoatConfig(
        d_model=d_model,
        query_size=query_size,
        value_size=value_size,
        bidirectional=False,
        window=window,
        bias="rotary",
        initial_temperature=1.0,
        prenorm=True,
        dropout=language.SCALES[size].dropout,
        capacities=capacities,
    )
    return language.Layers(layer, depth)


def language_enwik8() -> Recipe:
    """enwik8, examples/seqboat/README.lm.md."""
    layer, depth = enwik8()
    updates, evaluations, length, context = 400_000, 40, 8_192, 7_000
    model = language.model(
        "enwik8", language.Layers(layer, depth), output="tied", embedding_stddev=layer.d_model**-0.5, loss_block=2_048
    )
    schedule = Schedule(warmup_steps=24_000, total_steps=updates, decay="linear", warmup_from=0.002)
    return Recipe(
        model=model,
        optimizer=OptimizerSpec(
            groups={"regular": Group(0.005, 0.1)},
            rule={},
            schedule=schedule,
            b2=0.98,
            clip_norm=0.25,
            algorithm="radam",
        ),
        batch_size=8,
        evaluation_batch_size=8,
        epochs=evaluations,
        data=language.DATA["enwik8"][0],
        selection="best validation loss",
        source={
            "model, optimizer": "renll/SeqBoat@5a34aed examples/seqboat/README.lm.md, slag_lm_enwik8_base_v2",
            "model.input_size": "bytes and two more; the authors have the 205 that occur",
            "language.segment, batch_size": "8,192 bytes on each of 8 GPUs",
            "language.evaluation": "README.lm.md: samples of 8,192 bytes, of which 7,000 are context",
            "language.updates, epochs": "400,000 updates; how often they evaluate is not known, here 40 times",
            "not expressed": "the final norm there learns no scale; whether the authors scale the embedding and drop "
            "elements of it is not known to us",
        },
        language=LanguageTraining(
            updates=updates // evaluations,
            segment=length,
            evaluation_segment=length,
            carried=False,
            evaluation="strided",
            stride=length - context,
        ),
    )


LANGUAGE_RECIPES = language.recipes(language_layers, {"enwik8": language_enwik8})
