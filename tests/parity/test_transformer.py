"""The Transformer layer: what its configuration refuses, its initial values, presets, and what Transformer-XL cuts."""

import importlib
import warnings

import numpy as np
import pytest

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.ops.attention import bucket_edges, choose, flexible, span
from implementations.ops.attention.reference import allowed
from implementations.transformer.config import TransformerConfig, initial_bias

SMALL = TransformerConfig(d_model=6, heads=2, head_width=4, d_ff=7, biases=False, causal=True)
WINDOW = 4


def twin(framework, config):
    """A layer behind the interface of the ladder."""
    room = importlib.import_module(f"implementations.transformer.{framework}")
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(
        room.TransformerLayer(config, Keys(0, "float64")), "float64"
    )


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("d_model", {"d_model": 0}),
        ("window", {"attention": "window"}),
        ("window", {"window": 3}),
        ("window", {"attention": "xl", "causal": True, "window": 0}),
        ("causal", {"attention": "xl", "window": 3}),
        ("include_self", {"include_self": False}),
        ("attend_start", {"attend_start": True, "causal": True}),
        ("head_width", {"positions": "rotary", "head_width": 3}),
        ("buckets", {"positions": "t5", "buckets": 6}),
        ("max_distance", {"positions": "t5", "max_distance": 8}),
        ("max_length", {"positions": "learned"}),
        ("dropout", {"dropout": 1.0}),
        ("positions", {"positions": "relative"}),
    ],
)
def test_wrong_configs_name_the_field(field, changes):
    with pytest.raises(ConfigError, match=f"TransformerConfig.{field} is "):
        TransformerConfig(**changes)


def test_configs_survive_a_dictionary():
    config = SMALL.replace(attention="xl", window=8, positions="t5")
    assert TransformerConfig.from_dict(config.to_dict()) == config


def test_wrong_arguments_are_named(framework):
    layer = twin(framework, SMALL.replace(causal=False))
    x = np.zeros((1, 3, 6))
    with pytest.raises(ConfigError, match="takes no state"):
        layer.call({"x": x, "state.keys": np.zeros((1, 2, 2, 4))})
    with pytest.raises(ConfigError, match=r"expected \(B, L, D\) with L at least 1 and D = d_model = 6"):
        layer.call({"x": np.zeros((1, 3, 5))})
    room = importlib.import_module(f"implementations.ops.attention.{framework}")
    q = importlib.import_module("jax.numpy" if framework == "jax" else "torch").zeros((1, 3, 2, 4))
    with pytest.raises(ConfigError, match="k has 3 positions: expected 4 cached ones and 3 of the segment"):
        room.window_attention(q, q, q, WINDOW)


def test_the_kernel_is_chosen_by_device_and_precision():
    assert choose("auto", on_gpu=False, float64=False) == "einsum"
    assert choose("auto", on_gpu=True, float64=False) == "fused"
    assert choose("auto", on_gpu=True, float64=True) == "einsum"
    assert choose("einsum", on_gpu=True, float64=False) == "einsum"
    assert choose("flex", on_gpu=True, float64=False) == choose("flex", on_gpu=False, float64=False) == "fused"
    assert choose("flex", on_gpu=True, float64=True) == "einsum"
    with pytest.raises(ConfigError, match="attention method is 'flash': expected one of"):
        choose("flash", on_gpu=True, float64=False)  # pyright: ignore[reportArgumentType]


def test_flex_takes_a_window_where_it_is_asked_for_and_can():
    fits = {
        "on_gpu": True,
        "float64": False,
        "widths": (16, 32),
        "cut_gradient": False,
        "gap": False,
        "inference": False,
    }
    assert flexible("flex", **fits)
    assert flexible("flex", **{**fits, "on_gpu": False, "widths": (4, 4)})
    assert not flexible("auto", **fits)
    assert flexible("auto", **{**fits, "inference": True})
    assert not flexible("auto", **{**fits, "inference": True, "on_gpu": False})
    assert not flexible("fused", **{**fits, "inference": True})
    for widths in ((16, 24), (256, 32)):
        assert flexible("flex", **{**fits, "widths": widths})
        assert not flexible("auto", **{**fits, "inference": True, "widths": widths})
    for change in ({"float64": True}, {"widths": (15, 16)}, {"cut_gradient": True}, {"gap": True}):
        assert not flexible("flex", **{**fits, **change})
    for causal, include_self in ((True, True), (True, False), (False, True)):
        relative = [r for r in range(-9, 10) if allowed(r, WINDOW, causal, include_self)]
        before = WINDOW if causal else 0
        assert span(WINDOW, causal, include_self) == (relative[0] + before, relative[-1] + before)


def test_buckets_begin_where_t5_puts_them():
    assert bucket_edges(32, 128)[:16] == tuple(range(1, 17))
    assert bucket_edges(32, 128)[16:] == (19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113)
    assert bucket_edges(16, 128)[8:] == (12, 16, 23, 32, 46, 64, 91)


