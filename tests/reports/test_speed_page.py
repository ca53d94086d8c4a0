"""The page of layer speed: numbers as measured, ratios within a run, and nothing from rows that hold no time."""

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from report_document import Document
from report_records import make_record, store

from reports import build, cells, claims, pages, records, speed
from reports.records import Record
from reports.render import Renderer

MEASURED = Path(claims.PATH).parent / "measured"
GOOD = {"layer": "Slide", "mode": "forward", "length": 512, "ms_p20": 0.9, "ms_p50": 1.0, "ms_p80": 1.1}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of the committed speed records."""
    folder = tmp_path_factory.mktemp("speed")
    found = [record for record in records.read_all([MEASURED]) if speed.TABLE in record.tables]
    return build.build([store(found, folder / "runs")], folder / "site").parent


def timed(*rows: dict) -> Record:
    """A record with some rows of layer speed."""
    cell: dict[str, Any] = {"benchmark": "speed", "task": "speed.block_state", "architecture": "block_state"}
    return make_record(metrics={}, curves={}, predictions=None, tables={"layer_speed": list(rows)}, **cell)


def test_the_committed_runs_are_read_whole() -> None:
    found = {run.record.cell.task: [] for run in speed.runs(records.read_all([MEASURED]))}
    for run in speed.runs(records.read_all([MEASURED])):
        found[run.record.cell.task].append(run)
    (jax, torch), (window,) = found["speed.block_state"], found["speed.attention"]
    jax_seqboat, torch_seqboat = found["speed.seqboat"]
    assert len(jax_seqboat.points) == len(torch_seqboat.points) == 120
    all_tokens, some = {"every token": 1}, {"about 10 %": 1}
    for run, ratios in ((jax_seqboat, (0.51, 0.565)), (torch_seqboat, (0.73, 0.755))):
        for mode, ratio in zip(("forward", "forward and backward"), ratios, strict=True):
            assert run.ratios(some, all_tokens, mode)[65536] == pytest.approx(ratio, abs=0.005)
    assert window.ratios({"flex": 1}, {"einsum": 1}, "forward and backward")[65536] == pytest.approx(3.37, abs=0.01)
    assert found["speed.seqboat"][0].layers == ["every token", "about 75 %", "about 50 %", "about 25 %", "about 10 %"]
    assert window.layers == ["einsum", "fused", "flex"]
    assert (jax.record.cell.id, torch.record.cell.id) == ("bec1c283aaed", "cc71852fd0d7")
    assert torch.layers == ["Slide", "BRECT", "BST:SH:S4", "BST:MH:S4", "BST:MF:S4"]
    assert torch.lengths == jax.lengths == [2**power for power in range(9, 17)]
    assert len(jax.points) == len(torch.points) == 120
    brect, single = {"BRECT": 1}, {"BST:SH:S4": 1}
    assert 1 / torch.ratios(brect, single)[65536] == pytest.approx(0.41, abs=0.005)
    assert 1 / jax.ratios(brect, single, "forward and backward")[65536] == pytest.approx(0.345, abs=0.005)
    assert 1 / torch.ratios(brect, single, "forward and backward")[65536] == pytest.approx(0.365, abs=0.005)


@pytest.mark.parametrize(
    ("framework", "change", "told"),
    [
        ("jax", {"compile_seconds": None}, "from a cache"),
        ("jax", {"compile_seconds": 2.5}, "2.5"),
        ("jax", {}, "–"),
        ("torch", {"compile_seconds": None}, "–"),
    ],
)
def test_a_compilation_that_was_not_timed_came_from_a_cache(framework: str, change: dict, told: str) -> None:
    cell = {"benchmark": "speed", "task": "speed.a", "metrics": {}, "curves": {}, "predictions": None}
    (run,) = speed.runs([make_record(framework, tables={"layer_speed": [GOOD | change]}, **cell)])
    (row,) = speed.measurement_table(run).rows
    assert [span.text for span in row.cells[-1].spans] == [told]


def test_ratios_are_of_medians_at_shared_lengths() -> None:
    (run,) = speed.runs([timed(GOOD, GOOD | {"layer": "B", "ms_p50": 4.0, "ms_p80": 5.0}, GOOD | {"length": 1024})])
    b, slide = {"B": 1}, {"Slide": 1}
    assert run.ratios(b, slide) == {512: 4.0}
    assert run.ratios({"B": 2, "Slide": 1}, {"Slide": 3}) == {512: 3.0}
    assert run.ratios(b, {"nothing": 1}) == run.ratios({"B": 1, "nothing": 1}, slide) == {}
    assert run.ratios(b, slide, "backward") == {}


def alone(architecture: str, ms: float, base: float = 1.0, **changes: Any) -> Record:
    """A record of one layer beside the sliding window, at two lengths."""
    rows = [
        {"layer": layer, "mode": "forward", "length": n, **dict.fromkeys(("ms_p20", "ms_p50", "ms_p80"), time)}
        | {"ratio_to_first": time / base}
        for n in (512, 1024)
        for layer, time in (("Slide", base), (architecture, ms))
    ]
    tables = {"layer_speed": rows, "gate": [{"layer": layer, "passed": True} for layer in ("Slide", architecture)]}
    cell = {"benchmark": "speed", "task": "speed.layer", "architecture": architecture}
    recipe = {"rounds": 3, "layers": {"Slide": {"window": 8}, architecture: {"d_model": 4}}}
    return make_record(metrics={}, curves={}, predictions=None, tables=tables, **({"recipe": recipe} | cell | changes))


def test_layers_of_one_comparison_are_one_run() -> None:
    records = [alone("s5", 2.0), alone("ema", 6.0, base=1.5), alone("s4", 3.0)]
    (run,) = speed.runs(records)
    assert run.layers == ["Slide", "ema", "s4", "s5"]
    assert [one.cell.architecture for one in run.records] == ["ema", "s4", "s5"]
    assert run.spread == pytest.approx(0.5)
    told = " ".join(span.text for block in speed.run_blocks(run) for span in getattr(block, "spans", ()))
    assert "first of the 3 processes; between them its medians differ by up to 50.0 %" in told
    (row, _) = speed.ratio_table(run, "forward").rows
    assert [cell.spans[0].text for cell in row.cells] == ["512", "1.500", "4.00", "3.00", "2.00"]
    (row,) = speed.summary([run]).rows
    assert [span.text for span in row.cells[-1].spans] == [record.cell.id for record in run.records]
    assert row.cells[-2].spans[0].text == "6 of 6 layers pass"


def test_the_command_line_tells_of_speed_alone(tmp_path: Path) -> None:
    told = build.text_table([store([alone("s5", 2.0)], tmp_path)])
    assert "no results yet" not in told
    assert re.search(r"speed\.layer of s5, JAX.* measured", told)


CHANGES = [
    {"recipe": {"rounds": 4, "layers": {"Slide": {"window": 8}}}}, {"recipe": {"rounds": 3, "layers": {"Slide": {}}}},
    {"hardware": "h200"}, {"framework": "torch"}, {"profile": "small"}, {"status": "failed"}, {"protocol": {"a": "b"}},
    {"task": "speed.s5"}, {"architecture": "s5", "seed": 1}, {"provenance": {"commit": "another"}},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_timed_otherwise_stays_apart(change: dict) -> None:
    assert len(speed.runs([alone("s5", 2.0), alone("ema", 6.0)])) == 1
    other = alone("ema", 6.0) if "architecture" not in change else alone("s5", 6.0)
    cell = {key: value for key, value in change.items() if key in msgspec.structs.asdict(other.cell)}
    rest = {key: value for key, value in change.items() if key not in cell}
    renamed = msgspec.structs.replace(other.cell, **cell, id="other")
    found = speed.runs([alone("s5", 2.0), msgspec.structs.replace(other, cell=renamed, **rest)])
    assert [len(run.records) for run in found] == [1, 1]


BAD = [
    {"length": "512"}, {"length": 0}, {"length": True}, {"layer": None}, {"ms_p50": None}, {"ms_p50": "1"},
    {"ms_p20": -1.0}, {"ms_p80": 0.0}, {"ms_p50": True}, {"ms_p50": 1e300},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD)
def test_rows_without_a_time_are_left_out(change: dict) -> None:
    assert speed.runs([timed(GOOD | change)]) == []
    (run,) = speed.runs([timed(GOOD, GOOD | change | {"compile_seconds": "x"})])
    assert len(run.points) == 1


def test_growth_is_fitted_per_layer_and_mode_over_the_longest_lengths() -> None:
    noise = {256: 9.0, 512: 1.0, 1024: 1.1, 2048: 0.9, 4096: 1.0}
    rows = [
        GOOD | {"length": n, "mode": mode, "ms_p50": 1e-3 * n**exponent * noise[n]}
        for mode, exponent in (("forward", 1), ("forward and backward", 2), ("streaming step", 0))
        for n in noise
    ]
    (run,) = speed.runs(
        [timed(*rows, GOOD | {"layer": "B"}, GOOD | {"layer": "C"}, GOOD | {"layer": "C", "length": 1024})]
    )
    x, y = np.arange(4.0), np.log2([1.0, 1.1, 0.9, 1.0])
    slope = ((x - 1.5) * y).sum() / 5
    error = np.sqrt(((y - y.mean() - slope * (x - 1.5)) ** 2).sum() / 2 / 5)
    for mode, exponent in (("forward", 1), ("forward and backward", 2), ("streaming step", 0)):
        lengths, law = run.growth("Slide", mode) or ([], None)
        assert lengths == [512, 1024, 2048, 4096]
        assert law is not None
        assert (law.exponent, law.low, law.high) == pytest.approx(
            (exponent + slope, exponent + slope - 4.302653 * error, exponent + slope + 4.302653 * error), rel=1e-6
        )
    assert run.growth("B", "forward") is None
    texts = [" ".join(span.text for cell in row.cells for span in cell.spans) for row in speed.growth_table(run).rows]
    assert [text.split(" ")[0] for text in texts] == ["Slide", "Slide", "Slide", "C"]
    assert texts[2].startswith("Slide streaming step −0.03 −0.29 to 0.24 512 to 4,096")
    assert texts[3] == "C forward 0.00 – 512 to 1,024 2"


def test_missing_numbers_are_dashes() -> None:
    (run,) = speed.runs([timed(GOOD)])
    assert math.isnan(run.points.to_dict("records")[0]["roofline_share"])
    (row,) = speed.measurement_table(run).rows
    assert [cell.spans[0].text for cell in row.cells][5:] == ["–"] * 4


def test_the_page_has_figures_ratios_and_every_measurement(site: Path) -> None:
    page = Document(site / "speed.html")
    assert page.count("figure") == 14 * 3
    labels = [value for value in page.values("aria-label") if value.startswith("Line chart on two log scales")]
    assert "At 65,536: Slide 14.6 ms; BRECT 111 ms; BST:SH:S4 45.1 ms" in " ".join(labels)
    text = (site / "speed.md").read_text(encoding="utf-8")
    assert "| 65,536 | 14.618 | 7.56 | 3.09 |" in text
    assert "| BST:MF:S4 | forward | 65,536 | 20.738 | 20.728 to 20.748 | 3,160,218 | 38.9 | 2485 | 0.2 |" in text
    assert re.search(r"!\[Line chart .*\]\(figures/speed-cc71852fd0d7-forward\.svg\)", text)
    assert "| BST:MF:S4 | forward | 0.84" in text
    svg = (site / "figures" / "speed-cc71852fd0d7-forward.svg").read_text(encoding="utf-8")
    assert all(f">{name}<" in svg for name in ("BRECT", "BST:SH:S4", "32,768", "time, ms"))


def test_a_long_reason_is_cut_in_tables() -> None:
    long = msgspec.structs.replace(timed(GOOD), status="failed", reason="no kernel " * 40 + "\nsecond line")
    for page in (speed.speed_page([long]), cells.cells_page([long])):
        shown = Renderer(pages.SECTIONS).markdown(page).decode()
        assert "no kernel no kernel" in shown
        assert "…" in shown
        assert "second line" not in shown
        assert max(map(len, shown.splitlines())) < 800


def test_without_records_the_page_gives_the_command() -> None:
    page = Renderer(pages.SECTIONS).markdown(speed.speed_page([make_record()])).decode()
    assert "python -m suite.run --benchmarks speed --profile smoke" in page
    assert "**not run**" in page
