"""Sequence tasks: paper recipes follow the published protocols, and their page compares by the stated margins."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_records import make_record, store

from reports import build
from reports.published import shipped
from reports.records import Record
from suite.launch.result import protocol
from suite.matrix import Cell, Selection, cells
from suite.tasks import all_tasks
from suite.tasks.sequences import PROTOCOLS

S5 = [task for task, of in PROTOCOLS.items() if "s5" in of]


def cell(task: str, *overrides: str, profile: Any = "paper") -> Cell:
    """The JAX cell of a task, by the one architecture that has a recipe."""
    return cells(Selection(tasks=(task,), frameworks=("jax",), profile=profile, overrides=overrides))[0]


def records(
    task: str, values: dict[int, float], *overrides: str, profile: str = "paper", **more: float
) -> list[Record]:
    """Records as the harness would write them of seeds with these headline metrics."""
    one = cell(task, *overrides, profile=profile)
    assert one.recipe is not None
    facts = protocol(one)
    found = []
    for seed, value in values.items():
        of = {
            "task": task,
            "architecture": one.architecture,
            "benchmark": "sequences",
            "profile": profile,
            "id": f"{task}-{profile}-{seed}",
        }
        record = make_record(seed=seed, recipe=one.recipe.to_dict(), protocol=facts, **of)
        metrics = {facts["metric"]: value, **more}
        found.append(msgspec.structs.replace(record, metrics=metrics, curves={}, predictions=None))
    return found


def page(found: list[Record], tmp_path: Path, task: str) -> str:
    """The page of a task as text, made of some records."""
    build.build([store(found, tmp_path / "runs")], tmp_path / "site")
    return (tmp_path / "site" / "tasks" / f"{task}.md").read_text(encoding="utf-8")


def test_every_sequence_task_names_a_published_protocol() -> None:
    known = {name for paper in shipped().papers for name in paper.protocols}
    assert {name for name, task in all_tasks().items() if task.benchmark == "sequences"} == set(PROTOCOLS)
    for task, of in PROTOCOLS.items():
        assert set(of.values()) <= known, task


@pytest.mark.parametrize("task", S5)
def test_a_paper_recipe_follows_the_protocol_of_its_published_number(task: str) -> None:
    found = shipped().reference(task, "s5")
    assert found is not None
    facts = protocol(cell(task))
    assert facts["comparable_to"] == found[1].protocol == PROTOCOLS[task]["s5"]
    unsure = [text for text in facts["differences"] if text.startswith("not checked against the published recipe")]
    assert bool(unsure) == task.startswith("pixels.")
    for profile in ("smoke", "small"):
        assert protocol(cell(task, profile=profile))["comparable_to"] == ""
    assert protocol(cell(task, "epochs=2"))["comparable_to"] == ""
    if task != "pendulum.regression":
        local = protocol(cell(task, "data.settings.source=local"))
        assert local["comparable_to"] == ""
        assert "data.settings.source is local, published absent" in local["differences"]


def test_ten_words_say_why_nothing_stands_beside_them(tmp_path: Path) -> None:
    facts = protocol(cell("speech.sc10"))
    assert facts["comparable_to"] == ""
    assert any(text.startswith("not expressed of the published recipe") for text in facts["differences"])
    text = page(records("speech.sc10", {0: 0.97}), tmp_path, "speech.sc10")
    assert "the number that the SeqBoat paper prints for ten words is not transcribed here" in text


def test_the_page_of_speech_compares_both_rates_by_the_margin(tmp_path: Path) -> None:
    text = page(records("speech.sc35", {0: 0.9622}, resampled_test_accuracy=0.9393), tmp_path, "speech.sc35")
    assert "Speech Commands as in S5" in text
    assert "difference −0.30, inside the margin of ±0.5 %" in text
    (low,) = [line for line in text.splitlines() if "| 1 of 2 |" in line]
    assert "94.53" in low
    assert "difference −0.60, outside the margin of ±0.5 %" in low


@pytest.mark.parametrize("profile", ["smoke", "small"])
def test_smaller_profiles_say_that_they_are_not_the_recipe_of_the_paper(tmp_path: Path, profile: str) -> None:
    text = page(records("pixels.smnist", {0: 0.95}, profile=profile), tmp_path, "pixels.smnist")
    assert f"profile {profile} is not the paper's recipe" in text


def test_the_pendulum_earns_a_verdict_that_names_its_draw(tmp_path: Path) -> None:
    seeds = {seed: 0.0034 + 0.00002 * (seed % 3) for seed in range(6)}
    text = page(records("pendulum.regression", seeds), tmp_path, "pendulum.regression")
    assert "reproduced" in text
    overview = (tmp_path / "site" / "index.md").read_text(encoding="utf-8")
    assert "how far two draws of as many lie apart in mse was not measured" in overview
    assert "points (standard deviation)" not in overview
