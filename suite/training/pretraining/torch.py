"""The backend of span corruption in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from implementations.common.torch import matmul_precision
from implementations.models.adaptive.torch import losses
from suite.training.generation import torch as generation
from suite.training.generation.batches import PairBatch


class Backend(generation.Backend):
    """An encoder-decoder with its optimizer: see the base. An evaluation also tells what it would have written."""

    def _evaluate_function(self, *batch: Any) -> Tensor:
        inputs, lengths, outputs, targets, _ = batch
        logits = self.model(inputs, outputs, lengths)
        return torch.stack([losses([logits], targets), (logits.argmax(-1) == targets) * 1.0], -1)

    @torch.no_grad()
    def evaluate(self, batch: PairBatch) -> Float[np.ndarray, "B L 2"]:
        """The loss of each target in nats, and 1 where it is the likeliest token, else 0."""
        with matmul_precision(self.recipe.matmul_precision):
            return self._run(self._evaluate_function, self._move(*self._arrays(batch))).cpu().numpy()
