"""The page of hardware: compiled programs with their numbers, never a time, and no string that becomes markup."""

from pathlib import Path
from typing import Any

import pytest
from report_document import Document
from report_records import make_record, store
from test_hostile import HOSTILE

from reports import build, frames, hardware, pages
from reports.records import Record
from reports.render import Renderer
from suite.hardware.profiles import PROFILES

STEP = {
    "program": "training step", "batch": 50, "length": 2048, "fits": True, "peak_memory_bytes": 3 * 2**30,
    "flops": 2.5e12, "bytes_accessed": 2**30, "arithmetic_intensity": 2328.3, "loops": 0, "key": "0123456789abcdef",
    "chips": 4, "collectives": {"all-gather": 1, "all-reduce": 12},
}  # fmt: skip
LONGEST = {
    "program": "training step",
    "longest_length": 16384,
    "shortest_refused": 32768,
    "bound": "memory",
    "reason": "",
}
TARGET = {
    "chip": "Google TPU v4", "topology": "v4:2x2x1", "chip_memory_bytes": 32 * 2**30, "compiler": "TFRT TPU v4",
    "definitions": {"flops": "as the compiler counts them"},
}  # fmt: skip


def compiled(*rows: dict, longest: tuple = (LONGEST,), **changes: Any) -> Record:
    """A record of compiled programs."""
    fields: dict[str, Any] = {"hardware": "tpu-v4", "metrics": {"flops": 2.5e12, "fits": 1.0}}
    fields["tables"] = {"programs": list(rows or (STEP,)), "longest_inputs": list(longest)}
    fields["provenance"] = {"compiled_for": TARGET, "versions": {"jax": "0.10.2", "libtpu": "0.0.42.1"}}
    return make_record(status="compiled", **(fields | changes))


def shown(*found: Record) -> str:
    """The page in Markdown."""
    return Renderer(pages.SECTIONS).markdown(hardware.hardware_page(found)).decode()


def test_every_program_has_its_numbers() -> None:
    refused = STEP | {"program": "evaluation", "fits": False, "peak_memory_bytes": 40 * 2**30, "flops": None}
    page = shown(compiled(STEP, refused | {"bytes_accessed": None, "arithmetic_intensity": None}))
    row = next(line for line in page.splitlines() if "2.5 T" in line)
    assert "| 50 | 2,048 | 4 | 2.5 T | 1.00 GiB | 2328.3 | 3.00 GiB | 1 all-gather, 12 all-reduce |" in row
    assert "**fits**" in row
    refused_row = next(line for line in page.splitlines() if "40.00 GiB" in line)
    assert "**does not fit**" in refused_row
    assert "| – | – | – | 40.00 GiB |" in refused_row
    assert "| 16,384 | 32,768 | twice as long does not fit |" in page
    assert "v4:2x2x1" in page
    assert "jax 0.10.2, libtpu 0.0.42.1" in page
    assert "as the compiler counts them" in page


def test_loops_make_counts_a_lower_bound() -> None:
    page = shown(compiled(STEP | {"loops": 2}))
    assert "≥ 2.5 T | ≥ 1.00 GiB" in page
    assert "longer ones were not tried" in shown(compiled(longest=(LONGEST | {"bound": "compilations"},)))


def test_cells_without_programs_say_why() -> None:
    absent = make_record("torch", status="not run", hardware="tpu-v4", reason="only JAX programs are compiled")
    failed = make_record("jax", 1, status="failed", hardware="tpu-v4", reason="no such instruction")
    elsewhere = make_record("jax", 2, status="failed", reason="the loss is not finite")
    page = shown(compiled(), absent, failed, elsewhere)
    assert "only JAX programs are compiled" in page
    assert "no such instruction" in page
    assert "not finite" not in page


def test_machines_are_listed_with_what_ran_on_them() -> None:
    cards = {"cpu": "Fast CPU", "cores": 16, "gpus": [{"name": "NVIDIA H200", "driver": "580.1"}]}
    took = {"total_seconds": 1_800.0, "energy_joules": 3.6e6}
    found = [
        make_record("torch", seed, hardware="h200", timing=took, provenance={
            "hardware": cards, "commit": f"{seed}" * 40, "dirty": False,
                "versions": {"torch": "2.13", "python": "3.11"},
        })
        for seed in range(2)
    ]  # fmt: skip
    page = shown(*found, make_record(timing={}), make_record(status="no data"))
    assert "2.13 | 000000000000 [cell 1](" in page
    assert "<br>111111111111 [cell 1](" in page
    assert "| 2 | 1.00 | 2.00 |" in page
    assert "| h200 (NVIDIA H200) | Fast CPU | 16 | 580.1 | python 3.11, torch 2.13 |" in page
    assert "| cpu (Example CPU) | Example CPU | 2 | – | jax 1.0 | 0123456789ab [cell 1](" in page


