"""Ablation studies from records: pairs, corrections, withheld effects, and the page that shows them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_document import Document
from report_records import LABELS, make_record, store

from reports import build, factors, frames, records
from reports.ablations import Family, studies
from reports.records import Record
from reports.statistics import paired_effect
from suite import ablations

FACTS = {"title": "Blocks", "meaning": "The number of blocks.", "paper": "appendix", "published_on": "lra.listops",
         "task": "lra.listops", "name": "s5.blocks", "levels": ["1", "2", "4", "8"], "base_level": "8"}  # fmt: skip
BASE = {"batch_size": 50, "model": {"layer": {"blocks": 8, "d_model": 32}}}
NOISE = np.random.default_rng(3).normal(0, 0.01, 20)


def changed(blocks: int, seed: int, accuracy: float, framework: str = "jax", **changes: Any) -> Record:
    """The record of a level."""
    base = f"base-{framework}-{seed}"
    recipe = {**BASE, "model": {"layer": {"blocks": blocks, "d_model": 32}}}
    protocol = {"name": "lra.listops/generated", "differences": [f"blocks is {blocks}"], "ablation": FACTS}
    cell = {"id": f"level-{blocks}-{framework}-{seed}", "benchmark": "ablation", "task": "ablation.s5"}
    cell |= {"factor": "s5.blocks", "level": str(blocks), "base": base}
    return make_record(framework, seed, accuracy, **({"recipe": recipe, "protocol": protocol} | cell | changes))


def unchanged(seed: int, accuracy: float = 0.4, framework: str = "jax", **changes: Any) -> Record:
    """The record of the base."""
    protocol = {"name": "lra.listops/generated", "comparable_to": "lra-s4-line", "differences": []}
    given = {"recipe": BASE, "protocol": protocol, "id": f"base-{framework}-{seed}"}
    return make_record(framework, seed, accuracy, **(given | changes))


def study(seeds: int = 3) -> list[Record]:
    """A base and two levels of some seeds; the second level is worse by about 0.1."""
    found = [unchanged(s, 0.4 + NOISE[s]) for s in range(seeds)]
    found += [changed(2, s, 0.4 + NOISE[s + 5]) for s in range(seeds)]
    return found + [changed(1, s, 0.3 + NOISE[s + 10]) for s in range(seeds)]


def only(found: list[Record]) -> Family:
    """The only family of some records."""
    (one,) = studies(found)
    ((family,),) = one.factors.values()
    return family


def test_levels_are_paired_by_seed_in_the_order_of_the_factor() -> None:
    family = only(study())
    assert [level.name for level in family.levels] == ["1", "2"]
    assert len(family.base.values) == 3
    accuracy = {r.cell.id: 100 * (r.metrics["test_accuracy"] or 0) for r in study()}
    for level in family.levels:
        ours = [accuracy[f"level-{level.name}-jax-{s}"] for s in range(3)]
        theirs = [accuracy[f"base-jax-{s}"] for s in range(3)]
        assert level.effect == paired_effect(ours, theirs)
        assert level.changes == {"model.layer.blocks": f"8 → {level.name}"}
    raw = [level.effect.p for level in family.levels if level.effect]
    worst = min(p for p in raw if p is not None)
    assert family.levels[0].p == pytest.approx(2 * worst)


def test_the_order_of_records_and_a_missing_seed_change_no_pair() -> None:
    found = study()
    assert studies(found[::-1]) == studies(found)
    without = only([record for record in found if record.cell.id != "base-jax-1"])
    assert [level.effect.n for level in without.levels if level.effect] == [2, 2]
    accuracy = {r.cell.id: 100 * (r.metrics["test_accuracy"] or 0) for r in found}
    differences = [accuracy[f"level-1-jax-{s}"] - accuracy[f"base-jax-{s}"] for s in (0, 2)]
    effect = without.levels[0].effect
    assert effect
    assert effect.difference == pytest.approx(np.mean(differences))


def test_one_seed_has_an_effect_and_no_interval() -> None:
    for level in only(study(1)).levels:
        assert level.effect
        assert (level.effect.n, level.effect.low, level.effect.p, level.p) == (1, None, None, None)
        assert level.examples
        assert level.examples.count == len(LABELS)


def test_a_failed_seed_withholds_the_effect() -> None:
    found = [record for record in study() if record.cell.id != "level-1-jax-2"]
    family = only([*found, changed(1, 2, 0, status="failed", reason="killed")])
    assert [level.effect is None for level in family.levels] == [True, False]
    assert len(family.levels[0].values) == 2
    assert family.levels[0].unfinished[0].status == "failed"


def test_bases_frameworks_and_protocols_are_kept_apart() -> None:
    found = study()
    assert {level.effect for level in only(found[3:]).levels} == {None}
    other = changed(1, 0, 0.3, "torch")
    (one,) = studies([*found, unchanged(0, 0.4, "torch"), other])
    assert [family.framework for family in one.factors["s5.blocks"]] == ["jax", "torch"]
    assert [level.name for level in one.factors["s5.blocks"][1].levels] == ["1"]
    cut = changed(2, 0, 0.4, protocol={"name": "lra.listops/cut", "ablation": FACTS})
    family = only([*found[:3], cut])
    assert family.levels[0].effect is None
    mixed = only([*found[:3], *found[4:6], cut])
    assert [len(level.records) for level in mixed.levels] == [1, 2] or [len(x.records) for x in mixed.levels] == [2, 1]


def test_what_both_models_get_right_is_compared_on_the_same_examples_only() -> None:
    found = study(1)
    level = only(found).levels[0]
    assert level.examples
    accuracy = [record.metrics["test_accuracy"] or 0 for record in (level.records[0], found[0])]
    assert level.examples.difference == pytest.approx(accuracy[0] - accuracy[1])
    elsewhere = records.encode_predictions(LABELS[::-1], LABELS[::-1], "test", 10)
    assert only([found[0], changed(1, 0, 0.3, predictions=elsewhere)]).levels[0].examples is None
    old = records.encode_predictions(LABELS, LABELS, "test", 10)
    old = type(old)(**{name: getattr(old, name) for name in old.__struct_fields__ if name != "correct"})
    assert only([found[0], changed(1, 0, 0.3, predictions=old)]).levels[0].examples is None


def test_times_are_relative_to_the_base_on_the_same_machine() -> None:
    slow = changed(1, 0, 0.3, timing={"step_seconds_p50": 0.236})
    assert only([unchanged(0), slow]).levels[0].seconds_ratio == pytest.approx(2.0)
    elsewhere = changed(1, 0, 0.3, provenance={"hardware": {"cpu": "Another CPU", "cores": 2, "gpus": []}})
    assert only([unchanged(0), elsewhere]).levels[0].seconds_ratio is None
    several = [changed(1, s, 0.3, timing={"step_seconds_p50": 0.118 * by}) for s, by in enumerate((2.0, 9.0, 3.0))]
    assert only([*map(unchanged, range(3)), *several]).levels[0].seconds_ratio == pytest.approx(3.0)


BAD = '<script>alert(1)</script>"|`'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds in one framework, one in the other, and a hostile level of another profile."""
    facts = {**FACTS, "title": BAD, "meaning": [BAD], "levels": 7}
    protocol = {"name": "lra.listops/generated", "ablation": facts}
    other = {"profile": "small", "id": "hostile", "factor": BAD}
    hostile = changed(1, 0, 0.3, level=BAD, protocol=protocol, **other)
    found = [*study(), unchanged(0, 0.4, "torch"), changed(2, 0, 0.3, "torch"), hostile]
    folder = tmp_path_factory.mktemp("ablations")
    return build.build([store(found, folder / "runs")], folder / "site").parent


