"""Activation rates: of every layer that chooses its tokens, over all sequences of a split, each counted once."""

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest

from implementations.models.config import DualEncoderConfig
from implementations.seqboat import reference
from suite.recipes import s5, seqboat
from suite.recipes.base import Recipe, apply_overrides
from suite.training.activity import activation_rates

SMALL = ["model.layer.d_model=4", "model.layer.query_size=2", "model.layer.value_size=3", "model.layer.state_size=2"]


def recipe(*overrides: str) -> Recipe:
    return apply_overrides(seqboat.lra_listops("smoke"), [*SMALL, "evaluation_batch_size=4", *overrides])


@dataclasses.dataclass(frozen=True)
class Batch:
    inputs: np.ndarray
    lengths: np.ndarray | None
    labels: np.ndarray


def batch() -> Batch:
    rng = np.random.default_rng(0)
    return Batch(rng.integers(0, 20, (3, 9)).astype(np.uint8), np.array([9, 5, 2], np.int32), np.zeros(3, np.int32))


def test_both_backends_give_the_rates_of_the_oracle():
    small, given = recipe("model.depth=2"), batch()
    found = [importlib.import_module(f"suite.training.{f}").Backend(small, 0) for f in ("jax", "torch")]
    rates = [backend.activity(given) for backend in found]
    assert rates[0].shape == (2, 3)
    np.testing.assert_array_equal(rates[0], rates[1])
    state = found[0].state()
    p = {name.removeprefix("parameters."): value for name, value in state.items()}
    x = p["encoder.kernel"][given.inputs] + p["encoder.bias"]
    own = {name.removeprefix("layers.0."): value for name, value in p.items() if name.startswith("layers.0.")}
    mask = np.arange(9) < np.array([9, 5, 2])[:, None]
    layer: Any = small.model.layer
    m = reference.silu(reference.mixed(layer, own, np.where(mask[..., None], x, 0.0), None, mask)[0])
    logits = m @ own["hx_proj.kernel"][:, :2] + own["hx_proj.bias"][:2]
    active = (logits[..., 1] > logits[..., 0]) & mask
    np.testing.assert_allclose(rates[0][0], active.sum(1) / mask.sum(1), rtol=1e-6)
    assert len(np.unique(rates[0])) > 2


class Told:
    """A backend whose sequence i has the rate i / 10, and in the second layer half of it."""

    def activity(self, given: Batch) -> np.ndarray:
        own = given.inputs[:, 0] / 10
        return np.stack([own, own / 2])


class Numbered:
    """Sequences whose only token is their number; of pairs, ten more for the second."""

    def __init__(self, pairs: bool) -> None:
        self.count, self.pairs = 10, pairs

    def batch(self, rows: np.ndarray) -> Batch:
        inputs = np.concatenate([rows, rows + 10]) if self.pairs else rows
        return Batch(inputs[:, None], None, rows)


@pytest.mark.parametrize("pairs", [False, True])
def test_every_sequence_counts_once(pairs):
    small: Any = recipe("model.depth=2")
    if pairs:
        old = small.model
        model = DualEncoderConfig(old.layer, 2, old.input_kind, old.input_size, classes=old.classes)
        small = small.replace(model=model)
    split: Any = Numbered(pairs)
    rows = activation_rates(small, Told(), split)
    own = np.arange(20 if pairs else 10) / 10
    assert [row["layer"] for row in rows] == [0, 1]
    for row, share in zip(rows, (1.0, 0.5), strict=True):
        assert row["sequences"] == len(own)
        assert row["mean"] == pytest.approx(share * own.mean())
        for name, at in (("p05", 0.05), ("p50", 0.5), ("p95", 0.95)):
            assert row[name] == pytest.approx(np.quantile(share * own, at))


def test_layers_that_choose_nothing_have_no_rows():
    split: Any = Numbered(False)
    assert activation_rates(s5.lra_listops("smoke"), None, split) == []
    assert activation_rates(recipe("model.layer.always_act=true"), None, split) == []
