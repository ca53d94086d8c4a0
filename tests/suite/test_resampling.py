"""Evaluation at another sampling rate: the time steps grow, nothing is trained again."""

import dataclasses
import importlib
import json
from typing import Any

import numpy as np
import pytest
from speech_clips import speech_files
from tiny_runs import launch, record

from implementations.common.config import ConfigError
from implementations.models.config import ClassifierConfig
from implementations.s5.config import S5Config
from suite.data import Batch, prepare_dataset
from suite.matrix import Cell, Selection, cells
from suite.recipes import sequences
from suite.recipes.base import Recipe, apply_overrides
from suite.recipes.s5 import lra_listops
from suite.training.loop import resampled

LAYER = S5Config(d_model=8, ssm_size=8, dt_min=0.01, dt_max=0.02, activation="gelu")
MODEL = ClassifierConfig(layer=LAYER, depth=2, input_kind="values", input_size=1, classes=3)


def slow_wave(length: int) -> np.ndarray:
    return np.sin(np.linspace(0, 4 * np.pi, length, endpoint=False) + np.arange(2)[:, None])[..., None].astype(
        np.float32
    )


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_half_the_samples_with_doubled_steps_are_the_same_signal(framework):
    pytest.importorskip(framework)
    recipe = sequences.smnist("smoke").replace(model=MODEL, resampling=2)
    backend = importlib.import_module(f"suite.training.{framework}").Backend(recipe, 0)
    whole = Batch(slow_wave(1_024), np.full(2, 1_024, np.int32), np.zeros(2, np.int32))
    half = resampled(whole, 2)
    assert half.inputs.shape == (2, 512, 1)
    np.testing.assert_array_equal(half.lengths, [512, 512])
    expected = backend.evaluate(whole)
    rescaled, unscaled = backend.evaluate(half, step_rescale=2.0), backend.evaluate(half)
    assert np.abs(rescaled - expected).max() < 0.02 * np.abs(expected).max()
    assert np.abs(unscaled - expected).max() > 10 * np.abs(rescaled - expected).max()


def test_lengths_of_padded_sequences_are_rounded_up():
    batch = Batch(np.arange(10).reshape(2, 5), np.array([5, 2], np.int32), np.zeros(2, np.int32))
    np.testing.assert_array_equal(resampled(batch, 2).inputs, [[0, 2, 4], [5, 7, 9]])
    np.testing.assert_array_equal(resampled(batch, 2).lengths, [3, 1])
    assert resampled(batch, 1) is batch


def test_recipes_without_it_keep_their_identity():
    assert "resampling" not in lra_listops("paper").to_dict()
    recipe = sequences.speech35("paper")
    assert recipe.to_dict()["resampling"] == 2
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    with pytest.raises(ConfigError, match="resampling is 2: expected 1, or layers of s5"):
        sequences.speech10("smoke").replace(resampling=2)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """The root of data that hold a tiny Speech Commands."""
    root = tmp_path_factory.mktemp("data")
    prepare_dataset("speech_commands", root, released=speech_files(root / "files"), **SETTINGS)
    return root


SETTINGS: dict[str, Any] = {"source": "local", "words": 35, "train": 4, "validation": 3, "test": 3}


def test_a_cell_records_accuracy_at_half_the_rate(tmp_path, speech):
    framework = "jax"
    pytest.importorskip(framework)
    (cell,) = cells(Selection(tasks=("speech.sc35",), architectures=("s5",), frameworks=(framework,)))
    sizes = ("model.layer.d_model=4", "model.layer.ssm_size=4", "model.layer.blocks=1", "model.depth=1", "epochs=1")
    recipe = apply_overrides(cell.recipe, [*sizes, "batch_size=2", "evaluation_batch_size=3"])
    recipe = recipe.rescaled(data=recipe.data.replace(settings=SETTINGS))
    tiny: Cell = dataclasses.replace(cell, recipe=recipe)
    ((outcome,), _) = launch([tiny], tmp_path, speech)
    assert outcome.status == "measured", outcome.reason
    metrics = record(tmp_path, tiny).metrics
    for split in ("validation", "test"):
        assert 0 <= metrics[f"resampled_{split}_accuracy"] <= 1
        assert metrics[f"resampled_{split}_loss"] != metrics[f"{split}_loss"]
