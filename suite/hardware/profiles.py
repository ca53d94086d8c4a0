"""What a machine can do at best: peak rates, memory and bandwidth of one chip, from its maker's data sheet."""

from __future__ import annotations

import dataclasses
from typing import Literal

import msgspec

from reports import chips


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
    url: str = ""
    checked: str = ""
    power: float | None = None
    """The most that its board is built to take, in watts, by the same source."""


PROFILES: dict[str, Hardware] = {chip.name: Hardware(**msgspec.structs.asdict(chip)) for chip in chips.shipped()}
"""The chips of `reports/chips.toml`."""
