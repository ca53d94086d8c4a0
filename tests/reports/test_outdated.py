"""Rows that hold the cost of a defect mended since are times on no page; what others are without stands beside them."""

from pathlib import Path

import pytest
from report_records import make_record

from reports import conclusions, outdated, pages, records, speed
from reports.render import Renderer

MEASURED = Path(outdated.__file__).parent / "measured"
ROW = {"layer": "BRECT", "mode": "forward", "length": 512, "ms_p20": 1.0, "ms_p50": 1.0, "ms_p80": 1.0}
CELL = {"benchmark": "speed", "task": "speed.a", "metrics": {}, "curves": {}, "predictions": None}


def test_the_list_names_rows_of_committed_records() -> None:
    found = {record.cell.id: record for record in records.read_all([MEASURED])}
    for rows in outdated.read(outdated.FILE).rows:
        for cell, commit in rows.commits.items():
            record = found[cell]
            assert record.provenance["commit"] == commit
            held = [row for row in record.tables["layer_speed"] if rows.hold(row)]
            assert held
            assert {row["mode"] for row in held} == {rows.mode}
            if rows.layers is not None:
                assert {row["layer"] for row in held} == set(rows.layers)


def test_the_notes_name_the_runs_of_jax_before_the_state_was_a_result() -> None:
    found = {record.cell.id: record for record in records.read_all([MEASURED])}
    (note,) = outdated.read(outdated.FILE).notes
    measured_later = {"8ba22a054318", "3ebca6d602b1", "f60fcba65503"}
    timed = {cell for cell, one in found.items() if speed.TABLE in one.tables and one.cell.framework == "jax"}
    assert set(note.commits) == timed - measured_later
    for cell, commit in note.commits.items():
        assert found[cell].provenance["commit"] == commit
        assert set(note.modes) <= {row["mode"] for row in found[cell].tables[speed.TABLE]}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A list that names the forward pass of one layer of one cell."""
    file = tmp_path / "list.toml"
    file.write_text(
        '[[rows]]\nwhy = "it was slow"\nmode = "forward"\nlayers = ["BRECT"]\ncommits = { cell = "abc" }\n'
        '[[notes]]\ntold = "without a state"\nwhy = "a reason"\nmodes = ["streaming step"]\n'
        'commits = { cell = "abc" }\n'
    )
    monkeypatch.setattr(outdated, "_shipped", lambda: outdated.read(file))


@pytest.mark.usefixtures("listed")
def test_they_are_left_out_with_the_reason() -> None:
    rows = [{**ROW, "layer": "Slide"}, ROW, {**ROW, "mode": "streaming step"}]
    for commit, kept in (("abc", 2), ("def", 3), (None, 3)):
        provenance = {"commit": commit}
        record = make_record("jax", id="cell", tables={"layer_speed": rows}, provenance=provenance, **CELL)
        (run,) = speed.runs([record])
        assert len(run.points) == kept
        for page in (speed.speed_page([record]), pages.record_page(record, None)):
            text = Renderer(()).markdown(page).decode()
            assert ("Left out of the page of layer speed: forward of BRECT, since it was slow." in text) == (kept == 2)
            assert ("Times of streaming step are without a state: a reason." in text) == (kept == 2)


@pytest.mark.usefixtures("listed")
def test_a_note_stands_beside_what_is_concluded_from_its_modes() -> None:
    for mode, told in (("streaming step", True), ("forward", False)):
        rows = [{**ROW, "layer": name, "mode": mode} for name in ("Slide", "other")]
        tables = {"layer_speed": rows}
        record = make_record("jax", id="cell", tables=tables, provenance={"commit": "abc"}, **CELL)
        (line,) = conclusions.speeds([record])
        assert ("on one machine, without a state." in line[-1].text) == told


def test_a_damaged_list_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "outdated.toml"
    with pytest.raises(records.RecordError, match=r"cannot read .*outdated\.toml"):
        outdated.read(file)
    file.write_text("[[rows]]\nwhy = 3\n")
    with pytest.raises(records.RecordError, match=r"outdated\.toml is not valid"):
        outdated.read(file)
