"""Mega as a language model: the authors' recipes for enwik8 and WikiText-103, and layers of the sizes compared here.

Ma et al. 2023 (arXiv 2209.10655), table 5 and appendix; commands of `examples/mega/README.lm.md` and the definitions
mega_lm_enwik8_base and mega_lm_adaptive_big of `fairseq/models/mega_lm.py`, at facebookresearch/mega@09f1a87.
"""

from __future__ import annotations

from implementations.mega.config import MegaConfig
from implementations.models.config import LanguageModelConfig
from suite.recipes import language
from suite.recipes.base import LanguageTraining, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

REPOSITORY = "facebookresearch/mega@09f1a87"
README = f"{REPOSITORY} examples/mega/README.lm.md"
UPDATES, WARMUP, EVALUATIONS = 400_000, 24_000, 40


def enwik8() -> tuple[MegaConfig, int]:
    """The layer of enwik8 (mega_lm_enwik8_base) and how many of them there are: 39 million parameters.

    Nothing is truncated: the authors' kernels have 8,192 lags in training, as many as the longest sample has positions,
    and carry their averages where the model is tested.
    """
    layer = MegaConfig(
        d_model=512,
        query_size=128,
        value_size=1_024,
        feedforward_size=1_024,
        bidirectional=False,
        chunk_size=2_048,
        bias="rotary",
        prenorm=True,
        dropout=0.1,
    )
    return layer, 12


def wikitext103() -> tuple[MegaConfig, int]:
    """The layer of WikiText-103 (mega_lm_adaptive_big) and how many of them there are: 252 million parameters.

    v and the width of the feed-forward block are the command's 2,048; the paper's table of hyper-parameters has 1,536,
    with which the model would have 210 million in place of the 252 that its table of results prints.
    """
    layer = MegaConfig(
        d_model=1_024,
        query_size=256,
        value_size=2_048,
        feedforward_size=2_048,
        bidirectional=False,
        chunk_size=1_024,
        bias="rotary",
        prenorm=True,
        dropout=0.3,
        attention_dropout=0.1,
        hidden_dropout=0.1,
    )
    return layer, 16


def language_layers(size: language.Size) -> language.Layers:
    """Mega-chunk, looking back only, with rotary positions, for language modelling; a recipe of this project."""
    d_model, query_size, value_size, chunk_size, depth = {
        "smoke": (64, 32, 128, 32, 2),
        "small": (304, 64, 608, 128, 4),
    }[size]
    layer = MegaConfig(
        d_model=d_model,
        query_size=query_size,
        value_size=value_size,
        feedforward_size=value_size,
        bidirectional=False,
        chunk_size=chunk_size,
        bias="rotary",
        prenorm=True,
        dropout=language.SCALES[size].dropout,
    )
    return language.Layers(layer, depth)


def _recipe(task: language.Task, model: LanguageModelConfig, segment: int, rows: int, definition: str) -> Recipe:
    """What both commands share: the optimizer, 400,000 updates on samples by themselves, states carried in tests."""
    schedule = Schedule(warmup_steps=WARMUP, total_steps=UPDATES, decay="linear", warmup_from=1e-7)
    return Recipe(
        model=model,
        optimizer=OptimizerSpec(
            groups={"regular": Group(0.005, 0.1)}, rule={}, schedule=schedule, b2=0.98, eps=1e-8, clip_norm=0.25
        ),
        batch_size=rows,
        evaluation_batch_size=1,
        epochs=EVALUATIONS,
        data=language.DATA[task][0],
        selection="best validation loss",
        source={
            "model, optimizer": f"{README}, {definition}",
            "optimizer.clip_norm": f"{README}; the paper's table has 1.0",
            "language.segment, batch_size": f"{segment:,} tokens on each of {rows} GPUs",
            "language.carried": "samples by themselves in training",
            "language.evaluation": "fairseq_cli/eval_mega_lm.py: averages and unfinished chunks are carried",
            "language.updates, epochs": "400,000 updates; the authors evaluate after every epoch, here "
            f"{EVALUATIONS} times",
            "not expressed": "the final norm there learns neither scale nor bias; samples have a random number of "
            "chunks, as many as fit into so many tokens, where here all have the most, and end with lines; "
            "a test reads the split in blocks of its own, each from empty states, in chunks twice as long",
        },
        language=LanguageTraining(
            updates=UPDATES // EVALUATIONS, segment=segment, evaluation_segment=segment, carried=False
        ),
    )


def language_enwik8() -> Recipe:
    """enwik8: samples of up to 4 chunks of 2,048 bytes; tested in 50 blocks, in chunks of 4,096."""
    layer, depth = enwik8()
    model = language.model(
        "enwik8",
        language.Layers(layer, depth),
        output="tied",
        embedding_stddev=layer.d_model**-0.5,
        scale_embedding=True,
        embedding_dropout=layer.dropout,
        loss_block=2_048,
    )
    recipe = _recipe("enwik8", model, 8_192, 8, "mega_lm_enwik8_base")
    return recipe.replace(
        source={**recipe.source, "model.input_size": "bytes and two more; the authors have those that occur"}
    )


def language_wikitext103() -> Recipe:
    """WikiText-103: samples of up to 6 chunks of 1,024 words; tested in 10 blocks, in chunks of 2,048."""
    layer, depth = wikitext103()
    model = language.model(
        "wikitext103",
        language.Layers(layer, depth),
        scale_embedding=True,
        embedding_dropout=layer.dropout,
        output_dropout=0.2,
    )
    return _recipe("wikitext103", model, 6_144, 24, "mega_lm_adaptive_big")


LANGUAGE_RECIPES = language.recipes(language_layers, {"enwik8": language_enwik8, "wikitext103": language_wikitext103})
