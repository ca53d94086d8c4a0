"""The backends of language models: equal updates, states that go on, end and come back, and evaluation in any cut."""

import functools
import importlib
from typing import Any

import language_texts
import numpy as np
import pytest

from implementations.parameters import ParameterError
from suite.recipes.base import Recipe
from suite.training.language.loop import evaluate, evaluation_batches, training_batches

BACKENDS = ("jax", "torch")


RECIPES = {"carried": language_texts.recipe(), "windows": language_texts.windows()}


@functools.cache
def compiled(framework: str, kind: str) -> tuple[Any, dict[str, np.ndarray]]:
    made = importlib.import_module(f"suite.training.language.{framework}").Backend(RECIPES[kind], 0)
    return made, made.state()


def backend(framework: str, kind: str = "carried") -> Any:
    """A backend as it is at the start; it is compiled once."""
    made, initial = compiled(framework, kind)
    made.load_state(initial)
    return made


def train(found: Any, recipe: Recipe, steps: range) -> np.ndarray:
    batches = training_batches(recipe, language_texts.text().train, 3)
    handles = [found.train_step(batches.batch(s), recipe.optimizer.rates(s), 7 * s + 1) for s in steps]
    return found.losses(handles)


@pytest.fixture(scope="module", params=sorted(RECIPES))
def pair(request):
    """Recipe and, of both backends, states and losses of twelve updates and what they evaluate to."""
    recipe, found = RECIPES[request.param], {}
    for framework in BACKENDS:
        made = backend(framework, request.param)
        before = made.state()
        first = train(made, recipe, range(6))
        middle = made.state()
        losses = np.concatenate([first, train(made, recipe, range(6, 12))])
        evaluated = evaluate(recipe, made, language_texts.text().test)
        states = {"before": before, "middle": middle, "after": made.state()}
        found[framework] = {**states, "losses": losses, "sums": evaluated.sums}
    return request.param, found


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
    kind, found = pair
    known, again = found[framework], backend(framework, kind)
    again.load_state(known["middle"])
    np.testing.assert_array_equal(train(again, RECIPES[kind], range(6, 12)), known["losses"][6:])
    for name, array in known["after"].items():
        np.testing.assert_array_equal(again.state()[name], array, err_msg=name)
    carried = [name for name in known["middle"] if name.startswith("carried.")]
    assert bool(carried) == (kind == "carried")
    if carried:
        changed = [name for name in carried if (known["middle"][name] != known["before"][name]).any()]
        assert "carried.0.states" in changed
        missing = {name: array for name, array in known["middle"].items() if name != carried[0]}
        with pytest.raises(ParameterError, match=carried[0]):
            again.load_state(missing)


@functools.cache
def expected(cuts: tuple[int | None, ...]) -> float:
    """The sum of the losses of the test documents, each read at once from its cuts on; initial parameters."""
    import torch

    made, text = backend("torch"), language_texts.text().test
    total = 0.0
    for document in range(text.count):
        targets = text.document(document).astype(np.int32)[None]
        inputs = np.concatenate([[[text.begin]], targets[:, :-1]], 1).astype(np.int32)
        for cut in cuts:
            part = slice(0, None) if cut is None else slice(cut, cut + 12)
            if targets[:, part].size:
                given = (torch.from_numpy(array[:, part].copy()) for array in (inputs, targets))
                with torch.no_grad():
                    total += float(made.model.losses(*given)[0].double().sum())
    return total


@pytest.mark.parametrize("framework", BACKENDS)
def test_evaluation_is_the_same_in_every_cut_and_changes_nothing(framework):
    recipe, text = RECIPES["carried"], language_texts.text().test
    made = backend(framework)
    before = made.state()
    for rows in (1, 2, 2):
        found = evaluate(recipe.replace(evaluation_batch_size=rows), made, text)
        assert found.nats == pytest.approx(expected((None,)), rel=2e-5)
    anew = evaluate(recipe.replace(evaluation_batch_size=1), made, text, length=12)
    assert anew.nats == pytest.approx(expected((0, 12, 24)), rel=2e-5)
    assert abs(anew.nats - found.nats) > 1e-3
    for name, array in made.state().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("framework", BACKENDS)
def test_targets_that_another_window_counts_are_read_as_context(framework):
    import torch

    recipe, text, total = RECIPES["windows"], language_texts.text().test, 0.0
    model = backend("torch", "windows").model
    for batch in evaluation_batches(recipe, text):
        with torch.no_grad():
            losses, _ = model.losses(torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets))
        total += float(losses.double().numpy()[batch.mask].sum())
    assert evaluate(recipe, backend(framework, "windows"), text).nats == pytest.approx(total, rel=2e-5)


@pytest.mark.parametrize("framework", BACKENDS)
def test_a_row_that_starts_forgets_and_its_mates_do_not(framework):
    batches = training_batches(RECIPES["carried"], language_texts.text().train, 3)
    first, second = batches.batch(0), batches.batch(1)
    second.start[:] = [True, False, False]
    states = []
    for before in ((), (first,)):
        made = backend(framework)
        for batch in (*before, second):
            made.train_step(batch, {"regular": 0.0}, 1)
        states.append(made.state())
    for name in (name for name in states[0] if name.startswith("carried.")):
        np.testing.assert_allclose(states[0][name][0], states[1][name][0], rtol=0, atol=1e-6, err_msg=name)
    name = "carried.0.states"
    assert (np.abs(states[0][name][1:] - states[1][name][1:]).max(axis=(1, 2)) > 1e-3).all()


@pytest.mark.parametrize("framework", BACKENDS)
def test_targets_that_do_not_count_have_no_part_in_an_update(framework):
    batch = training_batches(RECIPES["carried"], language_texts.text().train, 3).batch(0)
    batch.mask[1, 3:] = False
    losses = []
    for filling in (1, 9):
        batch.inputs[1, 4:], batch.targets[1, 3:] = filling, filling
        made = backend(framework)
        losses += made.losses([made.train_step(batch, {"regular": 0.02}, step) for step in range(2)]).tolist()
    assert losses[:2] == losses[2:]
    assert losses[0] != losses[1]
    batch.mask[:] = False
    made = backend(framework)
    assert made.losses([made.train_step(batch, {"regular": 0.1}, 1)]) == [0.0]
    assert all(np.isfinite(array).all() for array in made.state().values())
