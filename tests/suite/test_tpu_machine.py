"""A machine with four TPU chips, pretended: they are found, share a cell, and are not taken for others."""

import dataclasses
import os
from pathlib import Path

import pytest
import tiny_runs

from reports import records
from suite import run
from suite.hardware import detect
from suite.launch import ahead, cell, devices
from suite.matrix import Selection, cells

# Python imports a module of this name at start: four processors are what JAX there calls a TPU v4.
PRETENDED = """
import os
os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
import jax

chip, found = type(jax.devices()[0]), jax.local_devices
chip.device_kind = property(lambda device: "TPU v4")

def local_devices(*arguments, backend=None, **options):
    return found(*arguments, backend="cpu" if backend == "tpu" else backend, **options)

jax.local_devices = local_devices
"""


@pytest.fixture
def chips(monkeypatch):
    """Four device files, and the environment of a TPU machine of the type that is called with."""
    monkeypatch.setattr(detect, "gpus", list)
    monkeypatch.setattr(detect, "_attached", lambda root: [Path(f"/dev/accel{i}") for i in range(4)])

    def of(kind: str) -> None:
        monkeypatch.setenv("TPU_ACCELERATOR_TYPE", kind)

    return of


def test_a_cell_runs_on_all_chips(chips, monkeypatch, tmp_path):
    pytest.importorskip("jax")
    chips("v4-8")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(PRETENDED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setattr(run, "report", lambda out: True)
    command = ["--tasks", "lra.listops", "--architectures", "s5", "--hardware", "tpu-v4", *tiny_runs.OPTIONS]
    places = ["--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    assert run.main([*command, "--set", "epochs=1", "--jobs", "1", *places]) == 0
    found = {record.cell.framework: record for record in records.read_all(tmp_path / "runs")}
    record = found["jax"]
    assert (record.status, record.cell.hardware) == ("measured", "tpu-v4"), record.reason
    assert (record.timing["device"], record.timing["devices"], record.provenance["devices"]) == ("TPU v4", 4, 4)
    assert len(record.curves["step_loss"]) == 10
    assert found["torch"].status == "not run"


def test_how_many_chips_a_cell_has(chips):
    chips("v5litepod-4")
    trains = Selection(tasks=("lra.listops",), architectures=("s5",), hardware="tpu-v5e")
    layers = cells(dataclasses.replace(trains, tasks=("speed.layer",)))
    for batch_size, expected in ((8, 4), (6, 3), (7, 1)):
        found = cells(dataclasses.replace(trains, overrides=(f"batch_size={batch_size}",))) + layers
        counts = devices.devices(found, None)
        assert {counts[one.id] for one in found if one.recipe} == {expected}
        assert {counts[one.id] for one in found if not one.recipe} == {1}  # layers are timed on one chip
        told = f"batches of {batch_size} are shared evenly by {expected} of the 4 Google TPU v5e here, the others are"
        assert [line.startswith(told) for line in devices.idle(found, counts, None)] == [True] * (expected < 4)
        assert not devices.idle(found, dict.fromkeys(counts, 1), 1)
    with pytest.raises(detect.HardwareError, match=r"--devices 8: this machine has 4 of Google TPU v5e"):
        devices.devices(cells(trains), 8)


def test_another_tpu_is_compiled_for_and_said_to_be_absent(chips):
    chips("v4-8")
    assert detect.resolve("auto") == detect.resolve("tpu-v4") == "tpu-v4"
    assert not ahead.is_absent("tpu-v4")
    assert ahead.is_absent("tpu-v5e")
    told = ahead.plan("tpu-v5e", 3, 2)
    assert told.startswith("Google TPU v5e is not on this machine, which has: tpu-v4, cpu; nothing is run")


@pytest.mark.parametrize(
    ("kind", "profile"),
    [
        *(("TPU v4", "tpu-v4"), ("TPU v5 lite", "tpu-v5e"), ("TPU v5e", "tpu-v5e"), ("TPU v5", "tpu-v5p")),
        *(("TPU v5p", "tpu-v5p"), ("TPU v6 lite", "tpu-v6e"), ("TPU v6e", "tpu-v6e"), ("TPU7x", None)),
    ],
)
def test_a_cell_is_not_measured_on_another_chip(monkeypatch, kind, profile):
    training = pytest.importorskip("suite.training.jax")
    (chip,) = training.local_devices("cpu")
    monkeypatch.setattr(type(chip), "device_kind", property(lambda device: kind))
    monkeypatch.setattr(training.jax, "local_devices", lambda backend: [chip])
    for hardware in ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"):
        (one,) = cells(Selection(tasks=("lra.listops",), architectures=("s5",), frameworks=("jax",), hardware=hardware))
        if hardware == profile:
            cell.require_chip(one)
            continue
        remedy = f"choose --hardware {profile}" if profile else "it has no profile here"
        with pytest.raises(detect.HardwareError, match=f"and JAX sees {kind} here: {remedy}"):
            cell.require_chip(one)
