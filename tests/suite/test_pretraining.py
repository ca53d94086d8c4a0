"""Span corruption as a task: windows that lose spans, what is measured of them, a run that stops and goes on."""

import dataclasses
import importlib
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from implementations.common.config import ConfigError
from implementations.models.config import EncoderDecoderConfig
from implementations.transformer.config import TransformerConfig
from suite.data import open_dataset
from suite.data.glue import END, FIRST_BYTE
from suite.data.span_corruption import FIRST_BYTE_SENTINEL, Corrupted, restore
from suite.data.text.split import TextSplit
from suite.hardware.ahead_of_time import abstract_batch
from suite.launch import pretraining_result, result
from suite.launch.operations import positions, total_operations
from suite.matrix import Selection, cells
from suite.recipes import pretraining, summaries
from suite.recipes.base import DataSpec, Recipe, SpanCorruption
from suite.training.checkpoint import CheckpointStore
from suite.training.loop import Controls, Stopped
from suite.training.optimizer import Group, OptimizerSpec, Schedule
from suite.training.pretraining.batches import evaluated, evaluation_batch, is_text, training_batch
from suite.training.pretraining.loop import PretrainingLoop, train, unigram

LAYER = TransformerConfig(d_model=8, heads=2, head_width=4, d_ff=16)
OWN = LAYER.replace(causal=True, d_ff=0, positions="learned", max_length=16)
MODEL = EncoderDecoderConfig(LAYER, 1, "tokens", 259, OWN, 1, LAYER, scale_logits=True, start=0, end=2)
SPANS = SpanCorruption(updates=3, length=40, noise_density=0.25, mean_span_length=5.0, evaluated=6)
RECIPE = Recipe(
    model=MODEL,
    optimizer=OptimizerSpec({"regular": Group(0.01, 0.0)}, {}, Schedule(warmup_steps=2, total_steps=6), clip_norm=1.0),
    batch_size=4,
    evaluation_batch_size=4,
    epochs=2,
    data=DataSpec("book", {}),
    selection="last epoch",
    span_corruption=SPANS,
)
TEXT = "Ein Löwe ging, ein あ kam. ".encode() * 9


def split(text: bytes = TEXT) -> TextSplit:
    tokens, counts = np.frombuffer(text, np.uint8), np.array([len(text)])
    return TextSplit(tokens, np.array([0, len(text)]), counts, counts, begin=256)


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Any:
    return open_dataset("book", tmp_path_factory.mktemp("data"))


def backend(framework: str, recipe: Recipe = RECIPE) -> Any:
    pytest.importorskip(framework)
    return importlib.import_module(f"suite.training.pretraining.{framework}").Backend(recipe, 0)


