"""The rules of verdicts, one row per rule."""

import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from reports import pages, published
from reports.margins import MARGINS, Margin, margin
from reports.published import Number
from reports.render import Renderer
from reports.statistics import ALPHA, required_runs
from reports.verdicts import STATUS_MEANING, VERDICT_MEANING, Status, Verdict, judge, within_table
from suite.tasks import all_tasks

MANIFESTS = Path(pages.__file__).parents[1] / "data_manifests"
FACTS: dict[str, Any] = {"benchmark": "lra", "metric": "accuracy", "profile": "paper", "comparable_to": "lra-s4-line"}


def reference() -> Number:
    """S5 on ListOps: 62.15 ± 0.23, n not stated."""
    found = published.shipped().reference("lra.listops", "s5")
    assert found is not None
    return found[1]


def verdict(values: list[float], number: Number | None = None, **changes: Any) -> tuple[str, str]:
    """Label and reason of a judged cell that follows the paper unless `changes` say otherwise."""
    facts: dict[str, Any] = {
        "benchmark": "lra",
        "metric": "accuracy",
        "profile": "paper",
        "comparable_to": "lra-s4-line",
    }
    found = judge(values, number or reference(), **(facts | changes))
    return found.label, found.reason


DECIDED = [
    ([62.0, 61.8, 62.4], "reproduced"),
    ([61.6, 61.5], "reproduced"),
    ([65.0, 65.3, 65.1], "above"),
    ([58.0, 58.2, 58.1], "below"),
]


@pytest.mark.parametrize(("values", "label"), DECIDED)
def test_seeds_that_decide(values: list[float], label: str) -> None:
    found, reason = verdict(values)
    assert found == label
    assert f"n = {len(values)}" in reason
    assert "margin ±1.5 %" in reason


@pytest.mark.parametrize("values", [[62.15], [59.0], [61.0, 63.0], [61.0, 63.5, 62.0]])
def test_too_few_seeds_say_how_many_decide(values: list[float]) -> None:
    label, _ = verdict(values)
    assert label.startswith("underpowered (needs n ≥ ")
    assert int(label.rpartition(" ")[2].rstrip(")")) > len(values)


def test_a_difference_at_the_margin_cannot_be_decided() -> None:
    for values in ([60.65], [60.6, 60.7]):
        label, reason = verdict(values)
        assert label == "underpowered"
        assert "No number of seeds here would decide: the difference lies 0.00 points" in reason
        assert (
            "from 2 runs (as many as a std needs; the paper does not say) with a std of 0.23, is only known" in reason
        )
        assert "±1.03 points" in reason


def test_a_paper_that_says_its_runs_is_taken_at_its_word() -> None:
    reason = verdict([60.65], msgspec.structs.replace(reference(), n=3))[1]
    assert "from 3 runs with a std of 0.23" in reason


def test_underpowered_says_how_many_seeds_more() -> None:
    label, reason = verdict([61.0, 63.0])
    needs = int(label.rpartition(" ")[2].rstrip(")"))
    assert f"{needs - 2} more seeds, {needs} in all, would decide with 80 % probability" in reason
    assert "The interval reaches across the margin." in reason
    assert "1 more seed, 2 in all" in verdict([59.0])[1]
    assert "One seed shows no spread to test with. If the spread is the published 0.23" in verdict([59.0])[1]


def judged(values: list[float], **changes: Any) -> Verdict:
    """A verdict with what it was tested on."""
    return judge(values, msgspec.structs.replace(reference(), n=20, **changes), **FACTS)


