"""From the run of a language model to its record."""

from __future__ import annotations

import datetime
from typing import Any

from reports.records import Record
from suite.data.text.prepared import PreparedText
from suite.launch import comparable
from suite.launch.measured_data import completed
from suite.launch.result import curves, record_cell, timing
from suite.matrix import Cell
from suite.training.language import loop as language_loop
from suite.training.language.metrics import METRICS, length_rows, position_rows, unigram_bits_per_byte
from suite.training.loop import Run


def measured(
    cell: Cell, facts: dict[str, Any], run: Run, data: PreparedText, provenance: dict[str, Any], device: dict[str, Any]
) -> Record:
    """The record of a run that reached its end: metrics of the selected evaluation, perplexity by position."""
    assert cell.recipe is not None
    assert run.selected is not None
    assert run.positions is not None
    best, last = run.epochs[run.selected], run.epochs[-1]
    tables = {"perplexity_by_position": position_rows(run.positions)}
    if run.lengths is not None:
        lengths = language_loop.lengths_read(cell.recipe, data.test)
        tables["perplexity_by_length"] = length_rows(lengths, run.lengths.tolist(), data.test)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Record(
        cell=record_cell(cell),
        status="measured",
        recipe=cell.recipe.to_dict(),
        protocol=completed({**data.protocol, **comparable.after(facts, data.protocol)}, data),
        metrics={
            **{name: best[f"test_{name}"] for name in METRICS},
            **{f"validation_{name}": best[f"validation_{name}"] for name in METRICS},
            "train_loss": best["train_loss"],
            "selected_epoch": best["epoch"],
            "last_validation_bits_per_byte": last["validation_bits_per_byte"],
            "unigram_bits_per_byte": unigram_bits_per_byte(data.train, data.test, data.protocol["vocabulary_size"]),
            "parameter_count": device["parameter_count"],
        },
        curves=curves(cell.recipe, run),
        tables=tables,
        timing={**timing(cell.recipe, run, language_loop.of(cell.recipe).segment), **device},
        provenance={**provenance, "data": data.hashes, "started": run.started, "finished": now},
    )
