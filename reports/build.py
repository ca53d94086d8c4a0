"""Build a report: `python -m reports.build RUNS [RUNS ...] -o SITE`."""

import argparse
import errno
import functools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from reports import (
    ablation_page,
    architecture_page,
    architectures,
    atomic,
    benchmark_page,
    cells,
    console,
    contradictions,
    figures,
    hardware,
    overview,
    pages,
    parity_page,
    published,
    published_pages,
    records,
    speed,
)
from reports.blocks import Figure, Figures, Page, Table
from reports.render import Renderer
from reports.render import text_table as render_text
from reports.tables import result_table

MANIFEST = ".longseq-bench-site.json"
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of a disk, or of what a user may write on it; other errors of writing are the folder's."""


class BuildError(RuntimeError):
    """The site cannot be built; the message names the path and the remedy."""


def site_files(runs_dirs: Sequence[Path]) -> dict[str, bytes]:
    """Every file of a site by its path, `index.html` last; raises RecordError and PublishedError."""
    found = records.read_all(runs_dirs)
    files = {f"records/{record.cell.id}.json": records.to_json(record) for record in found} | _constant_files()
    renderer = Renderer(pages.SECTIONS)
    for page in site_pages(found, [Path(path).resolve().name for path in runs_dirs]):
        files |= _page_files(renderer, page)
    return files


def site_pages(found: Sequence[records.Record], names: Sequence[str]) -> list[Page]:
    """The pages that depend on records, the overview last; `names` are those of the runs folders."""
    report = pages.Report.of(found, published.shipped())
    groups = {record.cell.id: group for group in (*report.groups, *report.changed) for record in group.records}
    made = [pages.record_page(record, groups.get(record.cell.id)) for record in found]
    made += [pages.task_page(report, task) for task in report.tasks]
    made += benchmark_page.benchmark_pages(report)
    made += [ablation_page.study_page(study) for study in ablation_page.every(report.studies)]
    made += [architecture_page.architecture_page(report, name) for name in report.pages_of]
    made += [parity_page.parity_page(report), cells.cells_page(found), speed.speed_page(found)]
    made.append(hardware.hardware_page(found))
    made.append(overview.overview(report) if found else overview.empty(report, names))
    return made


def constant_pages() -> list[Page]:
    """The pages that depend on no record."""
    literature = published.shipped()
    made = published_pages.published_pages(literature)
    return [*made, contradictions.contradictions_page(literature), pages.methods_page()]


@functools.cache
def _constant_files() -> dict[str, bytes]:
    renderer = Renderer(pages.SECTIONS)
    return {name: data for page in constant_pages() for name, data in _page_files(renderer, page).items()}


def _page_files(renderer: Renderer, page: Page) -> dict[str, bytes]:
    """A page in both forms, after its figures."""
    files = {f"figures/{item.name}.svg": figures.standalone(item.svg) for item in _figures(page)}
    return files | {f"{page.path}.md": renderer.markdown(page), f"{page.path}.html": renderer.html(page)}


def markdown_files(runs_dirs: Sequence[Path], raw: str) -> dict[str, bytes]:
    """The Markdown pages and their figures only; links to raw records lead to `raw`, a path from the pages."""
    found = records.read_all(runs_dirs)
    renderer = Renderer(pages.SECTIONS, {"records": raw})
    files: dict[str, bytes] = {}
    for page in (*constant_pages(), *site_pages(found, [Path(path).resolve().name for path in runs_dirs])):
        files |= {f"figures/{item.name}.svg": figures.standalone(item.svg) for item in _figures(page)}
        files[f"{page.path}.md"] = renderer.markdown(page)
    return files


def build(runs_dirs: Sequence[Path], site: Path) -> Path:
    """Write the site of some runs folders and return its `index.html`.

    Each file is replaced atomically, the overview last, and files of the previous build that are no longer needed go
    after it, so a build that is killed leaves a readable site. Raises RecordError, PublishedError, BuildError.
    """
    site = Path(site)
    return _replace(site, site_files(runs_dirs)) / "index.html"


