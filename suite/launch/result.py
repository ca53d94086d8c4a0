"""From a run to its record: metrics, curves, tables, predictions, timing, and the protocol they belong to."""

from __future__ import annotations

import datetime
import math
import resource
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from reports.records import Cell as RecordCell
from reports.records import Record, encode_predictions
from suite import matrix
from suite.ablations import factors
from suite.data import Prepared
from suite.data import names as data_names
from suite.data.catalog import place
from suite.hardware import energy
from suite.launch import comparable
from suite.launch.measured_data import completed
from suite.matrix import Cell
from suite.recipes.base import Recipe, differences
from suite.speed.config import SpeedSettings
from suite.speed.measure import slopes
from suite.tasks import Task, all_tasks
from suite.training.activity import TABLE
from suite.training.generation import loop as generation_loop
from suite.training.language import loop as language_loop
from suite.training.language.metrics import DEFINITIONS
from suite.training.loop import Run
from suite.training.pretraining import protocol as pretraining_protocol

SPEED_PROTOCOL = {
    "inputs": "standard normal, the same for every layer; initial parameters; no dropout",
    "timing": "layers in turn; a turn is a block of calls that ends with a synchronisation; quantiles over turns; "
    "ratios within a turn; compilation apart",
    "JAX": "compiled ahead of time; memory and traffic as the compiler counts them; operations of matrix products "
    "only, counted in the program before its compilation",
    "PyTorch": "eager operations, recorded once as a CUDA graph on a GPU; operations of matrix products only; traffic "
    "is the bytes of the tensors of every operation by itself, views apart: what unfused operations move, an upper "
    "bound for fused ones, and not to be compared with JAX's, which is counted after fusion",
    "streaming step": "one token at the state after a sequence of the length",
    "growth": "exponent of a power law through the medians of the longest lengths",
}

_LOSSES = {
    "cross_entropy": "mean cross entropy in nats",
    "squared_error": "mean squared error",
    "gaussian": "mean over positions of minus the Gaussian log likelihood of all targets, in nats",
}

STEP_POINTS = 2_000
"""Points of the step-loss curve at most; longer runs are averaged over equal windows."""


def record_cell(cell: Cell) -> RecordCell:
    """The cell as records name it."""
    left_out = ("recipe", "settings", "base_level", "base_task")
    values = {key: value for key, value in cell.to_dict().items() if key not in left_out}
    return RecordCell(id=cell.id, **values)


def window(recipe: Recipe) -> int:
    """How many consecutive updates one point of the step-loss curve averages."""
    return math.ceil(recipe.total_steps / STEP_POINTS)


def protocol(cell: Cell) -> dict[str, Any]:
    """What decides whether the cell's numbers may be compared: the same for every seed and framework of its task."""
    task, recipe = all_tasks()[cell.base_task or cell.task], cell.recipe
    if cell.settings:
        return {"name": cell.task, "metric": task.metric, **SPEED_PROTOCOL}
    if recipe is None:
        return {"name": cell.task, "metric": task.metric}
    known = recipe.data.name in data_names()
    facts = place(recipe.data.name, None, recipe.data.settings).settings.protocol() if known else {"name": cell.task}
    published = matrix.published(cell)
    changed = differences(recipe, published) if published else ["no published recipe is known"]
    departs = [*changed, *unexpressed(recipe)]
    if cell.factor:
        facts = {**facts, "ablation": ablation(cell)}
    if row := matrix.published_row(cell):
        facts = {**facts, "published_row": row}
    every = window(recipe)
    if recipe.language is not None:
        return language_protocol(recipe, task, facts, departs, every)
    if recipe.span_corruption is not None:
        return {
            **facts,
            **pretraining_protocol.facts(recipe.span_corruption),
            "metric": task.metric,
            "metric_definition": pretraining_protocol.DEFINITIONS[task.metric],
            "step_loss": "mean loss per target in nats" + (f", averaged over {every} updates" if every > 1 else ""),
            "comparable_to": "" if departs else task.comparable_to,
            "differences": [*departs, *facts.get("differences", [])],
        }
    if recipe.generation is not None:
        facts = {**facts, **generation_facts(recipe)}
    return {
        **facts,
        "metric": task.metric,
        "metric_definition": facts.get("metric", "accuracy over all examples of the split"),
        "selection": f"{recipe.selection}; the {task.metric.replace('_', ' ')} reported is that of the selected epoch",
        "evaluation": facts.get("evaluation")
        or "every epoch, on all examples; the last batch is filled up and the filling discarded",
        "training": "shuffled epochs; the examples that fill no batch sit an epoch out",
        "step_loss": _LOSSES[recipe.model.objective] + (f", averaged over {every} updates" if every > 1 else ""),
        "comparable_to": "" if departs else task.published(cell.architecture),
        **({} if changed else unpublished(task, cell.architecture)),
        "differences": [*departs, *unconfirmed(recipe), *facts.get("differences", [])],
        "test_count": recipe.data.settings.get("test"),
    }


