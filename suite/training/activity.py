"""How many of their tokens the layers of a trained model work on, where they choose them (SeqBoat)."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.data import Split
from suite.data.batches import evaluation_batches
from suite.recipes.base import Recipe

TABLE = "activation_rates"
"""The name of the table in a record."""


def activation_rates(recipe: Recipe, backend: Any, split: Split) -> list[dict[str, Any]]:
    """A row for every layer that chooses its tokens: the share of genuine positions that it activates, as mean and
    quantiles over the sequences of a split; no rows where no layer chooses. `layer` is the depth, counted from 0.

    The last batch is filled up with repetitions, as in every evaluation. Pairs count as two sequences.
    """
    size, found = recipe.evaluation_batch_size, []
    for rows in evaluation_batches(split.count, size) if recipe.model.routed else ():
        rates = backend.activity(split.batch(np.concatenate([rows, np.full(size - len(rows), rows[-1])])))
        found.append(rates.reshape(len(rates), -1, size)[:, :, : len(rows)].reshape(len(rates), -1))
    table = []
    for depth, rates in zip(recipe.model.routed, np.concatenate(found, 1) if found else (), strict=True):
        low, middle, high = np.quantile(rates, [0.05, 0.5, 0.95]).tolist()
        row = {"layer": depth, "mean": float(rates.mean()), "p05": low, "p50": middle, "p95": high}
        table.append({**row, "sequences": len(rates)})
    return table
