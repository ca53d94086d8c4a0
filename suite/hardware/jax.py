"""Programs of JAX compiled for a chip that is not here: what they need of it, never how long they take."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from implementations.common.jax import compiling_for
from suite.hardware.ahead_of_time import TOPOLOGIES, Row, abstract_batch, described, does_not_fit
from suite.recipes.base import Recipe

def chip(hardware: str) -> Any:
    """The first chip of a topology of so-called hardware, for which programs can be compiled and not run."""
    topology = TOPOLOGIES[hardware]
    return topologies.get_topology_desc(topology.name, "tpu", **topology.options).devices[0]


def compiler(device: Any) -> str:
    """The compiler of a chip, with its version."""
    return " ".join(device.client.platform_version.split())


class Training:
    """The training step and the evaluation of a recipe as its backend has them, without any array in memory."""

    def __init__(self, recipe: Recipe, device: Any) -> None:
        self.recipe, self.device = recipe, device
        module = importlib.import_module(f"suite.training.{'language.' if recipe.language else ''}jax")
        made = []

        def build() -> Any:
            backend = module.Backend(recipe, 0)
            made.append(backend)
            carried = recipe.language is not None and recipe.language.evaluation == "carried"
            states = backend._initial(recipe.evaluation_batch_size) if carried else {}
            return (backend.parameters, backend.statistics, backend.moments, backend.carried), states

        self.state, self.evaluated = jax.eval_shape(build)
        self.backend = made[0]

    def step(self, length: int | None = None) -> Any:
        """The training step, lowered; `length` in place of that of the data."""
        backend, dtype = self.backend, self.backend._dtype
        batch = abstract_batch(self.recipe, self.recipe.batch_size, length)
        number = np.zeros((), dtype)
        rates = dict.fromkeys(self.recipe.optimizer.parameter_groups(), number)
        given = (*self.state, backend._arrays(batch), rates, (number, number), np.zeros((), np.uint32))
        with compiling_for("tpu"):
            return backend._train.lower(*self._on_device(given))

    def evaluation(self, length: int | None = None) -> Any:
        """The evaluation of a batch, lowered."""
        backend, (parameters, statistics, *_), language = self.backend, self.state, self.recipe.language
        batch = abstract_batch(self.recipe, self.recipe.evaluation_batch_size, length, evaluation=True)
        with compiling_for("tpu"):
            if language is None:
                return backend._logits.lower(*self._on_device((parameters, statistics, batch.inputs, batch.lengths)))
            given = (parameters, statistics, self.evaluated, backend._arrays(batch))
            return backend._evaluate.lower(*self._on_device(given))

    def _on_device(self, arrays: Any) -> Any:
        return on_device(arrays, self.device)


def on_device(arrays: Any, device: Any) -> Any:
    """Shapes and types of arrays as they would lie on a device."""
    sharding = SingleDeviceSharding(device)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), arrays)


def compiled(lowered: Any) -> Row:
    """What a program needs of a chip, as its compiler says; one that needs more memory than there is does not fit."""
    try:
        program = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return does_not_fit(str(error))
    memory, counted = program.memory_analysis(), program.cost_analysis() or {}
    return described(counted, memory, len(re.findall(r" while\(", program.as_text() or "")))
