"""Programs of JAX compiled for a chip that is not here: what they need of it, never how long they take."""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from implementations.common.config import Config
from implementations.common.conventions import MatmulPrecision
from implementations.common.jax import compiling_for
from suite.hardware.ahead_of_time import (
    PAIRED,
    TOPOLOGIES,
    Effort,
    Row,
    abstract_batch,
    blank,
    described,
    does_not_fit,
)
from suite.hardware.program_text import without_numbers
from suite.recipes.base import Recipe
from suite.speed.config import Mode
from suite.speed.jax import Bench
from suite.training.jax import shardings


def all_chips(hardware: str) -> list[Any]:
    """The chips of the topology of so-called hardware, for which programs can be compiled and not run."""
    topology = TOPOLOGIES[hardware]
    found = topologies.get_topology_desc(topology.name, "tpu", **topology.options).devices
    assert len(found) == topology.chips
    return found


def placed(arrays: Any, sharding: Any) -> Any:
    """Shapes and types of arrays as they would lie on devices."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), arrays)


class Training:
    """The training step and the evaluation of a recipe as its backend has them on devices, without any array in
    memory."""

    def __init__(self, recipe: Recipe, devices: list[Any]) -> None:
        self.recipe = recipe
        module = importlib.import_module(f"suite.training.{recipe.kind}jax")
        made = []

        def build() -> Any:
            made.append(backend := module.Backend(recipe, 0))
            streams = recipe.language is not None and recipe.language.evaluation == "carried"
            states = backend._initial(recipe.evaluation_batch_size) if streams else {}
            return (backend.parameters, backend.statistics, backend.moments, backend.carried), states

        (*fixed, carried), states = jax.eval_shape(build)
        self.backend: Any = made[0]
        self.parameter_count = sum(p.size for p in fixed[0].values())
        self.backend.devices = devices
        self.backend._copied, self.backend._sharded = shardings(devices)
        self.state = *placed(fixed, self.backend._copied), placed(carried, self.backend._sharded)
        self.evaluated = placed(states, self.backend._placed(recipe.evaluation_batch_size))

    def step(self, length: int | None = None) -> Any:
        """The training step, lowered; `length` in place of that of the data."""
        batch = self._batch(abstract_batch(self.recipe, self.recipe.batch_size, length))
        number = blank(next(iter(self.state[0].values())).dtype)
        rates = dict.fromkeys(self.recipe.optimizer.parameter_groups(), number)
        constants = dict.fromkeys(self.recipe.optimizer.constants(0), number)
        given, results = (*self.state, batch, rates, constants, blank(np.uint32)), self.backend._results()
        return self._lowered(self.backend._train_function, given, donate_argnums=(0, 1, 2, 3), out_shardings=results)

    def evaluation(self) -> Any:
        """The evaluation of a batch, lowered."""
        batch = abstract_batch(self.recipe, self.recipe.evaluation_batch_size, evaluation=True)
        parameters, statistics, *_ = self.state
        if self.recipe.language is not None:
            given = (parameters, statistics, self.evaluated, self._batch(batch))
            return self._lowered(self.backend._evaluate_function, given, donate_argnums=(2,))
        if self.recipe.kind in PAIRED:
            return self._lowered(self.backend._evaluate_function, (parameters, statistics, self._batch(batch)))
        return self._lowered(self.backend._logits_function, (parameters, statistics, *self._batch(batch)[:2]))

    def _batch(self, batch: Any) -> tuple[Any, ...]:
        """The arrays of a batch as the backend shares them out."""
        return tuple(placed(array, self.backend._placed(len(array))) for array in self.backend._arrays(batch))

    def _lowered(self, function: Any, given: Any, **options: Any) -> Any:
        with compiling_for("tpu"):
            return jax.jit(function, **options).lower(*given)


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
            given = placed((bench._trained, bench._rest, x, state), SingleDeviceSharding(self.device))
            return jax.jit(bench.function(mode)).lower(*given)


OPTIONS: dict[Effort, dict[str, Any]] = {
    "full": {},
    "least": {"xla_optimization_level": "EFFORT_O0", "xla_tpu_enable_deduplicated_calls": "true"},
}
"""Options of XLA's compiler for an effort. Equal operations of one program share their code: a fifth less time where
there are many Fourier transforms, nothing elsewhere. `exec_time_optimization_effort` and `memory_fitting_effort` of -1
save nothing beside them (2,131 s of processor time for 74 programs, 2,098 without)."""


class Compiler:
    """Compiles for so many `chips` of so-called hardware, or for `devices`; a layer for the first of them."""

    def __init__(
        self, hardware: str, chips: int = 1, devices: list[Any] | None = None, effort: Effort = "full"
    ) -> None:
        self.devices = devices or all_chips(hardware)[:chips]
        self.name = " ".join(self.devices[0].client.platform_version.split())
        self.options = OPTIONS[effort]

    def training(self, recipe: Recipe) -> Training:
        """The programs of a recipe."""
        return Training(recipe, self.devices)

    def layer(self, config: Config, precision: MatmulPrecision) -> Layer:
        """The programs of a layer."""
        return Layer(config, precision, self.devices[0])

    def key(self, lowered: Any) -> str:
        """What programs share that are the same for this compiler up to numbers that only their results depend on."""
        told = [self.name, self.devices[0].device_kind, *(f"{name}={value}" for name, value in self.options.items())]
        text = "\n".join((*told, without_numbers(lowered.as_text())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def compiled(self, lowered: Any) -> Row:
        """What a program needs of a chip, as its compiler says; one that needs more memory than there is does not
        fit."""
        try:
            program = lowered.compile(compiler_options=self.options or None)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return does_not_fit(str(error))
        return described(program.cost_analysis() or {}, program.memory_analysis(), program.as_text() or "")

    def forget(self) -> None:
        """Let go of what JAX keeps of programs that were traced and compiled."""
        jax.clear_caches()
