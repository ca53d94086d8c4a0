"""The training backend in JAX; `torch.py` beside it is its twin. What is trained and when is decided in `loop.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Array, Float

from implementations import catalog
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.common.jax import BatchStatistic, matmul_precision
from implementations.parameters import check
from suite.recipes.base import Recipe
from suite.training.measures import LEAST_VARIANCE, LOG_2_PI
from suite.training.updates import jax as updates

Arrays = dict[str, Array]


def cross_entropy(logits: Float[Array, "B C"], labels: Array) -> Float[Array, ""]:
    """Mean cross entropy in nats, in float32 or better."""
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


def squared_error(outputs: Float[Array, "B 1"], targets: Array) -> Float[Array, ""]:
    """Mean squared error of one number for each example."""
    return ((outputs[:, 0] - targets) ** 2).mean()


def gaussian(outputs: Float[Array, "B L outputs"], targets: Float[Array, "B L K"]) -> Float[Array, ""]:
    """Mean over positions of minus the log likelihood of K targets in nats; outputs are K means and K variances."""
    mean, variance = jnp.split(outputs, 2, -1)
    variance = jnp.maximum(variance, LEAST_VARIANCE)
    terms = jnp.log(variance) + (targets - mean) ** 2 / variance + LOG_2_PI
    return 0.5 * terms.sum(-1).mean()


OBJECTIVES = {"cross_entropy": cross_entropy, "squared_error": squared_error, "gaussian": gaussian}


def clip_by_global_norm(gradients: Arrays, limit: float) -> Arrays:
    """Gradients scaled down together so that their global norm is at most `limit`."""
    norm = jnp.sqrt(sum((g * g).sum() for g in gradients.values()))
    return {path: g * (limit / jnp.maximum(norm, limit)) for path, g in gradients.items()}


class Backend:
    """One model with its optimizer on one device: `kind` "cpu", "gpu" or "tpu"; parameters drawn from `seed`.

    `dtype` is that of the parameters and so of the arithmetic: "float32", or "float64" under JAX_ENABLE_X64. Over
    several `devices` of this machine batches and carried states are sharded by rows and everything else is a copy on
    each, so that every step is that of one device; raises ConfigError where the rows cannot be shared out evenly.
    """

    framework = "jax"

    def __init__(self, recipe: Recipe, seed: int, kind: str = "cpu", dtype: str = "float32", devices: int = 1) -> None:
        self.recipe, self.spec, self.step = recipe, recipe.optimizer, 0
        if recipe.batch_size % devices:
            raise ConfigError(f"Recipe.batch_size is {recipe.batch_size}: expected a multiple of {devices} devices")
        self.devices = local_devices(kind, devices)
        self.device = self.devices[0]
        self._copied, self._sharded = shardings(self.devices)
        with jax.default_device(self.device):
            model = catalog.model_class(recipe.model, "jax")(recipe.model, Keys(seed, dtype))
            self._graph, parameters, statistics = nnx.split(model, nnx.Param, BatchStatistic)
        # Committed to the device like everything the step returns: otherwise the second step would compile again.
        self.parameters, self.statistics = jax.device_put((_flat(parameters), _flat(statistics)), self._copied)
        self.moments = jax.device_put(updates.start(self.spec, self.parameters), self._copied)
        self.carried: Arrays = {}
        self._dtype = next(iter(self.parameters.values())).dtype
        self._train = jax.jit(self._train_function, donate_argnums=(0, 1, 2, 3), out_shardings=self._results())
        self._logits = jax.jit(self._logits_function, static_argnames="step_rescale")
        self._activity = jax.jit(self._activity_function)

    def _results(self) -> tuple[Any, ...]:
        """Where the results of an update lie."""
        return self._copied, self._copied, self._copied, self._sharded, self._copied

    def _train_function(self, parameters, statistics, moments, carried, batch, rates, constants, dropout_seed):
        def loss_of(parameters):
            model = self._model(parameters, statistics)
            loss, after = self._loss_function(model, carried, batch, dropout_seed)
            return loss, (after, _flat(nnx.state(model, BatchStatistic)))

        with matmul_precision(self.recipe.matmul_precision):
            (loss, (carried, statistics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters)
        if self.spec.clip_norm is not None:
            gradients = clip_by_global_norm(gradients, self.spec.clip_norm)
        parameters, moments = updates.update(self.spec, parameters, gradients, moments, rates, constants)
        return parameters, statistics, moments, carried, loss

    def _model(self, parameters: Arrays, statistics: Arrays) -> Any:
        return nnx.merge(self._graph, _nested(parameters | statistics))

    def _arrays(self, batch: Any) -> tuple[np.ndarray | None, ...]:
        """The arrays of a batch that an update takes."""
        return batch.inputs, batch.lengths, batch.labels

    def _loss_function(self, model: Any, carried: Arrays, batch: Any, dropout_seed: Any) -> tuple[Array, Arrays]:
        """The loss of an update, and what the next one starts from beside the parameters: nothing here."""
        inputs, lengths, labels = batch
        logits = _read(model, inputs, lengths, training=True, dropout_seed=dropout_seed)
        return OBJECTIVES[self.recipe.model.objective](logits, labels), carried

    def _logits_function(self, parameters, statistics, inputs, lengths, **options):
        with matmul_precision(self.recipe.matmul_precision):
            return _read(self._model(parameters, statistics), inputs, lengths, **options)

    def _activity_function(self, parameters, statistics, inputs, lengths):
        with matmul_precision(self.recipe.matmul_precision):
            model = self._model(parameters, statistics)
            return model.activity(inputs.astype(jnp.int32) if inputs.dtype == jnp.uint8 else inputs, lengths)

    def _move(self, *arrays: np.ndarray | None) -> Any:
        return tuple(None if a is None else jax.device_put(a, self._placed(len(a))) for a in arrays)

    def _placed(self, rows: int) -> Any:
        """Where so many rows belong: sharded, or a copy on every device where they cannot be shared out evenly."""
        return self._copied if rows % len(self.devices) else self._sharded

    def train_step(self, batch: Any, rates: Mapping[str, float], dropout_seed: int) -> Array:
        """One update on a batch of NumPy arrays; the loss stays on the device until `losses` fetches it."""
        moved = self._move(*self._arrays(batch))
        typed = {group: np.asarray(rate, self._dtype) for group, rate in rates.items()}
        constants = {name: np.asarray(c, self._dtype) for name, c in self.spec.constants(self.step).items()}
        self.parameters, self.statistics, self.moments, self.carried, loss = self._train(
            *(self.parameters, self.statistics, self.moments, self.carried),
            *(moved, typed, constants, np.uint32(dropout_seed)),
        )
        self.step += 1
        return loss

    def losses(self, handles: Sequence[Array]) -> Float[np.ndarray, " n"]:
        """The losses behind handles; waits for the device."""
        return np.asarray(jax.device_get(list(handles)), np.float64)

    def evaluate(self, batch: Any, step_rescale: float = 1.0) -> Float[np.ndarray, "B C"]:
        """Logits of a batch with running statistics and without dropout; layers get a `step_rescale` other than 1."""
        options = {} if step_rescale == 1.0 else {"step_rescale": step_rescale}
        moved = self._move(batch.inputs, batch.lengths)
        return np.asarray(self._logits(self.parameters, self.statistics, *moved, **options))

    def activity(self, batch: Any) -> Float[np.ndarray, "R B"]:
        """The share of positions that each layer of `recipe.model.routed` activates in each sequence."""
        return np.asarray(self._activity(self.parameters, self.statistics, *self._move(batch.inputs, batch.lengths)))

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a later step depends on, by name, as NumPy copies."""
        parts = ("parameters", self.parameters), ("statistics", self.statistics), ("carried", self.carried)
        found = (*parts, *self.moments.items())
        arrays = {f"{part}.{path}": array for part, arrays in found for path, array in arrays.items()}
        return {**jax.tree.map(np.array, jax.device_get(arrays)), "step": np.array(self.step)}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of `state`; missing, unknown or misshapen arrays raise ParameterError."""
        expected = self.state()
        check(dict(state), expected)
        typed = {name: np.array(array, expected[name].dtype) for name, array in state.items() if name != "step"}
        moved = {
            name: jax.device_put(array, self._sharded if name.startswith("carried.") else self._copied)
            for name, array in typed.items()
        }
        self.parameters, self.statistics = _part(moved, "parameters"), _part(moved, "statistics")
        self.carried = _part(moved, "carried")
        self.moments = {name: _part(moved, name) for name in self.moments}
        self.step = int(state["step"])

    def synchronize(self) -> None:
        """Wait until the device has done everything asked of it."""
        jax.block_until_ready((self.parameters, self.statistics))

    def peak_memory(self) -> int | None:
        """The most bytes that were in use on a device, or None where the devices do not tell."""
        peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in self.devices]
        return max((peak for peak in peaks if peak), default=None)

    def describe(self) -> dict[str, Any]:
        """The device, the arithmetic and the size of the model."""
        return {
            "device": self.device.device_kind,
            "devices": len(self.devices),
            "dtype": str(self._dtype),
            "matmul_precision": self.recipe.matmul_precision,
            "compiled": True,
            "parameter_count": sum(p.size for p in self.parameters.values()),
        }


def _read(model: Any, inputs: Array, lengths: Array | None, **options: Any) -> Array:
    """What a model makes of each example; one that also writes has a method for it."""
    inputs = inputs.astype(jnp.int32) if inputs.dtype == jnp.uint8 else inputs
    return getattr(model, "classify", model)(inputs, lengths, **options)


def local_devices(kind: str, count: int = 1) -> list[Any]:
    """The first devices of a kind of this machine; raises RuntimeError where there are not as many."""
    try:
        found = jax.local_devices(backend=kind)
    except RuntimeError as error:
        raise RuntimeError(
            f"JAX sees no {kind} here; install JAX for it or choose other --hardware ({error})"
        ) from None
    if count > len(found):
        raise RuntimeError(f"JAX sees {len(found)} {kind} here: choose --devices {len(found)} or fewer")
    return found[:count]


def shardings(devices: list[Any]) -> tuple[Any, Any]:
    """How arrays lie that are the same on every device, and those whose rows are shared out."""
    if len(devices) == 1:
        return SingleDeviceSharding(devices[0]), SingleDeviceSharding(devices[0])
    mesh = Mesh(np.array(devices), ("B",))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("B"))


def _part(state: Mapping[str, Any], part: str) -> Arrays:
    return {name.removeprefix(f"{part}."): array for name, array in state.items() if name.startswith(f"{part}.")}


def _flat(state: Any) -> Arrays:
    return {".".join(map(str, path)): variable[...] for path, variable in nnx.to_flat_state(state)}


def _nested(flat: Arrays) -> Any:
    paths = {path: tuple(int(part) if part.isdigit() else part for part in path.split(".")) for path in flat}
    return nnx.from_flat_state({paths[path]: array for path, array in flat.items()})