def test_machines_that_differ_in_cores_only_are_one_row() -> None:
    cards = {"cpu": "Fast CPU", "gpus": [{"name": "NVIDIA H200", "driver": "580.1"}]}
    found = [
        make_record("torch", n, hardware="h200", provenance={"hardware": cards | {"cores": n}, "commit": "c" * 40})
        for n in (4, 8, 16, 17)
    ]
    page = shown(*found)
    assert page.count("| h200 (NVIDIA H200) |") == 1
    assert "| Fast CPU | 4 to 17 | 580.1 |" in page
    assert "[cell 1](cells/lra.listops-s5-torch-smoke-4.md)" in page
    assert "[and 1 more](cells.md)" in page
    processors = [make_record("jax", n, provenance={"hardware": {"cpu": "Slow CPU", "cores": n}}) for n in (2, 8)]
    assert "| cpu (Slow CPU) | Slow CPU | 2 to 8 |" in shown(*processors)


def test_profiles_of_chips_are_those_of_the_suite() -> None:
    page = shown(make_record())
    assert "| NVIDIA H200 141 GB SXM | h200 | 67 | 494.7 | 989.4 | 4.8 | 131.3 GiB |" in page
    assert "| Google TPU v5e | tpu-v5e | – | – | 197 | 0.819 | 16.0 GiB |" in page
    assert "](https://docs.cloud.google.com/tpu/docs/v5e) <br>checked 2026-11-22 |" in page
    h200 = PROFILES["h200"]
    assert (h200.float32, h200.tf32, h200.bfloat16, h200.bandwidth, h200.memory) == (
        67e12, 494.7e12, 989.4e12, 4.8e12, 141e9,
    )  # fmt: skip
    v4 = PROFILES["tpu-v4"]
    assert (v4.kind, v4.float32, v4.bfloat16, v4.bandwidth, v4.memory) == ("tpu", None, 275e12, 1.2288e12, 32 * 2**30)


def test_without_records_the_page_gives_the_command() -> None:
    page = shown(make_record())
    assert "python -m suite.run --benchmarks lra --hardware tpu-v4" in page
    assert "**not run**" in page


@pytest.mark.parametrize("bad", [None, "7", True, -1.0, [1], {}])
def test_numbers_that_are_none_are_dashes(bad: Any) -> None:
    names = ("batch", "length", "chips", "flops", "bytes_accessed", "arithmetic_intensity", "loops", "collectives")
    changed = dict.fromkeys(names, bad)
    page = shown(compiled(STEP | changed | {"peak_memory_bytes": bad}, longest=()))
    assert "| – | – | – | – | – | – | – | – |" in page
    assert shown(compiled({"program": 7}, longest=({},), provenance={"compiled_for": [1]}))


def test_a_compiled_cell_stands_in_the_tables_without_a_value(tmp_path: Path) -> None:
    layers = compiled(STEP | {"layer": "S5"}, id="layers", recipe={"layers": {}}, task="speed.layer", benchmark="speed")
    records = [compiled(), make_record("torch", seed=1), layers]
    assert [frames.kind(record) for record in records] == ["result", "result", "compiled"]
    assert frames.machine(records[0]) == "tpu-v4 (absent)"
    site = build.build([store(records, tmp_path / "runs")], tmp_path / "site").parent
    index = (site / "index.md").read_text(encoding="utf-8")
    assert "**2 compiled**" in index
    assert "[**compiled**](cells/lra.listops-s5-jax-smoke-0.md)" in index.replace("**[compiled]", "[**compiled**]") or (
        "compiled" in (site / "tasks" / "lra-listops.md").read_text(encoding="utf-8")
    )
    assert "speed.layer" not in [group.task for group in pages.Report.of(records, overview_published()).groups]
    cell = (site / "cells" / "lra.listops-s5-jax-smoke-0.md").read_text(encoding="utf-8")
    assert "Timing" not in cell
    assert "training step" in cell


def overview_published() -> Any:
    """The shipped published numbers."""
    from reports import published

    return published.shipped()


def test_hostile_strings_stay_text(tmp_path: Path) -> None:
    found = []
    for index, text in enumerate(HOSTILE):
        row = STEP | {"program": text, "layer": text, "key": text, "refused": text, "collectives": {text: 2}}
        reached = LONGEST | {"program": text, "layer": text, "bound": text, "reason": text}
        target = {"chip": text, "topology": text, "compiler": text, "definitions": {text: text}}
        origin = {"compiled_for": target, "versions": {"libtpu": text}}
        names = dict.fromkeys(("task", "architecture", "profile"), text)
        found.append(compiled(row, longest=(reached,), provenance=origin, id=f"compiled-{index}", **names))
        found.append(make_record(id=f"absent-{index}", status="not run", reason=text, hardware="tpu-v4", **names))
    site = build.build([store(found, tmp_path / "runs")], tmp_path / "site").parent
    page = Document(site / "hardware.html")
    assert page.count("script") == page.count("title") == 1
    assert not page.count("img")
    assert not page.count("iframe")
    assert "<script>alert(1)</script>" in page.text
    text = (site / "hardware.md").read_text(encoding="utf-8")
    assert "\u202e" not in text
    assert r"\[click\](javascript:alert(1))" in text
