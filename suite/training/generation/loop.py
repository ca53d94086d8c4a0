"""The loop of an encoder-decoder: pairs of sequences, the loss of their second ones, and ROUGE of what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from implementations.models.config import EncoderDecoderConfig
from suite.data import Prepared, Split
from suite.data.batches import evaluation_batches, indices
from suite.recipes.base import Generation, Recipe
from suite.rouge import MEASURES, mean_rouge
from suite.training import loop
from suite.training.checkpoint import CheckpointStore
from suite.training.generation.batches import PairBatch, pair_batch, text
from suite.training.loop import Controls, Diverged, Loop, Run


class Backend(loop.Backend):
    """What the loop asks of `suite/training/generation/{jax,torch}.py`; `evaluate` gives losses (B, L) in nats."""

    def generate(self, batch: Any) -> Integer[np.ndarray, "B L"]: ...


def train(
    recipe: Recipe, data: Prepared, backend: Backend, seed: int, store: CheckpointStore, controls: Controls
) -> Run:
    """Train to the end of the recipe from wherever the checkpoint is; raises Diverged and Stopped."""
    return GenerationLoop(recipe, data, backend, seed, store, controls).run_to_end()


def of(recipe: Recipe) -> Generation:
    """How a recipe's model learns to write."""
    assert recipe.generation is not None
    return recipe.generation


def references(split: Split) -> list[str]:
    """The second sequences of a split as texts, whole."""
    bounds = split.offsets.tolist()
    return [text(np.asarray(split.tokens[bounds[i] : bounds[i + 1]])) for i in range(1, 2 * split.count, 2)]


class GenerationLoop(Loop):
    """Shuffled epochs of pairs; what is written on the test split is kept wherever an evaluation is selected."""

    data: Prepared
    backend: Backend

    def batch(self, step: int) -> PairBatch:
        """The examples of an update."""
        split = self.data.train
        return self._pairs(split, indices(split.count, self.recipe.batch_size, self.seed, step))

    def _pairs(self, split: Split, rows: np.ndarray) -> PairBatch:
        model = self.recipe.model
        assert isinstance(model, EncoderDecoderConfig)
        return pair_batch(split, rows, of(self.recipe), model.start)

    def evaluate(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Loss of the validation split and, where this epoch is selected, loss of the test split and ROUGE there."""
        if self.data.validation.count:
            row["validation_nll_nats_per_token"] = self._loss("validation")
        tested = ("nll_nats_per_token", *MEASURES)
        if not self._is_better(row):
            row |= dict.fromkeys(f"test_{name}" for name in tested)
            return None
        row["test_nll_nats_per_token"] = self._loss("test")
        written = np.concatenate([self.backend.generate(batch)[:count] for batch, count in self._batches("test")])
        scores = mean_rouge([text(tokens) for tokens in written], references(self.data.test))
        row |= {f"test_{name}": score for name, score in scores.items()}
        return {"predictions": written}

    def _is_better(self, row: dict[str, Any]) -> bool:
        if self.recipe.selection == "last epoch" or self.run.selected is None:
            return True
        key = "validation_nll_nats_per_token"
        return row[key] < self.run.epochs[self.run.selected][key]

    def _batches(self, name: str) -> Iterator[tuple[PairBatch, int]]:
        """The examples of a split in batches of one size, and how many of each are not repetitions that fill it up."""
        split, size = getattr(self.data, name), self.recipe.evaluation_batch_size
        for rows in evaluation_batches(split.count, size):
            yield self._pairs(split, np.concatenate([rows, np.full(size - len(rows), rows[-1])])), len(rows)
            self.evaluated_batch(name)

    def _loss(self, name: str) -> float:
        """Mean over all targets of a split of minus the logarithm of the probability of each."""
        nats = targets = 0.0
        for batch, count in self._batches(name):
            losses: Float[np.ndarray, "B L"] = self.backend.evaluate(batch)
            nats += float(losses[:count].sum(dtype=np.float64))
            targets += int(batch.mask[:count].sum())
        if not np.isfinite(nats):
            raise Diverged(f"diverged at step {self.run.step}: losses of the {name} split are not finite")
        return nats / targets
