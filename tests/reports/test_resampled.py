"""Accuracies at a lower sampling rate stand on the page of their task beside the published number."""

from pathlib import Path
from typing import Any

import msgspec
from report_document import Document
from report_records import make_record, store

from reports import build

SPEECH: dict[str, Any] = {"task": "speech.sc35", "benchmark": "sequences", "profile": "paper"}


def record(seed: int, resampled: float | None, **changes: Any) -> Any:
    found = make_record(seed=seed, **SPEECH, **changes)
    more = {} if resampled is None else {"resampled_test_accuracy": resampled}
    return msgspec.structs.replace(found, metrics=found.metrics | more, recipe=found.recipe | {"resampling": 2})


def test_the_mean_over_seeds_stands_beside_the_published_number(tmp_path: Path) -> None:
    found = [record(0, 0.94), record(1, 0.95), record(0, 0.9, framework="torch")]
    build.build([store(found, tmp_path / "runs")], tmp_path / "site")
    page = Document(tmp_path / "site" / "tasks" / "speech.sc35.html").text
    assert "At a lower sampling rate, without training at it" in page
    text = (tmp_path / "site" / "tasks" / "speech.sc35.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if "1 of 2" in line]
    assert "| s5 | paper | 1 of 2 | **94.50 ± 0.71** <br>n = 2 | **90.00** <br>n = 1 |" in row
    assert "94.53" in row


def test_a_spoiled_recipe_is_shown_without_its_rate(tmp_path: Path) -> None:
    found = msgspec.structs.replace(record(0, 0.94), recipe={"resampling": ["<b>", {}]})
    build.build([store([found], tmp_path / "runs")], tmp_path / "site")
    text = (tmp_path / "site" / "tasks" / "speech.sc35.md").read_text(encoding="utf-8")
    assert "| s5 | paper |  | **94.00** <br>n = 1 |" in text


def test_no_table_where_nothing_was_resampled(tmp_path: Path) -> None:
    build.build([store([record(0, None)], tmp_path / "runs")], tmp_path / "site")
    assert "sampling rate" not in Document(tmp_path / "site" / "tasks" / "speech.sc35.html").text
