"""The Triton kernel of the scan in Triton's interpreter against the oracle, its gradients against autograd's."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from implementations.common.config import ConfigError  # noqa: E402
from implementations.ops.scan import torch as ops  # noqa: E402
from implementations.ops.scan.kernel import PROGRAMS, SHORTEST, STATES, power_of_two, segment_length  # noqa: E402
from implementations.ops.scan.kernel import torch as kernel  # noqa: E402
from implementations.ops.scan.reference import linear_recurrence as oracle  # noqa: E402

ROOT = Path(__file__).parents[2]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@pytest.fixture
def interpreted(monkeypatch):
    """The kernel on CPU tensors, whatever was imported before in this process."""
    from triton.runtime.interpreter import InterpretedFunction

    if not isinstance(kernel._kernel, InterpretedFunction):
        monkeypatch.setattr(kernel, "_kernel", InterpretedFunction(kernel._kernel.fn))


def draw(length, states, directions, dtype=torch.float64, batch=2):
    """a (Q, 2) inside of the unit circle, b (B, L, P, 2) and initial (B, Q, 2)."""
    rng = np.random.default_rng([length, states, directions])
    radius, angle = rng.uniform(0.6, 0.99, directions * states), rng.uniform(-3, 3, directions * states)
    a = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    b, initial = rng.normal(size=(batch, length, states, 2)), rng.normal(size=(batch, directions * states, 2))
    return [torch.tensor(values, dtype=dtype) for values in (a, b, initial)]


def expected(a, b, initial, directions, reverse):
    """The oracle, one direction after the other."""
    a, b, initial = (None if x is None else x.double().numpy() @ np.array([1, 1j]) for x in (a, b, initial))
    found = []
    for direction in range(directions):
        own = slice(direction * b.shape[2], (direction + 1) * b.shape[2])
        start = None if initial is None else initial[:, own]
        found.append(oracle(np.broadcast_to(a[own], b.shape), b, start, (direction == 1) != reverse))
    found = np.concatenate(found, -1)
    return np.stack([found.real, found.imag], -1)


def associative(a, b, initial, directions, reverse):
    """The same through the associative scan, whose gradients are autograd's."""
    a, b = torch.view_as_complex(a), torch.view_as_complex(b)
    starts = [None, None] if initial is None else torch.view_as_complex(initial).chunk(directions, 1)
    found = []
    for direction, own in enumerate(a.chunk(directions)):
        backward = (direction == 1) != reverse
        found.append(ops.linear_recurrence(own[None, None], b, starts[direction], backward))
    return torch.view_as_real(torch.cat(found, -1))


CASES = [(1, True, False, None), (2, False, True, None), (2, True, False, 16), (1, False, True, 8)]
"""Directions, with an initial state, reverse, and positions per segment."""


@needs_triton
@pytest.mark.parametrize("states", [1, 3, 8, 48])
@pytest.mark.parametrize("length", [1, 2, 31, 33, 100])
def test_the_kernel_is_the_recurrence(interpreted, length, states):
    for directions, started, reverse, segment in CASES:
        a, b, initial = draw(length, states, directions)
        given = (a, b, initial if started else None)
        x = kernel.scan(*given, directions=directions, reverse=reverse, segment=segment)
        assert x.dtype == b.dtype
        np.testing.assert_allclose(x.numpy(), expected(*given, directions, reverse), rtol=0, atol=1e-12)


@needs_triton
@pytest.mark.parametrize("segment", [None, 4])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("started", [False, True])
def test_its_gradients_are_those_of_the_scan(interpreted, started, directions, reverse, segment):
    for length in (1, 2, 19):
        given = draw(length, 3, directions)[: 3 if started else 2]
        weights = torch.randn((2, length, 3 * directions, 2), dtype=torch.float64, generator=torch.manual_seed(length))
        gradients = []
        for scan in (kernel.scan, associative):
            leaves = [values.clone().requires_grad_() for values in given]
            settings = {"directions": directions, "reverse": reverse}
            own = {"segment": segment} if scan is kernel.scan else {}
            x = scan(*leaves, *[None] * (3 - len(leaves)), **settings, **own)
            gradients.append(torch.autograd.grad((weights * x).sum(), leaves, materialize_grads=True))
        for found, right in zip(*gradients, strict=True):
            assert right.abs().max() > 0 or length == 1
            torch.testing.assert_close(found, right, rtol=0, atol=1e-11)


@needs_triton
def test_growing_states_spoil_no_gradient_behind_the_end(interpreted):
    a = torch.tensor([[1.5, 0.0]], dtype=torch.float32, requires_grad=True)
    b = torch.zeros(1, 210, 1, 2)
    b[0, -20:] = 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # of steps past the end, which are computed and not used
        kernel.scan(a, b)[0, -1, 0, 0].backward()
    twin = a.detach().double().requires_grad_()
    associative(twin, b.double(), None, 1, False)[0, -1, 0, 0].backward()
    np.testing.assert_allclose(a.grad.numpy(), twin.grad.numpy(), rtol=1e-4, atol=1)


@needs_triton
def test_finite_differences_agree(interpreted):
    given = [values.requires_grad_() for values in draw(5, 2, 2, batch=1)]
    assert torch.autograd.gradcheck(lambda *x: kernel.scan(*x, directions=2, segment=2), given, fast_mode=True)


