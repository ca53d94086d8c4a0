"""A language data set in memory, and models of every kind of state that are small enough to train in a test."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np

from implementations.block_recurrent.config import BlockRecurrentConfig
from implementations.models.config import LanguageModelConfig
from implementations.s5.config import S5Config
from implementations.transformer.config import TransformerConfig
from suite.data.text.split import TextSplit
from suite.recipes.base import DataSpec, LanguageTraining, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

VOCABULARY = 11
BEGIN = 10
RECURRENT = BlockRecurrentConfig(d_model=8, heads=2, head_width=4, d_ff=8, window=3, states=2)
S5 = S5Config(d_model=8, ssm_size=4)
FULL = TransformerConfig(d_model=8, heads=2, head_width=4, d_ff=8, causal=True, positions="rotary", dropout=0.1)


def split(lengths: list[int], seed: int) -> TextSplit:
    """Documents of a noisy cycle of tokens, two bytes each, and a word for every third."""
    rng = np.random.default_rng(seed)
    documents = [(np.arange(n) + rng.integers(10)) % 10 for n in lengths]
    tokens = np.concatenate(documents)
    noisy = np.where(rng.random(len(tokens)) < 0.1, rng.integers(0, 10, len(tokens)), tokens).astype(np.uint8)
    sizes = np.array(lengths)
    return TextSplit(noisy, np.concatenate([[0], np.cumsum(sizes)]), 2 * sizes, -(-sizes // 3), BEGIN)


def text() -> Any:
    """A prepared text as the loop sees it."""
    facts = {"name": "cycle", "vocabulary_size": VOCABULARY, "tokenizer": "digits"}
    parts = {"train": split([29, 7, 18, 40], 0), "validation": split([13, 22], 1), "test": split([31, 5, 8], 2)}
    return SimpleNamespace(name="cycle", protocol=facts, hashes={}, **parts)


def recipe(layer: Any = RECURRENT, **changes: Any) -> Recipe:
    """Twelve updates on segments of five tokens, an evaluation after every four."""
    language = changes.pop("language", {})
    placed = {RECURRENT: ((1, S5),)}.get(layer, ())
    model = LanguageModelConfig(
        layer=layer,
        depth=1 + len(placed),
        placed=placed,
        input_kind="tokens",
        input_size=VOCABULARY,
        scale_logits=True,
        final_norm="layer",
    )
    return Recipe(
        model=model,
        optimizer=OptimizerSpec(
            groups={"regular": Group(0.02, 0.01)},
            rule={},
            schedule=Schedule(warmup_steps=2, total_steps=12),
            clip_norm=1.0,
        ),
        batch_size=3,
        evaluation_batch_size=2,
        epochs=3,
        data=DataSpec("cycle", {}),
        selection="best validation loss",
        language=LanguageTraining(**{"updates": 4, "segment": 5, "evaluation_segment": 6, **language}),
    ).replace(**changes)


def windows(layer: Any = FULL) -> Recipe:
    """The same on windows by themselves, with a strided evaluation."""
    strided = {"carried": False, "evaluation": "strided", "evaluation_segment": 6, "stride": 4}
    return recipe(layer, language=strided)


def plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe after a journey through JSON."""
    return json.loads(json.dumps(recipe.to_dict()))
