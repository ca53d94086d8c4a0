"""Initial values: the same bits everywhere, of the distributions they claim, independent of each other."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from implementations.common.initializers import Keys, lecun_normal, log_uniform, normal, truncated_normal
from implementations.s5.config import S5Config, initial_ssm


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, "<f8").tobytes()).hexdigest()[:16]


PINNED = {
    "root": "d852910967130872",
    "path": "169fd988b115eb2d",
    "scalar": "bd2c230156c9238b",
    "normal": "2cb26d2f807ed57c",
    "truncated": "a3601333c7a765d1",
    "lecun": "0659fdd2723557c2",
    "log_uniform": "6db5346ca2b59b66",
}


def test_words_are_pinned():
    """The 53-bit values come from integers only: the same on every machine and every NumPy."""
    assert digest(Keys(0).uniform((7, 3))) == PINNED["root"]
    assert digest(Keys(2**63 - 1).child("layers").child(3).uniform((100,))) == PINNED["path"]
    assert digest(Keys(1, "float64").child("B").uniform(())) == PINNED["scalar"]


def test_draws_are_pinned():
    """Rounded to 12 digits: the inverse distribution functions may differ in the last bits between SciPy versions."""
    keys = Keys(5).child("x")
    for name, values in {
        "normal": normal(keys, (50,)),
        "truncated": truncated_normal(keys, (50,), 0.3),
        "lecun": lecun_normal(keys, (10, 5)),
        "log_uniform": log_uniform(keys, (50,), 1e-3, 1e-1),
    }.items():
        assert digest(np.round(values, 12)) == PINNED[name], name


def test_a_value_depends_on_seed_and_path_only():
    keys = Keys(3)
    first = keys.child("a").uniform((5,))
    keys.child("b").uniform((100,))
    np.testing.assert_array_equal(keys.child("a").uniform((5,)), first)
    np.testing.assert_array_equal(Keys(3, "float64", ("a",)).uniform((5,)), first)
    np.testing.assert_array_equal(Keys(3).child("a").uniform((2, 2)).ravel(), first[:4])
    others = [Keys(4).child("a"), Keys(3).child("b"), Keys(3), Keys(3).child("a").child("a")]
    for other in others:
        assert (other.uniform((5,)) != first).all()


def test_paths_do_not_run_together():
    assert (Keys(1).child("a").child("b").uniform((4,)) != Keys(11).child("b").uniform((4,))).all()
    assert Keys(0).child("dropout1").site != Keys(0).child("dropout2").site
    assert Keys(0).child("x").site == Keys(9).child("x").site


N = 20_000


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda k: k.uniform((N,)), stats.uniform()),
        (lambda k: normal(k, (N,), 0.5), stats.norm(scale=0.5)),
        (
            lambda k: truncated_normal(k, (N,), 0.3),
            stats.truncnorm(-2, 2, scale=0.3 / stats.truncnorm(-2, 2).std()),
        ),
        (lambda k: log_uniform(k, (N,), 1e-3, 1e-1), stats.uniform(np.log(1e-3), np.log(100))),
    ],
    ids=["uniform", "normal", "truncated normal", "log uniform"],
)
def test_distributions(draw, distribution):
    values = draw(Keys(0).child("sample"))
    # Kolmogorov and Smirnov: a right distribution stays above this for all but one seed in ten thousand.
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-4
    assert values.std() == pytest.approx(distribution.std(), rel=0.03)
    lag = np.corrcoef(values[:-1], values[1:])[0, 1]
    assert abs(lag) < 5 / np.sqrt(N)


def test_lecun_normal_counts_the_last_axis_but_one():
    assert lecun_normal(Keys(0), (100, 200)).std() == pytest.approx(0.1, rel=0.03)
    assert lecun_normal(Keys(0), (100, 200), fan_in=25).std() == pytest.approx(0.2, rel=0.03)
    assert np.abs(lecun_normal(Keys(0), (100, 200))).max() <= 2 * 0.1 / stats.truncnorm(-2, 2).std()


def test_uniform_is_open():
    values = Keys(0).uniform((N,))
    assert values.min() > 0
    assert values.max() < 1


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=f"seed is {seed}: expected an integer from 0"):
        Keys(seed)


def test_a_wrong_dtype_is_named():
    with pytest.raises(ValueError, match="dtype is 'bfloat16': expected 'float32' or 'float64'"):
        Keys(0, "bfloat16")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cast(dtype):
    values = Keys(0, dtype).cast(np.arange(6.0).reshape(2, 3).T)
    assert values.dtype == dtype
    assert values.flags.c_contiguous


@pytest.mark.parametrize("C_init", ["trunc_standard_normal", "lecun_normal", "complex_normal"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_shapes_and_scales_of_an_ssm(C_init, bidirectional):
    config = S5Config(d_model=24, ssm_size=64, blocks=4, bidirectional=bidirectional, C_init=C_init)
    values = initial_ssm(config, Keys(0))
    p, d = config.kept_states, config.d_model
    shapes = {"Lambda_re": (p,), "Lambda_im": (p,), "B": (p, d, 2), "D": (d,), "log_step": (p, 1)}
    if not bidirectional:
        shapes["C"] = (d, p, 2)
    elif C_init == "complex_normal":
        shapes["C"] = (d, 2 * p, 2)
    else:
        shapes |= {"C1": (d, p, 2), "C2": (d, p, 2)}
    assert {name: value.shape for name, value in values.items()} == shapes
    # Variances of components: B0 real with 1/P_full, its projection halves it between the parts; C by the fan rule.
    variance = {"complex_normal": 1 / 2, "lecun_normal": 1 / (64 * d), "trunc_standard_normal": 1 / 64}[C_init]
    for name in shapes:
        if name.startswith("C"):
            assert values[name].var() == pytest.approx(variance, rel=0.15)
    assert values["B"].var() == pytest.approx(1 / 64 / 2, rel=0.15)
    if "C1" in values:
        assert (values["C1"] != values["C2"]).all()
    assert (values["Lambda_im"] < 0).all()
    np.testing.assert_allclose(values["Lambda_re"], -0.5, rtol=1e-12)
