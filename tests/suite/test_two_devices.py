"""Training over two devices gives what training on one gives: batch statistics, dropout, clipping, carried states."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs

from implementations.common.config import ConfigError
from suite import run
from suite.data import open_dataset
from suite.hardware import detect
from suite.launch import devices
from suite.matrix import Cell, Selection, cells
from suite.training.checkpoint import CheckpointStore
from suite.training.language import loop

HERE = Path(__file__).parent
CASES = {"jax": ("classifier", "language"), "torch": ("classifier",)}


@pytest.mark.parametrize("framework", CASES)
def test_two_devices_give_what_one_gives(framework, tmp_path):
    pytest.importorskip(framework)
    file = tmp_path / "found.npz"
    two = {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    search = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    ended = subprocess.run(
        [sys.executable, str(HERE / "two_devices.py"), framework, str(file), "cpu"],
        env={**os.environ, **two, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with np.load(file) as arrays:
        found = dict(arrays)
    for case in CASES[framework]:
        one, two = (
            {name.removeprefix(start): array for name, array in found.items() if name.startswith(start)}
            for start in (f"{case}.1.", f"{case}.2.")
        )
        assert one.keys() == two.keys()
        np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-6)
        for name, array in one.items():
            assert array.shape == two[name].shape, name
            largest = float(np.abs(array).max(initial=0))
            np.testing.assert_allclose(two[name], array, rtol=0, atol=1e-5 * largest, err_msg=name)
        assert one["step"] == 3
        assert any(name.startswith("statistics.") for name in one) == (case == "classifier")
        assert any(name.startswith("carried.") for name in one) == (case == "language")
    lost = "DeviceLost device 2 of 2 was lost: its process was ended by SIGKILL"
    assert ended.stdout.splitlines() == ([lost] if framework == "torch" else [])


OVERRIDES = (
    *("model.depth=1", "model.layer.d_model=8", "model.layer.heads=1", "model.layer.head_width=8"),
    *("model.layer.d_ff=8", "model.layer.window=8", "model.layer.dropout=0.1", "batch_size=2", "epochs=2"),
    *("evaluation_batch_size=2", "language.updates=5", "language.segment=16", "language.evaluation_segment=4096"),
)


def test_a_cell_of_two_devices_is_that_of_one(tmp_path):
    """Losses of carried states, dropout and clipping; evaluations of as many rows as devices; what the record says."""
    torch = pytest.importorskip("suite.training.language.torch")
    selection = Selection(tasks=("lm.book",), architectures=("transformer",), frameworks=("torch",))
    (found,) = cells(dataclasses.replace(selection, overrides=OVERRIDES))
    out, data = tmp_path / "runs", tmp_path / "data"
    (outcome,), _ = tiny_runs.launch([found], out, data, checkpoint_steps=4, devices={found.id: 2})
    assert outcome.status == "measured", outcome.reason
    prepared: Any = open_dataset("book", data)
    store = CheckpointStore(tmp_path / "straight")
    straight = loop.train(found.recipe, prepared, torch.Backend(found.recipe, 0), 0, store, loop.Controls())
    record = tiny_runs.record(out, found)
    np.testing.assert_allclose(record.curves["step_loss"], straight.losses, rtol=1e-5)
    key = "validation_bits_per_byte"
    np.testing.assert_allclose(record.curves[key], [row[key] for row in straight.epochs], rtol=1e-5)
    assert (record.provenance["devices"], record.timing["devices"]) == (2, 2)


def selected(*overrides: str, hardware: str = "cpu") -> list[Cell]:
    """A cell with batches of 50, and one that trains nothing, in which nothing can be set."""
    tasks = ("lra.listops",) if overrides else ("lra.listops", "equivalence.s5")
    asked = Selection(tasks=tasks, architectures=("s5",), hardware=hardware, profile="paper")
    return cells(dataclasses.replace(asked, overrides=overrides))


def test_how_many_devices_share_a_cell(monkeypatch):
    monkeypatch.setattr(detect, "count", lambda kind: {"cpu": 1, "gpu": 4, "tpu": 4}[kind])
    monkeypatch.setattr(detect, "present", lambda: ["h100", "cpu"])
    for hardware, asked, expected in (
        *(("cpu", None, 1), ("cpu", 2, 2), ("cpu", "all", 1)),
        *(("h100", None, 1), ("h100", "all", 2), ("h100", 2, 2), ("tpu-v4", None, 2), ("tpu-v4", 1, 1)),
    ):
        found = selected(hardware=hardware)
        assert {cell.recipe.batch_size for cell in found if cell.recipe} == {50}
        counts = devices.devices(found, asked)
        assert {counts[cell.id] for cell in found if cell.recipe} == {expected}, (hardware, asked)
        assert {counts[cell.id] for cell in found if not cell.recipe} == {1}
    assert set(devices.devices(selected("batch_size=48", hardware="tpu-v4"), None).values()) == {4}
    with pytest.raises(detect.HardwareError, match=r"--devices 3 cannot share the batches of 50 of lra.listops s5"):
        devices.devices(selected(), 3)
    with pytest.raises(detect.HardwareError, match=r"--devices 5: this machine has 4 of NVIDIA H100"):
        devices.devices(selected(hardware="h100"), 5)
    planned = devices.devices(selected(hardware="h200"), 5)
    assert sorted(planned.values()) == [1, 5, 5]


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_number_of_devices_that_is_none_is_one_sentence(text, capsys):
    with pytest.raises(SystemExit) as ended:
        run.main(["--tasks", "lra.listops", "--devices", text])
    assert ended.value.code == 2
    assert f"'{text}' is neither a whole number of at least 1 nor all" in capsys.readouterr().err


def test_a_backend_refuses_rows_that_cannot_be_shared():
    jax = pytest.importorskip("suite.training.jax")
    cell = next(cell for cell in selected() if cell.recipe)
    with pytest.raises(ConfigError, match="batch_size is 50: expected a multiple of 4 devices"):
        jax.Backend(cell.recipe, 0, devices=4)
    with pytest.raises(RuntimeError, match="JAX sees 1 cpu here: choose --devices 1 or fewer"):
        jax.Backend(cell.recipe, 0, devices=2)
