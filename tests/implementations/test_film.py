"""The regressor of films: both twins against the oracle, their gradients, and what time does."""

import dataclasses

import numpy as np
import pytest
from model_twins import build, call

from implementations.common.config import ConfigError
from implementations.models.config import FilmRegressorConfig, config_from_dict
from implementations.models.film import reference
from implementations.parameters import get_parameters, set_parameters
from implementations.s5.config import S5Config
from implementations.transformer.config import TransformerConfig
from suite.recipes.sequences import pendulum
from suite.training.measures import measure

LAYER = S5Config(d_model=6, ssm_size=4, prenorm=False, activation="half_glu2")
CONFIG = FilmRegressorConfig(LAYER, 2, "values", 257, side=16, channels=3, hidden=5)


def films(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.concatenate([random.uniform(0, 1, (2, 6, 256)), random.integers(1, 5, (2, 6, 1))], -1)


def model(framework: str, config: FilmRegressorConfig = CONFIG):
    """With heads that give variances on both sides of one."""
    pytest.importorskip(framework)
    found = build(framework, config)
    parameters = get_parameters(found)
    parameters["variance.out.bias"] += np.array([2.0, -1.0])
    set_parameters(found, parameters)
    return found


@pytest.mark.parametrize("time", ["steps", "append", "ignore"])
@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_twins_follow_the_oracle(framework, time):
    config = CONFIG.replace(time=time)
    found = model(framework, config)
    expected = reference.model(config, get_parameters(found), films())
    assert expected.shape == (2, 6, 4)
    variance = expected[..., 2:]
    assert (variance < 1).any()
    assert (variance > 1).any()
    np.testing.assert_allclose(call(found, "__call__", films()), expected, rtol=1e-10, atol=1e-12)


def test_time_acts_only_where_it_is_asked_for():
    later = films()
    later[:, 3, -1] += 2
    changed = {}
    for time in ("steps", "append", "ignore"):
        found = model("torch", CONFIG.replace(time=time))
        difference = np.abs(call(found, "__call__", later) - call(found, "__call__", films())).max((0, 2))
        changed[time] = (difference > 1e-9).tolist()
    assert changed == {"steps": [False] * 3 + [True] * 3, "append": [False] * 3 + [True] * 3, "ignore": [False] * 6}


def test_parameters_of_the_paper():
    jax, torch = (get_parameters(model(framework, pendulum("paper").model)) for framework in ("jax", "torch"))
    assert {path: value.shape for path, value in jax.items()} == {path: value.shape for path, value in torch.items()}
    convolutions = 25 * 12 + 12 + 9 * 12 * 12 + 12
    around = 108 * 30 + 30 + 30 * 30 + 30 + 2 * (30 * 30 + 30 + 30 * 2 + 2)
    layer = 2 * 8 + 8 * 30 * 2 * 2 + 30 + 8 + 2 * 30 + 30 * 30 + 30
    assert sum(value.size for value in jax.values()) == convolutions + around + 4 * layer


def test_losses_of_both_backends_are_the_likelihood():
    import jax.numpy as jnp
    import torch

    from suite.training import jax as of_jax
    from suite.training import torch as of_torch

    random = np.random.default_rng(1)
    mean, variance, targets = (
        random.normal(size=(3, 4, 2)),
        random.uniform(0.1, 2, (3, 4, 2)),
        random.normal(size=(3, 4, 2)),
    )
    variance[0, 0, 0] = 0.0  # raised to 1e-6
    targets[0, 0, 0] = mean[0, 0, 0] + 1e-3
    outputs = np.concatenate([mean, variance], -1)
    raised = np.maximum(variance, 1e-6)
    density = np.exp(-((targets - mean) ** 2) / (2 * raised)) / np.sqrt(2 * np.pi * raised)
    expected = -np.log(density).sum(-1).mean()
    found, predicted = measure("gaussian", outputs, targets)
    assert predicted is None
    np.testing.assert_allclose([found["loss"], found["mse"]], [expected, ((targets - mean) ** 2).mean()], rtol=1e-12)
    np.testing.assert_allclose(of_jax.gaussian(jnp.asarray(outputs), jnp.asarray(targets)), expected, rtol=1e-10)
    np.testing.assert_allclose(of_torch.gaussian(torch.tensor(outputs), torch.tensor(targets)), expected, rtol=1e-10)
    numbers = random.normal(size=(5, 1)), random.normal(size=5)
    squared = float(((numbers[0][:, 0] - numbers[1]) ** 2).mean())
    assert measure("squared_error", *numbers)[0] == {"loss": squared, "mse": squared}
    np.testing.assert_allclose(of_jax.squared_error(*map(jnp.asarray, numbers)), squared, rtol=1e-12)
    np.testing.assert_allclose(of_torch.squared_error(*map(torch.tensor, numbers)), squared, rtol=1e-12)


def test_configs_say_what_does_not_fit():
    assert config_from_dict(CONFIG.to_dict()) == CONFIG
    for changes, message in (
        ({"side": 12}, "side is 12: expected a positive multiple of 8"),
        ({"input_size": 256}, r"input_size is 256: expected side\^2 \+ 1 = 257"),
        ({"layer": TransformerConfig(d_model=6, heads=1)}, "time is 'steps': expected 'append' or 'ignore'"),
    ):
        with pytest.raises(ConfigError, match=message):
            dataclasses.replace(CONFIG, **changes)
