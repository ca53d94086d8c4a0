"""Models that write: pairs cut and padded, equal twins, a run that stops and goes on, and ROUGE in its record."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from implementations.common.config import ConfigError
from implementations.models.config import EncoderDecoderConfig
from implementations.transformer.config import TransformerConfig
from suite.data import prepare_dataset
from suite.hardware.ahead_of_time import abstract_batch
from suite.launch import generation_result, result
from suite.launch.operations import positions
from suite.matrix import Cell, Selection, cells
from suite.recipes import s5
from suite.recipes.base import DataSpec, Generation, Recipe
from suite.recipes.summaries import qmsum
from suite.rouge import MEASURES, mean_rouge
from suite.training.checkpoint import CheckpointStore
from suite.training.generation.batches import PairBatch, pair_batch, text
from suite.training.generation.loop import GenerationLoop, of, references, train
from suite.training.loop import Controls, Diverged, Stopped
from suite.training.optimizer import Group, OptimizerSpec, Schedule

BACKENDS = ("jax", "torch")
ANSWERS = ("yes.", "no.", "later.")
LAYER = TransformerConfig(d_model=8, heads=2, head_width=4, d_ff=16, dropout=0.1)
OWN = LAYER.replace(causal=True, d_ff=0, positions="learned", max_length=8)
MODEL = EncoderDecoderConfig(LAYER, 1, "tokens", 259, OWN, 1, LAYER, scale_logits=True, start=0, end=2)
RECIPE = Recipe(
    model=MODEL,
    optimizer=OptimizerSpec({"regular": Group(0.01, 0.0)}, {}, Schedule(warmup_steps=2, total_steps=12), clip_norm=1.0),
    batch_size=4,
    evaluation_batch_size=4,
    epochs=2,
    data=DataSpec("qmsum", {"train": 18, "validation": 6, "test": 6, "source": "local"}),
    selection="best validation loss",
    generation=Generation(input_length=24, target_length=8),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Any:
    """Meetings of one turn with three questions each, whose answers are in their words."""
    files = tmp_path_factory.mktemp("qmsum")
    for folder, meetings in (("train", 6), ("val", 2), ("test", 2)):
        (files / folder).mkdir()
        for i in range(meetings):
            asked = [{"query": f"{i}{answer[0]}?", "answer": answer} for answer in ANSWERS]
            turns = [{"speaker": "Ann", "content": "Shall we start now, or never ?"}]
            meeting = {"meeting_transcripts": turns, "general_query_list": asked, "specific_query_list": []}
            (files / folder / f"{i}.json").write_text(json.dumps(meeting))
    return prepare_dataset("qmsum", files / "data", released=files, **RECIPE.data.settings)


def test_a_program_for_hardware_that_is_not_here_has_these_shapes(data):
    """Its loss and the losses of its evaluation are lowered without data."""
    found = pair_batch(data.train, np.arange(4), of(RECIPE), MODEL.start)
    abstract = abstract_batch(RECIPE, 4)
    assert type(abstract) is PairBatch
    shapes = [{name: (a.shape, a.dtype) for name, a in vars(batch).items()} for batch in (abstract, found)]
    assert shapes[0] == shapes[1]
    assert abstract_batch(RECIPE, 2, 48).inputs.shape == (2, 48)
    jax = pytest.importorskip("jax")
    from suite.hardware.jax import Compiler

    training = Compiler("tpu-v4", devices=jax.devices("cpu")[:1]).training(RECIPE)
    assert "4x24xi32" in training.step().as_text()
    assert "4x24xi32" in training.evaluation().as_text()


def backend(framework: str, recipe: Recipe = RECIPE) -> Any:
    pytest.importorskip(framework)
    return importlib.import_module(f"suite.training.generation.{framework}").Backend(recipe, 0)


def test_pairs_are_cut_padded_and_shifted(data):
    batch = pair_batch(data.train, np.array([1, 2]), Generation(6, 4), start=0)
    assert [text(row) for row in batch.inputs] == ["0n?Ann"[:3] + "An", "0l?An"]
    assert batch.lengths.tolist() == [6, 6]
    assert batch.targets.tolist() == [[*(byte + 3 for byte in b"no."), 2], [byte + 3 for byte in b"late"]]
    np.testing.assert_array_equal(batch.outputs[:, 1:], batch.targets[:, :-1])
    assert batch.outputs[:, 0].tolist() == [0, 0]
    assert batch.mask.all()
    longer = pair_batch(data.train, np.array([1]), Generation(99, 6), start=0)
    assert longer.mask.tolist() == [[True] * 4 + [False] * 2]
    assert longer.lengths.tolist() == [len("0n?") + 1 + len("Ann: Shall we start now, or never ?") + 1]
    assert not longer.inputs[0, longer.lengths[0] :].any()
    assert references(data.test) == list(ANSWERS * 2)


def test_what_is_no_text_is_replaced():
    assert text(np.array([68, 2, 69])) == "A"
    assert text(np.array([198, 68, 0, 1])) == "�A"
    assert text(np.array([2, 68])) == ""


@pytest.fixture(scope="module")
def twins(data):
    """Of both backends the losses of six updates, an evaluation, what is written, and the state."""
    found = {}
    jax = pytest.importorskip("jax")
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)  # compilation takes longer than what is compiled
    for framework in BACKENDS:
        made = backend(framework, RECIPE.replace(generation=Generation(24, 4)))
        batches = [pair_batch(data.train, np.arange(4) + step, made.generation, 0) for step in range(6)]
        handles = [made.train_step(b, RECIPE.optimizer.rates(s), 7 * s + 1) for s, b in enumerate(batches)]
        losses = made.losses(handles)
        found[framework] = (losses, made.evaluate(batches[0]), made.generate(batches[0]), made.state())
    jax.config.update("jax_disable_most_optimizations", before)
    return found, batches[0]


def test_twins_learn_and_write_alike(twins):
    (one, other), batch = twins[0].values(), twins[1]
    np.testing.assert_allclose(one[0][:4], other[0][:4], rtol=2e-5)
    np.testing.assert_allclose(one[0], other[0], rtol=2e-3)
    assert one[0][-1] < one[0][0] - 0.1
    np.testing.assert_allclose(one[1], other[1], rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(one[1] == 0, ~batch.mask)
    np.testing.assert_array_equal(one[2], other[2])
    assert one[2].shape == (4, 4)
    assert one[3].keys() == other[3].keys()


@pytest.mark.parametrize("framework", ["torch"])
def test_padding_and_batch_mates_have_no_part(data, framework):
    made = backend(framework)
    batch = pair_batch(data.train, np.array([0, 1, 2, 3]), made.generation, 0)
    inputs, outputs, targets = batch.inputs.copy(), batch.outputs.copy(), batch.targets.copy()
    inputs[np.arange(24) >= batch.lengths[:, None]] = 9
    targets[~batch.mask] = 9
    outputs[:, 1:][~batch.mask[:, :-1]] = 9
    other = PairBatch(inputs, batch.lengths, outputs, targets, batch.mask)
    np.testing.assert_array_equal(made.evaluate(other), made.evaluate(batch))
    swapped = pair_batch(data.train, np.array([3, 2, 1, 0]), made.generation, 0)
    np.testing.assert_allclose(made.evaluate(swapped)[::-1], made.evaluate(batch), rtol=1e-5)
    loss = made.losses([made.train_step(batch, {"regular": 0.0}, 1)])
    repeated = backend(framework)
    np.testing.assert_array_equal(repeated.losses([repeated.train_step(other, {"regular": 0.0}, 1)]), loss)
    assert repeated.losses([repeated.train_step(other, {"regular": 0.0}, 2)]) != loss  # another dropout


@pytest.mark.parametrize("framework", BACKENDS)
def test_what_is_written_is_searched_as_the_recipe_says(data, framework):
    made = backend(framework, RECIPE.replace(generation=Generation(24, 5, beams=3, length_penalty=0.7)))
    batch, seen = pair_batch(data.train, np.array([0, 1]), made.generation, 0), []

    def generate(inputs: Any, length: int, lengths: Any, **options: Any) -> Any:
        seen.append((np.asarray(inputs), length, np.asarray(lengths), options))
        return inputs

    if framework == "torch":
        made.model.generate = generate
    else:
        made._model = lambda *values: SimpleNamespace(generate=generate)
    np.testing.assert_array_equal(made.generate(batch), batch.inputs)
    ((inputs, length, lengths, options),) = seen
    np.testing.assert_array_equal(inputs, batch.inputs)
    np.testing.assert_array_equal(lengths, batch.lengths)
    assert (length, options) == (5, {"beams": 3, "length_penalty": 0.7})


class Told:
    """A backend whose loss of a target is `nats` times its token, and which writes nothing."""

    nats = 1.0

    def evaluate(self, batch: PairBatch) -> np.ndarray:
        return self.nats * batch.mask * batch.targets

    def generate(self, batch: PairBatch) -> np.ndarray:
        return np.zeros_like(batch.targets)


def test_losses_are_means_over_targets_and_only_what_is_better_is_tested(data, tmp_path):
    def loop(**changes: Any) -> GenerationLoop:
        quiet = Controls(say=lambda line: None)
        return GenerationLoop(RECIPE.replace(**changes), data, Told(), 0, CheckpointStore(tmp_path), quiet)  # pyright: ignore

    def evaluated(one: GenerationLoop, nats: float) -> tuple[bool, dict[str, Any]]:
        one.backend.nats, row = nats, {}  # pyright: ignore[reportAttributeAccessIssue]
        kept = one.evaluate(row)
        one.run.epochs.append(row)
        one.run.selected = len(one.run.epochs) - 1 if kept else one.run.selected
        assert kept is None or kept["predictions"].shape == (6, 8)
        return kept is not None, row

    tokens = [token for answer in ANSWERS for token in (*(byte + 3 for byte in answer.encode()), 2)]
    best = loop()
    kept, row = evaluated(best, 1.0)
    assert kept
    assert row["test_nll_nats_per_token"] == row["validation_nll_nats_per_token"] == pytest.approx(np.mean(tokens))
    assert row["test_rouge1"] == 0
    kept, row = evaluated(best, 2.0)
    assert not kept
    assert row["test_nll_nats_per_token"] is row["test_rouge1"] is None
    assert evaluated(best, 0.5)[0]
    with pytest.raises(Diverged, match="losses of the validation split are not finite"):
        evaluated(best, float("nan"))
    last = loop(selection="last epoch")
    assert [evaluated(last, nats)[0] for nats in (1.0, 2.0)] == [True, True]


def cell() -> Cell:
    (found,) = cells(Selection(tasks=("summaries.qmsum",), architectures=("spade",), frameworks=("torch",)))
    return Cell(**{**vars_of(found), "recipe": RECIPE})


def vars_of(found: Cell) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Cell.__dataclass_fields__}


def test_a_run_that_stops_goes_on_to_a_record_with_rouge(data, tmp_path):
    def run(folder: Path, **controls: Any) -> Any:
        quiet = Controls(say=lambda line: None, checkpoint_steps=1, **controls)
        return train(RECIPE, data, backend("torch"), 0, CheckpointStore(folder), quiet)

    calls = iter([None] * 9 + ["stopped by a test"] * 99)
    with pytest.raises(Stopped, match="stopped by a test at step"):
        run(tmp_path / "stopped", stop=lambda: next(calls))
    again, straight = run(tmp_path / "stopped"), run(tmp_path / "straight")
    assert again.losses == straight.losses
    assert again.epochs == straight.epochs
    np.testing.assert_array_equal(again.predictions, straight.predictions)
    one = cell()
    facts = result.protocol(one)
    device = {"parameter_count": 1}
    record = generation_result.measured(one, facts, again, data, {"commit": "c"}, device)
    assert again.selected is not None
    best = again.epochs[again.selected]
    scores = mean_rouge([text(row) for row in again.predictions], list(ANSWERS * 2))
    for name in MEASURES:
        assert record.metrics[f"test_{name}"] == best[f"test_{name}"] == pytest.approx(scores[name])
        assert record.metrics[f"untrained_{name}"] >= 0
    assert record.metrics["test_nll_nats_per_token"] < np.log(259)
    assert [row["reference"] for row in record.tables["summaries"]] == list(ANSWERS * 2)[:5]
    assert record.tables["summaries"][0]["question"] == "0y?"
    assert record.curves["validation_nll_nats_per_token"] == [
        row["validation_nll_nats_per_token"] for row in again.epochs
    ]
    assert (facts["input_length"], facts["target_length"]) == (24, 8)
    assert "the greedy choice" in facts["evaluation"]
    assert positions(one) == 32


def test_recipes_say_what_they_are():
    for profile in ("smoke", "small", "paper"):
        recipe = qmsum(profile)
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
        assert recipe.kind == "generation."
    assert "generation" not in s5.RECIPES["lra.listops"]("smoke").to_dict()
    with pytest.raises(ConfigError, match="generation is None: expected one for a model without classes, which writes"):
        RECIPE.replace(generation=None, selection="last epoch")
    with pytest.raises(ConfigError, match="selection is 'best test accuracy': expected 'best validation loss' or"):
        RECIPE.replace(selection="best test accuracy")
    with pytest.raises(ConfigError, match="beams is 0: expected at least 1"):
        Generation(4, 4, beams=0)
