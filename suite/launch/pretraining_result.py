"""From the run of a model that is trained beforehand to its record, and to the weights that it leaves."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from implementations import parameters
from reports.records import Record
from suite.data import store
from suite.data.text.prepared import PreparedText
from suite.launch.measured_data import completed
from suite.launch.result import curves, record_cell, timing
from suite.matrix import Cell
from suite.training.checkpoint import CheckpointError
from suite.training.loop import Run
from suite.training.pretraining import loop
from suite.training.weights import ABOUT, Arrays


def measured(
    cell: Cell, facts: dict[str, Any], run: Run, data: PreparedText, provenance: dict[str, Any], device: dict[str, Any]
) -> Record:
    """The record of a run that reached its end: measures of the last evaluation, beside those of byte frequencies."""
    assert cell.recipe is not None
    last, spans = run.epochs[-1], loop.of(cell.recipe)
    untrained = loop.unigram(data, spans)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Record(
        cell=record_cell(cell),
        status="measured",
        recipe=cell.recipe.to_dict(),
        protocol=completed({**data.protocol, **facts}, data),
        metrics={
            **{name: value for name, value in last.items() if name not in ("epoch", "epoch_step")},
            **{f"unigram_{name}": value for name, value in untrained.items()},
            "selected_epoch": last["epoch"],
            "parameter_count": device["parameter_count"],
        },
        curves=curves(cell.recipe, run),
        timing={**timing(cell.recipe, run, sum(spans.lengths)), **device},
        provenance={**provenance, "data": data.hashes, "started": run.started, "finished": now},
    )


def leave_weights(cell: Cell, state: Arrays, run: Run, out: Path) -> dict[str, str]:
    """Write the parameters of a backend's state to `OUT/weights/<cell id>.safetensors`; gives their file and sha256.

    Raises CheckpointError where they cannot be written.
    """
    assert cell.recipe is not None
    found = {name.removeprefix("parameters."): a for name, a in state.items() if name.startswith("parameters.")}
    name = f"weights/{cell.id}.safetensors"
    path = Path(out) / name
    about = f"{cell.label}, profile {cell.profile}, {run.step} updates, cell {cell.id}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parameters.save(path, found, cell.recipe.model, **{ABOUT: about})
    except OSError as error:
        raise CheckpointError(
            f"cannot write {name}: {error.strerror or error}; free the disk and run again, the checkpoint is kept"
        ) from error
    return {"file": name, "sha256": store.sha256(path)}