def test_windows_lose_spans_that_the_targets_hold():
    text, shapes = split(), SPANS.lengths
    assert (SPANS.counts, shapes) == ((10, 2), (40 - 10 + 2 + 1, 10 + 2 + 1))
    made = training_batch(text, SPANS, 3, seed=5, step=1, start=0)
    assert (made.inputs.shape, made.targets.shape) == ((3, shapes[0]), (3, shapes[1]))
    whole = {TEXT[first : first + 40] for first in range(0, len(TEXT) - 39, 40)}
    for read, written, before in zip(made.inputs, made.targets, made.outputs, strict=True):
        assert (read[-1], written[-1], before[0]) == (END, END, 0)
        assert before[1:].tolist() == written[:-1].tolist()
        restored = restore(Corrupted(read[:-1].astype(np.int64), written[:-1].astype(np.int64)), FIRST_BYTE_SENTINEL)
        assert (restored - FIRST_BYTE).astype(np.uint8).tobytes() in whole
        assert is_text(written).sum() == 10
    np.testing.assert_array_equal(training_batch(text, SPANS, 3, 5, 1, 0).inputs, made.inputs)
    rounds = [training_batch(split(TEXT[:40]), SPANS, 1, 0, step, 0) for step in range(3)]
    assert len({one.targets.tobytes() for one in rounds}) == 3  # of one window, other spans in every round
    few = evaluated(text, SPANS)
    assert few.tolist() == [place * len(whole) // 6 for place in range(6)]
    one, both = evaluation_batch(text, SPANS, few[1:2], 0), evaluation_batch(text, SPANS, few[:2], 0)
    np.testing.assert_array_equal(one.targets[0], both.targets[1])


def evaluator(framework: str, logits: np.ndarray) -> Any:
    """A backend without its model, in whose place these logits stand."""
    module = importlib.import_module(f"suite.training.pretraining.{framework}")
    made = object.__new__(module.Backend)
    made.recipe = RECIPE

    def model(inputs: Any, outputs: Any, lengths: Any) -> Any:
        shapes = [tuple(array.shape) for array in (inputs, outputs, lengths)]
        assert shapes == [(2, SPANS.lengths[0]), (2, SPANS.lengths[1]), (2,)]
        return module.torch.from_numpy(logits) if framework == "torch" else module.jnp.asarray(logits)

    if framework == "torch":
        made.model, made.device, made.compiled = model, module.torch.device("cpu"), False
    else:
        made.parameters = made.statistics = {}
        made._model, made._evaluate = lambda *_: model, made._evaluate_function
        made._move = lambda *arrays: tuple(map(module.jnp.asarray, arrays))
    return made


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_an_evaluation_tells_losses_and_what_is_likeliest(framework):
    pytest.importorskip(framework)
    batch = evaluation_batch(split(), SPANS, np.array([0, 3]), 0)
    logits = np.random.default_rng(0).standard_normal((*batch.targets.shape, 259))
    rows = np.arange(2)[:, None], np.arange(SPANS.lengths[1])
    logits[:, 4:][rows[0], rows[1][:-4], batch.targets[:, 4:]] += 99.0
    found = evaluator(framework, logits).evaluate(batch)
    expected = np.log(np.exp(logits).sum(-1)) - logits[(*rows, batch.targets)]
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-5)
    np.testing.assert_array_equal(found[..., 1], logits.argmax(-1) == batch.targets)
    assert found[:, 4:, 1].all()
    assert not found[..., 1].all()


class Told:
    """A backend that gives each target a loss, and counts as hit what it is told."""

    def evaluate(self, batch: Any) -> np.ndarray:
        lost = is_text(batch.targets)
        losses = np.where(lost, math.log(8.0), math.log(2.0))
        hits = np.where(lost, np.cumsum(lost, 1) <= 4, 1.0)
        return np.stack([losses, hits], -1).astype(np.float32)


def test_perplexity_and_accuracy_are_those_of_lost_bytes(tmp_path):
    data = SimpleNamespace(protocol={"unit": "byte"}, train=split(), validation=split(), test=split(), name="text")
    quiet = Controls(say=lambda line: None)
    row: dict[str, Any] = {}
    PretrainingLoop(RECIPE, data, Told(), 0, CheckpointStore(tmp_path), quiet).evaluate(row)
    assert row["test_token_perplexity"] == pytest.approx(8.0, rel=1e-6)
    assert row["test_token_accuracy"] == pytest.approx(0.4)
    assert row["test_nll_nats_per_token"] == pytest.approx((10 * math.log(8) + 3 * math.log(2)) / 13, rel=1e-6)
    assert row["validation_token_accuracy"] == row["test_token_accuracy"]
    alike: Any = SimpleNamespace(train=split(b"a" * 1_000 + b"b" * 23), test=split(b"ab" * 40))
    known = unigram(alike, SPANS)
    assert 0 < known["token_accuracy"] < 1
    share = known["token_accuracy"]
    nats = -share * math.log(1_001 / 1_279) - (1 - share) * math.log(24 / 1_279)
    assert known["token_perplexity"] == pytest.approx(math.exp(nats))


