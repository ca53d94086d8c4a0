"""The loop of span corruption: windows of a text, and what the model makes of the spans that they lost.

nll_nats_per_token = nats of all targets / targets        sentinels and the end counted: what is minimised
token_perplexity = exp(nats of lost bytes / lost bytes)   token_accuracy = lost bytes that are the likeliest token
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from implementations.common.config import ConfigError
from implementations.models.config import EncoderDecoderConfig
from suite.data.batches import evaluation_batches
from suite.data.glue import FIRST_BYTE, VOCABULARY_SIZE
from suite.data.text.prepared import PreparedText
from suite.recipes.base import Recipe, SpanCorruption
from suite.training import loop
from suite.training.checkpoint import CheckpointStore
from suite.training.generation.batches import PairBatch
from suite.training.loop import Controls, Diverged, Loop, Run
from suite.training.pretraining.batches import evaluated, evaluation_batch, is_text, training_batch

MEASURES = ("nll_nats_per_token", "token_perplexity", "token_accuracy")


class Backend(loop.Backend):
    """What the loop asks of `suite/training/pretraining/{jax,torch}.py`; `evaluate` gives (B, L, 2): losses in nats,
    and 1 where a target is the likeliest token."""


def train(
    recipe: Recipe, data: PreparedText, backend: Backend, seed: int, store: CheckpointStore, controls: Controls
) -> Run:
    """Train to the end of the recipe from wherever the checkpoint is; raises Diverged, Stopped and ConfigError."""
    return PretrainingLoop(recipe, data, backend, seed, store, controls).run_to_end()


def of(recipe: Recipe) -> SpanCorruption:
    """How a recipe's model is trained beforehand."""
    assert recipe.span_corruption is not None
    return recipe.span_corruption


def check_text(recipe: Recipe, data: PreparedText) -> None:
    """Raise ConfigError unless the data are bytes, and each split has a window and the train split a batch of them."""
    if data.protocol.get("unit") != "byte":
        found = data.settings.get("tokenizer")
        raise ConfigError(f"{data.name} is prepared by {found!r}: span corruption reads bytes, with tokenizer 'bytes'")
    spans, least = of(recipe), {"train": recipe.batch_size, "validation": 1, "test": 1}
    for name, windows in least.items():
        found = getattr(data, name).token_count // spans.length
        if found < windows:
            raise ConfigError(
                f"Recipe.span_corruption.length is {spans.length}: the {name} split of {data.name} has {found} such "
                f"windows, expected at least {windows}"
            )


class PretrainingLoop(Loop):
    """Shuffled windows of the train split; validation and test split are evaluated at the end of every epoch."""

    data: PreparedText
    backend: Backend

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        check_text(self.recipe, self.data)
        assert isinstance(self.recipe.model, EncoderDecoderConfig)
        self.start = self.recipe.model.start

    def vocabulary(self) -> int:
        """Bytes plus 3, as the tasks that come after have them."""
        return VOCABULARY_SIZE

    def batch(self, step: int) -> PairBatch:
        """The windows of an update."""
        return training_batch(self.data.train, of(self.recipe), self.recipe.batch_size, self.seed, step, self.start)

    def evaluate(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """The measures of validation and test split; every epoch is selected until the next."""
        for name in ("validation", "test"):
            row |= {f"{name}_{measure}": value for measure, value in self._measures(name).items()}
        return {}

    def _measures(self, name: str) -> dict[str, float]:
        split, size = getattr(self.data, name), self.recipe.evaluation_batch_size
        windows, sums = evaluated(split, of(self.recipe)), np.zeros(5)
        for places in evaluation_batches(len(windows), size):
            filled = np.concatenate([windows[places], np.full(size - len(places), windows[places[-1]])])
            batch = evaluation_batch(split, of(self.recipe), filled, self.start)
            found = self.backend.evaluate(batch)[: len(places)].astype(np.float64)
            lost = is_text(batch.targets[: len(places)])
            sums += found[..., 0].sum(), lost.size, *found[lost].sum(0), lost.sum()
            self.evaluated_batch(name)
        nats, targets, lost_nats, hits, lost_bytes = sums.tolist()
        if not math.isfinite(nats):
            raise Diverged(f"diverged at step {self.run.step}: losses of the {name} split are not finite")
        perplexity = math.exp(min(lost_nats / lost_bytes, 700.0))
        return dict(zip(MEASURES, (nats / targets, perplexity, hits / lost_bytes), strict=True))


def unigram(data: PreparedText, spans: SpanCorruption) -> dict[str, float]:
    """Perplexity and accuracy at the test split's lost bytes of a model that only knows how often each byte occurs in
    the first 100 million of the train split (one added to each count)."""
    seen = np.bincount(np.asarray(data.train.tokens[:100_000_000]), minlength=256) + 1.0
    windows, lost = evaluated(data.test, spans), np.zeros(256)
    for rows in evaluation_batches(len(windows), 64):
        targets = evaluation_batch(data.test, spans, windows[rows], 0).targets
        lost += np.bincount(targets[is_text(targets)] - FIRST_BYTE, minlength=256)
    nats = float(-(lost @ np.log(seen / seen.sum())) / lost.sum())
    return {"token_perplexity": math.exp(nats), "token_accuracy": float(lost[seen.argmax()] / lost.sum())}