def test_a_relative_bias_is_drawn_with_the_deviation_of_its_docstring():
    config = TransformerConfig(d_model=64, heads=16, positions="t5", buckets=64, max_distance=256)
    drawn = initial_bias(config, Keys(3))
    assert drawn.shape == (16, 64)
    assert abs(drawn.std() * 8 - 1) < 0.1
    assert abs(drawn.mean()) < 0.02


def arrays(length: int) -> dict[str, np.ndarray]:
    """A segment behind a whole cache."""
    rng = np.random.default_rng(5)
    shape = (2, WINDOW, 2, 4)
    state = {"state.keys": rng.standard_normal(shape), "state.values": rng.standard_normal(shape)}
    return {"x": rng.standard_normal((2, length, 6)), **state, "state.valid": np.ones(shape[:2], bool)}


@pytest.mark.parametrize("length", [1, WINDOW, 2 * WINDOW + 1])
def test_xl_is_a_window_whose_gradient_stays_within_the_block(framework, length):
    """Equal outputs; derivatives equal within a block of W, zero between blocks and to the cache."""
    window = SMALL.replace(attention="window", window=WINDOW, positions="t5")
    given = arrays(length)
    sliding, xl = twin(framework, window), twin(framework, window.replace(attention="xl"))
    for name, output in sliding.call(given).outputs.items():
        np.testing.assert_array_equal(xl.call(given).outputs[name], output)
    ones = {"y": np.ones(given["x"].shape)}
    for wrt in ("input state.keys", "input state.values"):
        assert np.abs(sliding.call(given, ones).gradients[wrt]).max() > 0
        assert not xl.call(given, ones).gradients[wrt].any()
    block = np.arange(length) // WINDOW
    same = (block[:, None] == block)[None, :, None, None, :, None]
    full, cut = sliding.jacobian(given, "x"), xl.jacobian(given, "x")
    np.testing.assert_allclose(cut, np.where(same, full, 0), rtol=0, atol=1e-12)
    if length > WINDOW:
        assert np.abs(np.where(same, 0, full)).max() > 0.001


def test_a_reset_sequence_sees_no_cache(framework):
    layer = twin(framework, SMALL.replace(attention="window", window=WINDOW))
    given = arrays(3)
    valid = given["state.valid"].copy()
    valid[0] = False
    found = layer.call({**given, "state.valid": valid}).outputs["y"]
    fresh = layer.call({"x": given["x"]}).outputs["y"]
    carried = layer.call(given).outputs["y"]
    np.testing.assert_allclose(found[0], fresh[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[1], carried[1], rtol=0, atol=1e-12)
    assert np.abs(carried - fresh).max() > 0.001


@pytest.mark.parametrize("include_self", [True, False])
def test_a_token_is_seen_by_the_window_after_it_only(framework, include_self):
    """All other outputs are the same, bit for bit, whatever it holds."""
    layer = twin(framework, SMALL.replace(attention="window", window=WINDOW, include_self=include_self))
    x = arrays(11)["x"]
    y = layer.call({"x": x}).outputs["y"]
    moved = x.copy()
    moved[:, 5] += 100.0
    other = layer.call({"x": moved}).outputs["y"]
    touched = np.abs(other - y).max((0, 2)) > 0
    reach = WINDOW - 1 if include_self else WINDOW
    assert touched.tolist() == [5 <= t <= 5 + reach for t in range(11)]


def test_baselines_have_the_published_number_of_parameters():
    """151M and 164M without embeddings: the kernels of 12 and 13 layers, by a formula that holds of the twins."""
    from suite.recipes.transformer import BASELINES

    counts = {}
    for name, (layer, depth, _segment) in BASELINES.items():
        config = layer()
        small = config.replace(d_model=6, heads=2, head_width=4, d_ff=7)
        assert kernels(small) == sum(p.size for path, p in parameters_of(small).items() if path.endswith("kernel"))
        counts[name] = round(depth * kernels(config) / 1e6, 2)
    assert counts.pop("Slide:13L") == 163.58
    assert set(counts.values()) == {150.99}


def parameters_of(config: TransformerConfig) -> dict[str, np.ndarray]:
    """The parameters of a layer by path."""
    from implementations.parameters import get_parameters

    return get_parameters(twin("torch", config).module)


def kernels(config: TransformerConfig) -> int:
    """Entries of the kernels of a layer that is not gated."""
    return 4 * config.d_model * config.heads * config.head_width + 2 * config.d_model * config.d_ff


@pytest.mark.filterwarnings("default")
def test_flex_stays_compiled_at_more_lengths_than_pytorch_would_keep(monkeypatch):
    """Beyond its limit, 8 and here 1, PyTorch falls back, without a word, to a program that makes all logits."""
    torch = importlib.import_module("torch")
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    room = importlib.import_module("implementations.ops.attention.torch")
    x = torch.randn(1, 50, 1, 4)

    def outputs(length, method):
        q = x[:, :length]
        return room.window_attention(q, q, q, 4, causal=False, method=method)

    with torch.no_grad(), warnings.catch_warnings(record=True) as found:
        for length in (20, 35, 50):
            assert float((outputs(length, "flex") - outputs(length, "einsum")).abs().max()) <= 1e-5
    assert not [one for one in found if "without torch.compile" in str(one.message)]
