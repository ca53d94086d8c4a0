"""Encoder-decoders: padding, streaming of the decoder, classification, greedy and beam decoding."""

import itertools
import json

import numpy as np
import pytest
from model_twins import build, call, make, numpy

from implementations.catalog import FRAMEWORKS
from implementations.common.config import ConfigError
from implementations.mega.config import MegaConfig
from implementations.models.config import EncoderDecoderConfig, config_from_dict
from implementations.models.encoder_decoder import reference
from implementations.parameters import get_parameters
from implementations.s5.config import S5Config
from implementations.transformer.config import TransformerConfig
from implementations.transformer.cross import require_cross

V = 7
LAYER = TransformerConfig(d_model=6, heads=2, head_width=4, d_ff=8, positions="t5", buckets=8, max_distance=12)
SELF = LAYER.replace(causal=True, d_ff=0, positions="learned", max_length=12)
S5 = S5Config(d_model=6, ssm_size=8, dt_min=0.01, dt_max=0.3)
T5 = EncoderDecoderConfig(
    LAYER, 2, "tokens", V, SELF, 2, LAYER.replace(positions="none"), placed=((1, S5.replace(bidirectional=True)),)
)
T5 = T5.replace(embedding_stddev=3.0, final_norm="rms", classes=3)
WORDY = T5.replace(output="separate")
INPUTS = np.random.default_rng(0).integers(2, V, (3, 6))
LENGTHS = np.array([6, 3, 1])


def next_of(parameters, row, length=6, config=WORDY):
    """The log probabilities after some tokens, by the oracle of the model, from the whole sequence without states."""

    def function(tokens):
        outputs = np.array([[config.start, *tokens]])
        logits = reference.model(config, parameters, INPUTS[row : row + 1, :length], outputs)[0, -1]
        return logits - np.log(np.exp(logits).sum())

    return function


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_padding_of_the_inputs_changes_nothing(framework):
    model, outputs = build(framework, T5), np.random.default_rng(1).integers(0, V, (3, 4))
    whole = call(model, "__call__", INPUTS, outputs, LENGTHS)
    classes = call(model, "classify", INPUTS, LENGTHS)
    alone = call(model, "__call__", INPUTS[1:2, :3], outputs[1:2])
    np.testing.assert_allclose(whole[1], alone[0], rtol=0, atol=1e-12)
    alone = call(model, "classify", INPUTS[1:2, :3])
    np.testing.assert_allclose(classes[1], alone[0], rtol=0, atol=1e-12)
    other = INPUTS.copy()
    other[1, 3:], other[2, 1:] = 0, 1
    np.testing.assert_array_equal(call(model, "__call__", other, outputs, LENGTHS), whole)
    assert np.abs(whole - call(model, "__call__", INPUTS, outputs)).max() > 1e-3


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_decoder_streams_and_looks_back_only(framework):
    model, outputs = build(framework, T5), np.random.default_rng(1).integers(0, V, (3, 6))
    whole = call(model, "__call__", INPUTS, outputs)
    memory, state, found = call(model.decoder, "memory", call(model, "encode", INPUTS)), None, []
    for start, end in itertools.pairwise([0, 1, 3, 6]):
        y, state = call(model, "decode", outputs[:, start:end], memory, None, state)
        found.append(call(model, "logits", y))
    np.testing.assert_allclose(np.concatenate(found, 1), whole, rtol=0, atol=1e-12)
    other = outputs.copy()
    other[:, 3:] = (other[:, 3:] + 1) % V
    changed = np.abs(call(model, "__call__", INPUTS, other) - whole).max((0, 2))
    np.testing.assert_array_equal(changed[:3], 0)
    assert (changed[3:] > 0).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_padding_of_a_segment_takes_no_position(framework):
    model, outputs = build(framework, T5), np.random.default_rng(1).integers(0, V, (3, 4))
    memory = call(model.decoder, "memory", call(model, "encode", INPUTS))
    _, state = call(model, "decode", outputs[:, :2], memory)
    expected, _ = call(model, "decode", outputs[:, 3:], memory, None, state)
    mask = np.tile([True, True, False], (3, 1))
    _, state = call(model, "decode", outputs[:, :3], memory, None, None, mask)
    found, _ = call(model, "decode", outputs[:, 3:], memory, None, state)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    mask = np.tile([True, False, True], (3, 1))  # before a genuine token it does
    _, state = call(model, "decode", outputs[:, :3], memory, None, None, mask)
    assert state["position"].tolist() == [3, 3, 3]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_losses_are_of_the_targets_that_the_mask_admits(framework):
    model, rng = build(framework, T5), np.random.default_rng(1)
    outputs, targets, mask = rng.integers(0, V, (3, 4)), rng.integers(0, V, (3, 4)), rng.random((3, 4)) < 0.6
    logits = call(model, "__call__", INPUTS, outputs, LENGTHS)
    log = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.where(mask, -np.take_along_axis(log, targets[..., None], -1)[..., 0], 0)
    found = call(model, "losses", INPUTS, outputs, np.where(mask, targets, -1), LENGTHS, mask)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def generated(framework, model, count, **options):
    given = {name: make(framework, value) if name == "lengths" else value for name, value in options.items()}
    return numpy(model.generate(make(framework, INPUTS), count, **given))


