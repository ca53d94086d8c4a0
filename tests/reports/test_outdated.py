"""Rows that hold the cost of a defect since mended stand on no page as a time, and the page says so."""

from pathlib import Path

import pytest
from report_records import make_record

from reports import outdated, records, speed
from reports.render import Renderer

MEASURED = Path(outdated.__file__).parent / "measured"
ROW = {"layer": "BRECT", "mode": "forward", "length": 512, "ms_p20": 1.0, "ms_p50": 1.0, "ms_p80": 1.0}
CELL = {"benchmark": "speed", "task": "speed.a", "metrics": {}, "curves": {}, "predictions": None}


def test_the_list_names_rows_of_committed_records() -> None:
    found = {record.cell.id: record for record in records.read_all([MEASURED])}
    for rows in outdated.read(outdated.FILE):
        for cell, commit in rows.commits.items():
            record = found[cell]
            assert record.provenance["commit"] == commit
            held = [row for row in record.tables["layer_speed"] if rows.hold(row)]
            assert held
            assert {row["mode"] for row in held} == {rows.mode}
            if rows.layers is not None:
                assert {row["layer"] for row in held} == set(rows.layers)


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A list that names the forward pass of one layer of one cell."""
    file = tmp_path / "list.toml"
    file.write_text('[[rows]]\nwhy = "it was slow"\nmode = "forward"\nlayers = ["BRECT"]\ncommits = { cell = "abc" }\n')
    monkeypatch.setattr(outdated, "_shipped", lambda: outdated.read(file))


@pytest.mark.usefixtures("listed")
def test_they_are_left_out_with_the_reason() -> None:
    rows = [{**ROW, "layer": "Slide"}, ROW, {**ROW, "mode": "streaming step"}]
    for commit, kept in (("abc", 2), ("def", 3), (None, 3)):
        provenance = {"commit": commit}
        record = make_record("jax", id="cell", tables={"layer_speed": rows}, provenance=provenance, **CELL)
        (run,) = speed.runs([record])
        assert len(run.points) == kept
        text = Renderer(()).markdown(speed.speed_page([record])).decode()
        assert ("Left out: forward of BRECT, since it was slow." in text) == (kept == 2)


def test_a_damaged_list_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "outdated.toml"
    with pytest.raises(records.RecordError, match=r"cannot read .*outdated\.toml"):
        outdated.read(file)
    file.write_text("[[rows]]\nwhy = 3\n")
    with pytest.raises(records.RecordError, match=r"outdated\.toml is not valid"):
        outdated.read(file)
