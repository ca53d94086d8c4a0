"""The Pallas kernel of the scan, interpreted, against the oracle; its gradients against the associative scan's."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from implementations.common.config import ConfigError  # noqa: E402
from implementations.common.jax import compiling_for  # noqa: E402
from implementations.ops.scan import jax as ops  # noqa: E402
from implementations.ops.scan.kernel import jax as kernel  # noqa: E402
from implementations.ops.scan.reference import linear_recurrence as oracle  # noqa: E402

scan = kernel.scan


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Tiles of 4 positions: XLA on a CPU compiles an interpreted tile of 32 for minutes."""
    monkeypatch.setattr(kernel, "TILE", 4)
    monkeypatch.setattr(kernel, "INTERPRET", True)
    with jax.enable_x64(True):
        yield


def draw(length, states, directions):
    """a (Q, 2) inside of the unit circle, b (B, L, P, 2) and initial (B, Q, 2)."""
    rng = np.random.default_rng([length, states, directions])
    radius, angle = rng.uniform(0.6, 0.99, directions * states), rng.uniform(-3, 3, directions * states)
    a = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return a, rng.normal(size=(2, length, states, 2)), rng.normal(size=(2, directions * states, 2))


def run(a, b, initial, **options):
    """The kernel, compiled for this CPU."""
    return jax.jit(lambda *x: scan(*x, **options))(a, b, initial)


def expected(a, b, initial, directions, reverse):
    """The oracle, one direction after the other."""
    a, b = a @ np.array([1, 1j]), b @ np.array([1, 1j])
    starts = [None] * directions if initial is None else np.split(initial @ np.array([1, 1j]), directions, 1)
    found = []
    for direction, own in enumerate(np.split(a, directions)):
        found.append(oracle(np.broadcast_to(own, b.shape), b, starts[direction], (direction == 1) != reverse))
    found = np.concatenate(found, -1)
    return np.stack([found.real, found.imag], -1)


def associative(a, b, initial, directions, reverse):
    """The same through the associative scan, whose gradients are JAX's own."""
    a, b, initial = (jax.lax.complex(x[..., 0], x[..., 1]) for x in (a, b, initial))
    found = []
    for direction, own in enumerate(jnp.split(a, directions)):
        start = jnp.split(initial, directions, 1)[direction]
        found.append(ops.linear_recurrence(own[None, None], b, start, (direction == 1) != reverse))
    found = jnp.concatenate(found, -1)
    return jnp.stack([found.real, found.imag], -1)


CASES = [(1, True, False, None), (2, False, True, None), (2, True, False, 8), (1, False, True, 8), (2, True, True, 6)]
"""Directions, with an initial state, reverse, and positions per segment."""


@pytest.mark.parametrize(("length", "states"), [(1, 3), (2, 8), (7, 1), (33, 3)])
def test_the_kernel_is_the_recurrence(length, states):
    for directions, started, reverse, segment in CASES:
        a, b, initial = draw(length, states, directions)
        given = (a, b, initial if started else None)
        x = run(*given, directions=directions, reverse=reverse, segment=segment)
        assert x.dtype == b.dtype
        np.testing.assert_allclose(x, expected(*given, directions, reverse), rtol=0, atol=1e-12)


