"""Padding under `mask_padding`: it reaches neither states, nor statistics, nor genuine outputs, whatever it holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from implementations import catalog
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.s5 import jax as s5_jax
from implementations.s5 import reference
from implementations.s5 import torch as s5_torch
from implementations.s5.config import S5Config

FRAMEWORKS = ("jax", "torch")
LENGTHS = np.array([5, 8, 1])
MASK = np.arange(8) < LENGTHS[:, None]
CONFIG = S5Config(d_model=4, ssm_size=8, dt_min=0.1, dt_max=0.5)


def arrays(framework, *values):
    make = jnp.asarray if framework == "jax" else torch.from_numpy
    return [None if value is None else make(value) for value in values]


def numpy(value):
    return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)


def layer(framework, config=CONFIG):
    return catalog.layer_class("s5", framework)(config, Keys(3, "float64"))


def inputs():
    return np.random.default_rng(0).normal(size=(3, 8, 4))


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("streaming", [False, True])
def test_the_state_returned_is_that_after_the_last_genuine_position(framework, streaming):
    twin, x = layer(framework), inputs()
    before = np.random.default_rng(1).normal(size=(3, 4, 2)) if streaming else None
    _, state = twin(*arrays(framework, x, before, MASK))
    for row, length in enumerate(LENGTHS):
        alone = None if before is None else before[row : row + 1]
        _, expected = twin(*arrays(framework, x[row : row + 1, :length], alone))
        np.testing.assert_allclose(numpy(state)[row], numpy(expected)[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_segment_of_padding_alone_leaves_the_state(framework):
    before = np.random.default_rng(1).normal(size=(3, 4, 2))
    _, state = layer(framework)(*arrays(framework, inputs(), before, np.zeros((3, 8), bool)))
    np.testing.assert_array_equal(numpy(state), before)


def test_the_oracle_returns_the_same_state():
    twin = layer("torch")
    parameters = {name: numpy(value) for name, value in twin.named_parameters()}
    _, state = twin(*arrays("torch", inputs(), None, MASK))
    _, expected = reference.layer(CONFIG, parameters, inputs(), mask=MASK)
    np.testing.assert_allclose(numpy(state), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_nan_in_padding_reaches_nothing_genuine(framework, bidirectional):
    config = CONFIG.replace(norm="batch", bidirectional=bidirectional)
    clean, dirty = inputs(), inputs()
    dirty[~MASK] = np.nan
    found = []
    for x in (clean, dirty):
        twin = layer(framework, config)
        y, _ = twin(*arrays(framework, x, None, MASK), training=True)
        found.append((numpy(y)[MASK], numpy(twin.norm.mean[...]), numpy(twin.norm.var[...])))
    for expected, value in zip(*found, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_position_at_all_is_one_sentence(framework):
    with pytest.raises(ConfigError, match="L at least 1"):
        layer(framework)(*arrays(framework, np.zeros((2, 0, 4))))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_bilinear_with_a_decay_of_zero_forgets_at_once(framework):
    config = S5Config(d_model=2, ssm_size=1, conj_sym=False, discretization="bilinear")
    twin = catalog.layer_class("s5", framework)(config, Keys(0, "float64")).ssm
    for name, value in (("Lambda_re", -2.0), ("Lambda_im", 0.0), ("log_step", 0.0)):
        array = np.full(numpy(getattr(twin, name)[...]).shape, value)
        if framework == "jax":
            getattr(twin, name)[...] = jnp.asarray(array)
        else:
            getattr(twin, name).data.copy_(torch.from_numpy(array))
    u = np.random.default_rng(0).normal(size=(1, 9, 2))
    chunked, associative = (numpy(twin(*arrays(framework, u), scan=scan)[0]) for scan in ("chunked", "associative"))
    np.testing.assert_allclose(chunked, associative, rtol=0, atol=1e-14)
    alone = numpy(twin(*arrays(framework, u[:, 8:]))[0])
    np.testing.assert_allclose(chunked[:, 8:], alone, rtol=0, atol=1e-14)


def test_the_logarithm_of_zero_has_a_gradient_of_zero():
    pairs = np.array([[0.0, 0.0], [0.3, -0.4]])
    of_jax = jax.grad(lambda x: s5_jax.logarithm(x).sum())(jnp.asarray(pairs))
    x = torch.tensor(pairs, requires_grad=True)
    s5_torch.logarithm(x).sum().backward()
    expected = [[0.0, 0.0], [2.8, -0.4]]  # d(log|z| + arg z) = ((x - y) dx + (x + y) dy) / |z|^2
    for found in (of_jax, x.grad):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("architecture", ["s5", "s4", "mega", "seqboat", "transformer"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_padding_holds_reaches_no_gradient(framework, architecture):
    config = CONFIG if architecture == "s5" else catalog.get(architecture).config(d_model=4)
    twin = catalog.layer_class(architecture, framework)(config, Keys(3, "float64"))
    x = np.random.default_rng(0).normal(size=(3, 8, 4))
    x[~MASK] = np.nan
    found = gradients(framework, twin, x)
    assert found
    for name, gradient in found.items():
        assert np.isfinite(gradient).all(), name


def gradients(framework, twin, x):
    """The gradients of the parameters by the sum of the genuine outputs."""
    if framework == "torch":
        y, _ = twin(*arrays(framework, x), mask=torch.from_numpy(MASK))
        y[torch.from_numpy(MASK)].sum().backward()
        return {name: numpy(p.grad) for name, p in twin.named_parameters() if p.grad is not None}

    def loss(twin):
        y, _ = twin(jnp.asarray(x), mask=jnp.asarray(MASK))
        return jnp.where(MASK[..., None], y, 0).sum()

    return {".".join(map(str, path)): np.asarray(leaf) for path, leaf in nnx.to_flat_state(nnx.grad(loss)(twin))}
