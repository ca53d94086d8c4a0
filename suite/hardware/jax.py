"""Programs of JAX compiled for a chip that is not here: what they need of it, never how long they take."""

from __future__ import annotations

import hashlib
import importlib
import re
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from implementations.common.config import Config
from implementations.common.conventions import MatmulPrecision
from implementations.common.jax import compiling_for
from suite.hardware.ahead_of_time import TOPOLOGIES, Row, abstract_batch, blank, described, does_not_fit
from suite.recipes.base import Recipe
from suite.speed.config import Mode
from suite.speed.jax import Bench


def chip(hardware: str) -> Any:
    """A chip of the topology of so-called hardware, for which programs can be compiled and not run."""
    topology = TOPOLOGIES[hardware]
    return topologies.get_topology_desc(topology.name, "tpu", **topology.options).devices[0]


def on_device(arrays: Any, device: Any) -> Any:
    """Shapes and types of arrays as they would lie on a device."""
    sharding = SingleDeviceSharding(device)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), arrays)


class Training:
    """The training step and the evaluation of a recipe as its backend has them, without any array in memory."""

    def __init__(self, recipe: Recipe, device: Any) -> None:
        self.recipe, self.device = recipe, device
        module = importlib.import_module(f"suite.training.{'language.' if recipe.language else ''}jax")
        made = []

        def build() -> Any:
            made.append(backend := module.Backend(recipe, 0))
            streams = recipe.language is not None and recipe.language.evaluation == "carried"
            states = backend._initial(recipe.evaluation_batch_size) if streams else {}
            return (backend.parameters, backend.statistics, backend.moments, backend.carried), states

        self.state, self.evaluated = jax.eval_shape(build)
        self.backend: Any = made[0]
        self.parameter_count = sum(p.size for p in self.state[0].values())

    def step(self, length: int | None = None) -> Any:
        """The training step, lowered; `length` in place of that of the data."""
        batch = abstract_batch(self.recipe, self.recipe.batch_size, length)
        number = blank(next(iter(self.state[0].values())).dtype)
        rates = dict.fromkeys(self.recipe.optimizer.parameter_groups(), number)
        given = (*self.state, self.backend._arrays(batch), rates, (number, number), blank(np.uint32))
        return self._lowered(self.backend._train_function, given, donate_argnums=(0, 1, 2, 3))

    def evaluation(self) -> Any:
        """The evaluation of a batch, lowered."""
        batch = abstract_batch(self.recipe, self.recipe.evaluation_batch_size, evaluation=True)
        parameters, statistics, *_ = self.state
        if self.recipe.language is None:
            given = (parameters, statistics, batch.inputs, batch.lengths)
            return self._lowered(self.backend._logits_function, given)
        given = (parameters, statistics, self.evaluated, self.backend._arrays(batch))
        return self._lowered(self.backend._evaluate_function, given, donate_argnums=(2,))

    def _lowered(self, function: Any, given: Any, **options: Any) -> Any:
        with compiling_for("tpu"):
            return jax.jit(function, **options).lower(*on_device(given, self.device))


class Layer:
    """One layer in the modes in which its speed is measured."""

    def __init__(self, config: Config, precision: MatmulPrecision, device: Any) -> None:
        self.bench, self.device = Bench(config, "cpu", precision), device

    def program(self, mode: Mode, batch: int, length: int) -> Any:
        """A mode on a batch of a length, lowered."""
        bench = self.bench
        x, state = blank(np.float32, batch, length, bench.layer.config.d_model), bench.initial_state(batch)
        with compiling_for("tpu"):
            if mode == "streaming step":
                _, state = jax.eval_shape(bench._call, bench._trained, bench._rest, x, state)
                x = x[:, :1]
            given = on_device((bench._trained, bench._rest, x, state), self.device)
            return jax.jit(bench.function(mode)).lower(*given)


class Compiler:
    """Compiles for a chip of so-called hardware, or for `device`."""

    def __init__(self, hardware: str, device: Any = None) -> None:
        self.device = device or chip(hardware)
        self.name = " ".join(self.device.client.platform_version.split())

    def training(self, recipe: Recipe) -> Training:
        """The programs of a recipe."""
        return Training(recipe, self.device)

    def layer(self, config: Config, precision: MatmulPrecision) -> Layer:
        """The programs of a layer."""
        return Layer(config, precision, self.device)

    def key(self, lowered: Any) -> str:
        """What programs share that are the same for this compiler."""
        text = f"{self.name}\n{self.device.device_kind}\n{lowered.as_text()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def compiled(self, lowered: Any) -> Row:
        """What a program needs of a chip, as its compiler says; one that needs more memory than there is does not
        fit."""
        try:
            program = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return does_not_fit(str(error))
        loops = len(re.findall(r" while\(", program.as_text() or ""))
        return described(program.cost_analysis() or {}, program.memory_analysis(), loops)