def test_the_page_shows_effects_and_the_result_table_does_not(site: Path) -> None:
    page = Document(site / "tasks" / "ablation.s5.html")
    told = ("Ablations of s5", "s5.blocks", "blocks: 8 → 1", "8 (base)", "n = 3", "McNemar p", "appendix", "no pair")
    for text in told:
        assert text in page.text
    assert page.count("figure") == 2
    assert "tasks/ablation.s5.html" in (site / "index.html").read_text()
    assert (
        "Ablation s5.blocks (JAX, profile smoke, cpu): 1 of 2 tested levels differ"
        in Document(site / "index.html").text
    )
    assert "| ablation.s5" not in (site / "index.md").read_text()
    assert {group.task for group in frames.groups(study(), build.published.shipped())} == {"lra.listops"}


def test_a_level_with_one_seed_says_so_on_its_page(site: Path) -> None:
    for name in ("ablation.s5.html", "ablation.s5.md"):
        text = (site / "tasks" / name).read_text()
        assert text.count("one seed: no interval") == 1
        assert "no pair" in text


def test_hostile_facts_never_become_markup(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert Document(path).count("script") == 1
    outside = re.sub(r"```text.*?\n```", "", (site / "tasks" / "ablation.s5.md").read_text(), flags=re.DOTALL)
    assert "<script" not in outside


def test_the_terminal_has_a_line_for_every_level(tmp_path: Path) -> None:
    table = build.text_table([store(study(), tmp_path / "runs")])
    lines = [line for line in table.splitlines() if line.startswith("s5.blocks")]
    assert [line.split()[1] for line in lines] == ["8", "1", "2"]


def test_the_factors_told_are_those_of_the_suite() -> None:
    names = ("name", "title", "meaning", "task", "paper", "published_on")
    told = [([getattr(one, name) for name in names], list(one.levels)) for one in factors.shipped()]
    made = [([getattr(one, name) for name in names], list(one.levels)) for one in ablations.factors().values()]
    assert told == made


def test_what_nobody_ran_is_told_with_its_command(tmp_path: Path) -> None:
    site = build.build([store(study(), tmp_path / "runs")], tmp_path / "site").parent
    page = Document(site / "tasks" / "ablation.seqboat.html")
    assert "--benchmarks ablation --factors seqboat.activation --seeds 0 1 2 --profile small" in page.text
    assert "Sparse activation" in page.text
    own = Document(site / "tasks" / "ablation.s5.html")
    assert "factor-s5.blocks" in own.values("id")
    assert "--factors s5.blocks --seeds" not in own.text
    assert "--factors s5.step --seeds 0 1 2" in own.text
    assert {"tasks/ablation.seqboat.html", "tasks/ablation.s5.html"} <= set(
        Document(site / "index.html").values("href")
    )
