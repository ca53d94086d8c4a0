"""Mega beyond the ladder: initial values, chunks against whole sequences, cuts of any length, and wrong inputs."""

import importlib

import numpy as np
import pytest

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.mega.config import MegaConfig
from implementations.parameters import get_parameters
from suite.equivalence.cases import flatten

SMALL = MegaConfig(
    d_model=4, query_size=2, value_size=3, feedforward_size=0, state_size=2, bidirectional=False, chunk_size=4
)


def twin(framework: str, config: MegaConfig):
    module = importlib.import_module(f"implementations.mega.{framework}").MegaLayer(config, Keys(3, "float64"))
    found = importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")
    values = get_parameters(module)
    rng = np.random.default_rng(0)
    found.set({path: value + 0.5 * rng.standard_normal(value.shape) for path, value in values.items()}, {})
    return found


@pytest.mark.parametrize("lengths", [[13], [4, 4, 5], [1, 6, 1, 5], [3, 10]])
def test_cuts_anywhere_change_nothing(framework, lengths):
    found = twin(framework, SMALL)
    x = np.random.default_rng(5).standard_normal((2, 13, 4))
    mask = np.random.default_rng(6).random((2, 13)) < 0.7
    mask[:, [0, 2, 3, 6, 7, 12]] = True  # What ends a part is genuine: padding there would leave no trace.
    whole = found.call({"x": x, "mask": mask}).outputs
    arrays, outputs, start = flatten(found.module.initial_state(2), "state"), [], 0
    for length in lengths:
        part = slice(start, start + length)
        result = found.call({**arrays, "x": x[:, part], "mask": mask[:, part]}).outputs
        outputs.append(result.pop("y"))
        arrays, start = result, start + length
    np.testing.assert_allclose(np.concatenate(outputs, 1)[mask], whole.pop("y")[mask], rtol=0, atol=1e-12)
    assert arrays.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(arrays[name], value, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("attention", ["softmax", "laplace", "relu2"])
def test_one_chunk_is_the_whole_sequence(framework, attention):
    x = np.random.default_rng(5).standard_normal((2, 6, 4))
    config = SMALL.replace(bidirectional=True, attention=attention, chunk_size=6)
    outputs = [
        twin(framework, c).call({"x": x}).outputs["y"]
        for c in (config, config.replace(chunk_size=None, max_positions=6), config.replace(chunk_size=3))
    ]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0, atol=1e-13)
    assert np.abs(outputs[2] - outputs[0]).max() > 1e-3


def test_laplace_touches_the_squared_relu_at_the_root_of_a_half(framework):
    """There both are 1/2 with a slope of sqrt(2): what the mean and the deviation were chosen for (section 3.3)."""
    laplace = importlib.import_module(f"implementations.mega.{framework}").laplace
    make = importlib.import_module({"jax": "jax.numpy", "torch": "torch"}[framework]).asarray
    low, middle, high = (float(laplace(make(np.float64(0.5**0.5 + step)))) for step in (-1e-4, 0.0, 1e-4))
    assert abs(middle - 0.5) < 1e-6
    assert abs((high - low) / 2e-4 - 2**0.5) < 1e-5


def test_initial_values_are_distributed_as_the_authors_draw_them():
    config = MegaConfig(d_model=60, query_size=40, value_size=50, feedforward_size=70, max_positions=900)
    values = get_parameters(importlib.import_module("implementations.mega.torch").MegaLayer(config, Keys(0, "float64")))
    shapes = {
        "attention.v_proj.kernel": (60, 50),
        "attention.mx_proj.kernel": (60, 60 + 40 + 50 + 60),
        "attention.h_proj.kernel": (50, 60),
        "attention.gamma": (2, 40),
        "attention.table": (1799,),
        "feedforward.fc1.kernel": (60, 70),
        "feedforward.fc2.kernel": (70, 60),
    }
    for path, shape in shapes.items():
        assert values[path].shape == shape
        assert abs(values[path].std() - 0.02) < 5 * 0.02 / np.sqrt(2 * values[path].size), path
    for path in ("attention.beta", "attention.v_proj.bias", "attention.mx_proj.bias", "feedforward.fc1.bias"):
        assert not values[path].any(), path


def test_wrong_inputs_are_named(framework):
    with pytest.raises(
        ConfigError, match=r"x has shape \(2, 5, 3\): expected \(B, L, D\) with L at least 1 and D = d_model = 4"
    ):
        twin(framework, SMALL).call({"x": np.zeros((2, 5, 3))})
    with pytest.raises(ConfigError, match="max_positions is 4: the sequence has 5 positions"):
        twin(framework, SMALL.replace(chunk_size=None, max_positions=4)).call({"x": np.zeros((2, 5, 4))})
    assert twin(framework, SMALL.replace(bidirectional=True)).module.initial_state(2) is None


def test_wrong_configs_are_named():
    with pytest.raises(ConfigError, match=r"MegaConfig\.chunk_size is 0: expected at least 1, or None"):
        MegaConfig(chunk_size=0)
    with pytest.raises(ConfigError, match=r"MegaConfig\.query_size is 3: expected an even number"):
        MegaConfig(query_size=3, bias="rotary")
    with pytest.raises(ConfigError, match=r"MegaConfig\.hidden_dropout is 1\.0"):
        MegaConfig(hidden_dropout=1.0)
    assert MegaConfig.from_dict(SMALL.to_dict()) == SMALL
