"""The training backend in PyTorch; `jax.py` beside it is its twin. What is trained and when is decided in `loop.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from implementations import catalog
from implementations.common.initializers import Keys
from implementations.common.torch import matmul_precision
from implementations.parameters import check
from suite.recipes.base import Recipe
from suite.training.cuda_graph import Captured
from suite.training.measures import LEAST_VARIANCE, LOG_2_PI
from suite.training.updates import torch as updates

Tensors = dict[str, Tensor]


def cross_entropy(logits: Float[Tensor, "B C"], labels: Tensor) -> Float[Tensor, ""]:
    """Mean cross entropy in nats, in float32 or better."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(logits, labels.long())


def squared_error(outputs: Float[Tensor, "B 1"], targets: Tensor) -> Float[Tensor, ""]:
    """Mean squared error of one number for each example."""
    return ((outputs[:, 0] - targets) ** 2).mean()


def gaussian(outputs: Float[Tensor, "B L outputs"], targets: Float[Tensor, "B L K"]) -> Float[Tensor, ""]:
    """Mean over positions of minus the log likelihood of K targets in nats; outputs are K means and K variances."""
    mean, variance = torch.chunk(outputs, 2, -1)
    variance = torch.clamp(variance, min=LEAST_VARIANCE)
    terms = torch.log(variance) + (targets - mean) ** 2 / variance + LOG_2_PI
    return 0.5 * terms.sum(-1).mean()


OBJECTIVES = {"cross_entropy": cross_entropy, "squared_error": squared_error, "gaussian": gaussian}


def clip_by_global_norm(gradients: Sequence[Tensor], limit: float) -> None:
    """Scale gradients down together, in place, so that their global norm is at most `limit`."""
    norm = torch.sqrt(torch.stack([(g * g).sum() for g in gradients]).sum())
    for g in gradients:
        g.mul_(limit / torch.clamp(norm, min=limit))


