"""Data-parallel training in PyTorch: a process for each device, all of them led by the one that runs the cell.

The loop, its checkpoints and its record know one process only: this backend, which is the first device's and tells
the others what to do, with their rows of every batch. Gradients are averaged by DistributedDataParallel, so that
parameters, moments and statistics are the same everywhere; losses, carried states and logits are put together here.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from typing import Any

import numpy as np
import torch
import torch.distributed
from jaxtyping import Float
from torch._C._distributed_c10d import TCPStore

from implementations.common.config import ConfigError
from implementations.common.shards.torch import Shard, sharded
from suite.recipes.base import Recipe
from suite.training.loop import REASON
from suite.training.torch import device as device_of

Pipe = connection.Connection

END_SECONDS = 10.0
"""How long a process may take to end, and the first one to say why it cannot go on, before it is ended."""


class DeviceLost(RuntimeError):
    """A process of another device ended before its time; the message says which and why."""


def part(batch: Any, rank: int, devices: int) -> Any:
    """The rows of one of so many devices; of pairs, stacked as first and second documents, those of its pairs."""
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    count = rows_of(batch)
    rows = slice(rank * count // devices, (rank + 1) * count // devices)
    return dataclasses.replace(batch, **{name: _rows(array, count, rows) for name, array in fields.items()})


def rows_of(batch: Any) -> int:
    """The examples of a batch, or its rows of text."""
    return len(next(getattr(batch, name) for name in ("labels", "start", "targets") if hasattr(batch, name)))


def _rows(array: np.ndarray | None, count: int, rows: slice) -> np.ndarray | None:
    if array is None:
        return None
    array = np.asarray(array)
    stacked = array.reshape(-1, count, *array.shape[1:])[:, rows]
    return np.ascontiguousarray(stacked.reshape(-1, *array.shape[1:]))


def shard(batch: Any, rank: int, devices: int, device: torch.device) -> Shard:
    """Where the rows of a part of a batch stand in the whole of it; of pairs, all first documents come first."""
    count, documents = rows_of(batch), len(batch.inputs) // rows_of(batch)
    starts = (torch.arange(documents, device=device) * devices + rank) * count
    rows = (starts[:, None] + torch.arange(count, device=device)).reshape(-1)
    return Shard(rows, documents * devices * count, devices)


class Member:
    """One device of a cell: its backend, and what can be asked of it, by the name of a method."""

    def __init__(self, rank: int, devices: int, store: Any, recipe: Recipe, seed: int, kind: str, dtype: str) -> None:
        self.rank, self.devices = rank, devices
        _join(kind, rank, devices, store)
        module = importlib.import_module(f"suite.training.{recipe.kind}torch")
        self.backend = module.Backend(recipe, seed, kind, dtype, rank=rank, devices=devices)
        self.handles: list[Any] = []

    def train_step(self, batch: Any, rates: Mapping[str, float], dropout_seed: int) -> Any:
        """An update on this device's part of a batch; its loss is kept until `losses`."""
        with sharded(shard(batch, self.rank, self.devices, self.backend.device)):
            self.handles.append(self.backend.train_step(batch, rates, dropout_seed))
        return self.handles[-1]

    def losses(self) -> Float[np.ndarray, " n"]:
        """The losses of this device's parts since the last time."""
        handles, self.handles = self.handles, []
        return self.backend.losses(handles)

    def evaluate(self, batch: Any, **options: Any) -> np.ndarray:
        """What the backend makes of this device's part of a batch."""
        with sharded(shard(batch, self.rank, self.devices, self.backend.device)):
            return self.backend.evaluate(batch, **options)

    def begin_evaluation(self) -> None:
        """As of a language model's backend."""
        self.backend.begin_evaluation()

    def carried(self) -> dict[str, np.ndarray]:
        """This device's rows of what is carried."""
        return {name: array for name, array in self.backend.state().items() if name.startswith("carried.")}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state of the whole, and of what is carried this device's rows."""
        own = {
            name: np.array_split(array, self.devices)[self.rank] if name.startswith("carried.") else array
            for name, array in state.items()
        }
        self.backend.load_state(own)

    def peak_memory(self) -> int | None:
        """The most bytes that were in use on this device."""
        return self.backend.peak_memory()


