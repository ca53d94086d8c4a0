"""The two backends: the same start, the same updates, and a state that carries on exactly."""

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest

from implementations.parameters import ParameterError
from implementations.spade.config import SpadeConfig
from suite.recipes.base import Recipe, apply_overrides
from suite.recipes.s5 import lra_listops

BACKENDS = ("jax", "torch")
TINY = [
    *("model.layer.d_model=8", "model.layer.ssm_size=8", "model.layer.blocks=2", "model.depth=1"),
    *("data.settings.train=40", "batch_size=4", "epochs=3"),
]


@dataclasses.dataclass(frozen=True)
class Batch:
    inputs: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def tiny(*overrides) -> Recipe:
    return apply_overrides(lra_listops("smoke"), [*TINY, *overrides])


def batch(step: int) -> Batch:
    generator = np.random.default_rng(step)
    lengths = generator.integers(20, 49, 4).astype(np.int32)
    inputs = generator.integers(1, 18, (4, 48)).astype(np.uint8)
    inputs[np.arange(48) >= lengths[:, None]] = 0
    return Batch(inputs, lengths, generator.integers(0, 10, 4).astype(np.int32))


def backend(framework, recipe, seed=0, kind="cpu") -> Any:
    pytest.importorskip(framework)
    return importlib.import_module(f"suite.training.{framework}").Backend(recipe, seed, kind)


def train(found, steps, recipe) -> np.ndarray:
    handles = [found.train_step(batch(step), recipe.optimizer.rates(step), 7 * step + 1) for step in steps]
    return found.losses(handles)


def test_both_start_from_the_same_bits():
    states = [backend(framework, tiny(), seed=3).state() for framework in BACKENDS]
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)
    other = backend("jax", tiny(), seed=4).state()
    assert (other["parameters.encoder.kernel"] != states[0]["parameters.encoder.kernel"]).any()


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.layer.dropout=0.3", "optimizer.clip_norm=0.5"),
        ("optimizer.norm_decay=false", "optimizer.b1=0.8"),
    ],
    ids=["paper", "dropout-and-clipping", "undecayed-norms"],
)
def test_twenty_updates_agree(overrides):
    recipe = tiny(*overrides)
    pair = [backend(framework, recipe) for framework in BACKENDS]
    losses = [train(found, range(20), recipe) for found in pair]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)
    np.testing.assert_allclose(losses[0][:3], losses[1][:3], rtol=2e-5)
    logits = [found.evaluate(batch(100)) for found in pair]
    np.testing.assert_allclose(logits[0], logits[1], rtol=0.02, atol=0.02)
    assert np.isfinite(losses[0]).all()
    assert losses[0].std() > 0


@pytest.mark.parametrize("framework", BACKENDS)
def test_a_restored_state_carries_on_bit_for_bit(framework):
    recipe = tiny("model.layer.dropout=0.2")
    straight = backend(framework, recipe)
    losses = train(straight, range(8), recipe)
    first = backend(framework, recipe)
    train(first, range(5), recipe)
    saved = first.state()
    train(first, range(5, 7), recipe)
    second = backend(framework, recipe, seed=9)
    second.load_state(saved)
    np.testing.assert_array_equal(train(second, range(5, 8), recipe), losses[5:])
    for name, array in straight.state().items():
        np.testing.assert_array_equal(array, second.state()[name], err_msg=name)


@pytest.mark.parametrize("framework", BACKENDS)
def test_groups_rates_and_decay_reach_the_parameters(framework):
    recipe = tiny("optimizer.groups.regular.weight_decay=0.5")
    found = backend(framework, recipe)
    before = found.state()
    found.train_step(batch(0), {"ssm": 0.0, "regular": 0.1}, 0)
    after = found.state()
    for path in (name.removeprefix("parameters.") for name in before if name.startswith("parameters.")):
        old, new = before[f"parameters.{path}"], after[f"parameters.{path}"]
        if recipe.optimizer.group_of(path) == "ssm":
            np.testing.assert_array_equal(old, new, err_msg=path)
        else:
            # Adam's first update is the sign of the gradient (up to eps), whatever its size.
            gradient = after[f"first_moment.{path}"] / 0.1
            expected = old - 0.1 * (gradient / (np.abs(gradient) + 1e-8) + 0.5 * old)
            np.testing.assert_allclose(new, expected, rtol=1e-4, atol=1e-5, err_msg=path)
    assert after["step"] == 1