def test_a_verdict_must_hold_beside_the_others_of_its_table() -> None:
    clear = judged([62.1, 62.2, 62.0])
    close = judged([61.5, 62.3, 62.6, 60.9])
    assert (clear.kind, close.kind) == ("reproduced", "reproduced")
    assert close.tested is not None
    assert 0.01 < close.tested.p < 0.05
    assert within_table([close]) == [close]
    found = within_table([close, *[judged([62.0, 61.0, 63.9])] * 5, clear])
    assert found[0].kind == "underpowered"
    assert "alone it would be “reproduced”, beside the others that may be chance" in found[0].reason
    tested = close.tested
    planned = (tested.measured.std or 0.0, tested.published, tested.margin, tested.difference)
    alone, among = (required_runs(*planned, alpha) for alpha in (ALPHA, ALPHA / 7))
    assert alone is not None
    assert among is not None
    assert max(alone, 5) < among == found[0].needs
    assert found[-1].kind == "reproduced"
    assert "beside the other verdicts, 7 in all, " in found[-1].reason
    assert {verdict.kind for verdict in found[1:-1]} == {"underpowered"}


def test_verdicts_without_a_test_do_not_count() -> None:
    single, refused = judged([62.0]), judge([62.0, 62.1], None, **FACTS)
    close = judged([61.5, 62.3, 62.6, 60.9])
    assert within_table([close, single, refused]) == [close, single, refused]


@pytest.mark.parametrize(
    ("values", "std", "assumed"),
    [([62.1, 62.2, 62.0], "0.1", "reproduced"), ([66.0, 66.2], "0.14", "above"), ([58.0, 58.1], "0.071", "below")],
)
def test_without_a_published_spread_nothing_is_claimed(values: list[float], std: str, assumed: str) -> None:
    number = msgspec.structs.replace(reference(), std=None)
    found = judge(values, number, **FACTS)
    assert (found.label, found.tested) == ("underpowered", None)
    assert "prints no spread of its runs, so that no number of seeds here would decide" in found.reason
    told = f"Only under the assumption that its runs spread as ours do (std {std}) it would be “{assumed}”"
    assert told in found.reason
    alone = judge(values[:1], number, **FACTS)
    assert (alone.label, alone.needs) == ("underpowered", None)
    assert "One seed shows no spread to test with. The paper prints no spread" in alone.reason


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"profile": "smoke"}, {}, "profile smoke"),
    ({"profile": "small"}, {}, "profile small"),
    ({"comparable_to": ""}, {}, "does not follow"),
    ({"comparable_to": "lra-mega"}, {}, "protocol lra-mega"),
    ({"failed": 1}, {}, "1 of 4 seeds failed or did not end"),
    ({"metric": "perplexity"}, {}, "metric perplexity"),
    ({"benchmark": "speed"}, {}, "no margin"),
    ({}, {"transcription": "unverified"}, "†"),
    ({}, {"protocol": ""}, "not recorded"),
    ({}, {"unit": "1e-3"}, "no margin"),
    ({}, {"value": None}, "no published number"),
]


@pytest.mark.parametrize(("changes", "number", "reason"), REFUSED)
def test_everything_else_is_not_comparable_and_says_why(
    changes: dict[str, Any], number: dict[str, Any], reason: str
) -> None:
    values = [62.1, 62.2, 62.0]
    assert verdict(values)[0] == "reproduced"
    found, why = verdict(values, msgspec.structs.replace(reference(), **number), **changes)
    assert found == "not comparable"
    assert reason in why


def test_no_seed_and_no_number_are_not_comparable() -> None:
    assert verdict([])[1] == "no seed has finished"
    assert judge([62.0, 62.1], None, **FACTS).reason == "there is no published number of this task and architecture"


def test_more_published_runs_make_a_narrower_interval() -> None:
    values = [61.0, 61.2, 61.1]
    assert verdict(values)[0].startswith("underpowered")
    assert verdict(values, msgspec.structs.replace(reference(), n=100))[0] == "reproduced"


def test_every_status_and_verdict_is_explained() -> None:
    assert set(STATUS_MEANING) == set(get_args(Status))
    assert set(VERDICT_MEANING) == {"reproduced", "above", "below", "underpowered", "not comparable"}


