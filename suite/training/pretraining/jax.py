"""The backend of span corruption in JAX; `torch.py` beside it is its twin."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from implementations.common.jax import matmul_precision
from implementations.models.adaptive.jax import losses
from suite.training.generation import jax as generation
from suite.training.generation.batches import PairBatch


class Backend(generation.Backend):
    """An encoder-decoder with its optimizer: see the base. An evaluation also tells what it would have written."""

    def _evaluate_function(self, parameters, statistics, batch):
        inputs, lengths, outputs, targets, _ = batch
        with matmul_precision(self.recipe.matmul_precision):
            logits = self._model(parameters, statistics)(inputs, outputs, lengths)
            return jnp.stack([losses([logits], targets), (logits.argmax(-1) == targets) * 1.0], -1)

    def evaluate(self, batch: PairBatch) -> Float[np.ndarray, "B L 2"]:
        """The loss of each target in nats, and 1 where it is the likeliest token, else 0."""
        return np.asarray(self._evaluate(self.parameters, self.statistics, self._move(*self._arrays(batch))))
