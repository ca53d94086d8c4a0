"""The backends of language models: equal updates, states that go on, end and come back, and evaluation in any cut."""

import importlib
from typing import Any

import language_texts
import numpy as np
import pytest

from implementations.parameters import ParameterError
from suite.recipes.base import Recipe
from suite.training.language.loop import evaluate, training_batches

BACKENDS = ("jax", "torch")


def backend(framework: str, recipe: Recipe, seed: int = 0, dtype: str = "float32") -> Any:
    return importlib.import_module(f"suite.training.language.{framework}").Backend(recipe, seed, "cpu", dtype)


def train(found: Any, recipe: Recipe, steps: range) -> np.ndarray:
    batches = training_batches(recipe, language_texts.text().train, 3)
    handles = [found.train_step(batches.batch(s), recipe.optimizer.rates(s), 7 * s + 1) for s in steps]
    return found.losses(handles)


@pytest.fixture(scope="module", params=["carried", "windows"])
def pair(request):
    """Both backends after twelve updates, their losses and what they evaluate to; the first six losses come apart."""
    recipe = language_texts.recipe() if request.param == "carried" else language_texts.windows()
    found = {}
    for framework in BACKENDS:
        made = backend(framework, recipe)
        before = made.state()
        first = train(made, recipe, range(6))
        middle = made.state()
        losses = np.concatenate([first, train(made, recipe, range(6, 12))])
        evaluated = evaluate(recipe, made, language_texts.text().test)
        found[framework] = {"made": made, "before": before, "middle": middle, "losses": losses, "sums": evaluated.sums}
    return recipe, found


def test_twins_train_alike(pair):
    _, found = pair
    one, other = (found[framework] for framework in BACKENDS)
    assert one["before"].keys() == other["before"].keys()
    for name, array in one["before"].items():
        np.testing.assert_array_equal(array, other["before"][name], err_msg=name)
        assert array.dtype == other["before"][name].dtype, name
    np.testing.assert_allclose(one["losses"][:4], other["losses"][:4], rtol=2e-5)
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=2e-3)
    np.testing.assert_allclose(one["sums"], other["sums"], rtol=2e-3)
    assert one["losses"][-3:].mean() < one["losses"][:3].mean() - 0.2


@pytest.mark.parametrize("framework", BACKENDS)
def test_a_state_goes_on_bit_for_bit(pair, framework):
    recipe, found = pair
    known = found[framework]
    again = backend(framework, recipe, seed=5)
    again.load_state(known["middle"])
    losses = train(again, recipe, range(6, 12))
    np.testing.assert_array_equal(losses, known["losses"][6:])
    for name, array in known["made"].state().items():
        np.testing.assert_array_equal(again.state()[name], array, err_msg=name)
    carried = [name for name in known["middle"] if name.startswith("carried.")]
    assert bool(carried) == recipe.language.carried
    if carried:
        changed = [name for name in carried if (known["middle"][name] != known["before"][name]).any()]
        assert "carried.0.states" in changed
        missing = {name: array for name, array in known["middle"].items() if name != carried[0]}
        with pytest.raises(ParameterError, match=carried[0]):
            again.load_state(missing)


@pytest.mark.parametrize("framework", BACKENDS)
def test_evaluation_is_the_same_in_every_cut_and_changes_nothing(framework):
    recipe, text = language_texts.recipe(), language_texts.text().test
    made = backend(framework, recipe)
    whole = made.model if framework == "torch" else made._model(made.parameters, made.statistics)
    expected = [log_loss(framework, whole, text, d) for d in range(text.count)]
    before = made.state()
    for rows in (1, 2):
        made.recipe = recipe.replace(evaluation_batch_size=rows)
        found = evaluate(made.recipe, made, text)
        assert found.nats == pytest.approx(sum(expected), rel=2e-5)
    assert evaluate(recipe, made, text).nats == pytest.approx(sum(expected), rel=2e-5)
    for name, array in made.state().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def log_loss(framework: str, model: Any, text: Any, document: int) -> float:
    """The sum of the losses of a document read at once."""
    targets = text.document(document).astype(np.int32)[None]
    inputs = np.concatenate([[[text.begin]], targets[:, :-1]], 1).astype(np.int32)
    if framework == "torch":
        import torch

        with torch.no_grad():
            return float(model.losses(torch.from_numpy(inputs), torch.from_numpy(targets))[0].double().sum())
    return float(np.asarray(model.losses(inputs, targets)[0], np.float64).sum())


@pytest.mark.parametrize("framework", BACKENDS)
def test_a_row_that_starts_forgets_and_its_mates_do_not(framework):
    recipe = language_texts.recipe()
    batches = training_batches(recipe, language_texts.text().train, 3)
    first, second = batches.batch(0), batches.batch(1)
    second.start[:] = [True, False, False]
    fresh, gone_on = (backend(framework, recipe) for _ in range(2))
    gone_on.train_step(first, {"regular": 0.0}, 1)
    for made in (fresh, gone_on):
        made.train_step(second, {"regular": 0.0}, 1)
    states = [made.state() for made in (fresh, gone_on)]
    for name in (name for name in states[0] if name.startswith("carried.")):
        np.testing.assert_allclose(states[0][name][0], states[1][name][0], rtol=0, atol=1e-6, err_msg=name)
    name = "carried.0.states"
    assert (np.abs(states[0][name][1:] - states[1][name][1:]).max(axis=(1, 2)) > 1e-3).all()


@pytest.mark.parametrize("framework", BACKENDS)
def test_targets_that_do_not_count_have_no_part_in_an_update(framework):
    recipe = language_texts.recipe()
    batch = training_batches(recipe, language_texts.text().train, 3).batch(0)
    batch.mask[1, 3:] = False
    losses = []
    for filling in (1, 9):
        batch.inputs[1, 4:], batch.targets[1, 3:] = filling, filling
        made = backend(framework, recipe)
        losses.append(made.losses([made.train_step(batch, recipe.optimizer.rates(5), 1)])[0])
        after = made.state()
        losses.append(made.losses([made.train_step(batch, recipe.optimizer.rates(5), 2)])[0])
        assert np.isfinite(after["parameters.embedding.table"]).all()
    assert losses[:2] == losses[2:]
    nothing = training_batches(recipe, language_texts.text().train, 3).batch(0)
    nothing.mask[:] = False
    made = backend(framework, recipe)
    assert made.losses([made.train_step(nothing, {"regular": 0.1}, 1)]) == [0.0]
    assert all(np.isfinite(array).all() for array in made.state().values())