def unexpressed(recipe: Recipe) -> list[str]:
    """What of the published recipe this one has no means to say; numbers of such a recipe are not the paper's."""
    lacks = recipe.source.get("not expressed")
    return [f"not expressed of the published recipe: {lacks}"] if lacks else []


def unconfirmed(recipe: Recipe) -> list[str]:
    """What of the recipe nobody could check against the published one."""
    unsure = recipe.source.get("unconfirmed")
    return [f"not checked against the published recipe: {unsure}"] if unsure else []


def unpublished(task: Task, architecture: str) -> dict[str, str]:
    """Why the numbers of an architecture stand beside no published ones: what the task says, or that the recipe is this
    project's own."""
    if task.not_comparable:
        return {"not_comparable": task.not_comparable}
    if task.protocols is None or architecture in task.protocols:
        return {}
    return {"not_comparable": f"no paper prints {task.title} of {architecture}: the recipe is this project's own"}


def ablation(cell: Cell) -> dict[str, Any]:
    """What the report says of the factor of a cell: the same for all of its levels, seeds and frameworks."""
    factor = factors()[cell.factor]
    said = {name: getattr(factor, name) for name in ("name", "title", "meaning", "paper", "published_on")}
    return {**said, "task": cell.base_task, "levels": list(factor.levels), "base_level": cell.base_level}


def generation_facts(recipe: Recipe) -> dict[str, Any]:
    """What decides whether the ROUGE of two models may be compared, beside the facts of their data."""
    generation = generation_loop.of(recipe)
    read, written = generation.input_length, generation.target_length
    search = "the greedy choice" if generation.beams == 1 else f"{generation.beams} beams"
    return {
        "input_length": read,
        "target_length": written,
        "tokenizer": f"UTF-8 bytes plus 3; question, 1, transcript, 2, cut behind {read} tokens; the answer, 2, cut "
        f"behind {written} in training and in its loss",
        "evaluation": f"every epoch, on all examples; summaries of at most {written} tokens by {search}, length "
        f"penalty {generation.length_penalty:g}, against whole answers, wherever an epoch is selected",
    }


def language_protocol(
    recipe: Recipe, task: Task, facts: dict[str, Any], changed: list[str], every: int
) -> dict[str, Any]:
    """The protocol of a language model; what follows from the text is added once it is open."""
    language = language_loop.of(recipe)
    if language.evaluation == "carried":
        evaluation = "every document from its first token, states carried through the whole of it; every token counts"
    else:
        evaluation = (
            f"windows of {language.evaluation_segment} tokens by themselves, at every multiple of {language.stride} of "
            f"a document; the last {language.stride} tokens of each count, and all of a document's first"
        )
    return {
        **facts,
        "metric": task.metric,
        "metric_definition": DEFINITIONS[task.metric],
        "metric_definitions": DEFINITIONS,
        "selection": f"{recipe.selection}; the test numbers reported are those of the selected evaluation",
        "evaluation": evaluation,
        **({"lengths": list(language.lengths)} if language.lengths else {}),
        "training": "documents in order, states carried without gradient"
        if language.carried
        else "windows of the text",
        "step_loss": "mean loss per token in nats" + (f", averaged over {every} updates" if every > 1 else ""),
        **(comparable.before(task, changed, facts) if task.benchmark == "lm" else {"comparable_to": ""}),
        "differences": [*changed, *facts.get("differences", [])],
    }


def measured(
    cell: Cell,
    facts: dict[str, Any],
    run: Run,
    data: Prepared,
    provenance: dict[str, Any],
    device: dict[str, Any],
    rates: Sequence[dict[str, Any]] = (),
) -> Record:
    """The record of a run that reached its end; `rates` are those of `activation_rates`."""
    assert cell.recipe is not None
    assert run.selected is not None
    best, last = run.epochs[run.selected], run.epochs[-1]
    metrics: dict[str, float | None] = {key: best[key] for key in best if key not in ("epoch", "epoch_step")}
    metrics |= {
        "selected_epoch": best["epoch"],
        f"last_{facts['metric']}": last[facts["metric"]],
        "parameter_count": device["parameter_count"],
    }
    predictions, positions = None, data.protocol["maximum_length"] * data.protocol.get("documents", 1)
    if run.predictions is not None:
        metrics["majority_accuracy"] = data.majority("test")
        predictions = encode_predictions(run.predictions, data.test.labels, "test", data.protocol["classes"])
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Record(
        cell=record_cell(cell),
        status="measured",
        recipe=cell.recipe.to_dict(),
        protocol=completed(facts, data),
        metrics=metrics,
        curves=curves(cell.recipe, run),
        tables={TABLE: list(rates)} if rates else {},
        predictions=predictions,
        timing={**timing(cell.recipe, run, positions), **device},
        provenance={**provenance, "data": data.hashes, "started": run.started, "finished": now},
    )


