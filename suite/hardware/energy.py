"""The energy that a GPU has used, by the counter of its driver; nothing where there is no such counter."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

DEFINITION = (
    "of the whole board of the GPU, whoever used it meanwhile, by NVML's total energy counter before and after; null "
    "where there is none (package nvidia-ml-py, extra gpu)"
)


def counter(
    kind: Literal["cpu", "gpu", "tpu"], environment: Mapping[str, str] = os.environ
) -> Callable[[], float | None]:
    """A function that gives the joules that the first visible GPU has used since its driver was loaded.

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
            handle = _first(nvml, environment.get("CUDA_VISIBLE_DEVICES", ""))
            return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
        except nvml.NVMLError:  # no driver, no such counter: this is how NVML says that there is none
            return None

    return joules


def _nothing() -> None:
    return None


def _first(nvml: Any, visible: str) -> Any:
    """The device that CUDA calls 0: of a list of indices or UUIDs the first."""
    name = visible.partition(",")[0].strip()
    if name and not name.isdigit():
        return nvml.nvmlDeviceGetHandleByUUID(name)
    return nvml.nvmlDeviceGetHandleByIndex(int(name or 0))
