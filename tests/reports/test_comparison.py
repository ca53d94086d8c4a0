"""Two sets of records: what is paired, what is tested, and what is only shown."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_document import Document
from report_records import make_record, store

from reports import build, compare, comparison, records
from reports.records import Record
from suite import compare as command


def changed(record: Record, **fields: Any) -> Record:
    return msgspec.structs.replace(record, **fields)


def on(record: Record, cpu: str) -> Record:
    hardware = {**record.provenance["hardware"], "cpu": cpu}
    return changed(record, provenance={**record.provenance, "hardware": hardware})


def faster(record: Record, factor: float) -> Record:
    names = ("step_seconds_p20", "step_seconds_p50", "step_seconds_p80")
    return changed(record, timing={**record.timing, **{name: factor * record.timing[name] for name in names}})


def test_cells_are_paired_by_what_they_are():
    first = [make_record("jax", 0, id="a"), make_record("torch", 0, id="b"), make_record("jax", 1, id="c")]
    second = [make_record("jax", 0, id="x"), make_record("torch", 0, id="b"), make_record("jax", 0, profile="paper")]
    found = comparison.compare(first, second)
    assert [(pair.first.cell.id, pair.second.cell.id) for pair in found.pairs] == [("a", "x"), ("b", "b")]
    assert [[record.cell.id for record in side] for side in found.alone] == [["c"], [second[2].cell.id]]
    shown = compare.text(found)
    assert "Only in A" in shown
    assert "lra.listops s5 jax seed 1 smoke, cell c: measured" in shown
    assert compare.summary(found) == "2 cells in both, 2 with equal metrics; 1 only in A, 1 only in B"


def test_of_several_recipes_the_same_are_paired_and_strangers_left_alone():
    recipes = [{"epochs": epochs} for epochs in (1, 2, 3, 4)]
    first = [make_record(id=f"a{i}", recipe=recipe) for i, recipe in enumerate(recipes[:3])]
    second = [make_record(id=f"b{i}", recipe=recipe) for i, recipe in enumerate((recipes[2], recipes[3]))]
    found = comparison.compare(first, second)
    assert [(pair.first.cell.id, pair.second.cell.id) for pair in found.pairs] == [("a2", "b0")]
    assert [len(side) for side in found.alone] == [2, 1]
    alone = comparison.compare(first[:1], second[1:])
    assert [(pair.first.cell.id, pair.second.cell.id) for pair in alone.pairs] == [("a0", "b1")]
    sides = [[make_record(id=name) for name in names] for names in ("ab", "bc")]
    found = comparison.compare(*sides)
    assert [(pair.first.cell.id, pair.second.cell.id) for pair in found.pairs] == [("b", "b"), ("a", "c")]
    levels = [[make_record(id=f"{side}{level}", factor="f", level=level) for level in "12"] for side in "ab"]
    found = comparison.compare(levels[0], levels[1][1:])
    assert [(pair.first.cell.id, pair.second.cell.id) for pair in found.pairs] == [("a2", "b2")]


def test_seeds_and_examples_are_tested_in_pairs():
    first = [make_record("jax", seed, 0.38) for seed in range(4)]
    second = [make_record("jax", seed, 0.46 + 0.01 * seed) for seed in range(4)]
    found = comparison.compare(first, second)
    (over_seeds,) = comparison.seed_tests(found)
    expected = [
        100 * (b.metrics["test_accuracy"] - a.metrics["test_accuracy"]) for a, b in zip(first, second, strict=True)
    ]  # pyright: ignore
    assert over_seeds.effect.difference == pytest.approx(sum(expected) / 4)
    assert over_seeds.effect.n == 4
    assert over_seeds.adjusted == over_seeds.effect.p < 0.01  # pyright: ignore[reportOptionalOperand]
    torch = [
        [changed(r, cell=msgspec.structs.replace(r.cell, framework="torch")) for r in side] for side in (first, second)
    ]
    both = comparison.seed_tests(comparison.compare([*first, *torch[0]], [*second, *torch[1]]))
    assert [test.adjusted for test in both] == pytest.approx([2 * over_seeds.effect.p] * 2)  # pyright: ignore
    examples = comparison.example_tests(found)
    raw = sorted(test.result.p for test in examples)
    assert min(test.adjusted for test in examples) == pytest.approx(4 * raw[0])
    assert [100 * test.result.difference for test in examples] == pytest.approx(expected)
    assert all(test.adjusted >= test.result.p for test in examples)
    shown = compare.text(found)
    assert "Over seeds" in shown
    assert "McNemar" in shown
    result = examples[0].result
    (line,) = [
        line
        for line in shown.splitlines()
        if line.startswith("lra.listops s5 jax seed 0") and "+" in line and " to " in line
    ]
    counts = [str(result.only_second), str(result.only_first), f"{100 * result.difference:+.2f}"]
    assert line.split()[6:9] == counts
    metric = next(
        line for line in shown.splitlines() if line.startswith("lra.listops s5 jax seed 0") and "test_accuracy" in line
    )
    assert metric.split()[-1] == f"{expected[0]:+.4g}"


def test_other_protocols_are_shown_and_not_tested():
    first, second = make_record("jax", 0, 0.38), make_record("jax", 0, 0.46)
    second = changed(second, protocol={**second.protocol, "name": "another"})
    found = comparison.compare([first], [second])
    assert not found.pairs[0].same_protocol
    assert comparison.seed_tests(found) == comparison.example_tests(found) == []
    shown = compare.text(found)
    assert "test_accuracy" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("protocol.name")]
    assert line.split() == ["protocol.name", "lra.listops/generated", "another", "all"]


def test_another_recipe_on_the_same_examples_is_tested():
    first, second = make_record("jax", 0, 0.38), make_record("jax", 0, 0.46)
    second = changed(second, protocol={**second.protocol, "differences": ["epochs is 2"], "comparable_to": ""})
    found = comparison.compare([first], [second])
    assert len(comparison.seed_tests(found)) == len(comparison.example_tests(found)) == 1
    assert "protocol.differences" in compare.text(found)


def test_other_examples_are_not_paired():
    first, second = make_record("jax", 0, 0.38), make_record("jax", 0, 0.46)
    assert second.predictions is not None
    other = msgspec.structs.replace(second.predictions, labels_sha256="0" * 64)
    found = comparison.compare([first], [changed(second, predictions=other)])
    assert comparison.example_tests(found) == []


@pytest.mark.parametrize(
    ("factor", "cpu", "judgment", "ratio"),
    [
        (1.01, "One", "within the spread", "1.010"),
        (2.0, "One", "B is slower", "2.000"),
        (0.5, "One", "B is faster", "0.500"),
        (2.0, "Other", "other machine: not compared", "–"),
        (2.0, "One thread", "other machine: not compared", "–"),
    ],
)
def test_times_are_judged_on_one_machine_only(factor, cpu, judgment, ratio):
    first = on(make_record(), "One")
    second = on(faster(first, factor), cpu)
    if cpu == "One thread":
        second = changed(on(second, "One"), provenance={**first.provenance, "environment": {"OMP_NUM_THREADS": "1"}})
    found = comparison.compare([first], [second])
    (time,) = comparison.times(found)
    assert time.judgment == judgment
    assert time.values[0] == pytest.approx(1e3 * first.timing["step_seconds_p50"])
    (line,) = [line for line in compare.text(found).splitlines() if "update, ms" in line]
    assert ratio in line.split()
    assert line.endswith(judgment)


def test_layers_of_a_speed_record_are_times_too():
    row = {"layer": "s5", "mode": "forward", "length": 64, "ms_p20": 1.0, "ms_p50": 1.1, "ms_p80": 1.2}
    slow = {**row, "ms_p20": 2.0, "ms_p50": 2.2, "ms_p80": 2.4}
    others = {**row, "mode": "streaming step"}
    first, second = (make_record(timing={}, tables={"layer_speed": found}) for found in ([row, others], [slow]))
    (time,) = comparison.times(comparison.compare([first], [second]))
    assert (time.what, time.values, time.judgment) == ("s5, forward, 64, ms", (1.1, 2.2), "B is slower")
    unknown = changed(second, provenance={})
    assert not comparison.compare([first], [unknown]).pairs[0].same_machine
    assert not comparison.compare([unknown], [unknown]).pairs[0].same_machine


def test_identical_sets_are_equal_but_for_records_without_metrics():
    found = records.read_all([Path(build.__file__).parent / "measured"])
    count, empty = len(found), sum(not record.metrics for record in found)
    told = (
        f"{count} cells in both, {count - empty} with equal metrics, {empty} without metrics; 0 only in A, 0 only in B"
    )
    assert compare.summary(comparison.compare(found, found)) == told


def test_differences_are_named_field_by_field_and_once():
    first = [make_record("jax", seed) for seed in (0, 1, 2)]
    second = [changed(record, recipe={**record.recipe, "batch_size": 64}) for record in first]
    origin = {**second[0].provenance, "commit": "fedcba", "data": {"x.npy": "c" * 99}}
    second[0] = changed(second[0], provenance=origin, recipe={**second[0].recipe, "source": "another"})
    shown = compare.text(comparison.compare(first, second)).splitlines()
    assert [line.split()[-1] for line in shown if line.startswith("recipe.batch_size")] == ["all"]
    (hashes,) = [line for line in shown if line.startswith("provenance.data")]
    assert hashes.split(maxsplit=3)[1:] == ["absent", "c" * 59 + "…", "lra.listops s5 jax seed 0 smoke"]
    found = {item.field: item for item in comparison.differences(comparison.compare(first, second))}
    assert found["recipe.batch_size"].values == ("50", "64")
    assert len(found["recipe.batch_size"].cells) == 3
    assert len(found["provenance.commit"].cells) == 1
    assert set(found) == {"recipe.batch_size", "provenance.commit", "provenance.data.x.npy"}
    same = comparison.compare(first, first)
    assert "are the same" in compare.text(same)
    assert dataclasses.asdict(same)["names"] == ("A", "B")


def test_the_command_prints_and_writes(tmp_path, capsys):
    hostile = "<script>|`\x1b[31m"
    before, after = (
        store([make_record()], tmp_path / "before"),
        store([make_record(recipe={"x": hostile})], tmp_path / "after"),
    )
    page, site = tmp_path / "compare.md", tmp_path / "compare.html"
    assert command.main([str(before), str(after), "--markdown", str(page), "--html", str(site)]) == 0
    shown = capsys.readouterr().out
    assert "A is before, B is after" in shown
    assert "\x1b" not in shown
    text = page.read_text()
    assert text.startswith("# Comparison of before and after")
    assert "<script>" not in text
    assert "test\\_accuracy" in text
    html = Document(site)
    assert "<script>|`\ufffd[31m" in html.text
    assert html.count("script") == html.count("h1") == 1
    assert html.count("table") == html.count("caption") == 4
    assert html.values("href") == ["data:,", "#main"]
    assert "recipe.x" in html.text
    assert command.main([str(before), str(after), "--html", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"cannot write {tmp_path}: Is a directory; name another file")


def test_what_one_side_lacks_is_a_dash_and_not_equal(tmp_path, capsys):
    whole, failed = make_record(seed=1), make_record(seed=2)
    less = changed(whole, metrics={"test_accuracy": whole.metrics["test_accuracy"]})
    lost = make_record(seed=2, status="failed", reason="lost")
    found = comparison.compare([whole, failed], [less, lost])
    lines = compare.text(found).splitlines()
    (loss,) = [line for line in lines if "seed 1" in line and "test_loss" in line]
    assert loss.split()[-2:] == ["–", "–"]
    (status,) = [line for line in lines if "seed 2" in line and " status " in line]
    assert status.split()[-2:] == ["measured", "failed"]
    assert "Over seeds" not in lines
    assert compare.summary(comparison.compare([lost], [lost])).startswith(
        "1 cell in both, 0 with equal metrics, 1 without"
    )
    sides = [store([whole], tmp_path / name / "runs") for name in "ab"]
    assert command.main([str(side) for side in sides]) == 0
    assert f"A is {sides[0]}, B is {sides[1]}" in capsys.readouterr().out


@pytest.mark.parametrize("fault", ["absent", "empty", "corrupt"])
def test_what_cannot_be_compared_is_one_sentence_and_status_2(tmp_path, capsys, fault):
    good = store([make_record()], tmp_path / "good")
    bad: Path = tmp_path / "bad"
    if fault != "absent":
        (bad / "records").mkdir(parents=True)
    if fault == "corrupt":
        (bad / "records" / "x.json").write_text('{"cell": 1}')
    assert command.main([str(good), str(bad)]) == 2
    told = capsys.readouterr().err.strip()
    assert "bad" in told
    assert len(told.splitlines()) == 1
