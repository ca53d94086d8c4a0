"""The papers' claims: printed side from the transcription, measured side from records only."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from report_document import Document
from report_records import Factory, store

from reports import build, claims, frames, published, records, speed
from reports.claims import Claim
from reports.published import PublishedError
from reports.records import Record

SHIPPED = published.shipped()
MEASURED = Path(claims.PATH).parent / "measured"
LRA = ("lra.listops", "lra.text", "lra.retrieval", "lra.image", "lra.pathfinder", "lra.pathx")


def claim(name: str) -> Claim:
    """One of the shipped claims."""
    return next(item for item in claims.load(SHIPPED) if item.id == name)


def told(name: str, *found: Record) -> str:
    """What some records say about a claim, as text."""
    spans = claims.measured(claim(name), speed.runs(found), frames.groups(found, SHIPPED))
    return " ".join(span.text for span in spans)


def timed(make: Factory, ratio: float, status: str = "measured", **changes: Any) -> Record:
    """A record of layer speed in which BRECT takes 4 ms and BST:SH:S4 that over `ratio`."""
    times = {"Slide": 1.0, "BRECT": 4.0, "BST:SH:S4": 4.0 / ratio}
    rows = [
        {"layer": layer, "mode": "forward", "length": length, "ms_p20": ms, "ms_p50": ms, "ms_p80": ms}
        for length in (512, 1024)
        for layer, ms in times.items()
    ]
    cell = {"benchmark": "speed", "task": "speed.block_state", "architecture": "block_state"}
    empty = {"metrics": {}, "curves": {}, "predictions": None, "tables": {"layer_speed": rows}}
    return make(status=status, **(cell | empty | changes))


def test_the_five_papers_are_there_with_numbers_of_their_own() -> None:
    found = claims.load(SHIPPED)
    assert {item.paper for item in found} == {"s5", "block_state", "block_recurrent", "seqboat", "spade"}
    values = [SHIPPED.number(anchor)[1].value for anchor in claim("s5-average").numbers]
    assert values == [87.46, 82.46, 80.48, 61.41]
    for item in found:
        printed = [SHIPPED.number(anchor)[0].paper.id for anchor in item.numbers]
        assert item.paper in printed or item.id == "spade-language"


def test_without_records_nothing_is_measured_yet() -> None:
    for item in claims.load(SHIPPED):
        assert told(item.id) == "not measured yet"


def test_paper_runs_are_told_with_their_verdict_and_what_is_missing(make: Factory) -> None:
    found = [make(seed=seed, accuracy=0.6215, profile="paper") for seed in range(3)]
    text = told("s5-average", *found)
    assert text.startswith("s5 on lra.listops: JAX 62.0")
    assert "(n = 3)" in text
    assert "1 of 6 tasks are measured" in text
    assert told("seqboat-average", *found) == "not measured yet"


def test_an_average_is_given_where_every_task_is_measured(make: Factory) -> None:
    found = [make(accuracy=0.62, profile="paper", task=task) for task in LRA]
    (group, *_) = frames.groups(found, SHIPPED)
    assert f"s5, JAX, average of 6 tasks: {group.entries['jax'].values[0]:.2f} %" in told("s5-average", *found)
    other = make(accuracy=0.62, profile="paper", task=LRA[0], protocol={"name": "another"})
    assert "average of 6 tasks" not in told("s5-average", other, *found[1:])


def test_other_profiles_are_not_comparable(make: Factory) -> None:
    small = "not comparable s5: measured in profile smoke only, which is not the paper's recipe."
    assert told("s5-average", make()) == f"{small} not run s4, transformer: none of these tasks is measured."


def test_the_architecture_of_a_claim_is_named_where_only_others_are_measured(make: Factory) -> None:
    text = told("seqboat-average", make(architecture="mega"))
    assert text.startswith("not comparable mega: measured in profile smoke only")
    assert text.endswith("not run seqboat, spade: none of these tasks is measured.")
    assert "mega" not in text.rpartition("not run")[2]


def test_speed_is_the_ratio_of_measured_times(make: Factory) -> None:
    text = told("block-state-speed", timed(make, 2.5))
    assert text.startswith("not comparable the paper states neither the GPU")
    assert "BST:SH:S4, times as fast as BRECT: forward 2.50 at 512 and 2.50 at 1,024 positions" in text
    assert "BST:MH:S4" not in text
    assert "10.00 at 512" in told("block-state-speed", timed(make, 10))
    assert "the run failed, this is its part" in told("block-state-speed", timed(make, 2.5, "failed"))


def test_the_committed_records_bear_on_the_claims() -> None:
    found = records.read_all([MEASURED])
    text = told("block-state-speed", *found)
    assert "BST:SH:S4, times as fast as BRECT: forward 0.84 at 512 and 2.45 at 65,536; forward and backward" in text
    assert "forward and backward 0.90 at 512 and 2.74 at 65,536 positions, PyTorch" in text
    assert "forward 1.17 at 512 and 2.25 at 65,536; forward and backward 1.58 at 512 and 2.91 at 65,536" in text
    assert "streaming" not in text
    assert text.count("positions, JAX, h200 (NVIDIA H200)") == 3
    assert "s5 on lra.listops: JAX 61.17 ± 0.32 % (n = 2) underpowered PyTorch 59.95 % (n = 1)" in told(
        "s5-average", *found
    )
    text = told("block-recurrent-xl", *found)
    assert text.startswith("not comparable the paper times a training step of twelve layers on TPU v4")
    assert "1 BRECT and 11 Slide, times as fast as 12 XL:2048: forward 1.22 at 512 and 1.43 at 65,536" in text


def test_layers_of_a_stack_are_added_up(make: Factory) -> None:
    found = timed(make, 2.5)
    found.tables["layer_speed"].append({**found.tables["layer_speed"][0], "layer": "XL:2048", "ms_p50": 2.0})
    text = told("block-recurrent-xl", found)
    assert f"1 BRECT and 11 Slide, times as fast as 12 XL:2048: forward {24 / (4 + 11):.2f} at 512 positions" in text
    assert "1,024" not in text  # where XL:2048 has no time


def test_the_overview_shows_every_claim_with_its_transcription(make: Factory, tmp_path: Path) -> None:
    index = build.build([store([timed(make, 2.5)], tmp_path / "runs")], tmp_path / "site")
    page = Document(index)
    for item in claims.load(SHIPPED):
        assert f"claim-{item.id}" in page.values("id")
        assert item.statement in page.text
    assert "87.62†" in page.text
    assert "speed.html#speed-speed.block_state-block_state-jax-smoke-0" in page.values("href")
    assert "not measured yet" in page.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paper": "nobody"}, "there is no paper 'nobody'"),
        ({"faster": []}, "slower needs faster"),
        ({"architectures": []}, "tasks need architectures"),
        ({"numbers": ["none"]}, "no published number is called 'none'"),
        ({"value": 1.0}, "unknown field `value`"),
        ({"faster": ["BRECT"]}, "neither slower nor faster names the stack '1 BRECT and 11 Slide'"),
        ({"stacks": {"12 XL:2048": {"XL:2048": 0}}}, "`int` >= 1"),
    ],
)
def test_a_spoiled_claim_is_one_error_that_names_the_place(change: dict, message: str, tmp_path: Path) -> None:
    found = msgspec.toml.decode(claims.PATH.read_bytes())
    index = next(i for i, item in enumerate(found["claims"]) if item["id"] == "block-recurrent-xl")
    found["claims"][index] |= change
    path = tmp_path / "claims.toml"
    path.write_text(_toml(found), encoding="utf-8")
    with pytest.raises(PublishedError, match=message) as caught:
        claims.load(SHIPPED, path)
    assert str(path) in str(caught.value)
    assert f"claims[{index}]" in str(caught.value) or "value" in change


def _toml(found: dict[str, Any]) -> str:
    lines = [f"schema = {msgspec.json.encode(found['schema']).decode()}"]
    for item in found["claims"]:
        lines += ["[[claims]]", *(f"{key} = {_value(value)}" for key, value in item.items())]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_value(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    return msgspec.json.encode(value).decode()