def test_a_parameter_without_a_part_in_the_loss_decays_all_the_same():
    """A frozen S4 gets no gradient: zero in JAX, none in PyTorch, whose optimizer would leave it out."""
    recipe = tiny("optimizer.groups.regular.weight_decay=0.5", "optimizer.groups.ssm.weight_decay=0.5")
    layer = SpadeConfig(d_model=8, heads=1, d_ff=4, window=32, s4_state_size=2, s4_frozen=True)
    found = backend("torch", dataclasses.replace(recipe, model=recipe.model.replace(layer=layer)))
    before = found.state()
    found.train_step(batch(0), {"ssm": 0.1, "regular": 0.1}, 0)
    after = found.state()
    frozen = [name for name in before if name.startswith("parameters.layers.0.s4.")]
    assert len(frozen) == 7
    for name in frozen:
        np.testing.assert_allclose(after[name], 0.95 * before[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("framework", BACKENDS)
def test_clipping_limits_the_global_norm(framework):
    norms = {}
    for limit in (None, 1e-3, 1e3):
        found = backend(framework, tiny(f"optimizer.clip_norm={'null' if limit is None else limit}"))
        found.train_step(batch(0), {"ssm": 0.0, "regular": 0.0}, 0)
        gradients = [a.ravel() / 0.1 for n, a in found.state().items() if n.startswith("first_moment.")]
        norms[limit] = np.linalg.norm(np.concatenate(gradients))
    assert norms[None] > 1e-2
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-4)
    assert norms[1e3] == pytest.approx(norms[None], rel=1e-4)


@pytest.mark.parametrize("framework", BACKENDS)
def test_evaluation_depends_on_no_batch_mate(framework):
    found = backend(framework, tiny())
    one, whole = batch(5), found.evaluate(batch(5))
    swapped = found.evaluate(Batch(one.inputs[::-1].copy(), one.lengths[::-1].copy(), one.labels))
    np.testing.assert_allclose(whole, swapped[::-1], rtol=1e-5, atol=1e-6)
    assert whole.shape == (4, 10)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("framework", BACKENDS)
def test_a_state_that_does_not_fit_is_named(framework):
    found = backend(framework, tiny())
    state = found.state()
    with pytest.raises(ParameterError, match=r"parameters\.encoder\.kernel"):
        found.load_state({name: array for name, array in state.items() if name != "parameters.encoder.kernel"})
    with pytest.raises(ParameterError, match="shape"):
        found.load_state({**state, "parameters.encoder.bias": np.zeros(3, np.float32)})


def test_jax_traces_the_step_once():
    recipe = tiny("model.layer.dropout=0.2")
    found = backend("jax", recipe)
    train(found, range(4), recipe)
    assert found._train._cache_size() == 1


@pytest.mark.parametrize("framework", BACKENDS)
def test_absent_devices_are_one_sentence(framework):
    with pytest.raises(RuntimeError, match="sees no tpu here"):
        backend(framework, tiny(), kind="tpu")


@pytest.mark.parametrize("framework", BACKENDS)
def test_description(framework):
    found = backend(framework, tiny())
    facts = found.describe()
    count = sum(a.size for n, a in found.state().items() if n.startswith("parameters."))
    assert (facts["parameter_count"], facts["dtype"], facts["device"]) == (count, "float32", "cpu")
    found.synchronize()
    assert found.peak_memory() is None