@needs_triton
def test_a_second_derivative_is_refused(interpreted):
    a, b, _ = draw(2, 1, 1)
    b.requires_grad_()
    (db,) = torch.autograd.grad(kernel.scan(a, b).square().sum(), b, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        torch.autograd.grad(db.sum(), b)


@needs_triton
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 2e-6), (torch.float16, 2**-10), (torch.bfloat16, 2**-7)],  # the interpreter truncates the last
)
def test_lower_precision_is_computed_in_float32(interpreted, dtype, tolerance):
    a, b, initial = draw(70, 3, 2, dtype)
    a = a.float()
    b.requires_grad_()
    x = kernel.scan(a, b, initial, directions=2, segment=32)
    right = expected(a, b.detach(), initial, 2, False)
    assert x.dtype == dtype
    assert np.abs(x.detach().double().numpy() - right).max() < tolerance * np.abs(right).max()
    x.sum().backward()
    assert b.grad is not None
    assert b.grad.dtype == dtype


@needs_triton
def test_strides_are_no_matter(interpreted):
    a, b, initial = draw(6, 4, 1)
    scattered = [values.transpose(0, -1).contiguous().transpose(0, -1) for values in (a, b, initial)]
    assert not scattered[1].is_contiguous()
    leaf = scattered[1].requires_grad_()
    x = kernel.scan(scattered[0], leaf, scattered[2])
    np.testing.assert_allclose(x.detach().numpy(), expected(a, b, initial, 1, False), atol=1e-12)
    (found,) = torch.autograd.grad(x.sum(), leaf)  # the gradient of x is one number, expanded
    (right,) = torch.autograd.grad(associative(a, b.requires_grad_(), initial, 1, False).sum(), b)
    torch.testing.assert_close(found, right)


@needs_triton
def test_the_scan_runs_it_by_name(interpreted):
    log_a = torch.tensor([[-0.1, 0.5], [-0.4, -1.0], [-0.02, 2.0]], dtype=torch.float64, requires_grad=True)
    _, b, initial = draw(9, 3, 1)
    for run in (
        lambda method: ops.invariant_recurrence(log_a, b, initial, method),
        lambda method: ops.both_directions(log_a, b, method),
    ):
        found, right = run("kernel"), run("associative")
        torch.testing.assert_close(found, right)
        gradients = [torch.autograd.grad(x.square().sum(), log_a)[0] for x in (found, right)]
        torch.testing.assert_close(*gradients)


COMPILED = """
import torch
from implementations.common.initializers import Keys
from implementations.s5.config import S5Config
from implementations.s5.torch import S5Layer

for bidirectional in (False, True):
    layer = S5Layer(S5Config(d_model=4, ssm_size=8, bidirectional=bidirectional), Keys(0))
    x = torch.randn((2, 70, 4), generator=torch.manual_seed(0))
    compiled = torch.compile(lambda x, scan: layer(x, scan=scan)[0], backend="aot_eager", fullgraph=True)
    found = {}
    for name in ("chunked", "kernel", "compiled"):
        layer.zero_grad()
        y = compiled(x, "kernel") if name == "compiled" else layer(x, scan=name)[0]
        y.square().sum().backward()
        found[name] = [y.detach(), *(p.grad for p in layer.parameters())]
    for name in ("kernel", "compiled"):
        for one, other in zip(found[name], found["chunked"], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
"""


@needs_triton
def test_a_compiled_layer_in_a_fresh_process_runs_it():
    """The environment asks for the interpreter here; the import hook of these tests would break the compilation."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMPILED]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_where_it_cannot_run_one_sentence_names_the_remedy(monkeypatch):
    monkeypatch.setattr(kernel, "_interpreted", lambda: False)
    log_a, b, _ = draw(2, 1, 1)
    remedy = "choose scan='chunked' or 'auto'"
    if kernel.triton is not None:
        with pytest.raises(ConfigError) as raised:
            ops.invariant_recurrence(log_a, b, None, "kernel")
        assert str(raised.value) == f"scan method is 'kernel', which runs on NVIDIA GPUs, not on 'cpu': {remedy}"
    monkeypatch.setattr(kernel, "triton", None)
    with pytest.raises(ConfigError) as raised:
        ops.both_directions(log_a, b, "kernel")
    assert str(raised.value) == f"scan method is 'kernel', which needs Triton, and Triton is not installed: {remedy}"


@needs_triton
def test_a_segment_is_a_power_of_two(interpreted):
    a, b, _ = draw(7, 1, 1)
    with pytest.raises(ValueError, match="segment is 3: expected a power of two"):
        kernel.scan(a, b, segment=3)


def test_a_long_sequence_of_few_programs_is_cut():
    assert segment_length(1, 2 * SHORTEST, 8) == 2 * SHORTEST
    assert segment_length(PROGRAMS, 10**6, 1) == segment_length(1, 10**6, PROGRAMS * STATES) == 10**6
    for batch, length, states in ((1, 129, 1), (1, 16_384, 64), (8, 65_536, 256), (50, 2_048, 384), (1, 10**7, 64)):
        segment = segment_length(batch, length, states)
        programs = batch * -(-states // STATES) * -(-length // segment)
        assert segment == power_of_two(segment) >= SHORTEST
        assert programs > PROGRAMS / 2 or segment == SHORTEST or length > segment * segment
        assert programs <= PROGRAMS + batch * -(-states // STATES) or segment == SHORTEST
        assert length <= 4 * segment * segment
