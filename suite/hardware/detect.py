"""Which hardware this machine has and what may run on it, without importing a framework.

PyTorch reaches a TPU through torch_xla. Its last release, 2.9, was built for PyTorch 2.9 and cannot be imported with
the 2.11 and later that this project needs. What replaces it, TorchTPU (`torch_tpu`, first released as a beta for
PyTorch 2.11 to 2.15), is a device of its own, for which there is no backend here: none could be tested. A PyTorch cell
for a TPU is `not run`, whether a TPU is here or not.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from implementations.common.config import nearest
from suite.hardware.profiles import PROFILES


class HardwareError(RuntimeError):
    """The hardware asked for is unknown or is not here; the message says what is."""


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One GPU as its driver reports it; memory in bytes."""

    name: str
    driver: str
    memory: int


_GPU_NAMES = {"A100": "a100", "H100": "h100", "H200": "h200"}
# Google's PCI vendor number and the device numbers of its accelerators.
_GOOGLE = "0x1ae0"
_TPU_DEVICES = {"0x005e": "tpu-v4", "0x0062": "tpu-v5p", "0x0063": "tpu-v5e", "0x006f": "tpu-v6e"}
_TPU_TYPES = {"v4": "tpu-v4", "v5litepod": "tpu-v5e", "v5e": "tpu-v5e", "v5p": "tpu-v5p", "v6e": "tpu-v6e"}
# What JAX calls a chip, with and without the names that it had in other versions.
_TPU_KINDS = {
    "TPU v4": "tpu-v4", "TPU v5 lite": "tpu-v5e", "TPU v5e": "tpu-v5e", "TPU v5": "tpu-v5p", "TPU v5p": "tpu-v5p",
    "TPU v6 lite": "tpu-v6e", "TPU v6e": "tpu-v6e",
}  # fmt: skip


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs that processes started here may use; empty where there is no driver."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if answer.returncode != 0:
        return []
    rows = [[field.strip() for field in row] for row in csv.reader(answer.stdout.splitlines()) if len(row) == 3]
    return [Gpu(name, driver, int(float(mib)) * 2**20 if _is_number(mib) else 0) for name, driver, mib in rows]


def count(kind: str) -> int:
    """How many devices of a kind this machine has; its processors are one."""
    return {"cpu": 1, "gpu": max(len(gpus()), 1), "tpu": max(len(_attached(Path("/"))), 1)}[kind]


def _attached(root: Path) -> list[Path]:
    """The device files of TPU chips."""
    return [*root.glob("dev/accel[0-9]*"), *root.glob("dev/vfio/[0-9]*")]


def tpu(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> str | None:
    """The profile name of the TPU attached to this machine, or None."""
    if not _attached(root):
        return None
    kind = environment.get("TPU_ACCELERATOR_TYPE", "").rpartition("-")[0]
    if kind in _TPU_TYPES:
        return _TPU_TYPES[kind]
    for vendor in sorted(root.glob("sys/bus/pci/devices/*/vendor")):
        if vendor.read_text().strip() == _GOOGLE:
            found = _TPU_DEVICES.get((vendor.parent / "device").read_text().strip())
            if found:
                return found
    return None


def present() -> list[str]:
    """Profile names of the hardware of this machine, the fastest first; "cpu" is always the last."""
    found = [next((name for text, name in _GPU_NAMES.items() if text in gpu.name), "gpu") for gpu in gpus()]
    attached = tpu()
    return list(dict.fromkeys(([attached] if attached else []) + found + ["cpu"]))


def resolve(name: str, planned: bool = False) -> str:
    """The profile to run on: `auto` takes the best that is here; absent or unknown hardware raises HardwareError.

    A TPU that is absent can be compiled for, where its compiler is installed; a GPU only `planned` for.
    """
    if name != "auto" and name not in PROFILES:
        raise HardwareError(f"unknown hardware {name!r}: {nearest(name, ['auto', *PROFILES])}")
    here = present()
    if name == "auto":
        return here[0]
    if name not in here and PROFILES[name].kind == "tpu":
        if importlib.util.find_spec("libtpu") is None:
            raise HardwareError(
                f"hardware {name!r} ({PROFILES[name].title}) is not on this machine, and neither is a compiler for it: "
                "pip install 'longseq-bench[tpu]' brings the one that compiles JAX cells without a TPU"
            )
        return name
    if name not in here and not planned:
        have = ", ".join(here)
        raise HardwareError(
            f"hardware {name!r} ({PROFILES[name].title}) is not on this machine, which has: {have}; "
            f"run there, or choose --hardware {here[0]} or auto; --dry-run prices it from here"
        )
    return name


def attached(name: str) -> str:
    """As `resolve`, for what is run here and now: hardware that can only be compiled for raises HardwareError too."""
    found, here = resolve(name), present()
    if found not in here:
        raise HardwareError(
            f"hardware {name!r} ({PROFILES[name].title}) is not on this machine, which has: {', '.join(here)}; "
            f"run there, or choose --hardware {here[0]} or auto"
        )
    return found


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(hardware: str) -> float | None:
    """Bytes of memory of one so-called chip; of this machine's where no maker names them, None where nothing does."""
    known, kind = PROFILES[hardware].memory, PROFILES[hardware].kind
    if known or kind == "tpu":
        return known
    if kind == "cpu":
        return psutil.virtual_memory().total
    return min((gpu.memory for gpu in gpus() if gpu.memory), default=None)


def why_not(framework: str, hardware: str) -> str:
    """Why cells of a framework never run on so-called hardware, in one sentence; empty where they may."""
    if framework != "torch" or PROFILES[hardware].kind != "tpu":
        return ""
    return (
        f"PyTorch cells do not run on a {PROFILES[hardware].title}: that takes torch_xla, which has no release for "
        "PyTorch 2.11 or later, and this project needs that, or its successor TorchTPU, a beta for which this project "
        "has no backend; choose --frameworks jax, or other --hardware"
    )


def require_chip(hardware: str, kind: str) -> None:
    """Raise HardwareError where the chip that JAX calls `kind` is not the so-called TPU."""
    found = _TPU_KINDS.get(kind)
    if found != hardware:
        remedy = f"choose --hardware {found}" if found else "it has no profile here"
        raise HardwareError(f"this cell is for {PROFILES[hardware].title}, and JAX sees {kind} here: {remedy}")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
