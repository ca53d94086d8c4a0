"""Routing beyond the ladder: no token is dropped, at any number of them, and the smallest sufficient capacity runs."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from implementations.ops.routing import capacities, reference

FRAMEWORKS = ("jax", "torch")
LENGTH, STEPS = 37, 4


def ops(framework):
    return importlib.import_module(f"implementations.ops.routing.{framework}")


def array(framework, value):
    return jnp.asarray(value) if framework == "jax" else torch.tensor(value)


def test_capacities_halve_down_from_the_length():
    assert capacities(37, 4) == (5, 10, 19, 37)
    assert capacities(64, 3) == (16, 32, 64)
    assert capacities(1, 4) == (1,)
    assert capacities(3, 9) == (1, 2, 3)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_smallest_sufficient_capacity_runs_and_drops_nothing(framework):
    found = []

    def work(selected, x):
        order, count = ops(framework).order(selected)

        def function(capacity):
            y = ops(framework).compress(x, order, count, capacity)
            return ops(framework).extract(y, order, count), array(framework, capacity)

        return ops(framework).at_capacity(function, count, LENGTH, STEPS)

    work = jax.jit(work) if framework == "jax" else work
    x = np.random.default_rng(0).standard_normal((2, LENGTH, 3)) + 10
    for count in range(LENGTH + 1):
        selected = np.zeros((2, LENGTH), bool)
        selected[1, np.random.default_rng(count).permutation(LENGTH)[:count]] = True
        y, capacity = work(array(framework, selected), array(framework, x.astype(np.float32)))
        np.testing.assert_array_equal(np.asarray(y), np.where(selected[..., None], x.astype(np.float32), 0))
        found.append(int(capacity))
    if framework == "torch":
        assert found == [max(count, 1) for count in range(LENGTH + 1)]
    else:
        sizes = capacities(LENGTH, STEPS)
        assert found == [min(size for size in sizes if size >= count) for count in range(LENGTH + 1)]
        assert work._cache_size() == 1


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_capacity_that_is_too_small_is_never_silent(framework):
    selected = np.array([[True, True, False, True], [False, True, False, False]])
    order, count = ops(framework).order(array(framework, selected))
    x = np.arange(8, dtype=np.float32).reshape(2, 4, 1)
    y = np.asarray(ops(framework).compress(array(framework, x), order, count, 2))
    assert np.isnan(y[0]).all()
    np.testing.assert_array_equal(y[1, :, 0], [5, 0])


def test_the_oracle_puts_everything_back():
    rng = np.random.default_rng(1)
    x, selected = rng.standard_normal((3, 9, 2)), rng.random((3, 9)) < 0.5
    compressed = reference.compress(x, selected, int(selected.sum(1).max()))
    np.testing.assert_array_equal(reference.extract(compressed, selected), np.where(selected[..., None], x, 0))
    order, count = reference.order(selected)
    assert (np.sort(order, 1) == np.arange(9)).all()
    assert (count == selected.sum(1)).all()
