"""What a machine can do at best: peak rates, memory and bandwidth of one chip, from its maker's data sheet."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One chip. Peak rates are dense floating-point operations per second, bandwidth and memory are bytes.

    None means that the maker publishes no number, or that it depends on the machine at hand.
    """

    name: str
    title: str
    kind: Literal["cpu", "gpu", "tpu"]
    float32: float | None
    tf32: float | None
    bfloat16: float | None
    bandwidth: float | None
    memory: float | None
    source: str
    power: float | None = None
    """The most that its board is built to take, in watts, by the same source."""


_CLOUD_TPU = "Google Cloud, TPU system architecture, page of this version; no float32 rate is published"

_ALL = (
    Hardware("cpu", "CPU", "cpu", None, None, None, None, None, "depends on the processor"),
    Hardware(
        "a100", "NVIDIA A100 80 GB SXM", "gpu", 19.5e12, 156e12, 312e12, 2.039e12, 80e9,
        "NVIDIA A100 Tensor Core GPU data sheet, SXM column, without sparsity", 400.0,
    ),
    Hardware(
        "h100", "NVIDIA H100 80 GB SXM", "gpu", 67e12, 494.7e12, 989.4e12, 3.35e12, 80e9,
        "NVIDIA H100 Tensor Core GPU data sheet, SXM column, half of the rates with sparsity", 700.0,
    ),
    Hardware(
        "h200", "NVIDIA H200 141 GB SXM", "gpu", 67e12, 494.7e12, 989.4e12, 4.8e12, 141e9,
        "NVIDIA H200 Tensor Core GPU data sheet, SXM column, half of the rates with sparsity", 700.0,
    ),
    Hardware("gpu", "NVIDIA GPU of another kind", "gpu", None, None, None, None, None, "not in this list"),
    Hardware("tpu-v4", "Google TPU v4", "tpu", None, None, 275e12, 1.2288e12, 32 * 2**30, _CLOUD_TPU),
    Hardware("tpu-v5e", "Google TPU v5e", "tpu", None, None, 197e12, 0.819e12, 16 * 2**30, _CLOUD_TPU),
    Hardware("tpu-v5p", "Google TPU v5p", "tpu", None, None, 459e12, 2.765e12, 95 * 2**30, _CLOUD_TPU),
    Hardware("tpu-v6e", "Google TPU v6e", "tpu", None, None, 918e12, 1.638e12, 32 * 2**30, _CLOUD_TPU),
)  # fmt: skip

PROFILES: dict[str, Hardware] = {hardware.name: hardware for hardware in _ALL}
