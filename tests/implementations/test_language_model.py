"""Language models: probabilities, losses, documents that follow each other, and generation."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from model_twins import build, call, make, numpy

from implementations.catalog import FRAMEWORKS
from implementations.common import jax as common_jax
from implementations.common.config import ConfigError
from implementations.models.config import LanguageModelConfig, config_from_dict
from implementations.parameters import get_parameters
from implementations.s5.config import S5Config
from implementations.transformer.config import TransformerConfig
from suite.equivalence.jax import quick

V = 13
S5 = S5Config(d_model=6, ssm_size=8, dt_min=0.01, dt_max=0.3)
FULL = TransformerConfig(d_model=6, heads=2, head_width=4, d_ff=7, causal=True, positions="rotary")
WINDOW = FULL.replace(attention="window", window=3, positions="t5")
CONFIG = LanguageModelConfig(WINDOW, 2, "tokens", V, placed=((1, S5),), scale_logits=True, final_norm="rms")
ADAPTIVE = CONFIG.replace(
    embedding="adaptive", output="adaptive_tied", cutoffs=(4, 7), factor=2, scale_logits=False, scale_embedding=True
)
CONFIGS = {
    "tied": CONFIG,
    "separate": CONFIG.replace(output="separate", final_norm="layer"),
    "adaptive": ADAPTIVE,
    "adaptive, own projections": ADAPTIVE.replace(tie_projections=False),
    "adaptive, own tables": ADAPTIVE.replace(output="adaptive"),
    "adaptive output": CONFIG.replace(output="adaptive", cutoffs=(5,), scale_logits=False),
}


def tokens(shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", CONFIGS)
def test_losses_are_minus_the_log_probabilities(framework, name):
    model = build(framework, CONFIGS[name])
    inputs, targets = tokens((2, 5)), tokens((2, 5), 1)
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
    found, _ = call(model, "log_probabilities", inputs)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, rtol=0, atol=1e-12)
    own = -np.take_along_axis(found, targets[..., None], -1)[..., 0]
    losses, _ = call(model, "losses", inputs, targets)
    np.testing.assert_allclose(losses, own, rtol=0, atol=1e-12)
    losses, _ = call(model, "losses", inputs, np.where(mask, targets, -1), mask=mask)
    np.testing.assert_allclose(losses, np.where(mask, own, 0), rtol=0, atol=1e-12)
    logits, _ = call(model, "__call__", inputs)
    shifted = logits - found
    np.testing.assert_allclose(shifted, shifted[..., :1] + 0 * shifted, rtol=0, atol=1e-12)


def test_paths_of_what_is_tied_are_not_there_twice():
    paths = {name: set(get_parameters(build("torch", config))) for name, config in CONFIGS.items()}
    outputs = {name: {p for p in found if p.startswith("output.")} for name, found in paths.items()}
    assert outputs["tied"] == set()
    assert outputs["separate"] == {"output.kernel"}
    assert outputs["adaptive"] == {"output.clusters"}
    assert outputs["adaptive, own projections"] == {
        "output.clusters",
        *(f"output.bands.{i}.projection" for i in (1, 2)),
    }
    assert len(outputs["adaptive, own tables"]) == 6
    assert len(outputs["adaptive output"]) == 4
    assert get_parameters(build("jax", ADAPTIVE))["embedding.bands.2.table"].shape == (V - 7, 1)


def gradient(framework, model, inputs, targets):
    given = make(framework, inputs), make(framework, targets)
    if framework == "torch":
        value = model.losses(*given, training=True, dropout_seed=5)[0].sum()
        found = torch.autograd.grad(value, list(model.parameters()))
        return {name: numpy(g) for (name, _), g in zip(model.named_parameters(), found, strict=True)}
    graph, state = nnx.split(model)

    def loss(state):
        return nnx.merge(graph, state).losses(*given, training=True, dropout_seed=5)[0].sum()

    found = jax.jit(jax.grad(loss), compiler_options=quick())(state)
    return {".".join(map(str, path)): numpy(v[...]) for path, v in nnx.to_flat_state(found)}


@pytest.mark.parametrize("name", ["tied", "adaptive"])
def test_losses_in_blocks_are_the_same(name):
    config = CONFIGS[name].replace(output_dropout=0.2, embedding_dropout=0.1)
    inputs, targets = tokens((2, 7)), tokens((2, 7), 1)
    expected = gradient("torch", build("torch", config), inputs, targets)
    assert all(np.abs(g).max() > 0 for g in expected.values())
    for framework in FRAMEWORKS:
        found = gradient(framework, build(framework, config.replace(loss_block=3)), inputs, targets)
        assert found.keys() == expected.keys()
        for path, value in expected.items():
            np.testing.assert_allclose(found[path], value, rtol=0, atol=1e-12, err_msg=path)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("positions", ["none", "sinusoidal", "learned"])
def test_documents_that_follow_each_other_are_as_alone(framework, positions):
    layer = FULL if positions == "none" else FULL.replace(positions=positions, max_length=9)
    model = build(framework, CONFIG.replace(layer=layer))
    first, second = tokens((2, 6)), tokens((2, 3), 1)
    whole, _ = call(model, "__call__", np.concatenate([first, second], 1))
    alone, _ = call(model, "__call__", second)
    _, state = call(model, "__call__", first, call(model, "initial_state", batch=2))
    state = call(model, "reset", state, np.array([True, False]))
    found, _ = call(model, "__call__", second, state)
    np.testing.assert_allclose(found[0], alone[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(found[1], whole[1, 6:], rtol=0, atol=1e-13)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_padding_before_a_genuine_token_takes_a_position_at_the_end_none(framework):
    layer = FULL.replace(positions="sinusoidal")
    model, inputs = build(framework, CONFIG.replace(layer=layer, placed=())), tokens((2, 6))
    mask = np.array([[True, False, True, True, False, True], [True, True, True, True, True, True]])
    whole, _ = call(model, "__call__", inputs, mask=mask)
    first, state = call(model, "__call__", inputs[:, :4], mask=mask[:, :4])
    second, state = call(model, "__call__", inputs[:, 4:], state, mask[:, 4:])
    found = np.concatenate([first, second], 1)
    np.testing.assert_allclose(found[mask], whole[mask], rtol=0, atol=1e-12)
    assert state["position"].tolist() == [6, 6]
    assert state["position"].dtype == np.int32
    _, state = call(model, "__call__", inputs[:, :5], mask=mask[:, :5])
    assert state["position"].tolist() == [4, 5]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_beyond_the_learned_positions_nothing_is_known(framework):
    model = build(framework, CONFIG.replace(layer=WINDOW.replace(positions="learned", max_length=4)))
    y, state = call(model, "__call__", tokens((1, 4)), call(model, "initial_state", batch=1))
    assert np.isfinite(y).all()
    y, _ = call(model, "__call__", tokens((1, 2)), state)
    assert np.isnan(y).all()


@pytest.mark.parametrize("layer", [WINDOW, FULL, S5], ids=["window", "full", "S5"])
def test_greedy_generation_is_the_argmax_of_the_whole_and_equal_in_both(layer):
    config = CONFIG.replace(layer=layer, embedding_stddev=3.0, output="separate")
    prompt, found = tokens((2, 4)), []
    for framework in FRAMEWORKS:
        model = build(framework, config)
        found.append(numpy(model.generate(make(framework, prompt), 6)))
        text = np.concatenate([prompt, found[-1]], 1)
        best = call(model, "__call__", text)[0].argmax(-1)
        np.testing.assert_array_equal(found[-1], best[:, 3:-1])
    np.testing.assert_array_equal(found[0], found[1])
    assert len(np.unique(found[0])) > 1


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_largest_random_number_draws_no_token_by_itself(framework, monkeypatch):
    module = importlib.import_module(f"implementations.models.sampling.{framework}")
    words = np.zeros(5, np.uint32)
    words[1] = 2**32 - 1
    monkeypatch.setattr(module, "random_words", lambda *_: make(framework, words.astype(np.int64)))
    scores = make(framework, np.array([[-99.0, -99.0, 0.0, -99.0, -99.0]], np.float32))
    for top_k in (None, 1):
        assert numpy(module.choose(scores, 1.0, top_k)).tolist() == [2]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_targets_of_any_whole_numbers_are_taken(framework):
    model, inputs, targets = build(framework, ADAPTIVE), tokens((2, 5)), tokens((2, 5), 1)
    expected, _ = call(model, "losses", inputs, targets)
    for kind in (np.uint8, np.uint16, np.int32):
        np.testing.assert_array_equal(call(model, "losses", inputs, targets.astype(kind))[0], expected)


def test_sampled_tokens_follow_the_probabilities_and_the_seed():
    models = [build(framework, ADAPTIVE) for framework in FRAMEWORKS]
    prompt = np.tile(tokens((1, 3)), (4000, 1))
    probabilities = np.exp(call(models[1], "log_probabilities", prompt[:1])[0][0, -1])
    for top_k, temperature in ((None, 1.0), (5, 0.7)):
        options = {"temperature": temperature, "top_k": top_k, "seed": 9}
        found = [
            numpy(model.generate(make(framework, prompt), 1, **options))
            for framework, model in zip(FRAMEWORKS, models, strict=True)
        ]
        np.testing.assert_array_equal(found[0], found[1])
        expected = probabilities ** (1 / temperature)
        if top_k is not None:
            expected[np.argsort(expected)[:-top_k]] = 0
        expected = expected / expected.sum()
        counts = np.bincount(found[0][:, 0], minlength=V)
        assert not counts[expected == 0].any()
        kept = expected > 0
        assert (np.abs(counts - 4000 * expected)[kept] < 5 * np.sqrt(4000 * expected)[kept]).all()
    other = numpy(models[1].generate(torch.tensor(prompt), 1, temperature=1.0, seed=10))
    assert (other != numpy(models[1].generate(torch.tensor(prompt), 1, temperature=1.0, seed=9))).any()
    one = numpy(models[1].generate(torch.tensor(prompt[:2]), 3, temperature=1.0, top_k=1))
    np.testing.assert_array_equal(one, numpy(models[1].generate(torch.tensor(prompt[:2]), 3)))


@pytest.mark.parametrize("layer", [WINDOW, FULL], ids=["window", "full"])
def test_a_step_of_generation_is_compiled_once(layer, monkeypatch):
    """Traced for the shape of the state; for the prompt and a token, or for the text where the cache grows."""
    from implementations.models.language.jax import LanguageModel

    traced, features = [], LanguageModel.features

    def counted(*arguments, **options):
        traced.append(1)
        return features(*arguments, **options)

    monkeypatch.setattr(LanguageModel, "features", counted)
    model = build("jax", CONFIG.replace(layer=layer, depth=1, placed=()))
    model.generate(jnp.asarray(tokens((1, 3))), 7)
    assert len(traced) == {"window": 3, "full": 2}[layer.attention]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_wrong_choices_are_one_sentence(framework):
    model, prompt = build(framework, CONFIG), make(framework, tokens((1, 4)))
    with pytest.raises(ConfigError, match="top_k is 14: expected 1 to V = 13, or None"):
        model.generate(prompt, 1, temperature=1.0, top_k=14)
    with pytest.raises(ConfigError, match=r"temperature is -1\.0: expected at least 0"):
        model.generate(prompt, 1, temperature=-1.0)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("input_kind", {"input_kind": "values"}),
        ("layer", {"layer": FULL.replace(causal=False), "placed": ()}),
        ("placed", {"placed": ((1, S5.replace(bidirectional=True)),)}),
        ("cutoffs", {"cutoffs": (3,)}),
        ("cutoffs", {"output": "adaptive", "scale_logits": False}),
        ("cutoffs", {"output": "adaptive", "scale_logits": False, "cutoffs": (3, 3)}),
        ("cutoffs", {"output": "adaptive", "scale_logits": False, "cutoffs": (3, V)}),
        ("factor", {"output": "adaptive", "scale_logits": False, "cutoffs": (3,), "factor": 7}),
        ("output", {"output": "adaptive_tied", "scale_logits": False, "cutoffs": (3,)}),
        ("output", {"embedding": "adaptive", "cutoffs": (3,)}),
        ("scale_logits", {"output": "adaptive", "cutoffs": (3,)}),
        ("embedding_stddev", {"embedding_stddev": 0.0}),
        ("output_dropout", {"output_dropout": 1.0}),
        ("loss_block", {"loss_block": 0}),
        ("final_norm", {"final_norm": "batch"}),
    ],
)
def test_a_wrong_value_names_its_field(field, changes):
    with pytest.raises(ConfigError, match=rf"^LanguageModelConfig\.{field} is "):
        CONFIG.replace(**changes)


def test_configs_survive_json():
    for config in CONFIGS.values():
        assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_more_positions_than_are_learned_are_one_sentence(framework):
    model = build(framework, CONFIG.replace(layer=WINDOW.replace(positions="learned", max_length=4), placed=()))
    with pytest.raises(ConfigError, match="inputs have 5 positions: expected at most max_length = 4"):
        model(make(framework, tokens((1, 5))))
    with pytest.raises(ConfigError, match="prompt has 2 positions, count is 4: expected at most max_length = 4"):
        model.generate(make(framework, tokens((1, 2))), 4)


def test_generation_runs_in_the_precision_that_holds_when_it_is_called(monkeypatch):
    module, seen = importlib.import_module("implementations.models.language.jax"), []
    of = module.logits
    monkeypatch.setattr(module, "logits", lambda *given: [seen.append(common_jax.current_precision()), of(*given)][1])
    model = build("jax", CONFIG, "float32")
    for name in ("float32", "tf32", "float32"):
        with common_jax.matmul_precision(name):
            model.generate(jnp.asarray(tokens((5, 2))), 2)
    assert seen == ["float32"] * 2 + ["tf32"] * 2  # the prompt, then a token; each compiled once in each precision
