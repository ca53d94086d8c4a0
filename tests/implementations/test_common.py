"""The small layers of both frameworks against their definitions in NumPy; dropout masks bit for bit."""

import importlib
import math
import zlib

import numpy as np
import pytest
from scipy import stats

from implementations.catalog import FRAMEWORKS
from implementations.common import conventions
from implementations.common.initializers import Keys
from implementations.parameters import get_parameters, get_statistics, set_parameters, set_statistics


@pytest.fixture(params=FRAMEWORKS)
def common(request):
    return importlib.import_module(f"implementations.common.{request.param}")


def tensor(common, value):
    """A NumPy array in the framework of a module."""
    if common.__name__.endswith("jax"):
        import jax.numpy as jnp

        return jnp.asarray(value)
    import torch

    return torch.tensor(value)


def array(value) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 7, 4))


def randomised(module, seed=0):
    rng = np.random.default_rng(seed)
    parameters = {path: rng.standard_normal(p.shape) for path, p in get_parameters(module).items()}
    set_parameters(module, parameters)
    return parameters


def test_linear(common):
    module = common.Linear(4, 5, Keys(0, "float64"))
    assert get_parameters(module)["kernel"].std() > 0
    assert not get_parameters(module)["bias"].any()
    p = randomised(module)
    np.testing.assert_allclose(array(module(tensor(common, X))), X @ p["kernel"] + p["bias"], rtol=1e-12)


def test_gelu_is_the_tanh_form(common):
    x = np.linspace(-4, 4, 41)
    tanh = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(array(common.gelu(tensor(common, x))), tanh, atol=1e-14)
    assert np.abs(tanh - x * stats.norm.cdf(x)).max() > 1e-4


def test_layer_norm(common):
    module = common.LayerNorm(4, Keys(0, "float64"))
    assert (get_parameters(module)["scale"] == 1).all()
    p = randomised(module)
    small = 1e-3 * X
    expected = (small - small.mean(-1, keepdims=True)) / np.sqrt(small.var(-1, keepdims=True) + 1e-6)
    found = array(module(tensor(common, small)))
    np.testing.assert_allclose(found, expected * p["scale"] + p["bias"], rtol=1e-10)
    assert conventions.LAYER_NORM_EPSILON == 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_batch_norm(common, masked):
    module = common.BatchNorm(4, 0.9, Keys(0, "float64"))
    p = randomised(module)
    old = {"mean": RNG.standard_normal(4), "var": RNG.uniform(1, 2, 4)}
    set_statistics(module, old)
    small = 1e-2 * X
    mask = np.arange(7) < np.array([[7], [3], [1]]) if masked else None
    given = None if mask is None else tensor(common, mask)
    scaled = (small - old["mean"]) / np.sqrt(old["var"] + 1e-5) * p["scale"] + p["bias"]
    np.testing.assert_allclose(array(module(tensor(common, small), given)), scaled, rtol=1e-10)
    rows = small.reshape(-1, 4) if mask is None else small[mask]
    scaled = (small - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5) * p["scale"] + p["bias"]
    np.testing.assert_allclose(array(module(tensor(common, small), given, True)), scaled, rtol=1e-10)
    new = get_statistics(module)
    np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * rows.var(0), rtol=1e-12)


def words(seed: int, site: int, count: int) -> list[int]:
    """MurmurHash3's finaliser with whole numbers, two rounds."""
    found, low = [], 0xFFFFFFFF
    for i in range(count):
        word = (i * 0x9E3779B9 + site) & low
        for salt in (seed & low, 0x85EBCA6B):
            word ^= salt
            word = ((word ^ (word >> 16)) * 0x85EBCA6B) & low
            word = ((word ^ (word >> 13)) * 0xC2B2AE35) & low
            word ^= word >> 16
        found.append(word)
    return found


SEEDS = (0, 1, 12345, 2**31 - 1, 2**31, 2**32 - 1)


def random_words(common, seed, site, count):
    """The words of a module, whatever its framework calls the device."""
    if common.__name__.endswith("jax"):
        return array(common.random_words(seed, site, count))
    import torch

    return array(common.random_words(seed, site, count, torch.device("cpu")))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_words_are_the_same_in_both_frameworks(common, seed):
    site = zlib.crc32(b"layers.0.dropout1")
    expected = words(seed, site, 50)
    assert random_words(common, np.uint32(seed).item(), site, 50).tolist() == expected


def mask(common, rate, seed, site="layers.0.dropout1", shape=(64, 5, 100)):
    module = common.Dropout(rate, Keys(0, "float64", tuple(site.split("."))))
    return array(module(tensor(common, np.ones(shape)), seed, True))