ANSWERED = ("losses", "evaluate", "carried", "peak_memory")
"""What a process gives its result of; of other methods there is none."""


def open_store(port: int, devices: int) -> TCPStore:
    """Where the processes of a cell meet: on this machine only; the first one asks for port 0 and gets a free one."""
    loop = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), None)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if loop else ():
        os.environ.setdefault(name, str(loop))
    return TCPStore("127.0.0.1", port, devices, port == 0, wait_for_workers=False)


def _join(kind: str, rank: int, devices: int, store: TCPStore) -> None:
    """Make this process one of the group; waits for the others."""
    options: dict[str, Any] = {"store": store, "rank": rank, "world_size": devices}
    if kind == "gpu":
        options["device_id"] = device_of(kind, rank)
    torch.distributed.init_process_group("nccl" if kind == "gpu" else "gloo", **options)


def serve(pipe: Pipe, failures: Pipe, port: int, rank: int, devices: int, *arguments: Any) -> None:
    """The life of another process: a `Member` and what is asked of it, until "end" or until the first one is gone."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the first process decides when to stop
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    try:
        member = Member(rank, devices, open_store(port, devices), *arguments)
        while True:
            method, given, options = pipe.recv()
            if method == "end":
                break
            result = getattr(member, method)(*given, **options)
            if method in ANSWERED:
                pipe.send(result)
        torch.distributed.destroy_process_group()
    except BaseException as error:
        traceback.print_exc(file=sys.stdout)
        failures.send(f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}")
        raise


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _abort(reason: str) -> None:
    """End this process, which waits for a device that no longer answers."""
    print(f"{REASON}{reason}", flush=True)
    os._exit(1)


class Backend:
    """The backend of `suite/training/torch.py`, or of a language model, on several devices: see there.

    Batches and their parts are `Recipe.batch_size` rows and a share of them; raises ConfigError where that is no whole
    number. `abort` gets the reason where a device is lost and this process hangs in waiting for it.
    """

    framework = "torch"

    def __init__(
        self,
        recipe: Recipe,
        seed: int,
        kind: str = "cpu",
        dtype: str = "float32",
        devices: int = 2,
        abort: Callable[[str], None] = _abort,
    ) -> None:
        if recipe.batch_size % devices:
            raise ConfigError(f"Recipe.batch_size is {recipe.batch_size}: expected a multiple of {devices} devices")
        self.recipe, self.devices, self.abort = recipe, devices, abort
        self._failed, self._told, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._reason, self._pipes, self._failures = "", [], []
        self._processes: list[Any] = []
        store = open_store(0, devices)
        arguments = (recipe, seed, kind, dtype)
        for rank in range(1, devices):
            self._start(store.port, rank, devices, *arguments)
        atexit.register(self.close)
        threading.Thread(target=self._watch, daemon=True).start()
        with self._explained():
            self._own = Member(0, devices, store, *arguments)

    def _start(self, port: int, *arguments: Any) -> None:
        """A process for another device."""
        context = multiprocessing.get_context("spawn")
        (pipe, theirs), (failures, told) = context.Pipe(), context.Pipe(duplex=False)
        process = context.Process(target=serve, args=(theirs, told, port, *arguments))
        process.start()
        theirs.close()
        told.close()
        self._pipes.append(pipe)
        self._failures.append(failures)
        self._processes.append(process)

    def _watch(self) -> None:
        """Wait for a process that ends before its time, and end this one where it cannot say so by itself."""
        ready = connection.wait([process.sentinel for process in self._processes])
        if self._closing.is_set():
            return
        index = next(i for i, process in enumerate(self._processes) if process.sentinel in ready)
        self._reason = f"device {index + 2} of {self.devices} was lost: {self._why(index)}"
        self._failed.set()
        if not self._told.wait(END_SECONDS) and not self._closing.is_set():
            self.abort(self._reason)

    def _why(self, index: int) -> str:
        """What a process said before it ended, or how it ended."""
        with contextlib.suppress(EOFError, OSError):
            if self._failures[index].poll():
                return self._failures[index].recv()
        self._processes[index].join()
        code = self._processes[index].exitcode
        return (
            f"its process was ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}"
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise DeviceLost for an error that follows from the loss of another device."""
        try:
            yield
        except Exception as error:
            if not self._failed.wait(END_SECONDS / 2):
                raise
            self._told.set()
            raise DeviceLost(self._reason) from error

    def _all(self, method: str, given: Sequence[tuple], **options: Any) -> list[Any]:
        """The results of a method on every device, each with arguments of its own."""
        with self._explained():
            for pipe, arguments in zip(self._pipes, given[1:], strict=True):
                pipe.send((method, arguments, options))
            own = getattr(self._own, method)(*given[0], **options)
            return [own, *(pipe.recv() for pipe in self._pipes)] if method in ANSWERED else [own]

    def _parts(self, batch: Any, *more: Any) -> list[tuple]:
        return [(part(batch, rank, self.devices), *more) for rank in range(self.devices)]

    def train_step(self, batch: Any, rates: Mapping[str, float], dropout_seed: int) -> Any:
        """One update on a batch of NumPy arrays; the losses stay on the devices until `losses` fetches them."""
        return self._all("train_step", self._parts(batch, dict(rates), dropout_seed))[0]

    def losses(self, handles: Sequence[Any]) -> Float[np.ndarray, " n"]:
        """The losses behind handles, of all updates since the last time; waits for the devices."""
        found = np.mean(self._all("losses", [()] * self.devices), 0)
        assert len(found) == len(handles)
        return found

    def evaluate(self, batch: Any, **options: Any) -> np.ndarray:
        """As on one device; where the rows are no multiple of the devices, the first one evaluates them alone."""
        if rows_of(batch) % self.devices:
            return self._own.backend.evaluate(batch, **options)
        return np.concatenate(self._all("evaluate", self._parts(batch), **options))

    def begin_evaluation(self) -> None:
        """Forget the states of an evaluation before, of a language model."""
        self._all("begin_evaluation", [()] * self.devices)

    def activity(self, batch: Any) -> Float[np.ndarray, "R B"]:
        """As on one device, which the first one is here."""
        return self._own.backend.activity(batch)

    def generate(self, batch: Any) -> np.ndarray:
        """As on one device, which the first one is here; of a model that writes."""
        return self._own.backend.generate(batch)

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a later step depends on, by name: what one device would have."""
        carried = self._all("carried", [()] * self.devices)
        whole = {name: np.concatenate([own[name] for own in carried]) for name in carried[0]}
        return {**self._own.backend.state(), **whole}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of `state`, and of that of any number of devices; raises ParameterError for other arrays."""
        self._own.load_state(state)
        with self._explained():
            for pipe in self._pipes:
                pipe.send(("load_state", (dict(state),), {}))

    def synchronize(self) -> None:
        """Wait until the device of this process has done everything asked of it."""
        self._own.backend.synchronize()

    def peak_memory(self) -> int | None:
        """The most bytes that were in use on one of the devices, or None where they do not tell."""
        return max((found for found in self._all("peak_memory", [()] * self.devices) if found), default=None)

    def describe(self) -> dict[str, Any]:
        """The devices, the arithmetic and the size of the model."""
        return self._own.backend.describe()

    def close(self) -> None:
        """End the other processes."""
        if self._closing.is_set():
            return
        self._closing.set()
        atexit.unregister(self.close)
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(("end", (), {}))
        if torch.distributed.is_initialized() and not self._failed.is_set():
            torch.distributed.destroy_process_group()
        ends = time.monotonic() + END_SECONDS
        for process in self._processes:
            process.join(max(ends - time.monotonic(), 0.0))
            process.kill()
            process.join()