def build_markdown(runs_dirs: Sequence[Path], site: Path) -> Path:
    """Write only the Markdown pages and their figures and return the `index.md`; raises as `build` does.

    They link to the raw records of one runs folder, where they lie; the pages read on a code host.
    """
    site = Path(site)
    if len(runs_dirs) != 1:
        raise BuildError("Markdown pages link to the records of one runs folder; give one")
    raw = Path(os.path.relpath((Path(runs_dirs[0]) / "records").resolve(), site.resolve())).as_posix()
    return _replace(site, markdown_files(runs_dirs, raw)) / "index.md"


def _replace(site: Path, files: dict[str, bytes]) -> Path:
    """Make a folder hold exactly `files` besides what no report wrote, which must be in nobody's way."""
    known = _manifest(site)
    others = sorted(path.name for path in site.glob("[!.]*")) if not (site / MANIFEST).exists() else []
    if others:
        raise BuildError(f"{site} holds {others[0]}, which no report wrote; choose an empty or a new folder with -o")
    foreign = sorted(path for path in files if path not in known and (site / path).exists())
    if foreign:
        raise BuildError(f"{site / foreign[0]} was not written by a report; choose an empty folder with -o")
    try:
        _write(site, MANIFEST, msgspec.json.encode(sorted({*known, *files})))
        for path, data in files.items():
            _write(site, path, data)
        for path in sorted(known - files.keys()):
            (site / path).unlink(missing_ok=True)
        _write(site, MANIFEST, msgspec.json.encode(sorted(files)))
    except OSError as error:
        remedy = "free the disk and repeat" if error.errno in FULL else "choose another folder with -o"
        raise BuildError(f"cannot write {error.filename or site}: {error.strerror}; {remedy}") from error
    return site


def text_table(runs_dirs: Sequence[Path]) -> str:
    """The result table, and what is known of the parity ladder, as plain text; raises RecordError, PublishedError."""
    report = pages.Report.of(records.read_all(runs_dirs), published.shipped())
    found = [block for block in result_table(report.groups, "Results") if isinstance(block, Table) and block.rows]
    if any(record.tables.get("parity") for record in report.records):
        found.append(parity_page.rungs_table(report))
    if report.studies:
        found.append(ablation_page.summary_table(report.studies))
    if timed := speed.runs(report.records):
        found.append(speed.summary(timed))
    return "\n".join(render_text(table) for table in found) or "no results yet\n"


def _figures(page: Page) -> list[Figure]:
    return [item for block in page.blocks if isinstance(block, Figures) for item in block.figures]


def _manifest(site: Path) -> set[str]:
    """Paths that an earlier build wrote; nothing outside the site is ever among them."""
    path = site / MANIFEST
    if not path.exists():
        return set()
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError) as error:
        raise BuildError(f"cannot read {path}: {error}; delete the folder and build again") from error
    return {name for name in found if re.fullmatch(r"([\w-]+/)?[\w-][\w.-]*", name) and (site / name).is_file()}


def _write(site: Path, name: str, data: bytes) -> None:
    path = site / name
    if not (path.is_file() and path.read_bytes() == data):
        atomic.write_bytes(path, data)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m reports.build", description="Render records into a static site.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="folder with records/, written by suite.run")
    parser.add_argument("--markdown", action="store_true", help="Markdown pages and figures only, for a code host")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="SITE", help="folder of the site")
    options = parser.parse_args(arguments)
    try:
        index = (build_markdown if options.markdown else build)(options.runs, options.out)
        print(text_table(options.runs), end="")
    except (records.RecordError, published.PublishedError, architectures.ArchitectureError, BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\nreport: {index}")
    return 0


if __name__ == "__main__":
    sys.exit(console.exit_status(main))