def test_dropout_masks_are_equal_bit_for_bit():
    modules = [importlib.import_module(f"implementations.common.{framework}") for framework in FRAMEWORKS]
    for rate in (0.05, 0.5, 0.9):
        for seed in (0, 7, 2**31):
            first, second = (mask(module, rate, seed) for module in modules)
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_dropout_keeps_its_rate_and_the_mean(common, rate):
    found = mask(common, rate, 3)
    assert (found == found[:, :1]).all(), "one mask for all positions"
    kept = found[:, 0] != 0
    np.testing.assert_allclose(found[:, 0][kept], 1 / (1 - rate), rtol=1e-12)
    n = kept.size
    assert abs(kept.mean() - (1 - rate)) < 5 * math.sqrt(rate * (1 - rate) / n)
    # No row and no column is favoured: the counts of kept values are binomial.
    for axis in (0, 1):
        counts, size = kept.sum(axis), kept.shape[axis]
        assert np.abs(counts - size * (1 - rate)).max() < 5.5 * math.sqrt(size * rate * (1 - rate)) + 1


def test_dropout_differs_between_steps_and_sites(common):
    first = mask(common, 0.5, 1) != 0
    for other in (
        mask(common, 0.5, 2),
        mask(common, 0.5, 1, "layers.1.dropout1"),
        mask(common, 0.5, 1, "layers.0.dropout2"),
    ):
        agree = ((other != 0) == first)[:, 0].mean()
        assert abs(agree - 0.5) < 5 * 0.5 / math.sqrt(64 * 100)


def test_dropout_rests_outside_training(common):
    module = common.Dropout(0.5, Keys(0))
    x = tensor(common, X)
    np.testing.assert_array_equal(array(module(x, 1, False)), X)
    np.testing.assert_array_equal(array(module(x, None, False)), X)
    np.testing.assert_array_equal(array(common.Dropout(0.0, Keys(0))(x, None, True)), X)
    with pytest.raises(ValueError, match=r"dropout_seed is None: training with dropout 0\.5 needs an integer"):
        module(x, None, True)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.int64])
def test_embedding_takes_every_kind_of_integer(common, kind):
    indices = np.arange(15).reshape(5, 3) % 5
    module = common.Embedding(5, 3, Keys(0))  # a mask of uint8 would be of the table's own shape
    found = array(module(tensor(common, indices.astype(kind))))
    np.testing.assert_array_equal(found, array(module.table[...])[indices])


def test_matmul_precision_is_a_context(common):
    torch = pytest.importorskip("torch")
    jax = importlib.import_module("implementations.common.jax")

    def state():
        return jax.current_precision(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = state()
    assert before[:2] == ("float32", "highest")
    if common is not jax:
        with common.matmul_precision("float32"):
            assert not torch.backends.cudnn.allow_tf32
        with common.matmul_precision("tf32"):
            assert torch.backends.cudnn.allow_tf32

    def fail():
        with common.matmul_precision("tf32"):
            assert state() != before
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert state() == before
    assert conventions.MATMUL_PRECISION == "float32"


@pytest.mark.parametrize(
    ("platform", "name", "precision"),
    [
        ("cpu", "tf32", "HIGHEST"),
        ("gpu", "tf32", "TF32_TF32_F32"),
        ("tpu", "tf32", "HIGH"),
        ("tpu", "float32", "HIGHEST"),
    ],
)
def test_the_precision_of_products_is_that_of_the_platform(platform, name, precision):
    import jax

    common = importlib.import_module("implementations.common.jax")
    x = np.ones((2, 2), np.float32)
    with common.compiling_for(platform), common.matmul_precision(name):
        (product,) = jax.make_jaxpr(lambda a: common.einsum("ij,jk->ik", a, a))(x).eqns
    found = product.params["precision"]
    assert {one.name for one in (found if isinstance(found, tuple) else (found,))} == {precision}


def test_padding_at_the_end_is_counted_and_left_out(common):
    """Only what stands behind the last genuine position; of too short a sequence the beginning is zeros."""
    mask = np.array([[True, False, True, False, False], [False] * 5, [True] * 5])
    padding = common.trailing(tensor(common, mask))
    assert np.asarray(padding).tolist() == [2, 5, 0]
    x = np.arange(1.0, 16.0).reshape(3, 5)
    found = common.ending(tensor(common, x), padding, 4)
    assert np.asarray(found).tolist() == [[0, 1, 2, 3], [0, 0, 0, 0], [12, 13, 14, 15]]
    assert np.asarray(common.ending(tensor(common, x), None, 2)).tolist() == [[4, 5], [9, 10], [14, 15]]
