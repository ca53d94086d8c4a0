"""Models that write, and their training beforehand: whole runs on two devices are those on one, up to rounding."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
MEASURED = {
    "generation": ("validation_nll_nats_per_token", "test_nll_nats_per_token", "test_rouge1", "test_rougeL"),
    "pretraining": ("validation_nll_nats_per_token", "test_token_perplexity", "test_token_accuracy"),
}


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_runs_on_two_devices_are_those_on_one(framework, tmp_path):
    pytest.importorskip(framework)
    file = tmp_path / "found.npz"
    two = {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    search = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    ended = subprocess.run(
        [sys.executable, str(HERE / "two_devices_writing.py"), framework, str(file)],
        env={**os.environ, **two, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with np.load(file) as arrays:
        found = dict(arrays)
    for case, measured in MEASURED.items():
        one, two_of_it = (
            {name.removeprefix(start): array for name, array in found.items() if name.startswith(start)}
            for start in (f"{case}.1.", f"{case}.2.")
        )
        assert one.keys() == two_of_it.keys()
        for name, array in one.items():
            other = two_of_it[name]
            # The softmax does not see a number that is added to all keys: their bias has nothing but rounding to learn.
            largest = 1.0 if name.endswith("key.bias") else float(np.abs(array).max(initial=0))
            assert (other.shape, other.dtype) == (array.shape, array.dtype), name
            np.testing.assert_allclose(other, array, rtol=0, atol=1e-9 * largest, err_msg=f"{case} {name}")
        if (framework, case) != ("jax", "pretraining"):
            assert len(one["losses"]) == one["step"] == 4
            assert one["losses"][-1] < one["losses"][0]
            assert all((one[f"epoch.{name}"] > 0).any() for name in measured)
        assert {f"epoch.{name}" for name in measured} <= one.keys()
    assert len({row.tobytes() for row in found["generation.1.written"]}) > 1  # their order can be seen
