"""The pages of benchmarks: every task by every architecture, an average only of all tasks, and what is missing."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from report_document import Document
from report_records import make_record, store

from implementations import catalog
from reports import benchmark_page, benchmarks, build, pages, published
from reports.records import Record
from reports.render import Renderer
from suite import recipes
from suite.tasks import BENCHMARKS

LRA = benchmarks.shipped()[0]
TASKS = [task.name for task in LRA.averaged]


def shown(found: list[Record], benchmark: benchmarks.Benchmark = LRA) -> str:
    """The page in Markdown."""
    report = pages.Report.of(found, published.shipped())
    return Renderer(pages.SECTIONS).markdown(benchmark_page.benchmark_page(report, benchmark)).decode()


def six(framework: str = "jax", accuracy: float = 0.5, **changes: Any) -> list[Record]:
    """A record of every task of LRA, each a hundredth better than the one before."""
    values = {task: {"test_accuracy": accuracy + 0.01 * place} for place, task in enumerate(TASKS)}
    return [make_record(framework, task=task, metrics=metrics, **changes) for task, metrics in values.items()]


def jax_row(found: list[Record]) -> str:
    """The row of S5 in JAX, profile small."""
    page = shown(found)
    lines = page[page.index("## Profile small") :].splitlines()
    return next(line.rstrip() for line in lines if line.startswith("| [s5]") and "| JAX |" in line)


@pytest.mark.parametrize("benchmark", benchmarks.shipped(), ids=lambda benchmark: benchmark.name)
def test_tasks_and_recipes_are_those_of_the_suite(benchmark: benchmarks.Benchmark) -> None:
    tasks = importlib.import_module(BENCHMARKS[benchmark.name]).tasks()
    assert [task.name for task in benchmark.tasks] == [task.name for task in tasks]
    for task in benchmark.tasks:
        made = {name: recipes.recipes(name).get(task.name) for name in catalog.names()}
        assert set(task.architectures) == {name for name, recipe in made.items() if recipe}
        for profile in ("paper", "small", "smoke"):
            have = {name for name, recipe in made.items() if recipe and recipe(profile) is not None}
            assert have == {name for name in catalog.names() if task.has(name, profile)}


def test_the_average_is_there_only_where_all_six_tasks_are() -> None:
    assert jax_row(six(profile="small")).endswith("| 52.50 |")
    assert jax_row(six(profile="small")[:5]).endswith("| **not run** | – |")
    twice = [*six(profile="small"), make_record(task=TASKS[0], profile="small", id="other", recipe={"batch_size": 7})]
    assert "52.50" not in shown(twice)


def test_a_task_beside_the_average_is_not_in_it() -> None:
    beside = make_record(task="lra.path256", metrics={"test_accuracy": 0.9}, profile="small")
    row = jax_row([*six(profile="small"), beside])
    assert row.endswith("| 52.50 |")
    assert "90.00" in row
    assert "the means of all tasks but Path-256" in shown([beside])
    assert len(TASKS) == 6


def test_profiles_and_frameworks_are_kept_apart() -> None:
    page = shown([*six(profile="small"), *six("torch", 0.6, profile="small"), *six("jax", 0.7, profile="paper")])
    small = page[page.index("## Profile small") :]
    paper = page[page.index("## Profile paper") : page.index("## Profile small")]
    assert "| 52.50 |" in small
    assert "| 62.50 |" in small
    assert "72.50" not in small
    assert "| 72.50 |" in paper
    assert "| PyTorch | **not run** | **not run** |" in paper
    assert "| JAX, PyTorch | **not run** |" in paper


def test_each_of_several_recipes_begins_a_line_under_its_name() -> None:
    shared: dict[str, Any] = {"task": TASKS[0], "profile": "small", "metrics": {"test_accuracy": 0.5}}
    row = jax_row([make_record(**shared), make_record(**shared, id="other", recipe={"batch_size": 7})])
    told = re.search(r"\| (recipe \w+) <br>\[\*\*50[^|]* <br>(recipe \w+) <br>\[\*\*50[^|]* \|", row)
    assert told
    assert told[1] != told[2]


def test_what_is_missing_has_its_command() -> None:
    page = shown(six(profile="small")[:4])
    rest = "lra.pathfinder lra.pathx lra.path256 --architectures s5 --frameworks jax torch --profile small"
    assert f"python -m suite.run --tasks {rest}" in page
    done = "--tasks lra.listops lra.text lra.retrieval lra.image --architectures s5 --frameworks torch --profile small"
    assert done in page
    assert "lra.pathx --architectures transformer" not in page
    book = shown([], benchmarks.shipped()[-1])
    assert "pretraining.pg19 --architectures spade" in book
    assert "pretraining.book" not in book


def test_published_numbers_stand_beside(tmp_path: Path) -> None:
    site = build.build([store(six(profile="small"), tmp_path / "runs")], tmp_path / "site").parent
    page = Document(site / "benchmarks" / "lra.html")
    assert "87.46" in page.text
    assert any("published/s5.html#" in href for href in page.values("href"))
    assert "benchmarks/lra.html" in Document(site / "index.html").values("href")
    assert "../benchmarks/lra.html" in Document(site / "tasks" / "lra.text.html").values("href")


def test_a_published_number_of_the_same_variant_is_no_dash() -> None:
    language = next(one for one in benchmarks.shipped() if one.name == "lm")
    for benchmark, architecture, values in (
        (LRA, "block_state", ("61.49†",)),
        (LRA, "block_recurrent", ("37.29†",)),
        (LRA, "transformer", ("53.66", "failed task counts as 50")),
        (language, "block_recurrent", ("3.53", "1.24", "0.976")),
        (language, "block_state", ("11.57†", "2.51†", "2.14†")),
    ):
        lines = shown([], benchmark).replace("\\", "").splitlines()
        (row,) = [line for line in lines if line.startswith(f"| [{architecture}]") and "**published**" in line]
        assert all(value in row for value in values), row
