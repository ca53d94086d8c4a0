"""MH-EMA beyond the ladder: streaming by every algorithm, initial values, and what is said about wrong inputs."""

import importlib

import numpy as np
import pytest

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.ema.config import EMAConfig, initial_ema


def twin(framework: str, config: EMAConfig):
    module = importlib.import_module(f"implementations.ema.{framework}").MultiHeadEMA(config, Keys(3, "float64"))
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")


@pytest.mark.parametrize("truncation", [None, 0, 1, 2, 7, 40])
@pytest.mark.parametrize("convolution", ["auto", "fft", "direct"])
def test_whole_sequences_segments_and_tokens_agree(framework, convolution, truncation):
    found = twin(framework, EMAConfig(d_model=3, state_size=2, truncation=truncation, convolution=convolution))
    rng = np.random.default_rng(5)
    x, mask = rng.standard_normal((2, 23, 3)), np.arange(23) < np.array([[23], [18]])
    whole = found.call({"x": x, "mask": mask}).outputs
    for lengths in ([23], [5, 1, 1, 16], [1] * 23):
        arrays, outputs, start = {"state": np.asarray(found.module.initial_state(2))}, [], 0
        for length in lengths:
            part = slice(start, start + length)
            result = found.call({**arrays, "x": x[:, part], "mask": mask[:, part]}).outputs
            outputs.append(result["y"])
            arrays, start = {"state": result["state"]}, start + length
        np.testing.assert_allclose(np.concatenate(outputs, 1)[mask], whole["y"][mask], rtol=0, atol=1e-12)
        np.testing.assert_allclose(arrays["state"], whole["state"], rtol=0, atol=1e-12)


def test_truncation_beyond_the_sequence_changes_no_output(framework):
    x = np.random.default_rng(1).standard_normal((1, 9, 3))
    for bidirectional in (False, True):
        config = EMAConfig(d_model=3, state_size=2, bidirectional=bidirectional)
        outputs = [
            twin(framework, config.replace(truncation=lags)).call({"x": x}).outputs["y"] for lags in (None, 9, 30, 3)
        ]
        np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(outputs[2], outputs[0], rtol=0, atol=1e-13)
        assert np.abs(outputs[3] - outputs[0]).max() > 1e-3


@pytest.mark.parametrize(("initialization", "share"), [("normal", 1.0), ("cut_normal", 0.87962566)])
def test_initial_values_are_distributed_as_the_authors_draw_them(initialization, share):
    config = EMAConfig(d_model=400, state_size=16, bidirectional=True, initialization=initialization)
    values = initial_ema(config, Keys(0))
    assert {name: value.shape for name, value in values.items()} == {
        "delta": (800, 16),
        "alpha": (800, 16),
        "beta": (800, 16),
        "gamma": (800, 16),
        "omega": (400,),
    }
    centred = values | {"beta": values["beta"] - np.tile([1.0, -1.0], 8)}
    for name, deviation in (("delta", 0.2), ("alpha", 0.2), ("beta", 0.02), ("gamma", 1.0), ("omega", 1.0)):
        spread = 5 * deviation / np.sqrt(2 * centred[name].size)
        assert abs(centred[name].std() - share * deviation) < spread, name
        assert abs(centred[name].mean()) < 2 * spread, name
        inside = np.abs(centred[name]).max() <= 2 * deviation
        assert inside == (initialization == "cut_normal"), name


def test_wrong_inputs_are_named(framework):
    found = twin(framework, EMAConfig(d_model=3, state_size=2))
    with pytest.raises(
        ConfigError, match=r"x has shape \(2, 5, 4\): expected \(B, L, D\) with L at least 1 and D = d_model = 3"
    ):
        found.call({"x": np.zeros((2, 5, 4))})
    with pytest.raises(ConfigError, match=r"state has shape \(2, 2, 3\): expected \(2, 3, 2\)"):
        found.call({"x": np.zeros((2, 5, 3)), "state": np.zeros((2, 2, 3))})
    both = twin(framework, EMAConfig(d_model=3, state_size=2, bidirectional=True))
    assert both.module.initial_state(2) is None
    with pytest.raises(ConfigError, match=r"bidirectional is True: a layer that cannot stream takes no state"):
        both.call({"x": np.zeros((2, 5, 3)), "state": np.zeros((2, 3, 2))})


def test_wrong_configs_are_named():
    with pytest.raises(ConfigError, match=r"EMAConfig\.truncation is -1"):
        EMAConfig(truncation=-1)
    with pytest.raises(ConfigError, match=r"EMAConfig\.state_size is 0"):
        EMAConfig(state_size=0)
    with pytest.raises(ConfigError, match=r"EMAConfig\.convolution is 'fast': expected one of 'auto', 'direct', 'fft'"):
        EMAConfig(convolution="fast")  # pyright: ignore[reportArgumentType]
    config = EMAConfig(d_model=7, truncation=5, bidirectional=True)
    assert EMAConfig.from_dict(config.to_dict()) == config
