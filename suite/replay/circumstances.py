"""What decides the last digits of a run beside its recipe: code, versions, hardware; as recorded, and as found here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from reports.frames import text
from reports.records import Record
from suite import provenance
from suite.hardware.profiles import PROFILES
from suite.matrix import Cell

UNIMPORTANT = ("longseq-bench", "scipy", "pandas", "msgspec", "safetensors")
"""Packages that no number of a run depends on."""
OWN_PACKAGES = {
    "jax": ("jax", "jaxlib", "flax", "optax", "jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu"),
    "torch": ("torch", "triton"),
}


@dataclasses.dataclass(frozen=True)
class Circumstance:
    """One fact as recorded and as found; `same` is None where one side does not say. Where one that `decides` differs,
    the last digits may differ too."""

    name: str
    recorded: str
    here: str
    same: bool | None
    decides: bool = True


def compare(record: Record, cell: Cell) -> list[Circumstance]:
    """The circumstances of a record beside those of a cell that is to run here."""
    return [_code(record), *_versions(record, cell), *_hardware(record, cell)]


def alike(found: list[Circumstance], cell: Cell) -> bool:
    """Whether a run on a CPU must give the same bits: everything that decides them is known and the same."""
    return PROFILES[cell.hardware].kind == "cpu" and all(one.same for one in found if one.decides)


def environment(record: Record) -> dict[str, str | None]:
    """The variables of the recorded run, None where one was not set; empty where the record does not say."""
    recorded = record.provenance.get("environment")
    if not isinstance(recorded, dict):
        return {}
    return {name: text(recorded.get(name)) or None for name in provenance.ENVIRONMENT}


def _code(record: Record) -> Circumstance:
    recorded, (head, dirty) = text(record.provenance.get("commit")) or "unknown", provenance.commit()
    changed = None if record.provenance.get("dirty") else provenance.changed_since(recorded)
    here = head[:12] + (" with uncommitted changes" if dirty else "")
    there = recorded[:12] + (" with uncommitted changes" if record.provenance.get("dirty") else "")
    if changed is None:
        known = recorded == head != "unknown" and dirty is False and record.provenance.get("dirty") is False
        return Circumstance("code", there, here, True if known else None)
    if changed:
        few = ", ".join(changed[:3]) + (" and others" if len(changed) > 3 else "")
        here += f", {len(changed)} file{'s' if len(changed) > 1 else ''} changed: {few}"
    elif not head.startswith(recorded):
        here += ", no file that makes numbers changed"
    return Circumstance("code", there, here, not changed)


def _versions(record: Record, cell: Cell) -> Iterator[Circumstance]:
    recorded, here = record.provenance.get("versions"), provenance.versions()
    if not isinstance(recorded, dict):
        yield Circumstance("versions", "not recorded", "", None)
        return
    own = cell.framework.split("+")
    others = {name for framework, names in OWN_PACKAGES.items() if framework not in own for name in names}
    on_gpu = PROFILES[cell.hardware].kind == "gpu"
    equal = 0
    for name in sorted({*recorded, *here}):
        there, found = text(recorded.get(name)) or "absent", here.get(name, "absent")
        equal += there == found
        if there != found:
            decides = name not in UNIMPORTANT and name not in others and (on_gpu or not _of_gpu(name))
            yield Circumstance(name, there, found, False, decides)
    yield Circumstance("other versions", f"{equal} packages", "the same", True)


def _of_gpu(name: str) -> bool:
    return any(part in name for part in ("cuda", "cudnn", "triton"))


def _hardware(record: Record, cell: Cell) -> Iterator[Circumstance]:
    recorded: Any = record.provenance.get("hardware")
    recorded, here = recorded if isinstance(recorded, dict) else {}, provenance.hardware()
    yield Circumstance("hardware", record.cell.hardware, cell.hardware, record.cell.hardware == cell.hardware)
    variables = environment(record)
    shared_out = all(variables.get(name) for name in provenance.THREADS)
    for name in ("system", "machine", "cpu", "cores"):
        there, found = text(recorded.get(name)), text(here[name])
        same = there == found if there else None
        yield Circumstance(name, there or "not recorded", found, same, name != "cores" or not shared_out)
    if PROFILES[cell.hardware].kind == "gpu" or PROFILES[record.cell.hardware].kind == "gpu":
        there, found = (", ".join(_cards(side.get("gpus"))) or "none" for side in (recorded, here))
        yield Circumstance("GPUs", there, found, there == found)
    devices = record.timing.get("devices", 1)
    if devices != 1:
        yield Circumstance("devices that share a batch", text(devices), "1", False)
    if variables:
        said = " ".join(f"{name}={value}" for name, value in variables.items() if value) or "none set"
        yield Circumstance("thread settings", said, "set likewise", True)
    else:
        yield Circumstance("thread settings", "not recorded", "as they are", None)


def _cards(cards: Any) -> list[str]:
    found = cards if isinstance(cards, list) else []
    names = [
        f"{text(card.get('name'))} (driver {text(card.get('driver'))})" for card in found if isinstance(card, dict)
    ]
    return [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
