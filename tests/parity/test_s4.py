"""Another sampling rate of S4: the time steps are scaled, and so is the length that C~ was made for."""

import importlib
from typing import Any

import numpy as np
import pytest

from implementations.common.initializers import Keys
from implementations.parameters import get_parameters
from implementations.s4 import reference
from implementations.s4.config import S4Config, S4DConfig

STEPS: dict[str, Any] = {"d_model": 2, "state_size": 4, "dt_min": 0.1, "dt_max": 0.5, "channels": 2}
CUT = S4Config(**STEPS, truncated_length=8)
LENGTH = 13


def bank(framework: str, config: Any, **options: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A bank behind the interface of the ladder, and its initial values."""
    module = importlib.import_module(f"implementations.s4.{framework}").S4Bank(config, Keys(0, "float64"))
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64"), get_parameters(module)


@pytest.mark.parametrize(
    "config", [CUT, CUT.replace(truncated_length=None), S4DConfig(**STEPS)], ids=["cut", "", "s4d"]
)
def test_steps_of_another_rate(framework, config):
    found, values = bank(framework, config)
    x, state = np.random.default_rng(0).standard_normal((2, LENGTH, 2)), np.ones((2, 2, 2, 2))
    outputs = found.call({"u": x, "state": state}, step_rescale=2.0, scan="recurrent").outputs
    y, last = reference.bank(config, values, x, state, step_rescale=2.0)
    assert last is not None
    np.testing.assert_allclose(outputs["y"], y, rtol=0, atol=1e-10)
    np.testing.assert_allclose(outputs["state"], last, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rate", [0.5, 2.0, 3.0])
def test_the_kernel_of_another_rate_is_that_of_the_same_c(framework, rate):
    """C~ of l positions of the plain step serves l / rate scaled ones; it is doubled until that is long enough.

    K_j = C~ (1 - A_r^n)^-1 A_r^j B_r with n = l / rate: what the generating function at n roots of unity comes to.
    """
    found, values = bank(framework, CUT)
    A, _ = reference.discretize(CUT, values, 1.0)
    A_r, B_r = reference.discretize(CUT, values, rate)
    C = values["C"][..., 0] + 1j * values["C"][..., 1]
    C, covered, power = np.concatenate([C, C.conj()], -1), 8, np.linalg.matrix_power
    while rate * LENGTH > covered:
        C, covered = C + np.einsum("kdn,dnm->kdm", C, power(A, covered)), 2 * covered
    inverse = np.linalg.inv(np.eye(4) - power(A_r, round(covered / rate)))
    states = np.stack([np.einsum("dnm,dmo,do->dn", inverse, power(A_r, j), B_r) for j in range(LENGTH)], -1)
    kernel = np.einsum("kdn,dnl->kdl", C, states).real
    x = np.zeros((1, LENGTH, 2))
    x[:, 0] = 1.0
    y = found.call({"u": x}, step_rescale=rate, scan="fft").outputs["y"][0] - values["D"] * x[0][:, None]
    np.testing.assert_allclose(y, np.moveaxis(kernel, -1, 0), rtol=0, atol=1e-10)
