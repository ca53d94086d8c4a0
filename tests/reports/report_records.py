"""Synthetic records of every status: small, seeded, and shaped like those of the harness."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reports import records
from reports.records import Cell, Record

Factory = Callable[..., Record]
LABELS = np.random.default_rng(7).integers(0, 10, 2000)


def make_record(
    framework: str = "jax", seed: int = 0, accuracy: float = 0.38, status: Any = "measured", **changes: Any
) -> Record:
    """One record; `changes` replace fields of the cell or of the record."""
    cell = {
        "benchmark": "lra",
        "task": "lra.listops",
        "architecture": "s5",
        "framework": framework,
        "seed": seed,
        "profile": "smoke",
        "hardware": "cpu",
    } | {key: changes.pop(key) for key in list(changes) if key in Cell.__struct_fields__}
    cell.setdefault(
        "id", "-".join(str(cell[k]) for k in ("task", "architecture", "framework", "profile", "seed")).replace("+", "-")
    )
    fields: dict[str, Any] = {
        "recipe": {"batch_size": 50, "epochs": 6, "optimizer": {"rates": {"ssm": 1e-3, "regular": 3e-3}}},
        "protocol": {
            "name": "lra.listops/generated",
            "comparable_to": "lra-s4-line",
            "differences": ["The data are generated with the released settings; they are not the released files."],
        },
        "provenance": {
            "command": f"python -m suite.run --tasks lra.listops --architectures s5 --frameworks {framework}",
            "commit": "0123456789abcdef",
            "dirty": False,
            "versions": {"numpy": "2.4.0", framework: "1.0"},
            "hardware": {"cpu": "Example CPU", "cores": 2, "gpus": []},
        },
    }
    if status == "measured":
        fields |= _measured(framework, seed, accuracy)
    return Record(cell=Cell(**cell), status=status, **(fields | changes))


def _measured(framework: str, seed: int, accuracy: float) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    steps = np.arange(1, 1201)
    noise = generator.normal(0, 0.05, steps.size)
    drift = np.cumsum(generator.normal(0, 1e-5, steps.size)) * (framework == "torch")
    loss = 1.4 + 0.9 * np.exp(-steps / 250) + noise + drift
    epochs = np.arange(1, 7)
    learned = accuracy - (accuracy - 0.17) * np.exp(-epochs / 2)
    hit = np.random.default_rng(seed + 100).random(LABELS.size) < accuracy
    predicted = np.where(hit, LABELS, (LABELS + 1) % 10)
    return {
        "metrics": {
            "test_accuracy": float((predicted == LABELS).mean()),
            "validation_accuracy": accuracy + 0.004,
            "majority_accuracy": 0.178,
            "test_loss": 1.52,
        },
        "curves": {
            "step": steps.astype(float).tolist(),
            "step_loss": loss.tolist(),
            "epoch": epochs.tolist(),
            "epoch_step": (200 * epochs).tolist(),
            "train_loss": loss.reshape(6, 200).mean(1).tolist(),
            "validation_accuracy": learned.tolist(),
        },
        "predictions": records.encode_predictions(predicted, LABELS, "test", 10),
        "timing": {"compile_seconds": 11.2, "step_seconds_p20": 0.11, "step_seconds_p50": 0.118,
                   "step_seconds_p80": 0.13, "tokens_per_second": 43210.0, "peak_memory_bytes": 2**29},
    }  # fmt: skip


def parity_rows() -> list[dict[str, Any]]:
    """Some checks of the parity ladder, one of them failed."""
    common = {"dtype": "float32", "error_jax": 1.1e-7, "error_torch": 1.3e-7, "tolerance": 2.6e-7}
    return [
        {"rung": 0, "check": "paths", "case": "s5", "dtype": "-", "error_jax": None, "error_torch": None,
         "error_between": 0, "tolerance": 0, "passed": True},
        {"rung": 2, "check": "scan", "case": "length 17", **common, "error_between": 9e-8, "passed": True},
        {"rung": 3, "check": "forward", "case": "bidirectional", **common, "error_between": 2e-7, "passed": True},
        {"rung": 3, "check": "forward", "case": "causal", **common, "error_between": 4e-6, "passed": False},
    ]  # fmt: skip


def everything() -> list[Record]:
    """Records of all statuses: a smoke pair with two seeds, paper seeds, a failure, missing data, a parity record."""
    smoke = [make_record(f, s, 0.385 + 0.004 * s + 0.002 * (f == "torch")) for f in ("jax", "torch") for s in (0, 1)]
    paper = [make_record("jax", s, 0.6215, profile="paper", hardware="h100") for s in (0, 1, 2)]
    tail = "step 120 loss nan\nFloatingPointError: loss is not finite"
    failed = make_record("torch", 0, status="failed", profile="paper", reason="loss is not finite", log_tail=tail)
    absent = make_record("jax", 0, status="no data", task="lra.text", reason="lra.text is not prepared here")
    compiled = make_record("jax", 0, status="compiled", profile="paper", task="lra.image", hardware="tpu-v4")
    parity = make_record(
        "jax+torch", 0, benchmark="equivalence", task="equivalence.s5", metrics={"failed_checks": 1.0}, curves={},
        predictions=None, tables={"parity": parity_rows()},
    )  # fmt: skip
    return [*smoke, *paper, failed, absent, compiled, parity]


def store(found: list[Record], runs: Path) -> Path:
    """Write records to a runs folder."""
    (runs / "records").mkdir(parents=True, exist_ok=True)
    for record in found:
        records.write(record, runs)
    return runs