def test_a_run_that_stops_goes_on_to_a_record_and_weights(book, tmp_path):
    def run(folder: str, made: Any, **controls: Any) -> Any:
        quiet = Controls(say=lambda line: None, checkpoint_steps=1, **controls)
        return train(RECIPE, book, made, 0, CheckpointStore(tmp_path / folder), quiet)

    with pytest.raises(Stopped, match="at step 2 of 6"):
        run("stopped", backend("torch"), last_step=2)
    (ended, straight), made = (run(name, backend("torch")) for name in ("stopped", "straight")), backend("torch")
    assert ended.losses == straight.losses
    assert ended.epochs == straight.epochs
    assert ended.epochs[1]["test_nll_nats_per_token"] < ended.epochs[0]["test_nll_nats_per_token"]
    assert run("stopped", made).step == 6  # its backend is that of the end
    (cell,) = cells(Selection(tasks=("pretraining.book",), frameworks=("torch",)))
    cell = dataclasses.replace(cell, recipe=RECIPE)
    facts = result.protocol(cell)
    record = pretraining_result.measured(cell, facts, ended, book, {}, {"parameter_count": 1})
    assert record.metrics["test_token_accuracy"] == ended.epochs[-1]["test_token_accuracy"]
    assert record.metrics["unigram_token_perplexity"] == pytest.approx(23, abs=2)
    assert record.protocol["metric"] == "test_nll_nats_per_token"
    assert record.protocol["splits"]["test"]["bytes"] == 27_839
    assert "lose 10 in 2 spans" in record.protocol["objective"]
    left = pretraining_result.leave_weights(cell, made.state(), ended, tmp_path)
    assert left["file"] == f"weights/{cell.id}.safetensors"
    assert positions(cell) == sum(SPANS.lengths)
    assert total_operations(cell, tmp_path)
    shapes = [
        [(name, array.shape, array.dtype) for name, array in vars(batch).items()]
        for batch in (abstract_batch(RECIPE, 3), evaluation_batch(book.test, SPANS, np.arange(3), 0))
    ]
    assert shapes[0] == shapes[1]  # what is compiled for a TPU is what is trained


def test_recipes_fit_what_comes_after():
    for profile in ("smoke", "small", "paper"):
        found = pretraining.recipe("pg19", profile)
        assert found is not None
        assert Recipe.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert (found.kind, found.model) == ("pretraining.", summaries.qmsum(profile).model)
        assert found.total_steps == found.optimizer.schedule.total_steps == found.epochs * found.steps_per_epoch
    assert pretraining.recipe("book", "paper") is None
    assert "span_corruption" not in summaries.qmsum().to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean_span_length": 1.0, "length": 99}, "mean_span_length is 1.0: expected longer spans: a window loses 25"),
        ({"length": 80}, "expected windows that lose less: 25 tokens are written, decoder_layer.max_length is 16"),
        ({"noise_density": 1.0}, "noise_density is 1.0: expected 0 < noise_density < 1"),
    ],
)
def test_spans_that_do_not_fit_are_one_sentence(change, message):
    with pytest.raises(ConfigError, match=message):
        RECIPE.replace(span_corruption=SPANS.replace(**change))


def test_texts_that_do_not_fit_are_one_sentence(tmp_path):
    store, quiet = CheckpointStore(tmp_path), Controls()
    words: Any = SimpleNamespace(protocol={"unit": "word"}, settings={"tokenizer": "words"}, name="wikitext103")
    with pytest.raises(ConfigError, match="wikitext103 is prepared by 'words': span corruption reads bytes"):
        PretrainingLoop(RECIPE, words, None, 0, store, quiet)
    short: Any = SimpleNamespace(protocol={"unit": "byte"}, train=split(), validation=split(b"abc"), name="text")
    with pytest.raises(ConfigError, match="the validation split of text has 0 such windows, expected at least 1"):
        PretrainingLoop(RECIPE, short, None, 0, store, quiet)
    with pytest.raises(ConfigError, match="selection is 'best validation loss': expected 'last epoch'"):
        RECIPE.replace(selection="best validation loss")
