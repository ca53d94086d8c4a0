"""The backend of encoder-decoders in JAX; `torch.py` beside it is its twin."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from implementations.common.jax import matmul_precision
from suite.recipes.base import Recipe
from suite.training import jax as classification
from suite.training.generation.batches import PairBatch

Arrays = dict[str, Array]


class Backend(classification.Backend):
    """An encoder-decoder with its optimizer: see the base. It learns by teacher forcing."""

    def __init__(self, recipe: Recipe, seed: int, kind: str = "cpu", dtype: str = "float32", devices: int = 1) -> None:
        super().__init__(recipe, seed, kind, dtype, devices)
        self.generation = recipe.generation
        self._evaluate = jax.jit(self._evaluate_function)

    def _arrays(self, batch: PairBatch) -> tuple[np.ndarray | None, ...]:
        """The arrays of a batch that an update takes."""
        return batch.inputs, batch.lengths, batch.outputs, batch.targets, batch.mask

    def _losses(self, model: Any, batch: Any, **options: Any) -> Array:
        """The losses (B, L) of a batch in nats, 0 where there is no target."""
        inputs, lengths, outputs, targets, mask = batch
        return model.losses(inputs, outputs, targets, lengths, mask, **options)

    def _loss_function(self, model: Any, carried: Arrays, batch: Any, dropout_seed: Any) -> tuple[Array, Arrays]:
        """Mean loss of the targets, in nats; nothing is carried."""
        losses = self._losses(model, batch, training=True, dropout_seed=dropout_seed)
        return losses.sum() / jnp.maximum(batch[4].sum(), 1), carried

    def _evaluate_function(self, parameters, statistics, batch):
        with matmul_precision(self.recipe.matmul_precision):
            return self._losses(self._model(parameters, statistics), batch)

    def evaluate(self, batch: PairBatch) -> Float[np.ndarray, "B L"]:
        """The loss of each target in nats, 0 where there is none."""
        return np.asarray(self._evaluate(self.parameters, self.statistics, self._move(*self._arrays(batch))))

    def generate(self, batch: PairBatch) -> Integer[np.ndarray, "B L"]:
        """What the model writes, filled with its end token."""
        assert self.generation is not None
        given = {"beams": self.generation.beams, "length_penalty": self.generation.length_penalty}
        inputs, lengths = self._move(batch.inputs, batch.lengths)
        with matmul_precision(self.recipe.matmul_precision):
            model = self._model(self.parameters, self.statistics)
            return np.asarray(model.generate(inputs, self.generation.target_length, lengths, **given))
