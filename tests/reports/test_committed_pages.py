"""The committed Markdown pages are those of the committed records, and read on a code host."""

import re
from pathlib import Path

import matplotlib
import pytest
from report_records import Factory, store

from reports import build
from reports.build import BuildError

REPORTS = Path(build.__file__).parent
PAGES, MEASURED = REPORTS / "pages", REPORTS / "measured"
REMEDY = "render them again: python -m reports.build reports/measured --markdown -o reports/pages"
TEXTS = re.compile(rb"<text[^>]*>(.*?)</text>", re.DOTALL)


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """The pages as they should be."""
    return build.markdown_files([MEASURED], "../measured/records")


def committed() -> dict[str, bytes]:
    """The pages as they are."""
    found = {path.relative_to(PAGES).as_posix(): path.read_bytes() for path in PAGES.rglob("*") if path.is_file()}
    del found[build.MANIFEST]
    return found


def test_the_committed_pages_are_up_to_date(made: dict[str, bytes]) -> None:
    found = committed()
    assert sorted(found) == sorted(made), REMEDY
    for name in made:
        if name.endswith(".md"):
            assert found[name] == made[name], f"{name} is out of date; {REMEDY}"
        else:
            # Other versions of Matplotlib draw other paths and the same words.
            assert sorted(TEXTS.findall(found[name])) == sorted(TEXTS.findall(made[name])), f"{name}: {REMEDY}"
    pinned = re.search(
        r"^matplotlib==(.*)$", (REPORTS.parent / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert pinned is not None
    if matplotlib.__version__ == pinned[1]:
        assert found == made, REMEDY


def test_every_link_of_the_committed_pages_resolves() -> None:
    raw = set()
    for path in sorted(PAGES.rglob("*.md")):
        for href in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            if not href.startswith(("https://", "#")):
                target = (path.parent / href.partition("#")[0]).resolve()
                assert target.is_file(), f"{path.name} links to {href}"
                raw |= {target.name} if target.suffix == ".json" else set()
    assert raw == {path.name for path in (MEASURED / "records").iterdir()}


def test_markdown_alone_is_built_by_the_command(
    make: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, pages = store([make()], tmp_path / "runs"), tmp_path / "pages"
    assert build.main([str(runs), "--markdown", "-o", str(pages)]) == 0
    assert capsys.readouterr().out.endswith(f"report: {pages / 'index.md'}\n")
    assert {path.suffix for path in pages.rglob("*") if path.is_file()} == {".md", ".svg", ".json"}
    cell = (pages / "cells" / f"{make().cell.id}.md").read_text(encoding="utf-8")
    assert f"](../../runs/records/{make().cell.id}.json)" in cell


def test_markdown_of_several_folders_is_an_error(make: Factory, tmp_path: Path) -> None:
    runs = store([make()], tmp_path / "runs")
    with pytest.raises(BuildError, match="one runs folder; give one"):
        build.build_markdown([runs, runs], tmp_path / "pages")
    assert not (tmp_path / "pages").exists()


def test_links_to_records_hold_wherever_the_pages_lie(make: Factory, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "real" / "deep")
    runs = store([make()], tmp_path / "of" / "a" / "project" / "runs")
    monkeypatch.chdir(runs.parent)
    build.build_markdown([Path("runs")], tmp_path / "linked" / "pages")
    cell = tmp_path / "linked" / "pages" / "cells" / f"{make().cell.id}.md"
    (href,) = re.findall(r"\]\((\S+\.json)\)", cell.read_text(encoding="utf-8"))
    assert (cell.parent / href).resolve() == runs.resolve() / "records" / f"{make().cell.id}.json"
