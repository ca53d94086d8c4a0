"""Times of runs that shared their device are marked wherever they stand, and price nothing."""

from pathlib import Path

import msgspec
import pytest

from reports import compare, comparison, contended, pages, published, records
from reports.records import Record, RecordError
from reports.render import Renderer
from suite import compare as command
from suite.launch.cost import Estimator
from suite.matrix import Selection, cells

MEASURED = Path(contended.__file__).parent / "measured"
S5, PAPER = "3cc5d1d9df63", "0439af6ff8aa"


@pytest.fixture(scope="module")
def found() -> dict[str, Record]:
    """The committed records by cell id."""
    return {record.cell.id: record for record in records.read_all(MEASURED)}


def test_the_list_names_committed_runs_and_no_measurement_of_speed(found: dict[str, Record]) -> None:
    listed = contended.read(contended.FILE)
    for cell, ended in listed:
        assert found[cell].provenance["finished"] == ended
    names = {(found[cell].cell.task, found[cell].cell.profile) for cell, _ in listed}
    assert names == {("lra.listops", "small"), ("length.pg19", "small"), ("lra.text", "paper")}
    assert contended.why(found[PAPER]) == ""
    again = {**found[S5].provenance, "finished": "2027-01-01T00:00:00+00:00"}
    assert contended.why(msgspec.structs.replace(found[S5], provenance=again)) == ""


def test_pages_carry_a_footnote(found: dict[str, Record]) -> None:
    said = "up to twenty processes shared the GPU"
    pair = [found[S5], found[PAPER]]
    report = pages.Report.of(pair, published.shipped())
    texts = {
        record.cell.id: Renderer(()).markdown(pages.record_page(record, None)).decode() for record in report.records
    }
    assert said in texts[S5]
    assert said not in texts[PAPER]
    task = Renderer(()).markdown(pages.task_page(report, "lra.listops")).decode()
    assert task.count(said) == 1
    assert task.index(said) > task.index("Every seed, none left out")


def test_shared_times_are_not_compared(found: dict[str, Record]) -> None:
    (time,) = comparison.times(comparison.compare([found[S5]], [found[S5]]))
    assert time.judgment.startswith("not compared, A: up to twenty processes")
    (own,) = comparison.times(comparison.compare([found[PAPER]], [found[PAPER]]))
    assert own.judgment == "within the spread"
    shown = compare.text(comparison.compare([found[S5]], [found[S5]]))
    (line,) = [line for line in shown.splitlines() if "update, ms" in line]
    assert "  –  " in line


def test_shared_times_price_no_cell(found: dict[str, Record]) -> None:
    chosen = Selection(
        tasks=("lra.listops",), architectures=("s5",), frameworks=("jax",), profile="small", hardware="h200"
    )
    (cell,) = cells(chosen)
    assert cell.id == S5
    priced = Estimator([found[S5], found[PAPER]], 2).estimate(cell)
    assert f"times the operations of cell {PAPER}" in priced.basis
    assert priced.seconds is not None
    assert priced.seconds < found[S5].timing["total_seconds"] / 5
    assert priced.memory == found[S5].timing["peak_memory_bytes"]


def test_one_folder_twice_is_said(tmp_path: Path, found: dict[str, Record], capsys: pytest.CaptureFixture[str]) -> None:
    records.write(found[PAPER], tmp_path)
    assert command.main([str(tmp_path), str(tmp_path / ".." / tmp_path.name)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"A and B are one folder, {tmp_path}: every cell is compared with itself"
    assert shown[-1].startswith("1 cell in both")


def test_a_damaged_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "contended.toml").write_text("[[runs]]\nwhy = ''\n[runs.ended]\n'../x' = 'now'\n")
    with pytest.raises(RecordError, match=r"contended.toml is not valid"):
        contended.read(tmp_path / "contended.toml")
