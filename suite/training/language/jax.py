"""The backend of language models in JAX; `torch.py` beside it is its twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from implementations.common.jax import matmul_precision
from suite.recipes.base import Recipe
from suite.training import jax as classification

Arrays = dict[str, Array]


class Backend(classification.Backend):
    """A language model with its optimizer, and the states that its next segment starts from: see the base.

    The states stand in `carried` and in checkpoints; no gradient passes from a segment to the one before. A row of the
    batch whose `start` is True begins from the initial states, with their gradient where they are learned.
    """

    def __init__(self, recipe: Recipe, seed: int, kind: str = "cpu", dtype: str = "float32", devices: int = 1) -> None:
        super().__init__(recipe, seed, kind, dtype, devices)
        assert recipe.language is not None
        self.language = recipe.language
        if self.language.carried:
            self.carried = self._initial(recipe.batch_size)
        self._evaluated: Arrays = {}
        self._evaluate = jax.jit(self._evaluate_function, donate_argnums=(2,))

    def _initial(self, rows: int) -> Arrays:
        """The states of so many rows before any token, by path."""
        with jax.default_device(self.device):
            state = self._model(self.parameters, self.statistics).initial_state(rows)
        copies = {path: jnp.array(leaf, copy=True) for path, leaf in flat(state).items()}
        return jax.device_put(copies, self._placed(rows))

    def _arrays(self, batch: Any) -> tuple[np.ndarray | None, ...]:
        """The arrays of a batch that an update takes."""
        return batch.inputs, batch.targets, batch.mask, batch.start

    def _losses(self, model: Any, carried: Arrays, batch: Any, mask: Any, **options: Any) -> tuple[Array, Arrays]:
        """The losses (B, L) of a segment and the states after it; padding marked by `mask` is seen by nothing."""
        inputs, targets, _, start = batch
        state = model.reset(nested(carried), start) if carried else None
        losses, after = model.losses(inputs, targets, state, mask, **options)
        return losses, flat(after) if carried else {}

    def _loss_function(self, model: Any, carried: Arrays, batch: Any, dropout_seed: Any) -> tuple[Array, Arrays]:
        """Mean loss of the targets that count, in nats, and the states after the segment."""
        mask = batch[2]
        losses, after = self._losses(model, carried, batch, mask, training=True, dropout_seed=dropout_seed)
        return jnp.where(mask, losses, 0).sum() / jnp.maximum(mask.sum(), 1), after

    def _evaluate_function(self, parameters, statistics, carried, batch):
        with matmul_precision(self.recipe.matmul_precision):
            mask = batch[2] if self.language.evaluation == "carried" else None
            losses, after = self._losses(self._model(parameters, statistics), carried, batch, mask)
            if len(self.devices) > 1:
                after = jax.lax.with_sharding_constraint(after, self._placed(len(batch[3])))
            return jnp.where(batch[2], losses, 0), after

    def begin_evaluation(self) -> None:
        """Forget the states of an evaluation before."""
        self._evaluated = {}

    def evaluate(self, batch: Any) -> Float[np.ndarray, "B L"]:
        """The loss of each target in nats, 0 where it does not count, from the states after the batch before."""
        if self.language.evaluation == "carried" and not self._evaluated:
            self._evaluated = self._initial(len(batch.start))
        moved = self._move(*self._arrays(batch))
        losses, self._evaluated = self._evaluate(self.parameters, self.statistics, self._evaluated, moved)
        return np.asarray(losses)


def flat(state: Mapping[str, Any], path: str = "") -> Arrays:
    """The leaves of nested states by dotted path."""
    found: Arrays = {}
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