class _Objective(nn.Module):
    """A loss as a module of the model whose parameters it depends on: what DistributedDataParallel wants."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class Backend:
    """One model with its optimizer on one device: `kind` "cpu" or "gpu"; parameters drawn from `seed`.

    `dtype` is that of the parameters and so of the arithmetic: "float32" or "float64". Where `devices` are more than
    one, this is the process `rank` of so many, which `parallel/torch.py` starts: batches and carried states are its
    part of the whole, and the gradient is the mean over the processes. Nothing is compiled or recorded then.
    """

    framework = "torch"

    def __init__(
        self, recipe: Recipe, seed: int, kind: str = "cpu", dtype: str = "float32", rank: int = 0, devices: int = 1
    ) -> None:
        self.recipe, self.spec, self.step = recipe, recipe.optimizer, 0
        self.rank, self.devices = rank, devices
        self.device = device(kind, rank)
        self.model = catalog.model_class(recipe.model, "torch")(recipe.model, Keys(seed, dtype)).to(self.device)
        self.parameters, self.statistics = dict(self.model.named_parameters()), dict(self.model.named_buffers())
        self.optimizer = updates.start(self.spec, self.parameters)
        self.carried: Tensors = {}
        # Layers that choose their tokens ask the device how many there are, which a recorded step cannot.
        self.compiled = recipe.compile and self.device.type == "cuda" and devices == 1 and not recipe.model.routed
        self._loss: Any = torch.compile(self._loss_function, dynamic=False) if self.compiled else self._loss_function
        if devices > 1:
            # As on one device, a parameter may have no part in a loss.
            objective = _Objective(self.model, self._loss_function)
            self._loss = DistributedDataParallel(objective, find_unused_parameters=True)
        self._captured: dict[Any, Captured] = {}

    def _loss_function(self, inputs: Tensor, lengths: Tensor | None, labels: Tensor, dropout_seed: Tensor) -> Tensor:
        logits = self._logits_function(inputs, lengths, training=True, dropout_seed=dropout_seed)
        return OBJECTIVES[self.recipe.model.objective](logits, labels)

    def _logits_function(self, inputs: Tensor, lengths: Tensor | None, **options: Any) -> Tensor:
        inputs = inputs.int() if inputs.dtype == torch.uint8 else inputs
        return getattr(self.model, "classify", self.model)(inputs, lengths, **options)

    def _activity_function(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        return self.model.activity(inputs.int() if inputs.dtype == torch.uint8 else inputs, lengths)

    def _move(self, *arrays: np.ndarray | None) -> Any:
        tensors = (None if array is None else torch.from_numpy(np.asarray(array)) for array in arrays)
        if self.device.type == "cpu":
            return tuple(tensors)
        return tuple(None if t is None else t.pin_memory().to(self.device, non_blocking=True) for t in tensors)

    def _update(self, *moved: Any) -> Tensor:
        """Loss, gradients and optimizer step on tensors of the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss_of(*moved)
        loss.backward()
        for p in self.parameters.values():
            # One that has no part in the loss decays all the same: PyTorch would leave it out.
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if self.spec.clip_norm is not None:
            clip_by_global_norm([p.grad for p in self.parameters.values() if p.grad is not None], self.spec.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def _loss_of(self, *moved: Any) -> Tensor:
        """The loss of an update; what the next one starts from beside the parameters is changed here: nothing."""
        return self._loss(*moved)

    def _arrays(self, batch: Any) -> tuple[np.ndarray | None, ...]:
        """The arrays of a batch that an update takes."""
        return batch.inputs, batch.lengths, batch.labels

    def _run(self, function: Callable[..., Tensor], moved: Sequence[Tensor | None], **options: Any) -> Tensor:
        """The function as it is, or on a GPU its recording for arguments of these shapes and these options."""
        if not self.compiled:
            return function(*moved, **options)
        key = (function.__name__, *options.items(), *(None if t is None else (t.shape, t.dtype) for t in moved))
        if key not in self._captured:
            self._captured[key] = Captured(functools.partial(function, **options), moved, self._changing())
        return self._captured[key](*moved)

    def train_step(self, batch: Any, rates: Mapping[str, float], dropout_seed: int) -> Tensor:
        """One update on a batch of NumPy arrays; the loss stays on the device until `losses` fetches it."""
        moved = self._move(*self._arrays(batch), np.asarray(dropout_seed, np.int64))
        updates.tell(self.optimizer, rates, self.spec.constants(self.step))
        with matmul_precision(self.recipe.matmul_precision):
            loss = self._run(self._update, moved)
        self.step += 1
        return loss

    def losses(self, handles: Sequence[Tensor]) -> Float[np.ndarray, " n"]:
        """The losses behind handles; waits for the device."""
        return torch.stack(list(handles)).double().cpu().numpy()

    def evaluate(self, batch: Any, step_rescale: float = 1.0) -> Float[np.ndarray, "B C"]:
        """Logits of a batch with running statistics and without dropout; layers get a `step_rescale` other than 1."""
        options = {} if step_rescale == 1.0 else {"step_rescale": step_rescale}
        with torch.no_grad(), matmul_precision(self.recipe.matmul_precision):
            return self._run(self._logits_function, self._move(batch.inputs, batch.lengths), **options).cpu().numpy()

    def activity(self, batch: Any) -> Float[np.ndarray, "R B"]:
        """The share of positions that each layer of `recipe.model.routed` activates in each sequence."""
        with torch.no_grad(), matmul_precision(self.recipe.matmul_precision):
            return self._activity_function(*self._move(batch.inputs, batch.lengths)).cpu().numpy()

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a later step depends on, by name, as NumPy copies."""
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._tensors().items()}
        return {**arrays, "step": np.array(self.step)}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of `state`; missing, unknown or misshapen arrays raise ParameterError."""
        check(dict(state), self.state())
        self.step = int(state["step"])
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(torch.from_numpy(np.array(state[name])))
            for step in self._step_counts():
                step.fill_(self.step)

    def _tensors(self) -> Tensors:
        """Parameters, statistics, moments and what is carried by name: the tensors themselves."""
        parts = {
            "parameters": self.parameters,
            "statistics": self.statistics,
            "carried": self.carried,
            **updates.moments(self.spec, self.optimizer, self.parameters),
        }
        return {f"{part}.{path}": tensor for part, tensors in parts.items() for path, tensor in tensors.items()}

    def _step_counts(self) -> list[Tensor]:
        states = (self.optimizer.state[p] for p in self.parameters.values())
        return [state["step"] for state in states if "step" in state]

    def _changing(self) -> list[Tensor]:
        """Every tensor that a step changes in place."""
        return [*self._tensors().values(), *self._step_counts()]

    def synchronize(self) -> None:
        """Wait until the device has done everything asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory(self) -> int | None:
        """The most bytes that were in use on the device, or None where the device does not tell."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def describe(self) -> dict[str, Any]:
        """The device, the arithmetic and the size of the model."""
        return {
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "devices": self.devices,
            "dtype": str(next(iter(self.parameters.values())).dtype).removeprefix("torch."),
            "matmul_precision": self.recipe.matmul_precision,
            "compiled": self.compiled,
            "parameter_count": sum(p.numel() for p in self.parameters.values()),
        }


def device(kind: str, rank: int = 0) -> torch.device:
    """The device of so many of a kind; raises RuntimeError where there is none."""
    if kind == "cpu":
        return torch.device("cpu")
    seen = torch.cuda.device_count() if kind == "gpu" and torch.cuda.is_available() else 0
    if not seen:
        raise RuntimeError(f"PyTorch sees no {kind} here; install PyTorch for it or choose other --hardware")
    if rank >= seen:
        raise RuntimeError(f"PyTorch sees {seen} {kind} here: choose --devices {seen} or fewer")
    found = torch.device("cuda", rank)
    torch.cuda.set_device(found)
    return found
