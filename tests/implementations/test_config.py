"""Configurations validate themselves, name what is wrong, and survive JSON."""

import dataclasses
import json

import pytest

from implementations import catalog
from implementations.catalog import UnknownName
from implementations.common.config import ConfigError
from implementations.models.config import MODELS, ClassifierConfig, DualEncoderConfig, config_from_dict
from implementations.s5.config import S5Config
from implementations.spade.config import SpadeStackConfig

LAYER = S5Config(d_model=4, ssm_size=8)
MODEL = ClassifierConfig(layer=LAYER, depth=2, input_kind="tokens", input_size=5, classes=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("d_model", 0),
        ("d_model", 4.0),
        ("d_model", True),
        ("ssm_size", 7),
        ("ssm_size", 0),
        ("ssm_size", -8),
        ("blocks", 0),
        ("blocks", 3),
        ("conj_sym", 1),
        ("bidirectional", "yes"),
        ("C_init", "lecun"),
        ("discretization", "euler"),
        ("dt_min", 0.0),
        ("dt_min", 0.2),
        ("dt_max", "0.1"),
        ("activation", "relu"),
        ("norm", "none"),
        ("prenorm", None),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("bn_momentum", 1.0),
        ("bn_momentum", -0.5),
        ("mask_padding", 0),
        ("scan", "fft"),
    ],
)
def test_a_wrong_layer_value_names_its_field(field, value):
    named = {"blocks": "ssm_size"}.get(field, field) if value == 3 else field
    with pytest.raises(ConfigError, match=rf"^S5Config\.{named} is "):
        LAYER.replace(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layer", {"d_model": 4}),
        ("layer", MODEL),
        ("depth", 0),
        ("input_kind", "words"),
        ("input_size", 0),
        ("classes", 2.5),
        ("pooling", "max"),
    ],
)
@pytest.mark.parametrize("cls", [ClassifierConfig, DualEncoderConfig])
def test_a_wrong_model_value_names_its_field(cls, field, value):
    given = {f.name: getattr(MODEL, f.name) for f in dataclasses.fields(MODEL)} | {field: value}
    with pytest.raises(ConfigError, match=rf"^{cls.__name__}\.{field} is "):
        cls(**given)


def test_choices_are_listed():
    with pytest.raises(ConfigError, match="expected one of 'full_glu', 'half_glu1', 'half_glu2', 'gelu'"):
        S5Config(activation="swish")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropuot": 0.1}, "S5Config has no field 'dropuot': did you mean 'dropout'"),
        ({"d_modell": 4}, "did you mean 'd_model'"),
        ({"xyz": 4}, "S5Config has no field 'xyz': known: C_init, Lambda_init, activation"),
    ],
)
def test_unknown_keys_are_errors_with_the_nearest_name(change, message):
    with pytest.raises(ConfigError, match=message):
        LAYER.replace(**change)
    with pytest.raises(ConfigError, match=message):
        S5Config.from_dict({**LAYER.to_dict(), **change})


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"model": "clasifier"}, ConfigError, "model is 'clasifier': did you mean 'classifier'"),
        (
            {},
            ConfigError,
            "model is None: known: classifier, dual_encoder, encoder_decoder, film_regressor, language_model",
        ),
        ({**MODEL.to_dict(), "deepth": 2}, ConfigError, "ClassifierConfig has no field 'deepth': did you mean 'depth'"),
        ({**MODEL.to_dict(), "layer": {"d_model": 4}}, ConfigError, "layer has no 'architecture'"),
        ({**MODEL.to_dict(), "layer": {"architecture": "s55"}}, UnknownName, "architecture 's55': did you mean 's5'"),
    ],
)
def test_wrong_dictionaries_of_models(values, error, message):
    with pytest.raises(error, match=message):
        config_from_dict(values)


def test_a_dictionary_of_another_class_is_refused():
    with pytest.raises(ConfigError, match=r"S5Config\.architecture is 's4': expected 's5'"):
        S5Config.from_dict({**LAYER.to_dict(), "architecture": "s4"})
    with pytest.raises(ConfigError, match=r"DualEncoderConfig\.model is 'classifier': expected 'dual_encoder'"):
        DualEncoderConfig.from_dict(MODEL.to_dict())


def test_dictionaries_survive_json():
    dual = DualEncoderConfig(layer=LAYER.replace(norm="batch"), depth=1, input_kind="values", input_size=2, classes=2)
    for config in (MODEL, dual):
        written = config.to_dict()
        assert written["layer"]["architecture"] == "s5"
        assert config_from_dict(json.loads(json.dumps(written))) == config
    assert S5Config.from_dict(LAYER.to_dict()) == LAYER


def test_configs_are_frozen_and_comparable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LAYER.d_model = 5  # pyright: ignore[reportAttributeAccessIssue]
    assert LAYER.replace(d_model=4) == LAYER
    assert len({LAYER, LAYER.replace(d_model=4), LAYER.replace(d_model=6)}) == 2


def test_what_follows_from_a_config():
    assert LAYER.kept_states == 4
    assert LAYER.replace(conj_sym=False).kept_states == 8
    assert LAYER.replace(conj_sym=False, ssm_size=7).kept_states == 7
    assert LAYER.causal
    assert not LAYER.replace(bidirectional=True).causal


def test_later_fields_are_written_only_where_they_are_used():
    for config, change in ((LAYER, {"Lambda_init": "inv"}), (LAYER, {"timescale": "scalar"}),
                           (SpadeStackConfig(), {"first": 1}), (MODEL, {"checkpoint": True}),
                           (MODEL, {"compute_dtype": "bfloat16"})):  # fmt: skip
        (name,) = change
        changed = config.replace(**change)
        assert name not in config.to_dict()
        assert config.to_dict(complete=True)[name] == getattr(config, name)
        assert changed.to_dict()[name] == change[name]
        for written in (changed.to_dict(), changed.to_dict(complete=True), config.to_dict(complete=True)):
            again = type(config).from_dict(json.loads(json.dumps(written)))
            assert again in (config, changed)
            assert getattr(again, name) == written[name]
    assert MODEL.to_dict(complete=True)["layer"]["Lambda_init"] == "hippo"
    with pytest.raises(ConfigError, match=r"SpadeStackConfig\.first is 2: expected 0 to 1"):
        SpadeStackConfig(first=2)


@pytest.mark.parametrize("config", [catalog.get(name).config for name in catalog.names()] + list(MODELS.values()))
def test_later_fields_are_fields_with_defaults(config):
    known = {field.name: field.default for field in dataclasses.fields(config)}
    assert all(known[name] is not dataclasses.MISSING for names in config.LATER for name in names)
