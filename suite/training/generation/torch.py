"""The backend of encoder-decoders in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from implementations.common.shards.torch import batch_sum, shards
from implementations.common.torch import matmul_precision
from suite.recipes.base import Recipe
from suite.training import torch as classification
from suite.training.generation.batches import PairBatch


class Backend(classification.Backend):
    """An encoder-decoder with its optimizer: see the base. It learns by teacher forcing."""

    def __init__(
        self, recipe: Recipe, seed: int, kind: str = "cpu", dtype: str = "float32", rank: int = 0, devices: int = 1
    ) -> None:
        super().__init__(recipe, seed, kind, dtype, rank, devices)
        self.generation = recipe.generation

    def _arrays(self, batch: PairBatch) -> tuple[np.ndarray | None, ...]:
        """The arrays of a batch that an update takes."""
        return batch.inputs, batch.lengths, batch.outputs, batch.targets, batch.mask

    def _losses(self, *batch: Any, **options: Any) -> Tensor:
        """The losses (B, L) of a batch in nats, 0 where there is no target."""
        inputs, lengths, outputs, targets, mask = batch
        return self.model.losses(inputs, outputs, targets, lengths, mask, **options)

    def _loss_function(self, *moved: Any) -> Tensor:
        """Mean loss of the targets, in nats; of a batch in parts, its mean over the processes is that mean."""
        *batch, dropout_seed = moved
        losses = self._losses(*batch, training=True, dropout_seed=dropout_seed)
        return losses.sum() * shards() / torch.clamp(batch_sum(batch[4].sum()), min=1)

    @torch.no_grad()
    def evaluate(self, batch: PairBatch) -> Float[np.ndarray, "B L"]:
        """The loss of each target in nats, 0 where there is none."""
        with matmul_precision(self.recipe.matmul_precision):
            return self._run(self._losses, self._move(*self._arrays(batch))).cpu().numpy()

    def generate(self, batch: PairBatch) -> Integer[np.ndarray, "B L"]:
        """What the model writes, filled with its end token."""
        assert self.generation is not None
        given = {"beams": self.generation.beams, "length_penalty": self.generation.length_penalty}
        inputs, lengths = self._move(batch.inputs, batch.lengths)
        with matmul_precision(self.recipe.matmul_precision):
            return self.model.generate(inputs, self.generation.target_length, lengths, **given).cpu().numpy()
