"""Hardware profiles, and what is said where hardware is absent; detection runs on fake drivers and device trees."""

import os
import stat
import sys
from types import SimpleNamespace

import pytest

from suite.hardware import detect, energy
from suite.hardware.profiles import PROFILES


def fake_driver(monkeypatch, tmp_path, output, status=0):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\nexit {status}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GeForce RTX 4090", "gpu"),
    ],
)
def test_gpus_by_the_name_their_driver_gives(monkeypatch, tmp_path, name, profile):
    fake_driver(monkeypatch, tmp_path, f"{name}, 580.65.06, 81559")
    assert detect.gpus() == [detect.Gpu(name, "580.65.06", 81559 * 2**20)]
    assert detect.present() == [profile, "cpu"]
    assert detect.resolve("auto") == profile
    assert detect.resolve(profile) == profile
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert detect.resolve("auto") == "cpu"


@pytest.mark.parametrize(("output", "status"), [("", 0), ("No devices were found", 0), ("Driver mismatch", 9)])
def test_a_driver_without_gpus_means_cpu(monkeypatch, tmp_path, output, status):
    fake_driver(monkeypatch, tmp_path, output, status)
    assert detect.present() == ["cpu"]


def test_absent_hardware_is_one_sentence(monkeypatch, tmp_path):
    fake_driver(monkeypatch, tmp_path, "NVIDIA H200, 580.65.06, 143771")
    with pytest.raises(detect.HardwareError) as error:
        detect.resolve("h100")
    message = str(error.value)
    assert "'h100' (NVIDIA H100 80 GB SXM) is not on this machine, which has: h200, cpu" in message
    assert "--hardware h200" in message
    with pytest.raises(detect.HardwareError, match="unknown hardware 'tpu-4': did you mean 'tpu-v4'"):
        detect.resolve("tpu-4")


@pytest.mark.parametrize(
    ("kind", "device", "profile"),
    [("v4-8", None, "tpu-v4"), ("v5litepod-4", None, "tpu-v5e"), ("", "0x0062", "tpu-v5p"), ("", "0x006f", "tpu-v6e")],
)
def test_tpus_by_environment_or_device_number(tmp_path, kind, device, profile):
    environment = {"TPU_ACCELERATOR_TYPE": kind} if kind else {}
    assert detect.tpu(environment, tmp_path) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/accel0").touch()
    if device:
        slot = tmp_path / "sys/bus/pci/devices/0000:00:05.0"
        slot.mkdir(parents=True)
        (slot / "vendor").write_text("0x1ae0\n")
        (slot / "device").write_text(f"{device}\n")
    assert detect.tpu(environment, tmp_path) == profile


def test_profiles_are_plausible_and_sourced():
    assert {"cpu", "a100", "h100", "h200", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"} <= PROFILES.keys()
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.source
        if name in ("cpu", "gpu"):
            continue
        assert profile.bfloat16 is not None
        assert 1e14 < profile.bfloat16 < 2e15
        assert profile.bandwidth is not None
        assert 5e11 < profile.bandwidth < 1e13
        assert profile.memory is not None
        assert 1e10 < profile.memory < 2e11
    assert PROFILES["h200"].bandwidth > PROFILES["h100"].bandwidth  # pyright: ignore[reportOperatorIssue]


def test_energy_is_that_of_the_first_visible_gpu(monkeypatch):
    class NVMLError(Exception):
        pass

    used = iter([5_000, 12_500])
    nvml = SimpleNamespace(
        NVMLError=NVMLError, nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=lambda index: ("index", index),
        nvmlDeviceGetHandleByUUID=lambda name: ("uuid", name),
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(used) if handle == ("index", 2) else 1_000,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert energy.counter("gpu", 2, {})() == 2.0
    assert energy.counter("gpu", 2, {"CUDA_VISIBLE_DEVICES": "7,"})() == 1.0
    joules = energy.counter("gpu", 1, {"CUDA_VISIBLE_DEVICES": "2,0"})
    assert [joules(), joules()] == [5.0, 12.5]
    assert energy.counter("gpu", 2, {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2,GPU-3"})() == 2.0
    assert energy.counter("cpu")() is None

    def absent() -> None:
        raise NVMLError

    nvml.nvmlInit = absent
    assert energy.counter("gpu", 1, {})() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.counter("gpu", 1, {})() is None