def test_a_drawn_test_set_is_named_beside_the_seeds() -> None:
    plain, drawn = judge([61.0, 61.2], reference(), **FACTS), judge([61.0, 61.2], reference(), **FACTS, redrawn=2_000)
    assert (drawn.kind, drawn.needs) == (plain.kind, plain.needs)
    assert drawn.reason.startswith(plain.reason)
    assert "these 2,000 test examples are not the published ones" in drawn.reason
    assert "differ by 1.54 points" in drawn.reason  # sqrt(2 * 0.611 * 0.389 / 2000)
    assert "by 1.54 points" in judge([61.0], reference(), **FACTS, redrawn=2_000).reason
    assert judge([61.0], None, **FACTS, redrawn=2_000) == judge([61.0], None, **FACTS)


def test_every_number_that_a_verdict_could_stand_on_has_a_margin_with_its_reason() -> None:
    benchmarks = {"lra": "lra", "lm": "lm", "pixels": "sequences", "speech": "sequences", "pendulum": "sequences"}
    literature = published.shipped()
    for paper in literature.papers:
        for number in paper.numbers:
            if number.reference:
                assert margin(benchmarks[number.task.partition(".")[0]], number), number
    for (benchmark, metric, unit), stated in MARGINS.items():
        assert 0 < stated.size <= 3, (benchmark, metric, unit)
        assert len(stated.reason) > 20
    shown = Renderer(pages.SECTIONS).markdown(pages.methods_page()).decode()
    assert "| lm | token perplexity | ± 1.4 % of the value |" in shown
    assert "| sequences | mse | ± 10 % of the value |" in shown


def test_the_margin_of_the_arena_says_for_which_tasks_its_reason_holds() -> None:
    draws = {}
    for task in ("listops", "text", "retrieval", "image", "pathfinder", "pathx"):
        manifest = tomllib.loads((MANIFESTS / f"lra_{task}.toml").read_text(encoding="utf-8"))
        known = published.shipped().reference(f"lra.{task}", "s5")
        assert known is not None
        share = (known[1].value or 0) / 100
        draws[task] = 100 * (2 * share * (1 - share) / manifest["splits"]["test"]) ** 0.5
    stated = MARGINS["lra", "accuracy", "%"]
    assert draws.pop("listops") == pytest.approx(stated.size, abs=0.05)
    assert (round(min(draws.values()), 1), round(max(draws.values()), 1)) == (0.1, 0.5)
    shown = Renderer(pages.SECTIONS).markdown(pages.methods_page()).decode()
    for words in (
        "set before anything was measured and reasoned afterwards",
        "whose draws differ by 0.1 to 0.5 points",
    ):
        assert words in stated.reason
        assert words in shown


def test_every_trained_benchmark_with_published_tables_has_a_margin_of_its_metric() -> None:
    stated = {(benchmark, metric) for benchmark, metric, _ in MARGINS}
    for task in all_tasks().values():
        if task.run == "train" and task.benchmark not in ("length", "pretraining"):
            assert (task.benchmark, task.metric.removeprefix("test_")) in stated, task.name


def test_margins_are_in_the_published_unit() -> None:
    found = published.shipped().reference("pendulum.regression", "s5")
    assert found is not None
    number = msgspec.structs.replace(found[1], protocol="s5-pendulum")
    facts: dict[str, Any] = {
        "benchmark": "sequences",
        "metric": "mse",
        "profile": "paper",
        "comparable_to": "s5-pendulum",
    }
    assert (number.value, number.unit, number.n) == (3.41, "1e-3", 20)
    close = judge([0.00345, 0.0034, 0.00338, 0.00342], number, **facts)
    assert close.kind == "reproduced"
    assert "margin ±0.341 1e-3" in close.reason
    assert judge([0.0045, 0.0046, 0.0045], number, **facts).kind == "above"
    perplexity = Margin(0.014, "", relative=True)
    assert perplexity.of(msgspec.structs.replace(number, value=10.0)) == pytest.approx(0.14)
