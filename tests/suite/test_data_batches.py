"""The order of batches: pure in (seed, step), pinned, and complete."""

import numpy as np
import pytest

from suite.data.batches import evaluation_batches, indices, permutation, steps_per_epoch


def test_order_is_pinned():
    assert indices(20, 4, seed=0, step=0).tolist() == [17, 2, 7, 9]
    assert indices(20, 4, seed=6554595, step=13).tolist() == [4, 6, 5, 0]
    assert indices(96_000, 50, seed=1, step=40 * 1920 - 1)[:6].tolist() == [16163, 71416, 3504, 83218, 31032, 87765]


def test_order_is_a_pure_function_of_seed_and_step():
    forward = [indices(103, 10, 5, step) for step in range(30)]
    permutation.cache_clear()
    backward = [indices(103, 10, 5, step) for step in reversed(range(30))][::-1]
    np.testing.assert_array_equal(forward, backward)
    forward[0][:] = 0
    np.testing.assert_array_equal(indices(103, 10, 5, 0), backward[0])


def test_an_epoch_takes_each_example_at_most_once_and_drops_the_remainder():
    assert steps_per_epoch(103, 10) == 10
    for epoch in range(3):
        taken = np.concatenate([indices(103, 10, 0, epoch * 10 + step) for step in range(10)])
        assert len(set(taken.tolist())) == 100
        assert set(taken.tolist()) <= set(range(103))
        np.testing.assert_array_equal(np.sort(permutation(103, 0, epoch)), np.arange(103))


def test_epochs_and_seeds_have_different_orders():
    orders = [permutation(50, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == 6


def test_positions_are_uniform():
    """Each example comes about equally often into each tenth of an epoch."""
    where = np.zeros((10, 10))
    for epoch in range(1000):
        where[permutation(10, 3, epoch), np.arange(10)] += 1
    assert abs(where - 100).max() < 45


def test_evaluation_covers_every_example():
    batches = list(evaluation_batches(103, 10))
    assert [len(batch) for batch in batches] == [10] * 10 + [3]
    np.testing.assert_array_equal(np.concatenate(batches), np.arange(103))
    assert list(evaluation_batches(0, 10)) == []


def test_impossible_batch_sizes_stop():
    with pytest.raises(ValueError, match="between 1 and the 9 examples, not 10"):
        indices(9, 10, 0, 0)
    with pytest.raises(ValueError, match="between 1"):
        indices(9, 0, 0, 0)
    with pytest.raises(ValueError, match="at least 1"):
        list(evaluation_batches(9, 0))
