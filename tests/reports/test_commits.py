"""What pages say of the commit of a record: whether it can be looked up, what changes were beside it, how to verify."""

import subprocess
from pathlib import Path

import msgspec
import pytest
from report_records import make_record

from reports import build, cells, commits, machines, pages, records
from reports.records import Record
from reports.render import Renderer, text_of
from suite.replay.source import CannotVerify, cell_of

MEASURED = Path(build.__file__).parent / "measured"
ROOT = MEASURED.parents[1]
UNPUBLISHED = {"46865e67baff", "8c06134cd82d"}


@pytest.fixture(scope="module")
def found() -> dict[str, Record]:
    """The committed records by cell id."""
    return {record.cell.id: record for record in records.read_all(MEASURED)}


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)


def test_records_name_commits_of_the_history_or_those_that_are_listed(found: dict[str, Record]) -> None:
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("needs the whole history in git; here there is none, or a shallow clone of it")
    named = {commits.commit(record) for record in found.values()}
    known = {commit for commit in named if git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0}
    assert named - known == commits.UNPUBLISHED


def test_the_readme_names_the_records(found: dict[str, Record]) -> None:
    assert {cell for cell, record in found.items() if commits.commit(record) in commits.UNPUBLISHED} == UNPUBLISHED
    text = (MEASURED / "README.md").read_text(encoding="utf-8")
    (paragraph,) = [part for part in text.split("\n\n") if commits.ABSENT in " ".join(part.split())]
    assert all(f"`{name}`" in paragraph for name in UNPUBLISHED | commits.UNPUBLISHED)


def test_pages_say_it_beside_the_commit(found: dict[str, Record]) -> None:
    for cell, record in found.items():
        page = Renderer(()).markdown(pages.record_page(record, None)).decode()
        assert (commits.ABSENT in page) == (cell in UNPUBLISHED)
    rows = {text_of(row.cells[0]): text_of(row.cells[-1]) for row in cells.cells_table(list(found.values())).rows}
    assert {cell for cell, told in rows.items() if f"4f0b87720e {commits.ABSENT}" in told} == UNPUBLISHED
    assert sum(commits.ABSENT in told for told in rows.values()) == len(UNPUBLISHED)
    told = [text_of(row.cells[5]) for row in machines.machines_table(list(found.values())).rows]
    assert "".join(told).count(f"4f0b87720e {commits.ABSENT}") == 1


@pytest.mark.parametrize(
    ("dirty", "told"), [(False, ""), (True, commits.CHANGED), (None, commits.UNRECORDED), ("no", commits.UNRECORDED)]
)
def test_changes_beside_a_commit_are_told_wherever_it_stands(dirty: object, told: str) -> None:
    record = make_record(provenance={"commit": "0123456789abcdef", "dirty": dirty})
    page = Renderer(()).markdown(pages.record_page(record, None)).decode()
    shown = [page, text_of(cells.cells_table([record]).rows[0].cells[-1])]
    shown.append(text_of(machines.machines_table([record]).rows[0].cells[5]))
    for words in (commits.CHANGED, commits.UNRECORDED):
        assert [words in place for place in shown] == [words == told] * 3


def test_nothing_is_told_of_changes_beside_no_commit() -> None:
    for origin in ({}, {"commit": "unknown", "dirty": None}):
        assert commits.changes(make_record(provenance=origin)) == ""


def test_one_commit_with_and_without_changes_are_two_on_the_page_of_machines() -> None:
    made = [make_record(seed=seed, provenance={"commit": "abc", "dirty": seed == 1}) for seed in (0, 1)]
    (row,) = machines.machines_table(made).rows
    assert text_of(row.cells[5]) == f"abc cell 1 abc {commits.CHANGED} cell 1"


def test_no_remedy_is_a_commit_that_is_not_there(found: dict[str, Record]) -> None:
    for name in ("8c06134cd82d", "33b9c410e412"):
        record = msgspec.structs.replace(found[name], cell=msgspec.structs.replace(found[name].cell, task="lra.txet"))
        with pytest.raises(CannotVerify, match=r"unknown task 'lra.txet'") as caught:
            cell_of(record)
        assert ("check out its commit" in str(caught.value)) == (name not in UNPUBLISHED)


def test_pages_print_the_command_of_a_verification_where_there_is_one(found: dict[str, Record]) -> None:
    told = set()
    for cell, record in found.items():
        if f"python -m suite.verify {cell}" in Renderer(()).markdown(pages.record_page(record, None)).decode():
            told.add(cell)
            assert cell_of(record).id == cell
    without = {cell for cell, record in found.items() if record.status == "compiled"}
    assert found.keys() - told == without | {"speed-authors-s5-h200"}
