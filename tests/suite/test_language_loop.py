"""Training of language models without a framework: what is read, what is counted, what is selected and kept."""

import math
from types import SimpleNamespace
from typing import Any

import language_texts
import numpy as np
import pytest

from implementations.common.config import ConfigError
from suite.recipes.base import LanguageTraining, Recipe, apply_overrides
from suite.training.checkpoint import CheckpointStore
from suite.training.language.loop import evaluate, evaluation_batches, lengths_read, train, training_batches
from suite.training.language.metrics import (
    ByPosition,
    IncompleteEvaluation,
    length_rows,
    metrics,
    position_rows,
    unigram_bits_per_byte,
)
from suite.training.loop import Controls, Diverged, Stopped


class Counting:
    """A backend whose loss of a target is its token times a factor that follows from the step alone."""

    def __init__(self, factors: tuple[float, ...] = (1.0,)) -> None:
        self.step, self.factors = 0, factors
        self.seen: list[np.ndarray] = []
        self.evaluations = 0

    def train_step(self, batch: Any, rates: dict[str, float], seed: int) -> float:
        self.seen.append(batch.targets.copy())
        self.step += 1
        return float(batch.targets[batch.mask].mean())

    def losses(self, handles: list[float]) -> np.ndarray:
        return np.array(handles)

    def begin_evaluation(self) -> None:
        self.evaluations += 1

    def evaluate(self, batch: Any) -> np.ndarray:
        factor = self.factors[min(self.step // 4, len(self.factors)) - 1]
        return np.where(batch.mask, factor * batch.targets, 0).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {"step": np.array(self.step)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        self.step = int(state["step"])

    def peak_memory(self) -> None: ...


def backend() -> Any:
    """The plainest one."""
    return Counting()


@pytest.fixture
def go(tmp_path):
    lines: list[str] = []
    store = CheckpointStore(tmp_path / "cell", lines.append)

    def run(recipe: Recipe, backend: Any = None, **controls: Any) -> Any:
        backend = backend or Counting()
        found = train(recipe, language_texts.text(), backend, 3, store, Controls(say=lines.append, **controls))
        return SimpleNamespace(run=found, backend=backend, lines=lines)

    return run


@pytest.mark.parametrize("make", [language_texts.recipe, language_texts.windows])
def test_updates_read_the_batches_of_the_recipe(go, make):
    found, batches = go(make()), training_batches(make(), language_texts.text().train, 3)
    assert type(batches).__name__ == ("CarriedBatches" if make is language_texts.recipe else "WindowBatches")
    assert len(found.backend.seen) == len(found.run.losses) == 12
    for step, seen in enumerate(found.backend.seen):
        np.testing.assert_array_equal(seen, batches.batch(step).targets)


@pytest.mark.parametrize("make", [language_texts.recipe, language_texts.windows])
def test_an_evaluation_counts_every_target_once(make):
    recipe, test = make(), language_texts.text().test
    found = evaluate(recipe, backend(), test)
    assert found.targets == test.token_count == 44
    assert found.nats == float(test.tokens.sum())
    assert {batch.inputs.shape for batch in evaluation_batches(recipe, test)} == {(2, 6)}


def test_other_lengths_start_anew_and_count_every_target():
    recipe, test = language_texts.recipe(language={"lengths": (4, 12)}), language_texts.text().test
    starts = [batch.start.tolist() for batch in evaluation_batches(recipe, test, 12)]
    assert starts[:4] == [[True, True], [False, True], [True, False], [False, True]]
    found = evaluate(recipe, backend(), test, length=12)
    assert (found.targets, found.nats) == (44, float(test.tokens.sum()))
    assert len(found.sums) == 1
    assert {batch.inputs.shape[1] for batch in evaluation_batches(recipe, test, 4)} == {4}
    assert length_rows((4,), [44 * math.log(8)], test)[0]["bits_per_byte"] == pytest.approx(1.5)


@pytest.mark.parametrize(("longest", "read"), [(2, [2]), (3, [2, 6]), (6, [2, 6]), (7, [2, 6, 12]), (99, [2, 6, 12])])
def test_a_text_is_not_read_at_lengths_that_it_does_not_have(longest, read):
    recipe = language_texts.recipe(language={"lengths": (2, 6, 12)})
    assert lengths_read(recipe, language_texts.split([1, longest], 0)) == read


def test_positions_are_those_in_the_document():
    text = language_texts.text().test
    found = evaluate(language_texts.recipe(), backend(), text)
    rows = position_rows(found.sums)
    assert [(r["position_from"], r["position_to"], r["targets"]) for r in rows] == [(0, 15, 29), (16, 31, 15)]
    late = text.document(0)[16:].astype(float)
    assert rows[1]["nll_nats_per_token"] == pytest.approx(late.mean())
    assert rows[1]["token_perplexity"] == pytest.approx(math.exp(late.mean()))


def test_an_evaluation_that_leaves_targets_out_is_no_number(monkeypatch):
    monkeypatch.setattr(ByPosition, "targets", 43)
    with pytest.raises(IncompleteEvaluation, match="43 targets were evaluated of a split of 44 tokens"):
        evaluate(language_texts.recipe(), backend(), language_texts.text().test)


def test_bins_double():
    found = ByPosition()
    found.add(np.ones((1, 100)), np.ones((1, 100), bool), np.array([0]))
    assert [(r["position_from"], r["position_to"], r["targets"]) for r in position_rows(found.sums)] == [
        (0, 15, 16), (16, 31, 16), (32, 63, 32), (64, 127, 36),
    ]  # fmt: skip
    found.add(np.full((1, 3), 2.0), np.array([[True, False, True]]), np.array([30]))
    assert (found.targets, found.nats) == (102, 104.0)
    assert found.sums[:, 1].tolist() == [16, 17, 33, 36]


def test_metrics_by_their_definitions():
    split = language_texts.text().test  # 44 tokens of two bytes, 16 words
    found = metrics(44 * math.log(8), split)
    assert found["nll_nats_per_token"] == pytest.approx(math.log(8))
    assert found["token_perplexity"] == pytest.approx(8)
    assert found["bits_per_byte"] == pytest.approx(1.5)
    assert found["word_perplexity"] == pytest.approx(8 ** (44 / 16))
    assert metrics(1e9, split)["word_perplexity"] == math.inf


def test_the_unigram_baseline_counts_the_train_split():
    text = language_texts.text()
    counts = np.bincount(text.train.tokens, minlength=11) + 1.0
    expected = -np.log2(counts[text.test.tokens] / counts.sum()).sum() / 88
    assert unigram_bits_per_byte(text.train, text.test, 11) == pytest.approx(expected)


def test_the_best_validation_loss_is_selected_and_tested(go):
    found = go(language_texts.recipe(), Counting((1.0, 0.5, 0.7)))
    rows, text = found.run.epochs, language_texts.text()
    assert (found.run.selected, [row["epoch_step"] for row in rows]) == (1, [4, 8, 12])
    expected = 0.5 * text.validation.tokens.sum() / 35
    assert rows[1]["validation_nll_nats_per_token"] == pytest.approx(expected)
    assert rows[1]["test_bits_per_byte"] == pytest.approx(0.5 * text.test.tokens.sum() / 88 / math.log(2))
    assert rows[2]["test_bits_per_byte"] is None
    assert found.run.positions[:, 0].sum() == pytest.approx(0.5 * text.test.tokens.sum())
    assert found.backend.evaluations == 5
    assert any("validation bits per byte" in line for line in found.lines)


def test_the_last_evaluation_is_selected_where_the_recipe_says_so(go):
    found = go(language_texts.recipe(selection="last epoch"), Counting((1.0, 0.5, 0.7)))
    assert found.run.selected == 2
    assert found.backend.evaluations == 6


def test_a_stopped_run_goes_on_to_the_same_numbers(go):
    recipe = language_texts.recipe()
    backend = Counting((1.0, 0.5, 0.7))
    with pytest.raises(Stopped, match="at step 8 of 12"):
        go(recipe, backend, stop=lambda: "now" if backend.step == 8 and backend.evaluations == 3 else None)
    again = go(recipe, Counting((1.0, 0.5, 0.7))).run
    assert again.starts == 2
    batches = training_batches(recipe, language_texts.text().train, 3)
    whole = [batches.batch(step) for step in range(12)]
    assert again.losses == [float(b.targets[b.mask].mean()) for b in whole]
    assert (again.selected, len(again.epochs)) == (1, 3)
    assert again.positions[:, 1].sum() == 44


def test_a_loss_that_is_no_number_ends_the_run(go):
    with pytest.raises(Diverged, match="diverged at step 4: losses of the validation split"):
        go(language_texts.recipe(), Counting((float("nan"),)))


def test_another_vocabulary_is_one_sentence(go):
    recipe = language_texts.recipe()
    with pytest.raises(
        ConfigError, match=r"Recipe.model.input_size is 9: expected at least 11, the vocabulary of cycle"
    ):
        go(recipe.replace(model=recipe.model.replace(input_size=9)))


def test_recipes_of_language_models_survive_json_and_overrides():
    for recipe in (language_texts.recipe(), language_texts.windows()):
        assert Recipe.from_dict(language_texts.plain(recipe)) == recipe
        assert (recipe.steps_per_epoch, recipe.total_steps) == (4, 12)
    longer = apply_overrides(language_texts.recipe(), ["language.updates=10", "language.segment=7"])
    assert (longer.total_steps, longer.optimizer.schedule.total_steps) == (30, 30)
    assert longer.optimizer.schedule.warmup_steps == 5
    assert longer.language is not None
    assert longer.language.segment == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"language": {"carried": True}}, "Recipe.language is .*: expected carried false and a strided evaluation"),
        ({"selection": "best validation accuracy"}, "Recipe.selection is .* expected one of 'best validation loss'"),
    ],
)
def test_what_no_language_model_can_be_trained_by(changes, message):
    layer = language_texts.FULL if "language" in changes else language_texts.RECURRENT
    with pytest.raises(ConfigError, match=message):
        language_texts.recipe(layer, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segment": 0}, "LanguageTraining.segment is 0: expected at least 1"),
        ({"stride": 3}, "LanguageTraining.stride is 3: expected None where evaluation is 'carried'"),
        ({"evaluation": "strided"}, "LanguageTraining.stride is None: expected 1 to evaluation_segment = 8"),
        ({"evaluation": "strided", "stride": 9}, "expected 1 to evaluation_segment = 8"),
        ({"lengths": (4, 12)}, "LanguageTraining.lengths is .*: expected rising numbers, above evaluation_segment = 8"),
        ({"lengths": (8,), "evaluation": "strided", "stride": 8}, "expected none where evaluation is 'strided'"),
    ],
)
def test_wrong_ways_to_train_name_their_field(changes, message):
    with pytest.raises(ConfigError, match=message):
        LanguageTraining(**{"updates": 1, "segment": 8, "evaluation_segment": 8, **changes})
