"""The outputs of a bank of S4 filters at the ends of blocks are those of the whole convolution there."""

import importlib

import numpy as np
import pytest

from implementations.common.initializers import Keys
from implementations.s4.config import S4Config, S4DConfig

W, LENGTH = 6, 21


def bank(framework, kind):
    config = (S4Config if kind == "s4" else S4DConfig)(d_model=3, state_size=8, channels=4, dt_min=0.01)
    return importlib.import_module(f"implementations.s4.{framework}").S4Bank(config, Keys(1))


def arrays(framework, *values):
    if framework == "jax":
        import jax.numpy as jnp

        return [jnp.asarray(v) for v in values]
    import torch

    return [torch.from_numpy(v) for v in values]


def numbers(x):
    return np.asarray(x.detach() if hasattr(x, "detach") else x)


@pytest.mark.parametrize("kind", ["s4", "s4d"])
@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_ends_of_windows_of_a_segment_in_the_middle_of_a_document(framework, kind):
    windows = importlib.import_module(f"implementations.block_state.windows.{framework}")
    ssm, drawn = bank(framework, kind), np.random.default_rng(0)
    before, u = (drawn.standard_normal((3, n, 3)).astype(np.float32) for n in (17, LENGTH))
    before, u, position = arrays(framework, before, u, np.array([0, 2, 5], np.int32))
    _, state = ssm(before, None, scan="fft")
    expected, expected_state = ssm(u, state, scan="fft")
    ends, after = ssm.block_ends(u, windows.window_blocks(u, W, position), state, position)
    for row, first in enumerate((0, 2, 5)):
        last = np.arange(W - 1 - first, LENGTH, W)
        np.testing.assert_allclose(numbers(ends)[row, : len(last)], numbers(expected)[row, last], atol=2e-5)
    np.testing.assert_allclose(numbers(after), numbers(expected_state), atol=2e-5)


@pytest.mark.parametrize("kind", ["s4", "s4d"])
@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_ends_of_windows_of_a_whole_document(framework, kind):
    windows = importlib.import_module(f"implementations.block_state.windows.{framework}")
    ssm = bank(framework, kind)
    (u,) = arrays(framework, np.random.default_rng(1).standard_normal((2, LENGTH, 3)).astype(np.float32))
    expected, _ = ssm(u, None, scan="direct")
    ends, _ = ssm.block_ends(u, windows.window_blocks(u, W, None))
    found = numbers(ends)[:, : LENGTH // W]
    np.testing.assert_allclose(found, numbers(windows.window_ends(expected, W, None)), atol=2e-5)
