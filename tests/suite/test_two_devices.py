"""Training over two devices gives what training on one gives: batch statistics, dropout, clipping, carried states."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
CASES = ("classifier", "language")


@pytest.fixture(scope="module", params=["jax", "torch"])
def found(request, tmp_path_factory):
    """What both numbers of devices came to, by name."""
    pytest.importorskip(request.param)
    file = tmp_path_factory.mktemp("devices") / "found.npz"
    two = {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    search = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    ended = subprocess.run(
        [sys.executable, str(HERE / "two_devices.py"), request.param, str(file)],
        env={**os.environ, **two, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", CASES)
def test_two_devices_give_what_one_gives(found, case):
    one, two = (
        {name.removeprefix(f"{case}.{n}."): array for name, array in found.items() if name.startswith(f"{case}.{n}.")}
        for n in (1, 2)
    )
    assert one.keys() == two.keys()
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-6)
    for name, array in one.items():
        assert array.shape == two[name].shape, name
        np.testing.assert_allclose(two[name], array, rtol=0, atol=1e-5 * float(np.abs(array).max()), err_msg=name)
    assert one["step"] == 3
    assert any(name.startswith("statistics.") for name in one) == (case != "language")
    assert any(name.startswith("carried.") for name in one) == (case == "language")
