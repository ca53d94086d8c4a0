"""From the run of a model that writes to its record."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from reports.records import Record
from suite.data import Prepared
from suite.data.qmsum import texts
from suite.launch.measured_data import completed
from suite.launch.result import curves, record_cell, timing
from suite.matrix import Cell
from suite.rouge import MEASURES, rouge
from suite.tasks.summaries import baselines
from suite.training.generation import loop
from suite.training.generation.batches import text
from suite.training.loop import Run

TABLE = "summaries"
SHOWN, CHARACTERS = 5, 500
"""How many of the test split's summaries a record shows, and how much of each text."""


def measured(
    cell: Cell, facts: dict[str, Any], run: Run, data: Prepared, provenance: dict[str, Any], device: dict[str, Any]
) -> Record:
    """The record of a run that reached its end: loss and ROUGE of the selected epoch, beside those of summaries that
    need no training."""
    assert cell.recipe is not None
    assert run.selected is not None
    best, last = run.epochs[run.selected], run.epochs[-1]
    untrained = baselines(data, "test")
    generation = loop.of(cell.recipe)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Record(
        cell=record_cell(cell),
        status="measured",
        recipe=cell.recipe.to_dict(),
        protocol=completed(facts, data),
        metrics={
            **{name: value for name, value in best.items() if name not in ("epoch", "epoch_step")},
            **{f"untrained_{name}": max(scores[name] for scores in untrained.values()) for name in MEASURES},
            "selected_epoch": best["epoch"],
            "last_train_loss": last["train_loss"],
            "parameter_count": device["parameter_count"],
        },
        curves=curves(cell.recipe, run),
        tables={TABLE: summaries(run, data), "untrained_summaries": [{"kind": k, **v} for k, v in untrained.items()]},
        timing={**timing(cell.recipe, run, generation.input_length + generation.target_length), **device},
        provenance={**provenance, "data": data.hashes, "started": run.started, "finished": now},
    )


def summaries(run: Run, data: Prepared) -> list[dict[str, Any]]:
    """The first summaries of the test split with their questions, references and scores."""
    assert run.predictions is not None
    split, rows = data.test, []
    for i, reference in enumerate(loop.references(split)[:SHOWN]):
        question, _ = texts(np.asarray(split.tokens[int(split.offsets[2 * i]) : int(split.offsets[2 * i + 1])]))
        written = text(run.predictions[i])
        shown = {"question": question, "summary": written, "reference": reference}
        rows.append({**{name: said[:CHARACTERS] for name, said in shown.items()}, **rouge(written, reference)})
    return rows