def curves(recipe: Recipe, run: Run) -> dict[str, list[float | None]]:
    """The curves of a run: numbers of its epochs, and the losses of its updates."""
    curves: dict[str, Any] = {key: [row[key] for row in run.epochs] for key in run.epochs[0]}
    return curves | step_curve(recipe, run.losses)


def step_curve(recipe: Recipe, losses: Sequence[float]) -> dict[str, list[Any]]:
    """The losses of the first updates of a run, each point a mean over a window."""
    every = window(recipe)
    ends = [min(end, len(losses)) for end in range(every, len(losses) + every, every)]
    means = [float(np.mean(losses[end - 1 - (end - 1) % every : end])) for end in ends]
    return {"step": ends, "step_loss": means}


def timing(recipe: Recipe, run: Run, length: int) -> dict[str, Any]:
    """What a run took, whose examples have `length` positions."""
    seconds = np.array(run.block_seconds) / np.array(run.block_steps)
    tokens = recipe.batch_size * length
    quantiles: list[Any] = np.quantile(seconds, [0.2, 0.5, 0.8]).tolist() if len(seconds) else [None] * 3
    return {
        "compile_seconds": run.compile_seconds,
        **{f"step_seconds_p{p}": q for p, q in zip((20, 50, 80), quantiles, strict=True)},
        "step_seconds_definition": "mean of an update within blocks of updates that end with a synchronisation, the "
        "making of the batches included; quantiles over blocks; the first update of a start is compile_seconds",
        "tokens_per_second": tokens / quantiles[1] if quantiles[1] else None,
        "tokens_per_second_definition": "training positions, padding included, per second at the median update",
        "peak_memory_bytes": run.peak_memory,
        "process_peak_memory_bytes": _process_peak_memory(),
        "evaluation_seconds": run.evaluation_seconds,
        "total_seconds": run.total_seconds,
        "energy_joules": run.energy_joules,
        "energy_joules_definition": energy.DEFINITION,
        "starts": run.starts,
    }


def _process_peak_memory() -> int:
    """The most memory that this process had in use on the host."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kibibytes elsewhere


def parity(
    cell: Cell, rows: Sequence[dict[str, Any]], provenance: dict[str, Any], timing: dict[str, Any] | None = None
) -> Record:
    """The record of an equivalence cell: failed where any check failed."""
    failed = [row for row in rows if not row["passed"]]
    named = ", ".join(f"rung {row['rung']} {row['check']} {row['case']}" for row in failed[:3])
    return Record(
        cell=record_cell(cell),
        status="failed" if failed or not rows else "measured",
        reason=f"{len(failed)} of {len(rows)} checks failed: {named}" if failed else "" if rows else "no check was run",
        protocol=protocol(cell),
        metrics={"checks": len(rows), "failed_checks": len(failed)},
        tables={"parity": list(rows)},
        timing=timing or {},
        provenance=provenance,
    )


def speed(
    cell: Cell,
    gates: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    stopped: str,
    provenance: dict[str, Any],
    timing: dict[str, Any] | None = None,
) -> Record:
    """The record of a layer-speed cell: failed where a layer did not pass the gate or nothing was timed."""
    settings = SpeedSettings.from_dict(cell.settings)
    red = [gate["layer"] for gate in gates if not gate["passed"]]
    names = list(settings.layers)
    timed = [r for r in rows if r["layer"] == names[-1] and r["mode"] == settings.modes[0] and r["ms_p50"] is not None]
    reason = f"the outputs of {', '.join(red)} differ from the oracle's: not timed" if red else stopped
    return Record(
        cell=record_cell(cell),
        status="failed" if red or stopped or not timed else "measured",
        reason=reason,
        recipe=cell.settings,
        protocol=protocol(cell),
        metrics={
            "longest_ratio": timed[-1]["ratio_to_first"] if timed else None,
            "longest_length": timed[-1]["length"] if timed else None,
        },
        tables={"gate": list(gates), "layer_speed": list(rows), "growth_with_length": slopes(list(rows))},
        timing=timing or {},
        provenance=provenance,
    )


def without_numbers(
    cell: Cell, status: Any, reason: str, facts: dict[str, Any], provenance: dict[str, Any], log_tail: str = ""
) -> Record:
    """The record of a cell that failed or has no data."""
    return Record(
        cell=record_cell(cell),
        status=status,
        reason=reason,
        log_tail=log_tail,
        recipe=cell.recipe.to_dict() if cell.recipe else cell.settings,
        protocol=facts,
        provenance=provenance,
    )
