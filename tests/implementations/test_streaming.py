"""What every streaming layer owes its state: padding that holds NaN reaches nothing, a reset row is a fresh one."""

import importlib

import numpy as np
import pytest

from implementations.ema.config import EMAConfig
from implementations.mega.config import MegaConfig
from implementations.s4.config import S4Config, S4DConfig
from implementations.transformer.config import TransformerConfig
from suite.equivalence.cases import flatten

MEGA = MegaConfig(
    d_model=3, query_size=2, value_size=3, feedforward_size=4, state_size=2, bidirectional=False, attention="laplace"
)
TRANSFORMER = TransformerConfig(d_model=3, heads=1, head_width=2, d_ff=4, causal=True, positions="t5", buckets=4)
CONFIGS = {
    "s4": S4Config(d_model=3, state_size=4, dt_min=0.1, dt_max=0.5),
    "s4d": S4DConfig(d_model=3, state_size=4, dt_min=0.1, dt_max=0.5),
    "ema": EMAConfig(d_model=3, state_size=2),
    "ema, truncated": EMAConfig(d_model=3, state_size=2, truncation=3),
    "mega, chunks": MEGA.replace(chunk_size=4, bias="rotary"),
    "mega, whole": MEGA.replace(attention="relu2"),
    "transformer": TRANSFORMER,
    "transformer, window": TRANSFORMER.replace(attention="window", window=3, positions="rotary"),
}
BATCH, LENGTH = 3, 6
MASK = np.arange(LENGTH) < np.array([[4], [6], [1]])
START = np.array([True, False, True])


def twin(framework: str, name: str):
    """A layer behind the interface of the ladder, its parameters away from their constant initial values."""
    from implementations.parameters import get_parameters

    config = CONFIGS[name]
    found = importlib.import_module(f"suite.equivalence.{framework}").Twin.layer(config, 3, "float64")
    rng = np.random.default_rng(1)
    values = {path: v + 0.3 * rng.standard_normal(v.shape) for path, v in get_parameters(found.module).items()}
    found.set(values, {})
    return found


def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((BATCH, LENGTH, 3))


@pytest.mark.parametrize("framework", ["jax", "torch"])
@pytest.mark.parametrize("name", CONFIGS)
def test_nan_in_padding_reaches_nothing_genuine(framework, name):
    found = twin(framework, name)
    clean, dirty = inputs(), inputs()
    dirty[~MASK] = np.nan
    results = [found.call({"x": x, "mask": MASK}).outputs for x in (clean, dirty)]
    np.testing.assert_array_equal(results[1].pop("y")[MASK], results[0].pop("y")[MASK])
    assert results[0].keys() == results[1].keys()
    for path, state in results[1].items():
        assert np.isfinite(state).all(), path


def reset(framework: str, found, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The layer's reset at `START`."""
    if framework == "jax":
        from jax.numpy import asarray as make
    else:
        from torch import as_tensor as make
    given = {path.removeprefix("state").removeprefix("."): make(value) for path, value in state.items()}
    after = found.module.reset(given.get("", given), make(START))
    return {path: np.asarray(value) for path, value in flatten(after, "state").items()}


@pytest.mark.parametrize("framework", ["jax", "torch"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_reset_row_is_a_fresh_one_and_the_others_go_on(framework, name):
    found = twin(framework, name)
    first, second = inputs(), np.random.default_rng(2).standard_normal((BATCH, LENGTH, 3))
    state = {path: value for path, value in found.call({"x": first}).outputs.items() if path != "y"}
    fresh = {path: np.asarray(v) for path, v in flatten(found.module.initial_state(BATCH), "state").items()}
    mixed, went_on, began = (
        found.call({"x": second, **given}).outputs["y"] for given in (reset(framework, found, state), state, fresh)
    )
    np.testing.assert_allclose(mixed[START], began[START], rtol=0, atol=1e-12)
    np.testing.assert_allclose(mixed[~START], went_on[~START], rtol=0, atol=1e-12)
    assert np.abs(went_on - began).max() > 1e-3
