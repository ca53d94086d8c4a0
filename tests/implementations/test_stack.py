"""The stack of layers: layers placed at chosen depths, states of all of them, and activations computed again."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals
from model_twins import build, call, make, numpy

from implementations import parameters
from implementations.catalog import FRAMEWORKS
from implementations.common.config import ConfigError
from implementations.common.jax import BatchStatistic
from implementations.models.config import ClassifierConfig, config_from_dict
from implementations.s5.config import S5Config
from implementations.transformer.config import TransformerConfig
from suite.equivalence.jax import quick

S5 = S5Config(d_model=6, ssm_size=8, dt_min=0.01, dt_max=0.3)
WINDOW = TransformerConfig(
    d_model=6, heads=2, head_width=4, d_ff=7, attention="window", window=4, causal=True, positions="t5"
)
MIXED = ClassifierConfig(WINDOW, 3, "tokens", 5, 4, placed=((1, S5),))
LENGTHS = np.array([9, 4])


def leaves(state):
    if isinstance(state, dict):
        return {f"{k}.{p}" if p else k: leaf for k, v in state.items() for p, leaf in leaves(v).items()}
    return {"": numpy(state)}


def test_placed_layers_survive_json():
    written = MIXED.to_dict()
    assert list(written["placed"]) == ["1"]
    assert written["placed"]["1"] == S5.to_dict()
    assert config_from_dict(json.loads(json.dumps(written))) == MIXED
    assert MIXED.layers == (WINDOW, S5, WINDOW)
    assert len({MIXED, MIXED.replace(placed=())}) == 2
    assert MIXED.replace(placed=()).to_dict().keys() == written.keys() - {"placed"}
    assert MIXED.replace(placed=()).to_dict(complete=True)["placed"] == {}


@pytest.mark.parametrize(
    ("placed", "message"),
    [
        (((3, S5),), "expected depths from 0 to 2, each once and in order"),
        (((1, S5), (0, S5)), "expected depths from 0 to 2, each once and in order"),
        (((1, S5), (1, S5)), "expected depths from 0 to 2, each once and in order"),
        (((1, S5.replace(d_model=4)),), "expected layers of d_model 6, as `layer`"),
        ((S5,), "expected pairs of a depth and the config of a layer"),
        (((1, MIXED),), "expected configs of layers of the catalog"),
        (((1, WINDOW.replace(positions="learned", max_length=9)), (2, WINDOW.replace(positions="sinusoidal"))), "same"),
    ],
)
def test_what_cannot_be_placed(placed, message):
    with pytest.raises(ConfigError, match=rf"^ClassifierConfig\.placed is .*{message}"):
        MIXED.replace(placed=placed)


@pytest.mark.parametrize(
    ("placed", "message"),
    [
        ({"one": S5.to_dict()}, r"placed has 'one'"),
        ({"1": {"d_model": 6}}, r"placed\.1 has no 'architecture'"),
    ],
)
def test_wrong_dictionaries_of_placed_layers(placed, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict({**MIXED.to_dict(), "placed": placed})


def test_input_positions_follow_the_layer_that_asks():
    learned = WINDOW.replace(positions="learned", max_length=9)
    config = MIXED.replace(placed=((1, learned), (2, learned.replace(max_length=12))))
    assert (config.input_positions, config.max_length) == ("learned", 9)
    assert MIXED.input_positions == "none"
    for framework in FRAMEWORKS:
        assert parameters.get_parameters(build(framework, config))["positions.table"].shape == (9, 6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_placed_layer_is_that_layer(framework):
    plain, mixed = (parameters.get_parameters(build(framework, c)) for c in (MIXED.replace(placed=()), MIXED))
    assert "layers.1.ssm.log_step" in mixed
    elsewhere = {path for path in plain if not path.startswith("layers.1.")}
    assert elsewhere == {path for path in mixed if not path.startswith("layers.1.")}
    for path in elsewhere:
        np.testing.assert_array_equal(plain[path], mixed[path])


def segments(framework, model, x, state, ends):
    found = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        y, state = call(model, "run_layers", x[:, start:end], state)
        found.append(y)
    return np.concatenate(found, 1), state


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_states_of_all_layers_stream_and_reset(framework):
    model, x = build(framework, MIXED), np.random.default_rng(0).normal(size=(2, 9, 6))
    whole, last = segments(framework, model, x, None, [9])
    for state in (None, call(model, "initial_state", batch=2)):
        y, after = segments(framework, model, x, state, [4, 5, 9])
        np.testing.assert_allclose(y, whole, rtol=0, atol=1e-13)
        for path, leaf in leaves(after).items():
            np.testing.assert_allclose(leaf, leaves(last)[path], rtol=0, atol=1e-13)
    assert last is not None
    assert set(last) == {"0", "1", "2"}
    state = call(model, "reset", last, np.array([True, False]))
    initial = call(model, "initial_state", batch=2)
    for path, leaf in leaves(state).items():
        np.testing.assert_array_equal(leaf[0], leaves(initial)[path][0])
        np.testing.assert_array_equal(leaf[1], leaves(last)[path][1])
    y, _ = segments(framework, model, x, state, [9])
    np.testing.assert_allclose(y[0], whole[0], rtol=0, atol=1e-13)
    assert np.abs(y[1] - whole[1]).max() > 1e-3


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_layer_that_looks_ahead_leaves_the_stack_without_states(framework):
    model = build(framework, MIXED.replace(placed=((1, S5.replace(bidirectional=True)),)))
    assert model.initial_state(2) is None
    assert call(model, "run_layers", np.zeros((2, 3, 6)))[1] is None


def gradients(framework, model, tokens):
    """Logits, gradients of their squares and running statistics after it, in training."""
    given, lengths = make(framework, tokens), make(framework, LENGTHS)
    if framework == "torch":
        y = model(given, lengths, training=True, dropout_seed=7)
        names = [name for name, _ in model.named_parameters()]
        found = torch.autograd.grad((y * y).sum(), list(model.parameters()))
        return numpy(y), dict(zip(names, map(numpy, found), strict=True)), parameters.get_statistics(model)

    graph, values, rest = nnx.split(model, nnx.Param, ...)

    def loss(values):
        model = nnx.merge(graph, values, jax.tree.map(jnp.copy, rest))
        y = model(given, lengths, training=True, dropout_seed=7)
        return (y * y).sum(), (y, nnx.state(model, BatchStatistic))

    found, (y, statistics) = jax.jit(jax.grad(loss, has_aux=True), compiler_options=quick())(values)
    flat, after = (
        {".".join(map(str, path)): numpy(v[...]) for path, v in nnx.to_flat_state(s)} for s in (found, statistics)
    )
    return numpy(y), flat, after


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_activations_computed_again_are_the_same(framework):
    batch = S5.replace(norm="batch", dropout=0.3, bidirectional=True)
    config = MIXED.replace(layer=WINDOW.replace(dropout=0.2), placed=((1, batch),))
    tokens = np.random.default_rng(1).integers(0, 5, (2, 9))
    kept, again = (gradients(framework, build(framework, config.replace(checkpoint=c)), tokens) for c in (False, True))
    np.testing.assert_array_equal(again[0], kept[0])
    assert len(kept[2]) == 2
    for mine, theirs in zip(again[1:], kept[1:], strict=True):
        assert mine.keys() == theirs.keys()
        for path, value in theirs.items():
            np.testing.assert_allclose(mine[path], value, rtol=0, atol=1e-14, err_msg=path)


def test_a_layer_is_run_again_only_where_asked():
    for checkpoint, calls in ((False, 3), (True, 6)):
        model = build("torch", MIXED.replace(checkpoint=checkpoint))
        seen: list[int] = []
        for layer in model.layers:
            layer.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
        model(torch.zeros((1, 4), dtype=torch.int64)).sum().backward()
        assert len(seen) == calls


def test_jax_keeps_less_where_asked(capsys):
    sizes = []
    for checkpoint in (False, True):
        graph, state = nnx.split(build("jax", MIXED.replace(checkpoint=checkpoint)))

        def loss(state, graph=graph):
            return nnx.merge(graph, state)(jnp.zeros((2, 64), int)).sum()

        print_saved_residuals(loss, state)
        sizes.append(len(capsys.readouterr().out.splitlines()))
    assert sizes[1] < sizes[0] / 2
