"""Language modelling for every causal architecture: the data of the tasks, and what smoke and small make of a layer.

The smoke and small recipes are this project's: equal data, updates and about equally many parameters for all (words add
an embedding that grows with the width). An architecture says what layers it stacks in each size (`Layers`); its
published recipes stand in its own file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args

from implementations.common.config import Config
from implementations.models.config import LanguageModelConfig
from suite.recipes.base import DataSpec, LanguageTraining, Profile, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

Task = Literal["book", "pg19", "wikitext103", "enwik8", "arxiv", "github"]
Size = Literal["smoke", "small"]
RecipeFunction = Callable[[Profile], Recipe | None]

BYTES = 258
"""256 bytes, and the ids before and behind a document."""
T5 = 32_128
"""Entries of the T5 vocabulary, in which PG-19 is read: 32,000 pieces and room."""
WORDS = 267_735
"""Words of WikiText-103, `<eos>` and `<unk>` among them."""
WORD_CUTOFFS = (20_000, 60_000)
"""Of the adaptive embedding and softmax on WikiText-103 (fairseq's `transformer_lm_wiki103`)."""

DATA: dict[Task, tuple[DataSpec, int]] = {
    "book": (DataSpec("book", {}), BYTES),
    "pg19": (DataSpec("pg19", {}), BYTES),
    "wikitext103": (DataSpec("wikitext103", {}), WORDS),
    "enwik8": (DataSpec("enwik8", {}), BYTES),
    "arxiv": (DataSpec("arxiv", {}), BYTES),
    "github": (DataSpec("github", {}), BYTES),
}
"""The prepared data of each task in smoke and small, and the size of its vocabulary: words, elsewhere bytes."""

PIECES = {"tokenizer": "sentencepiece"}
"""The setting of PG-19, arXiv and GitHub in the published recipes."""


@dataclasses.dataclass(frozen=True)
class Layers:
    """A stack: `layer` at every depth that `placed` does not name; `rule` and `groups` are the optimizer's, see there.

    `windows`: trained on windows by themselves, as a layer must be whose states grow without end.
    """

    layer: Config
    depth: int
    placed: tuple[tuple[int, Config], ...] = ()
    rule: tuple[str, ...] = ()
    windows: bool = False


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a size fixes for every architecture."""

    segment: int
    evaluation_segment: int
    batch_size: int
    updates: int
    epochs: int
    rate: float
    dropout: float


SCALES: dict[Size, Scale] = {
    "smoke": Scale(segment=128, evaluation_segment=1024, batch_size=8, updates=50, epochs=4, rate=0.005, dropout=0.0),
    "small": Scale(
        segment=512, evaluation_segment=4096, batch_size=16, updates=2_500, epochs=8, rate=0.001, dropout=0.1
    ),
}
LENGTH_TASKS: tuple[Task, ...] = ("book", "pg19")
LENGTHS: dict[Size, tuple[int, ...]] = {
    "smoke": (128, 512, 1_024, 4_096, 16_384),
    "small": (512, 2_048, 4_096, 16_384, 65_536),
}
"""How many tokens are read before the states are emptied, in the studies of length."""
SSM_RATE = 0.001
SOURCE = {
    "all": "this project's own recipe, the same for every architecture but for its layers",
    "model.cutoffs": "fairseq's transformer_lm_wiki103",
}


def model(task: Task, layers: Layers, **changes: Any) -> LanguageModelConfig:
    """The model of a task around a stack of layers; words have an adaptive embedding and softmax."""
    options: dict[str, Any] = {"input_size": DATA[task][1], "output": "separate", "final_norm": "layer"}
    if task == "wikitext103":
        options |= {"embedding": "adaptive", "output": "adaptive_tied", "cutoffs": WORD_CUTOFFS, "loss_block": 128}
    return LanguageModelConfig(
        layer=layers.layer,
        depth=layers.depth,
        placed=layers.placed,
        input_kind="tokens",
        **{**options, **changes},
    )


def project(task: Task, size: Size, layers: Layers) -> Recipe:
    """The recipe of a task in smoke or small."""
    scale = SCALES[size]
    total = scale.updates * scale.epochs
    segment = scale.segment
    language = LanguageTraining(
        updates=scale.updates,
        segment=segment,
        evaluation_segment=segment if layers.windows else scale.evaluation_segment,
        carried=not layers.windows,
        evaluation="strided" if layers.windows else "carried",
        stride=segment // 2 if layers.windows else None,
    )
    return Recipe(
        model=model(task, layers),
        optimizer=OptimizerSpec(
            groups={"regular": Group(scale.rate, 0.01), "ssm": Group(SSM_RATE)},
            rule=dict.fromkeys(layers.rule, "ssm"),
            schedule=Schedule(warmup_steps=total // 10, total_steps=total, decay="cosine_after_warmup"),
            clip_norm=1.0,
        ),
        batch_size=scale.batch_size,
        evaluation_batch_size=scale.batch_size,
        epochs=scale.epochs,
        data=DATA[task][0],
        selection="best validation loss",
        source=dict(SOURCE),
        language=language,
    )


def length_study(task: Task, size: Size, layers: Layers) -> Recipe:
    """Trained on windows of the size's segment, from empty states, and read at that length and others."""
    recipe, scale = project(task, size, layers), SCALES[size]
    language = LanguageTraining(
        updates=scale.updates,
        segment=scale.segment,
        evaluation_segment=scale.evaluation_segment,
        carried=False,
        lengths=LENGTHS[size],
    )
    return recipe.replace(language=language)


def recipes(
    layers: Callable[[Size], Layers], published: dict[Task, Callable[[], Recipe]] | None = None
) -> dict[str, RecipeFunction]:
    """The recipe functions of an architecture by task; without a published recipe the paper profile has None."""
    papers = published or {}

    def function(task: Task) -> RecipeFunction:
        def recipe(profile: Profile = "paper") -> Recipe | None:
            if profile == "paper":
                return papers[task]() if task in papers else None
            return project(task, profile, layers(profile))

        return recipe

    def study(task: Task) -> RecipeFunction:
        def recipe(profile: Profile = "paper") -> Recipe | None:
            return None if profile == "paper" else length_study(task, profile, layers(profile))

        return recipe

    found = {f"lm.{task}": function(task) for task in get_args(Task)}
    return found | {f"length.{task}": study(task) for task in LENGTH_TASKS}
