"""The energy that a GPU has used, by the counter of its driver; nothing where there is no such counter."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

DEFINITION = (
    "of the whole boards of the GPUs that it ran on, whoever used them meanwhile, by NVML's total energy counter "
    "before and after; null where there is none (package nvidia-ml-py, extra gpu)"
)


def counter(
    kind: Literal["cpu", "gpu", "tpu"], devices: int = 1, environment: Mapping[str, str] = os.environ
) -> Callable[[], float | None]:
    """A function that gives the joules that the first visible GPUs have used since their driver was loaded.

    It gives None on other hardware, without nvidia-ml-py, and for GPUs older than Volta, which do not count.
    """
    if kind != "gpu":
        return _nothing
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return _nothing

    def joules() -> float | None:
        try:
            nvml.nvmlInit()
            handles = _first(nvml, environment.get("CUDA_VISIBLE_DEVICES", ""), devices)
            return sum(nvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles) / 1000
        except nvml.NVMLError:  # no driver, no such counter: this is how NVML says that there is none
            return None

    return joules


def _nothing() -> None:
    return None


def _first(nvml: Any, visible: str, count: int) -> list[Any]:
    """The devices that CUDA counts from 0: the first of a list of indices or UUIDs, or of all."""
    names = [name.strip() for name in visible.split(",") if name.strip()] or [str(index) for index in range(count)]
    return [
        nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name)
        for name in names[:count]
    ]
