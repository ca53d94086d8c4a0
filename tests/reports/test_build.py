"""The built site: whole, linked, byte-stable, safe to interrupt, and honest about what is missing."""

import contextlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from report_document import Document
from report_records import Factory, everything, make_record, store

from reports import atomic, build, frames, published, records, tables
from reports.build import BuildError
from reports.records import Record
from reports.statistics import wilson_interval

OUTSIDE = (
    "https://arxiv.org/abs/", "https://github.com/state-spaces/s4", "https://www.nvidia.com/", "https://docs.cloud.google.com/tpu/",
)  # fmt: skip


def contents(site: Path) -> dict[str, bytes]:
    """Every file of a site."""
    return {str(path.relative_to(site)): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with records of every status."""
    folder = tmp_path_factory.mktemp("built")
    return build.build([store(everything(), folder / "runs")], folder / "site").parent


def test_every_page_is_there_in_both_forms(site: Path) -> None:
    files = set(contents(site))
    pages = [
        "index",
        "published",
        "published/s5",
        "published/seqboat",
        "methods",
        "tasks/lra.listops",
        "tasks/lra.text",
        "architectures/s5",
    ]
    pages += [f"cells/{record.cell.id}" for record in everything()]
    assert {f"{page}.{suffix}" for page in pages for suffix in ("html", "md")} <= files
    assert {f"records/{record.cell.id}.json" for record in everything()} <= files


def test_every_link_resolves_and_nothing_comes_from_a_network(site: Path) -> None:
    for path in sorted(site.rglob("*.html")):
        page = Document(path)
        assert page.count("script") == 1
        assert page.count("img") == page.count("iframe") == 0
        assert page.values("src") == []
        for href in page.values("href"):
            if href.startswith((*OUTSIDE, "data:,")):
                continue
            target, _, anchor = href.partition("#")
            other = (path.parent / target).resolve() if target else path
            assert other.is_relative_to(site.resolve())
            assert other.is_file(), f"{path.name} links to {href}"
            if anchor and other.suffix == ".html":
                assert f'id="{anchor}"' in other.read_text(encoding="utf-8")


def test_every_markdown_link_resolves(site: Path) -> None:
    for path in sorted(site.rglob("*.md")):
        for href in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            if not href.startswith((*OUTSIDE, "#")):
                assert (path.parent / href.partition("#")[0]).is_file(), f"{path.name} links to {href}"


def test_pages_have_headings_scopes_captions_and_unique_ids(site: Path) -> None:
    for path in sorted(site.rglob("*.html")):
        page = Document(path)
        assert page.count("h1") == page.count("main") == page.count("title") == 1
        assert page.count("caption") == page.count("table")
        assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
        ids = page.values("id")
        assert len(ids) == len(set(ids)), path.name
        figures = [attributes for tag, attributes in page.tags if attributes.get("role") == "img"]
        assert page.count("figure") == len(figures)
        assert all(len(figure.get("aria-label") or "") > 30 for figure in figures)


def test_the_overview_says_what_was_run_and_what_follows(site: Path) -> None:
    page = Document(site / "index.html")
    assert "8 measured" in page.text
    assert "1 of 11 cells failed" in page.text
    assert "3 of 4 checks pass." in page.text
    assert "every seed lies above the majority class (17.80 %)" in page.text
    assert "profile smoke is not the paper's recipe" in page.text
    assert "The data are generated with the released settings" in page.text
    for status in ("measured", "compiled", "failed", "no-data", "not-run", "underpowered", "not-comparable"):
        assert any(f"chip-{status}" in value for value in page.values("class")), status
    assert "62.15 ± 0.23" in page.text


def test_measured_cells_link_to_their_record_and_published_ones_to_their_row(site: Path) -> None:
    links = Document(site / "index.html").values("href")
    assert {
        f"cells/{r.cell.id}.html" for r in everything() if r.status != "measured" or "parity" not in r.tables
    } - set(links) == set()
    assert any(link.startswith("published/s5.html#s5-final-lra.listops") for link in links)
    record = everything()[0]
    page = Document(site / "cells" / f"{record.cell.id}.html")
    assert f"../records/{record.cell.id}.json" in page.values("href")
    assert records.read(site / "records" / f"{record.cell.id}.json") == record


def test_a_record_page_has_what_a_reader_needs_to_run_it_again(site: Path) -> None:
    text = Document(site / "cells" / "lra.listops-s5-jax-smoke-0.html").text
    for piece in (
        "python -m suite.run",
        "0123456789abcdef",
        "batch_size",
        "118.00 ms",
        "512.0 MiB",
        "2000 predictions",
    ):
        assert piece in text
    failed = Document(site / "cells" / "lra.listops-s5-torch-paper-0.html").text
    assert "loss is not finite" in failed
    assert "FloatingPointError" in failed


def test_the_architecture_page_has_every_measured_error_and_says_what_was_not_run(site: Path) -> None:
    page = (site / "architectures" / "s5.md").read_text(encoding="utf-8")
    assert "| 3 | forward | float32 | **failed** | 1 of 2 | 1.1e-07 | 1.3e-07 | 4.0e-06 |" in page
    assert "| 4 | gradients | – | **not run** |" in page
    assert "python -m suite.run --tasks lra.pathx --architectures s5 --profile paper" in page


def test_every_published_number_has_its_row_and_transcription(site: Path) -> None:
    sources = Document(site / "published.html")
    for paper in published.shipped().papers:
        page = Document(site / "published" / f"{paper.paper.id}.html")
        assert {paper.anchor(number) for number in paper.numbers} <= set(page.values("id"))
        assert page.text.count("unverified†") == sum(number.dagger == "†" for number in paper.numbers)
        assert f"published/{paper.paper.id}.html" in sources.values("href")
    page = Document(site / "published" / "block_state.html")
    assert "“more than tenfold increase in speed at the layer level" in page.text
    assert "6-11" in page.text


def test_architectures_without_equivalence_records_get_the_command(make: Factory, tmp_path: Path) -> None:
    index = build.build([store([make()], tmp_path / "runs")], tmp_path / "site")
    page = Document(index.parent / "architectures" / "s5.html")
    assert "python -m suite.run --benchmarks equivalence --architectures s5" in page.text
    assert "Every check" not in page.text
    task = Document(index.parent / "tasks" / "lra.listops.html").text
    command = "python -m suite.run --tasks lra.listops --architectures s5 --frameworks torch --seeds 0 --profile smoke"
    assert command in task


def test_equal_records_give_equal_bytes_in_any_process(runs: Path, site: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled"
    store(everything()[::-1], shuffled)
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-m", "reports.build", str(shuffled), "-o", str(tmp_path / "other")]
    root = Path(build.__file__).parents[1]
    subprocess.run(command, check=True, env=environment, cwd=root, stdout=subprocess.DEVNULL)
    assert contents(tmp_path / "other") == contents(site)


def test_a_second_build_touches_nothing_and_drops_what_is_gone(make: Factory, tmp_path: Path) -> None:
    runs, site = store([make(), make("torch")], tmp_path / "runs"), tmp_path / "site"
    build.build([runs], site)
    stamps = {path: path.stat().st_mtime_ns for path in site.rglob("*.html")}
    (site / "notes.txt").write_text("mine")
    build.build([runs], site)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*.html")} == stamps
    gone = make("torch").cell.id
    (runs / "records" / f"{gone}.json").unlink()
    build.build([runs], site)
    assert not list(site.rglob(f"{gone}.*"))
    assert (site / "notes.txt").read_text() == "mine"


def test_a_build_that_is_interrupted_anywhere_leaves_a_readable_site(
    make: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = build.site_files([store([make()], tmp_path / "old")])
    new = build.site_files([store([make("torch", accuracy=0.4), make("torch", 1)], tmp_path / "new")])
    whole = atomic.write_bytes
    for survived in itertools.count(0, 5):
        site, written = tmp_path / f"site-{survived}", []
        monkeypatch.setattr(build, "site_files", lambda runs: old)
        build.build([], site)
        monkeypatch.setattr(build, "site_files", lambda runs: new)

        def interrupted(path: Path, data: bytes, limit: int = survived, written: list[Path] = written) -> Path:
            if len(written) == limit:
                raise KeyboardInterrupt
            written.append(path)
            return whole(path, data)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(atomic, "write_bytes", interrupted)
            build.build([], site)
        assert (site / "index.html").read_bytes() in (old["index.html"], new["index.html"])
        for href in Document(site / "index.html").values("href"):
            assert href.startswith(("#", "data:")) or (site / href.partition("#")[0]).is_file()
        build.build([], site)
        assert {name: data for name, data in contents(site).items() if name != build.MANIFEST} == new
        if len(written) < survived:
            break
    assert survived > 12


def test_a_full_disk_is_one_sentence(make: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = store([make()], tmp_path / "runs")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BuildError, match="No space left on device; free the disk"):
        build.build([runs], tmp_path / "site")


def test_a_folder_with_someone_elses_page_is_left_alone(make: Factory, tmp_path: Path) -> None:
    runs = store([make()], tmp_path / "runs")
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(BuildError, match=r"holds index\.html, which no report wrote; choose an empty or a new folder"):
        build.build([runs], tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"
    site, page = tmp_path / "site", tmp_path / "site" / "speed.html"
    build.build([runs], site)
    page.unlink()
    (site / build.MANIFEST).write_text("[]")
    with pytest.raises(BuildError, match="was not written by a report; choose an empty folder"):
        build.build([runs], site)
    assert not page.exists()


def test_a_folder_of_others_files_is_left_alone(make: Factory, tmp_path: Path) -> None:
    runs = store([make()], tmp_path / "runs")
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("x = 1")
    with pytest.raises(BuildError, match=r"package holds module\.py, which no report wrote"):
        build.build([runs], package)
    assert [path.name for path in package.iterdir()] == ["module.py"]


@pytest.mark.parametrize(("number", "remedy"), [(28, "free the disk"), (13, "choose another folder with -o")])
def test_what_cannot_be_written_is_named_with_a_remedy(
    make: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(number, os.strerror(number), str(path))

    runs = store([make()], tmp_path / "runs")
    monkeypatch.setattr(atomic, "write_bytes", refuse)
    with pytest.raises(BuildError, match=rf"cannot write .*site.*; {remedy}"):
        build.build([runs], tmp_path / "site")


def test_a_manifest_cannot_make_a_build_delete_anything_outside(make: Factory, tmp_path: Path) -> None:
    runs, site = store([make()], tmp_path / "runs"), tmp_path / "site"
    build.build([runs], site)
    (tmp_path / "precious").write_text("1")
    (site / build.MANIFEST).write_text('["../precious", "/etc/hostname", "a/../../precious"]')
    with pytest.raises(BuildError):
        build.build([runs], site)
    assert (tmp_path / "precious").exists()


def test_the_command_line_prints_the_table(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([str(runs), "-o", str(tmp_path / "site")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"Task +Architecture +JAX +PyTorch +Majority class +Published +Verdict", lines[0])
    assert re.match(r"lra\.listops +s5 +62\.02 ± 1\.10 n = 3.*underpowered \(needs n ≥ \d+\)", lines[2])
    assert any(re.match(r"s5 +failed +1 of 1 +– +1 of 1 +1 of 2 ", line) for line in lines)
    assert lines[-1] == f"report: {tmp_path / 'site' / 'index.html'}"
    assert "\n".join(lines).startswith(build.text_table([runs]).rstrip("\n"))


def test_no_records_give_a_page_with_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").mkdir()
    assert build.main([str(tmp_path / "runs"), "-o", str(tmp_path / "site")]) == 0
    assert capsys.readouterr().out.startswith("no results yet\n")
    text = Document(tmp_path / "site" / "index.html").text
    assert "There are no records in runs yet." in text
    assert "python -m suite.run --tasks lra.listops --architectures s5 --frameworks jax torch" in text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda runs: runs / "nowhere", "nowhere does not exist"),
        (lambda runs: (next((runs / "records").glob("*.json")).write_text("{"), runs)[1], "is not valid"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_1(
    spoil, message: str, make: Factory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = store([make()], tmp_path / "runs")
    assert build.main([str(spoil(runs)), "-o", str(tmp_path / "site")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "site").exists()


def test_building_a_report_imports_no_framework_and_no_suite() -> None:
    others = {"jax", "torch", "flax", "suite", "implementations"}
    code = f"import sys, reports.build; print(sorted({others} & set(sys.modules)))"
    root = Path(build.__file__).parents[1]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout.strip() == "[]"


def test_different_recipes_are_never_averaged(make: Factory) -> None:
    def rows(*found: Record) -> list[frames.Group]:
        return frames.groups(found, published.shipped())

    assert len(rows(make(), make(seed=1))) == 1
    assert len(rows(make(), make(seed=1, recipe={"batch_size": 64}))) == 2
    assert len(rows(make(), make(seed=1, profile="small"))) == 2
    assert len(rows(make(), make(seed=1, protocol={"name": "released"}))) == 2
    (both,) = rows(make(hardware="h100"), make(seed=1, hardware="h200"))
    assert both.hardware == ("h100", "h200")


def test_a_seed_that_failed_before_it_knew_its_protocol_stays_with_its_group(make: Factory) -> None:
    seeds = [make(seed=seed, accuracy=0.62, profile="paper") for seed in range(3)]
    early = make(seed=3, status="failed", profile="paper", protocol={"name": "lra.listops"})
    (group,) = frames.groups([early, *seeds], published.shipped())
    assert len(group.records) == 4
    assert group.entries["jax"].verdict.reason.startswith("1 of 4 seeds failed or did not end")
    assert group.protocol == seeds[0].protocol
    lost = make(seed=3, profile="paper", metrics={"test_accuracy": float("nan")}, predictions=None)
    (group,) = frames.groups([lost, *seeds], published.shipped())
    assert group.entries["jax"].verdict.reason.startswith("1 of 4 seeds failed or did not end")


def test_a_run_that_is_not_finished_tells_how_far_it_came_and_earns_no_verdict(make: Factory) -> None:
    seeds = [make(seed=seed, accuracy=0.62, profile="paper") for seed in range(3)]
    whole = make(seed=3, accuracy=0.5, profile="paper")
    curves = {name: values[: 3 if "step" not in name else 600] for name, values in whole.curves.items()}
    left = msgspec.structs.replace(whole, status="not finished", reason="stopped by the time limit", curves=curves)
    (group,) = frames.groups([left, *seeds], published.shipped())
    entry = group.entries["jax"]
    assert entry.summary is not None
    assert (entry.summary.n, left in entry.records) == (3, True)
    assert entry.verdict.reason.startswith("1 of 4 seeds failed or did not end")
    told = [span.text for span in tables.entry_cell(entry, group).spans]
    reached = f"seed 3: {100 * left.metrics['test_accuracy']:.2f} after 3 of 6 epochs"  # pyright: ignore[reportOptionalOperand]
    assert told[-2:] == ["not finished", reached]
    (row,) = frames.seeds(group).query("status == 'not finished'").to_dict("records")
    assert [row[name] for name in ("value", "low", "high", "validation")] == pytest.approx(
        [float("nan")] * 4, nan_ok=True
    )
    (alone,) = frames.groups([make(seed=1, status="compiled", profile="paper", protocol={}), left], published.shipped())
    assert (alone.protocol, alone.entries["jax"].summary) == (left.protocol, None)
    assert alone.entries["jax"].verdict.kind == "not comparable"
    assert any("--frameworks jax --seeds 3 " in command for command in tables.missing_commands(alone))


def test_verdicts_are_tested_beside_those_of_other_tasks_and_tell_of_drawn_examples(make: Factory) -> None:
    facts = {**make().protocol, "test_count": 2000}
    for source, drawn in (("generated", True), ("released", False)):
        found = [
            make(seed=seed, accuracy=0.3, profile="paper", task=task, protocol={**facts, "source": source})
            for task in ("lra.listops", "lra.text")
            for seed in range(3)
        ]
        for group in frames.groups(found, published.shipped()):
            verdict = group.entries["jax"].verdict
            assert verdict.kind == "below"
            assert "beside the other verdicts, 2 in all" in verdict.reason
            assert ("these 2,000 test examples are not the published ones" in verdict.reason) == drawn


def test_a_seed_has_the_interval_of_its_own_test_examples(make: Factory) -> None:
    facts = {**make().protocol, "test_count": 500}
    for record, count in ((make(protocol=facts), 2000), (make(protocol=facts, predictions=None), 500)):
        (group,) = frames.groups([record], published.shipped())
        (row,) = frames.seeds(group).to_dict("records")
        bounds = wilson_interval(record.metrics["test_accuracy"] or 0.0, count)
        assert (row["low"], row["high"]) == pytest.approx([100 * bound for bound in bounds])


def test_a_record_of_tables_only_is_shown_beside_the_results(make: Factory, tmp_path: Path) -> None:
    rows = [{"implementation": "authors", "milliseconds": 11.5, "rounds": 5}]
    cell = {"benchmark": "speed", "task": "speed.train_step", "framework": "jax+torch"}
    speed = make(metrics={}, curves={}, predictions=None, tables={"train_step": rows}, **cell)
    index = build.build([store([make(), speed], tmp_path / "runs")], tmp_path / "site")
    assert f"cells/{speed.cell.id}.html" in Document(index).values("href")
    assert "| authors | 11.5 | 5 |" in (index.parent / "architectures" / "s5.md").read_text(encoding="utf-8")
    assert build.text_table([tmp_path / "runs"]).count("\n") == 3


def test_open_tables_show_words_before_numbers():
    table = tables.rows_table("speed", [{"a_ms": 1.5, "name": "x"}, {"a_ms": 2.0, "name": "y"}])
    assert [column.title for column in table.columns] == ["Name", "A ms"]


def test_footnotes_follow_the_rows_and_leave_out_rows_without_numbers():
    def protocol(*differences):
        return {"name": "x", "differences": list(differences)}

    found = [
        make_record("jax", 0, status="no data", task="lra.text", reason="absent", protocol=protocol("of no data")),
        make_record("jax", 0, task="lra.listops", protocol=protocol("z comes first")),
        make_record("jax", 0, task="lra.pathx", protocol=protocol("a comes second")),
    ]
    blocks = tables.result_table(frames.groups(found, published.shipped()), "results")
    assert re.findall(r"(\[\d\]|z comes first|a comes second|of no data)", str(blocks[-1])) == [
        "[1]", "z comes first", "[2]", "a comes second",
    ]  # fmt: skip


def test_fields_that_models_were_given_later_leave_a_recipe_what_it_was():
    from reports import frames

    old = {"model": {"depth": 6}, "epochs": 40, "source": {"all": "paper"}}
    new = {"model": {"depth": 6, "placed": {}, "checkpoint": False, "compute_dtype": "float32"}, "epochs": 40}
    assert frames.fingerprint(old) == frames.fingerprint(new)
    for key, value in (("placed", {"1": {}}), ("checkpoint", True), ("compute_dtype", "bfloat16"), ("depth", 5)):
        assert frames.fingerprint({**new, "model": {**new["model"], key: value}}) != frames.fingerprint(old)
