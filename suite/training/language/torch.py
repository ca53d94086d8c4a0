"""The backend of language models in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from implementations.common.shards.torch import batch_sum, shards
from implementations.common.torch import matmul_precision
from suite.recipes.base import Recipe
from suite.training import torch as classification

Tensors = dict[str, Tensor]


class Backend(classification.Backend):
    """A language model with its optimizer, and the states that its next segment starts from: see the base.

    The states stand in `carried` and in checkpoints; no gradient passes from a segment to the one before. A row of the
    batch whose `start` is True begins from the initial states, with their gradient where they are learned. They are
    changed in place, so that a recorded update goes on from what it left.
    """

    def __init__(
        self, recipe: Recipe, seed: int, kind: str = "cpu", dtype: str = "float32", rank: int = 0, devices: int = 1
    ) -> None:
        super().__init__(recipe, seed, kind, dtype, rank, devices)
        assert recipe.language is not None
        self.language = recipe.language
        if self.language.carried:
            self.carried = self._initial(recipe.batch_size // devices)
        self._evaluated: Tensors = {}
        self._after: Tensors = {}
        self._rows = 0

    @torch.no_grad()
    def _initial(self, rows: int) -> Tensors:
        """The states of so many rows before any token, by path."""
        state = self.model.initial_state(rows)
        return {path: leaf.detach().clone() for path, leaf in flat(state).items()}

    def _arrays(self, batch: Any) -> tuple[np.ndarray | None, ...]:
        """The arrays of a batch that an update takes."""
        return batch.inputs, batch.targets, batch.mask, batch.start

    def _losses(self, carried: Tensors, batch: Any, mask: Any, **options: Any) -> tuple[Tensor, Tensors]:
        """The losses (B, L) of a segment and the states after it; padding marked by `mask` is seen by nothing."""
        inputs, targets, _, start = batch
        state = self.model.reset(nested(carried), start) if carried else None
        losses, after = self.model.losses(inputs, targets, state, mask, **options)
        return losses, flat(after) if carried else {}

    def _loss_function(self, carried: Tensors, batch: Any, dropout_seed: Tensor) -> tuple[Tensor, Tensors]:
        """Mean loss of the targets that count, in nats, and the states after the segment.

        Of a batch in parts the mean of these losses over the processes is that mean: each is divided by all targets.
        """
        mask = batch[2]
        losses, after = self._losses(carried, batch, mask, training=True, dropout_seed=dropout_seed)
        count = torch.clamp(batch_sum(mask.sum()), min=1)
        return torch.where(mask, losses, 0).sum() * shards() / count, {p: leaf.detach() for p, leaf in after.items()}

    def _loss_of(self, *moved: Any) -> Tensor:
        """The loss of an update; the states after its segment take the place of those before."""
        *batch, dropout_seed = moved
        function: Any = self._loss
        loss, self._after = function(self.carried, tuple(batch), dropout_seed)
        return loss

    def _update(self, *moved: Any) -> Tensor:
        """Loss, gradients and optimizer step; then the states after the segment replace those before it."""
        loss = super()._update(*moved)
        replace(self.carried, self._after)
        self._after = {}
        return loss

    def _evaluate_function(self, *batch: Any) -> Tensor:
        mask = batch[2] if self.language.evaluation == "carried" else None
        losses, after = self._losses(self._evaluated, batch, mask)
        replace(self._evaluated, after)
        return torch.where(batch[2], losses, 0)

    def begin_evaluation(self) -> None:
        """Forget the states of an evaluation before."""
        if self._evaluated:
            replace(self._evaluated, self._initial(self._rows))

    @torch.no_grad()
    def evaluate(self, batch: Any) -> Float[np.ndarray, "B L"]:
        """The loss of each target in nats, 0 where it does not count, from the states after the batch before."""
        rows = len(batch.start)
        if self.language.evaluation == "carried" and rows != self._rows:
            self._evaluated, self._rows = self._initial(rows), rows
            self._captured = {key: made for key, made in self._captured.items() if key[0] != "_evaluate_function"}
        with matmul_precision(self.recipe.matmul_precision):
            return self._run(self._evaluate_function, self._move(*self._arrays(batch))).cpu().numpy()

    def _changing(self) -> list[Tensor]:
        """Every tensor that a step changes in place."""
        return [*super()._changing(), *self._evaluated.values()]


@torch.no_grad()
def replace(states: Tensors, values: Mapping[str, Tensor]) -> None:
    """Write values into states, in place."""
    for path, state in states.items():
        state.copy_(values[path])


def flat(state: Mapping[str, Any], path: str = "") -> Tensors:
    """The leaves of nested states by dotted path."""
    found: Tensors = {}
    for name, value in state.items():
        found |= flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {path + name: value}
    return found


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat`."""
    found: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *parents, name = path.split(".")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return found
