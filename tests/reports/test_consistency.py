"""A record that contradicts itself earns no verdict, whatever its numbers are, and its page says so."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_records import make_record

from reports import build, frames, pages, published, records, resampled
from reports.consistency import contradictions
from reports.records import Record
from reports.render import Renderer
from reports.tables import verdict_cell


def seeds(**changes: Any) -> list[Record]:
    """Three seeds of the paper's recipe, whose first has changed fields."""
    found = [make_record(seed=seed, accuracy=0.6215, profile="paper") for seed in (0, 1, 2)]
    return [msgspec.structs.replace(found[0], **changes), *found[1:]]


def shown(record: Record) -> str:
    """The page of a record."""
    return Renderer(()).markdown(pages.record_page(record, None)).decode()


def test_numbers_that_agree_are_judged() -> None:
    (group,) = frames.groups(seeds(), published.shipped())
    assert group.entries["jax"].verdict.kind != "not comparable"
    assert pages.CONTRADICTS not in shown(seeds()[0])


SPOILED: list[tuple[dict[str, Any], str]] = [
    ({"metrics": {"test_accuracy": 0.6215}}, "metrics.test_accuracy is 0.6215, but"),
    ({"timing": {"step_seconds_p20": 9.0, "step_seconds_p80": 1.0}}, "the quantiles of step_seconds do not rise"),
]


@pytest.mark.parametrize(("changes", "sentence"), SPOILED)
def test_a_contradiction_is_the_reason_why_nothing_is_compared(changes: dict[str, Any], sentence: str) -> None:
    found = seeds(**changes)
    (group,) = frames.groups(found, published.shipped())
    verdict = group.entries["jax"].verdict
    assert verdict.kind == "not comparable"
    assert verdict.reason.startswith(f"record {found[0].cell.id} contradicts itself: ")
    assert sentence in verdict.reason
    assert sentence in verdict_cell(group).spans[1].text
    assert pages.CONTRADICTS in shown(found[0])
    assert sentence in shown(found[0]).replace("\\", "")
    assert pages.CONTRADICTS not in shown(found[1])


def test_so_it_is_at_a_lower_sampling_rate() -> None:
    found = [make_record(seed=seed, task="speech.sc35", benchmark="sequences", profile="paper") for seed in (0, 1)]
    lower = [msgspec.structs.replace(r, metrics=r.metrics | {resampled.METRIC: 0.94}) for r in found]
    spoiled = msgspec.structs.replace(lower[0], timing=SPOILED[1][0]["timing"])
    for first, told in ((lower[0], False), (spoiled, True)):
        groups = frames.groups([first, lower[1]], published.shipped())
        _, table = resampled.blocks("speech.sc35", groups, published.shipped())
        assert ("contradicts itself" in str(table)) == told


def test_damaged_predictions_are_a_contradiction() -> None:
    kept = make_record().predictions
    assert kept is not None
    for damaged in ({"data": "?"}, {"data": "", "correct": ""}, {"classes": 1}):
        record = make_record(predictions=msgspec.structs.replace(kept, **damaged))
        assert len(contradictions(record)) == 1
        assert contradictions(record)[0].startswith("predictions of split 'test' ")


def test_no_committed_record_contradicts_itself() -> None:
    for record in records.read_all(Path(build.__file__).parent / "measured"):
        assert contradictions(record) == [], record.cell.id