@pytest.mark.parametrize("config", [WORDY, WORDY.replace(decoder_layer=S5)], ids=["Transformer", "S5"])
def test_greedy_decoding_is_the_argmax_of_the_whole_and_equal_in_both(config):
    models = [build(framework, config) for framework in FRAMEWORKS]
    jax, torch = (
        generated(framework, model, 5, lengths=LENGTHS) for framework, model in zip(FRAMEWORKS, models, strict=True)
    )
    np.testing.assert_array_equal(jax, torch)
    assert len(np.unique(torch)) > 1 or config.decoder_layer == S5
    p = get_parameters(models[1])
    for row, length in enumerate(LENGTHS):
        expected = reference.beam_search(next_of(p, row, length, config), 5, 1, 0.0, config.end)
        assert list(torch[row]) == expected + [config.end] * (5 - len(expected))


@pytest.mark.parametrize("decoder", [SELF, S5], ids=["Transformer", "S5"])
def test_beams_are_those_of_the_oracle(decoder):
    beams, length_penalty = 4, 5.0
    config = WORDY.replace(decoder_layer=decoder)
    for framework in FRAMEWORKS:
        model = build(framework, config)
        found = generated(framework, model, 4, beams=beams, length_penalty=length_penalty)
        p = get_parameters(model)
        for row in range(3):
            expected = reference.beam_search(next_of(p, row, 6, config), 4, beams, length_penalty, T5.end)
            assert list(found[row]) == expected + [T5.end] * (4 - len(expected))


def test_enough_beams_find_the_best_of_all_sequences():
    model = build("torch", WORDY)
    after = next_of(get_parameters(model), 0)
    best, chosen = -np.inf, ()
    for length in (1, 2):
        for tokens in itertools.product(range(V), repeat=length):
            if T5.end in tokens[:-1] or (length == 1 and tokens[-1] != T5.end):
                continue
            score = sum(after(list(tokens[:i]))[token] for i, token in enumerate(tokens))
            if score / ((5 + length) / 6) ** 0.6 > best:
                best, chosen = score / ((5 + length) / 6) ** 0.6, tokens
    found = generated("torch", model, 2, beams=V * V, length_penalty=0.6)
    assert list(found[0]) == [*chosen, *[T5.end] * (2 - len(chosen))]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_classes_are_read_from_the_first_position_or_the_mean(framework):
    model = build(framework, T5)
    p = get_parameters(model)
    memory = call(model.decoder, "memory", call(model, "encode", INPUTS))
    y, _ = call(model, "decode", np.full((3, 1), T5.start), memory)
    expected = y[0, 0] @ p["classifier.kernel"] + p["classifier.bias"]
    np.testing.assert_allclose(call(model, "classify", INPUTS, LENGTHS)[0], expected, rtol=0, atol=1e-12)
    model = build(framework, T5.replace(pooling="mean"))
    x = call(model, "encode", INPUTS, LENGTHS)
    mean = np.stack([x[row, :length].mean(0) for row, length in enumerate(LENGTHS)])
    expected = mean @ p["classifier.kernel"] + p["classifier.bias"]
    np.testing.assert_allclose(call(model, "classify", INPUTS, LENGTHS), expected, rtol=0, atol=1e-12)
    with pytest.raises(ConfigError, match="classes is 0: expected at least 1 to classify"):
        build(framework, T5.replace(classes=0)).classify(make(framework, INPUTS))
    with pytest.raises(ConfigError, match="beams is 0: expected at least 1"):
        generated(framework, model, 1, beams=0)
    with pytest.raises(ConfigError, match="count is 13: expected at most 12, the longest text of decoder_layer"):
        generated(framework, model, 13)
    biased = MegaConfig(d_model=6, query_size=4, value_size=8, state_size=2, max_positions=9, bidirectional=False)
    with pytest.raises(ConfigError, match="count is 10: expected at most 9, the longest text of decoder_layer"):
        generated(framework, build(framework, T5.replace(decoder_layer=biased)), 10)


def test_one_embedding_serves_both_sides_and_the_output():
    paths = set(get_parameters(build("torch", T5)))
    assert {path for path in paths if "embedding" in path or path.startswith("output")} == {"embedding.table"}
    assert "decoder.layers.1.attention.query.kernel" in paths
    assert "decoder.cross.1.feed_forward.hidden.kernel" in paths
    assert not any(path.startswith("decoder.layers.0.feed_forward") for path in paths)
    assert "encoder.layers.1.ssm.log_step" in paths


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("input_kind", {"input_kind": "values"}),
        ("decoder_layer", {"decoder_layer": LAYER}),
        ("decoder_layer", {"decoder_layer": S5.replace(d_model=4)}),
        ("decoder_depth", {"decoder_depth": 0}),
        ("cross", {"cross": LAYER.replace(positions="none", d_model=4)}),
        (r"cross\.positions", {"cross": LAYER}),
        (r"cross\.causal", {"cross": LAYER.replace(positions="none", causal=True)}),
        ("classes", {"classes": -1}),
        ("end", {"end": V}),
        ("start", {"start": -1}),
        ("embedding_stddev", {"embedding_stddev": 0.0}),
        ("embedding_dropout", {"embedding_dropout": 1.0}),
    ],
)
def test_a_wrong_value_names_its_field(field, changes):
    with pytest.raises(ConfigError, match=rf"^EncoderDecoderConfig\.{field} is "):
        T5.replace(**changes)


def test_configs_survive_json():
    assert config_from_dict(json.loads(json.dumps(T5.to_dict()))) == T5
    require_cross(T5.cross, "cross")