@pytest.mark.parametrize("segment", [None, 4])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
def test_its_gradients_are_those_of_the_scan(directions, reverse, segment):
    for length in (1, 13):
        given = draw(length, 3, directions)
        weights = np.random.default_rng(length).normal(size=(2, length, 3 * directions, 2))

        def loss(scan, *given, weights=weights, **options):
            return (weights * scan(*given, directions=directions, reverse=reverse, **options)).sum()

        found = jax.jit(jax.grad(lambda *x: loss(scan, *x, segment=segment), (0, 1, 2)))(*given)
        right = jax.jit(jax.grad(lambda *x: loss(associative, *x), (0, 1, 2)))(*given)
        for one, other in zip(found, right, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


def test_a_second_derivative_is_refused():
    a, b, initial = map(jnp.asarray, draw(7, 2, 1))

    def loss(a):
        return (scan(a, b, initial) ** 2).sum()

    with pytest.raises(ConfigError, match="differentiable once: choose scan='chunked'"):
        jax.hessian(loss)(a)
    with pytest.raises(ConfigError, match="differentiable once: choose scan='chunked'"):
        jax.grad(lambda a: jax.grad(loss)(a).sum())(a)


def test_on_a_machine_with_a_gpu_the_chosen_device_decides(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert ops._kernel_runs() == (jax.device_count() == 1)
    with jax.default_device(jax.devices("cpu")[0]):
        assert not ops._kernel_runs()
        with pytest.raises(ConfigError, match="runs on GPUs, not on 'cpu'"):
            ops.invariant_recurrence(*(jnp.zeros(shape) for shape in ((2, 2), (1, 3, 2, 2))), method="kernel")
    with jax.default_device("cpu"):
        assert not ops._kernel_runs()
    with compiling_for("tpu"):
        assert not ops._kernel_runs()


def test_lower_precision_is_computed_in_float32():
    a, b, initial = draw(33, 2, 2)
    low = b.astype(jnp.bfloat16)
    x = run(a.astype(np.float32), low, initial.astype(jnp.bfloat16), directions=2)
    right = expected(a, low.astype(float), initial.astype(jnp.bfloat16).astype(float), 2, False)
    assert x.dtype == jnp.bfloat16
    assert np.abs(x.astype(float) - right).max() < 2**-7 * np.abs(right).max()


def test_the_scan_runs_it_by_name_and_where_it_runs(monkeypatch):
    asked = []

    def counted(a, b, initial=None, *, directions=1):
        asked.append(directions)
        return run(a, b, initial, directions=directions)

    monkeypatch.setattr(kernel, "scan", counted)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    log_a = jnp.array([[-0.1, 0.5], [-0.4, -1.0], [-0.02, 2.0]])
    _, b, initial = map(jnp.asarray, draw(9, 3, 1))
    one, both = ops.invariant_recurrence(log_a, b, initial), ops.both_directions(log_a, b, "kernel")
    assert asked == [1, 2]
    np.testing.assert_allclose(one, ops.invariant_recurrence(log_a, b, initial, "associative"), atol=1e-12)
    np.testing.assert_allclose(both, ops.both_directions(log_a, b, "associative"), atol=1e-12)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    ops.both_directions(log_a, b, "auto")
    assert asked == [1, 2], "a kernel cannot be cut for two devices"


def test_it_is_lowered_to_triton_for_a_gpu(monkeypatch):
    monkeypatch.setattr(kernel, "TILE", 32)
    monkeypatch.setattr(kernel, "INTERPRET", False)
    a, b, initial = (jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in draw(3_000, 48, 2))

    def loss(*given):
        return scan(*given, directions=2).sum()

    for function in (loss, jax.grad(loss, (0, 1, 2))):
        program = jax.jit(function).trace(a, b, initial).lower(lowering_platforms=("cuda",)).as_text()
        assert program.count("xla.gpu.triton") >= 3, "ends of segments, the recurrence of the ends, all states"


def test_where_it_cannot_run_one_sentence_names_the_remedy(monkeypatch):
    log_a, b, _ = map(jnp.asarray, draw(2, 1, 1))
    remedy = "choose scan='chunked' or 'auto'"
    with pytest.raises(ConfigError) as raised:
        ops.invariant_recurrence(log_a, b, None, "kernel")
    assert str(raised.value) == f"scan method is 'kernel', which runs on GPUs, not on 'cpu': {remedy}"
    monkeypatch.setattr(ops, "PALLAS", False)
    with pytest.raises(ConfigError) as raised:
        ops.both_directions(log_a, b, "kernel")
    assert str(raised.value) == (
        f"scan method is 'kernel', which needs Pallas for Triton, and this JAX has none: {remedy}"
    )
