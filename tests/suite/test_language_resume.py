"""A language model's cell from the command's selection to its record, killed on the way."""

import json
from typing import Any

import pytest
import tiny_runs
from tiny_runs import launch, record

from suite.data import open_dataset
from suite.matrix import Cell, Selection, cells
from suite.training.checkpoint import CheckpointStore

OVERRIDES = (
    *("model.depth=1", "model.layer.d_model=8", "model.layer.heads=1", "model.layer.head_width=8"),
    *("model.layer.d_ff=8", "model.layer.window=8", "model.layer.dropout=0.1", "batch_size=2", "epochs=3"),
    *("language.updates=5", "language.segment=16", "language.evaluation_segment=4096"),
)


def cell(framework: str) -> Cell:
    (found,) = cells(
        Selection(tasks=("lm.book",), architectures=("transformer",), frameworks=(framework,), overrides=OVERRIDES)
    )
    return found


def numbers(of: Any) -> dict[str, Any]:
    return json.loads(json.dumps({"metrics": of.metrics, "curves": of.curves, "tables": of.tables}))


def test_a_killed_cell_ends_in_the_same_record(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    found, data = cell("torch"), tmp_path / "data"
    (outcome,), _ = launch([found], tmp_path / "straight", data)
    assert outcome.status == "measured", outcome.reason
    tiny_runs.dying(monkeypatch, tmp_path / "hook", "SIGKILL:step:8")
    (outcome,), _ = launch([found], tmp_path / "killed", data, checkpoint_steps=2)
    assert outcome.status == "failed"
    checkpoint = CheckpointStore(tmp_path / "killed" / "checkpoints" / found.id).load()
    assert checkpoint is not None
    assert checkpoint.values["step"] == 8
    assert any(name.startswith("backend.carried.0.") for name in checkpoint.arrays)
    tiny_runs.dying(monkeypatch, tmp_path / "hook", None)
    (outcome,), shown = launch([found], tmp_path / "killed", data, checkpoint_steps=2)
    assert outcome.status == "measured", outcome.reason
    assert "resumed from the checkpoint at step 8 of 15" in shown
    straight, killed = (record(tmp_path / folder, found) for folder in ("straight", "killed"))
    assert numbers(killed) == numbers(straight)
    tables = straight.tables["perplexity_by_position"]
    text: Any = open_dataset("book", data).test
    assert sum(row["targets"] for row in tables) == text.token_count
    assert straight.protocol["metric"] == "bits_per_byte"
    assert straight.protocol["vocabulary_sha256"]
    assert len(straight.curves["step_loss"]) == 15
    assert straight.curves["epoch_step"] == [5, 10, 15]
