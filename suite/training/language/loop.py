"""The loop of a language model: segments in order or windows by themselves, and evaluation over every target once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from suite.data.text import batches
from suite.data.text.batches import LanguageBatch
from suite.data.text.prepared import PreparedText
from suite.data.text.split import TextSplit
from suite.recipes.base import LanguageTraining, Recipe
from suite.training import loop
from suite.training.checkpoint import CheckpointStore
from suite.training.language.metrics import ByPosition, IncompleteEvaluation, metrics
from suite.training.loop import Controls, Diverged, Loop, Run


class Backend(loop.Backend):
    """What the loop asks of `suite/training/language/{jax,torch}.py`; `evaluate` gives losses (B, L) in nats there."""

    def begin_evaluation(self) -> None: ...


def train(
    recipe: Recipe, data: PreparedText, backend: Backend, seed: int, store: CheckpointStore, controls: Controls
) -> Run:
    """Train to the end of the recipe from wherever the checkpoint is; raises Diverged, Stopped and ConfigError."""
    return LanguageLoop(recipe, data, backend, seed, store, controls).run_to_end()


def training_batches(recipe: Recipe, split: TextSplit, seed: int) -> batches.CarriedBatches | batches.WindowBatches:
    """The batches that a recipe trains on, by step."""
    language = of(recipe)
    if language.carried:
        return batches.CarriedBatches(split, recipe.batch_size, language.segment, seed, language.shuffle)
    return batches.WindowBatches(split, recipe.batch_size, language.segment, seed)


def evaluation_batches(recipe: Recipe, split: TextSplit, length: int | None = None) -> Iterator[LanguageBatch]:
    """The batches that a recipe evaluates on: every target counts in exactly one of them.

    With `length` states are to be emptied after every so many tokens of a document, which reads on.
    """
    language, size = of(recipe), recipe.evaluation_batch_size
    if language.evaluation == "carried":
        segment = min(language.evaluation_segment, length or language.evaluation_segment)
        found = batches.evaluation_carried(split, size, segment)
        yield from found if length is None else restarted(found, length)
        return
    assert language.stride is not None
    for batch in batches.evaluation_strided(split, size, language.evaluation_segment, language.stride):
        yield filled(batch, size)


def lengths_read(recipe: Recipe, split: TextSplit) -> list[int]:
    """The lengths at which a split is read: of those that hold its longest document, only the first says something."""
    lengths, longest = of(recipe).lengths, int(split.lengths.max())
    return [length for i, length in enumerate(lengths) if i == 0 or lengths[i - 1] < longest]


def restarted(found: Iterator[LanguageBatch], length: int) -> Iterator[LanguageBatch]:
    """The batches with `start` True wherever a multiple of `length` tokens of the document has been read."""
    first = np.zeros(0, np.int64)
    for batch in found:
        first = np.where(batch.start, 0, first) if len(first) else np.zeros(len(batch.start), np.int64)
        yield dataclasses.replace(batch, start=first % length == 0)
        first = first + batch.inputs.shape[1]


def filled(batch: LanguageBatch, rows: int) -> LanguageBatch:
    """The batch with rows without targets behind it, so that all batches have one shape."""
    missing = rows - len(batch.start)
    if missing <= 0:
        return batch
    below = ((0, missing), (0, 0))
    arrays = (np.pad(array, below) for array in (batch.inputs, batch.targets, batch.mask))
    return LanguageBatch(*arrays, start=np.pad(batch.start, (0, missing), constant_values=True))


def of(recipe: Recipe) -> LanguageTraining:
    """How a recipe trains its language model."""
    assert recipe.language is not None
    return recipe.language


def evaluate(
    recipe: Recipe, backend: Backend, split: TextSplit, each: Any = lambda: None, length: int | None = None
) -> ByPosition:
    """The losses over a split by position from where states are empty (strided: in the window); `each` is called after
    a batch; `length` as in `evaluation_batches`.

    Raises IncompleteEvaluation where the batches did not cover the split once.
    """
    found, first = ByPosition(), np.zeros(0, np.int64)
    backend.begin_evaluation()
    for batch in evaluation_batches(recipe, split, length):
        losses: Float[np.ndarray, "B L"] = backend.evaluate(batch)
        first = np.where(batch.start, 0, first) if len(first) else np.zeros(len(batch.start), np.int64)
        found.add(losses, batch.mask, first)
        first = first + losses.shape[1]
        each()
    if found.targets != split.token_count:
        raise IncompleteEvaluation(f"{found.targets} targets were evaluated of a split of {split.token_count} tokens")
    return found


class LanguageLoop(Loop):
    """Training on text; the test split is looked at whenever the selection rule takes an evaluation."""

    data: PreparedText
    backend: Backend

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.batches = training_batches(self.recipe, self.data.train, self.seed)

    def batch(self, step: int) -> LanguageBatch:
        """The segments or windows of an update."""
        return self.batches.batch(step)

    def evaluate(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Metrics of the validation split and, where this evaluation is selected, of the test split."""
        found = self._evaluate("validation")
        row |= {f"validation_{name}": value for name, value in metrics(found.nats, self.data.validation).items()}
        if not self._is_better(row):
            row |= dict.fromkeys((f"test_{name}" for name in metrics(found.nats, self.data.validation)), None)
            return None
        tested = self._evaluate("test")
        row |= {f"test_{name}": value for name, value in metrics(tested.nats, self.data.test).items()}
        kept = {"positions": tested.sums}
        read = lengths_read(self.recipe, self.data.test)
        lengths = [self._evaluate("test", length).nats for length in read]
        return kept | ({"lengths": np.array(lengths)} if lengths else {})

    def _is_better(self, row: dict[str, Any]) -> bool:
        if self.recipe.selection == "last epoch" or self.run.selected is None:
            return True
        key = "validation_nll_nats_per_token"
        return row[key] < self.run.epochs[self.run.selected][key]

    def _evaluate(self, name: str, length: int | None = None) -> ByPosition:
        split = getattr(self.data, name)
        found = evaluate(self.recipe, self.backend, split, lambda: self.evaluated_batch(name), length)
        if not np.isfinite(found.nats):
            raise Diverged(f"diverged at step {self.run.step}: losses of the {name} split are not finite")
        return found
