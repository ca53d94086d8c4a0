"""A recording on a device that is none: a graph replays on addresses, so what it reads must stay where it was."""

import contextlib
import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from suite.training.cuda_graph import Captured  # noqa: E402


class Graph:
    """Kernels that hold no tensor: each looks for its own when it runs again, as a device looks at an address."""

    def __init__(self) -> None:
        self.kernels: list[Callable[[], Any]] = []

    def replay(self) -> None:
        for kernel in self.kernels:
            kernel()


@pytest.fixture
def recording(monkeypatch) -> list[Graph]:
    """The graphs that record at present, on a device without streams."""
    present: list[Graph] = []

    @contextlib.contextmanager
    def capture(graph: Graph) -> Iterator[None]:
        present.append(graph)
        yield
        present.pop()

    stream = SimpleNamespace(wait_stream=lambda other: None)
    device = SimpleNamespace(
        Stream=lambda: stream, current_stream=lambda: stream, stream=contextlib.nullcontext, synchronize=lambda: None,
        CUDAGraph=Graph, graph=capture,
    )  # fmt: skip
    monkeypatch.setattr(torch, "cuda", device)
    return present


def multiply(recording: list[Graph], count: Any, weight: Any, x: Any) -> Any:
    """x times a weight, counted; a graph that records will do it again on the same tensors, and count no more."""
    count.add_(1)
    product = x * weight
    read = [weakref.ref(tensor) for tensor in (x, weight, product)]
    for graph in recording:
        graph.kernels.append(lambda: torch.mul(read[0](), read[1](), out=read[2]()))
    return product


def test_a_recording_keeps_what_its_replays_read(recording):
    """The function with its tensors, the arguments and the result: nobody else holds them."""
    count = torch.zeros(())
    captured = Captured(
        functools.partial(multiply, recording, count, torch.tensor([2.0, 3.0])), (torch.ones(2),), (count,)
    )
    assert count == 1  # by the recording itself: what the warm-up changed is undone
    gc.collect()
    first = captured(torch.tensor([5.0, 7.0]))
    second = captured(torch.tensor([1.0, 1.0]))
    assert first.tolist() == [10.0, 21.0]
    assert second.tolist() == [2.0, 3.0]
    assert captured.replay() is captured.replay()
