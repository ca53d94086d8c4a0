"""Models on the same examples are paired, and nothing else is."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from report_records import LABELS, Factory

import reports
from reports import frames, pages, published, records
from reports.paired import PairedTest, paired_blocks, paired_tests
from reports.records import Predictions, Record
from reports.render import Renderer
from reports.statistics import holm

MEASURED = Path(reports.__file__ or "").parent / "measured"


def predictions(accuracy: float, seed: int, labels: np.ndarray = LABELS) -> Predictions:
    """Predictions that are right with some probability."""
    right = np.random.default_rng(seed).random(labels.size) < accuracy
    return records.encode_predictions(np.where(right, labels, (labels + 1) % 10), labels, "test", 10)


def paired(*found: Record) -> list[PairedTest]:
    """The paired tests of some records."""
    return paired_tests(frames.groups(found, published.shipped()))


def test_architectures_and_twins_are_paired_with_the_same_seed_and_examples(make: Factory) -> None:
    found = paired(
        make(predictions=predictions(0.60, 1)),
        make("torch", predictions=predictions(0.60, 2)),
        make(architecture="s4", predictions=predictions(0.30, 3)),
        make(seed=1, predictions=predictions(0.60, 4)),
    )
    names = [tuple((r.cell.architecture, r.cell.framework) for r in (test.first, test.second)) for test in found]
    assert names == [(("s4", "jax"), ("s5", "jax")), (("s5", "jax"), ("s5", "torch"))]
    assert found[0].result.difference == pytest.approx(-0.30, abs=0.05)
    assert found[0].adjusted < 1e-6
    assert [test.adjusted for test in found] == holm([test.result.p for test in found]).tolist()
    assert found[1].adjusted > 0.001


def test_recipes_part_no_architectures_and_part_twins(make: Factory) -> None:
    other = {**make().protocol, "differences": ["epochs is 8"], "comparable_to": "", "step_loss": "over 2 updates"}
    found = paired(
        make(id="a"),
        make(id="b", architecture="s4", protocol=other),
        make("torch", id="c", recipe={"epochs": 2}),
        make("torch", id="d"),
    )
    assert [(test.first.cell.id, test.second.cell.id) for test in found] == [("b", "a"), ("a", "d")]
    assert paired(make(), make(architecture="s4", protocol={**make().protocol, "selection": "last epoch"})) == []
    recipes = [{"model": {"layer": {"architecture": "block_state", "variant": name}}} for name in ("SH", "MF")]
    variants = [make(id=r["model"]["layer"]["variant"], architecture="block_state", recipe=r) for r in recipes]
    (between,) = paired(*variants)
    assert (between.first.cell.id, between.second.cell.id) == ("MF", "SH")


def test_the_measured_architectures_are_paired() -> None:
    found = paired(*records.read_all(MEASURED))
    small = [test for test in found if test.profile == "small" and test.first.cell.seed == 0]
    names = {(t.first.cell.architecture, t.second.cell.architecture) for t in small if t.first.cell.framework == "jax"}
    assert {("ema", "s4"), ("ema", "s5"), ("s4", "s5"), ("s4d", "s5"), ("s5", "s5")} <= names
    assert [test.adjusted for test in found] == holm([test.result.p for test in found]).tolist()
    table = paired_blocks(frames.groups(records.read_all(MEASURED), published.shipped()))
    assert f"{len(found)} in all" in table[-1].spans[0].text  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "small"},
        {"seed": 1},
        {"task": "lra.text"},
        {"protocol": {"name": "another"}},
        {"predictions": predictions(0.6, 2, LABELS[::-1].copy())},
        {"predictions": predictions(0.6, 2, LABELS[:-1])},
        {"predictions": None},
        {"framework": "torch"},
    ],
)
def test_nothing_else_is_paired(change: dict, make: Factory) -> None:
    assert paired(make(), make(architecture="s4"))
    assert paired(make(), make(architecture="s4", **change)) == []


def test_failed_seeds_and_old_records_are_not_paired(make: Factory) -> None:
    old = msgspec.structs.replace(predictions(0.6, 2), correct="")
    assert paired(make(), make(architecture="s4", predictions=old)) == []
    assert paired(make(), make(architecture="s4", status="failed", predictions=old)) == []


def test_the_page_of_a_task_shows_them(make: Factory) -> None:
    report = pages.Report.of([make(), make(architecture="s4", accuracy=0.5)], published.shipped())
    page = Renderer(pages.SECTIONS).markdown(pages.task_page(report, "lra.listops")).decode()
    assert "## Paired comparisons" in page
    assert (
        "| [s4, JAX](../cells/lra.listops-s4-jax-smoke-0.md) | [s5, JAX](../cells/lra.listops-s5-jax-smoke-0.md) |"
        in page
    )
    assert "&lt; 0.0001" in page
    assert paired_blocks(frames.groups([make()], published.shipped())) == []
