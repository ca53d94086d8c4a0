"""The Block-Recurrent Transformer: what its configurations refuse, its initial values and sizes, and its state: where
blocks begin, what a reset and padding leave, and where the gradient is cut."""

import importlib

import numpy as np
import pytest

from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.parameters import get_parameters
from suite.recipes.block_recurrent import DEPTH, RECURRENT, SIZES, TABLE, feedback, recurrent

WINDOW = 4
SMALL = BlockRecurrentConfig(d_model=6, heads=2, head_width=4, d_ff=7, window=WINDOW, states=3, max_distance=17)
STACK = FeedbackConfig(recurrent=SMALL, depth=2, recurrent_layers=(0,))
BOTH = pytest.mark.parametrize("config", [SMALL, STACK], ids=["layer", "stack"])


def make(framework, config):
    """A layer or a stack in float64."""
    room = importlib.import_module(f"implementations.block_recurrent.{framework}")
    cls = room.BlockRecurrentLayer if isinstance(config, BlockRecurrentConfig) else room.FeedbackStack
    return cls(config, Keys(0, "float64"))


def tensor(framework, value):
    """An array of a framework."""
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.asarray(value)
    import torch

    return torch.tensor(value)


def numpy(value):
    """A state or an array, in NumPy."""
    if isinstance(value, dict):
        return {name: numpy(leaf) for name, leaf in value.items()}
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def leaves(state):
    """The arrays of a state."""
    return [
        leaf for _, value in sorted(state.items()) for leaf in (leaves(value) if isinstance(value, dict) else [value])
    ]


def draw(length, rows=2):
    """Inputs."""
    return np.random.default_rng(length).standard_normal((rows, length, 6))


def assert_same(found, expected):
    """Equal but for rounding."""
    np.testing.assert_allclose(numpy(found), numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("d_model", {"d_model": 0}),
        ("window", {"window": 0}),
        ("states", {"states": 0}),
        ("gate", {"gate": "gru"}),
        ("configuration", {"configuration": "triple"}),
        ("tanh", {"tanh": "always"}),
        ("buckets", {"buckets": 5}),
        ("max_distance", {"max_distance": 16}),
        ("positions", {"positions": "rotary"}),
        ("dropout", {"dropout": 1.0}),
        ("attention_dropout", {"attention_dropout": -0.1}),
    ],
)
def test_wrong_configs_name_the_field(field, changes):
    with pytest.raises(ConfigError, match=f"BlockRecurrentConfig.{field} is "):
        BlockRecurrentConfig(**changes)


@pytest.mark.parametrize("layers", [(), (4,), (-5,), (1, 1), (3, -1)])
def test_wrong_recurrent_layers_are_named(layers):
    with pytest.raises(ConfigError, match=r"FeedbackConfig.recurrent_layers is .*each from -4 to 3"):
        FeedbackConfig(SMALL, 4, layers)


@pytest.mark.parametrize("config", [SMALL.replace(gate="lstm"), STACK.replace(recurrent_layers=(-1, 0))])
def test_configs_survive_a_dictionary(config):
    assert type(config).from_dict(config.to_dict()) == config


@BOTH
def test_wrong_arguments_are_named(framework, config):
    layer = make(framework, config)
    for shape in ((1, 3, 5), (1, 0, 6)):
        with pytest.raises(ConfigError, match=r"expected \(B, L, D\) with L at least 1 and D = d_model = 6"):
            layer(tensor(framework, np.zeros(shape)))
    other = make(framework, config.replace(window=3) if config is SMALL else config.replace(depth=3))
    with pytest.raises(ConfigError, match=r"^state.* as `initial_state` makes it$"):
        layer(tensor(framework, np.zeros((1, 3, 6))), other.initial_state(1))


def test_initial_values_are_the_authors():
    config = SMALL.replace(d_model=64, states=50, heads=16, gate="lstm", d_ff=300, configuration="dual")
    p = get_parameters(make("torch", config))
    deviations = {
        "states.initial": 0.1,
        "states.identifiers": 1.0,
        "states.gate.forget.bias": 0.1,
        "states.gate.input.kernel": (0.1 / 300) ** 0.5,
        "states.gate.out.kernel": 300**-0.5,
        "states.attention_gate.forget.kernel": (0.1 / 128) ** 0.5,
        "tokens.heads.cross_query.kernel": 64**-0.5,
        "tokens.out.kernel": 128**-0.5,
        "tokens.bias.table": 32**-0.5,
    }
    for path, deviation in deviations.items():
        count = p[path].size
        assert abs(p[path].std() / deviation - 1) < 4 / (2 * count) ** 0.5, path
        assert abs(p[path].mean()) < 4 * deviation / count**0.5, path
    fixed = get_parameters(make("torch", config.replace(gate="fixed")))
    assert abs(fixed["states.gate.bias"].std() - 0.1) < 0.03
    for path in ("tokens.heads.scale", "states.heads.cross_scale", "states.norm2.scale"):
        assert (p[path] == 1).all()
    assert not [path for path in p if path.endswith("out.bias")]


def kernels(config: BlockRecurrentConfig) -> int:
    """Entries of the kernels of the sliding window layer without states."""
    return 4 * config.d_model * config.heads * config.head_width + 2 * config.d_model * config.d_ff


def test_published_sizes():
    """Twelve plain layers are the published 151M without embeddings; the states' part of fixed:skip comes on top."""
    counts = {size: round(DEPTH * kernels(recurrent(size)) / 1e6) for size in SIZES}
    assert counts == {"37M": 38, "75M": 75, "150M": 151, "300M": 302, "600M": 604, "1200M": 1208}
    assert round(DEPTH * kernels(recurrent()) / 1e6, 2) == 150.99
    assert {(c.window, c.states) for c in TABLE.values()} == {(512, 512)}
    assert feedback().indices == (9,)
    assert RECURRENT == (-3,)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_parameters_of_a_recurrent_layer(name):
    """A layer has those of the sliding one, a query and half an output projection more, and its states' own."""
    config = TABLE[name].replace(d_model=6, heads=2, head_width=4, d_ff=7, states=3)
    p = get_parameters(make("torch", config))
    D, inner, S, F = 6, 8, 3, 7
    gates = {"fixed": 1, "lstm": 3}[config.gate]
    own = {"dual": [2 * inner, F], "skip": [2 * inner], "single": [F]}[config.configuration]
    count = kernels(config) + 2 * D * inner + 4 * D * inner + gates * D * sum(own)
    count += {"dual": D, "single": 2 * inner, "skip": 0}[config.configuration] * F
    assert sum(v.size for path, v in p.items() if path.endswith("kernel")) == count
    vectors = 2 * S * D + 2 * 32 + 2 * 2 + 2 * 2 + 2 * D + D + (D if config.configuration == "dual" else 0)
    vectors += len(own) * D * (1 if config.gate == "fixed" else 2) - 2 * 32 + config.heads * config.buckets
    assert sum(v.size for v in p.values()) == count + vectors


@BOTH
def test_a_document_does_not_depend_on_where_it_starts(framework, config):
    """Blocks are counted from the start of each document, whatever its sequence and its batch mates held before."""
    layer = make(framework, config)
    x, before = draw(11), draw(WINDOW + 3)
    start = tensor(framework, np.array([True, False]))
    _, state = layer(tensor(framework, before))
    y, after = layer(tensor(framework, x), layer.reset(state, start))
    fresh, fresh_after = layer(tensor(framework, x[:1]))
    whole, whole_after = layer(tensor(framework, np.concatenate([before, x], 1)))
    assert_same(y[:1], fresh)
    assert_same(y[1:], whole[1:, before.shape[1] :])
    for found, first, second in zip(*map(leaves, map(numpy, (after, fresh_after, whole_after))), strict=True):
        # What was before the document is never read: only its part of the cache is that of a fresh one.
        kept = min(11, found.shape[1]) if found.ndim > 1 else 0
        whole_leaf = found.shape[1:2] == (3,) and found.ndim == 3
        part = slice(None) if found.ndim == 1 or whole_leaf else slice(found.shape[1] - kept, None)
        index = (slice(0, 1),) if found.ndim == 1 else (slice(0, 1), part)
        assert_same(found[index], first[index])
        assert_same(found[1:], second[1:])


@BOTH
def test_resetting_everything_is_starting_anew(framework, config):
    layer = make(framework, config)
    _, state = layer(tensor(framework, draw(7)))
    found = layer.reset(state, tensor(framework, np.array([True, True])))
    for a, b in zip(leaves(numpy(found)), leaves(numpy(layer.initial_state(2))), strict=True):
        np.testing.assert_array_equal(a, b)
    same = layer.reset(state, tensor(framework, np.array([False, False])))
    for a, b in zip(leaves(numpy(same)), leaves(numpy(state)), strict=True):
        np.testing.assert_array_equal(a, b)


@BOTH
def test_padding_at_the_end_leaves_no_trace(framework, config):
    """Outputs and the state are those of the genuine tokens alone; outputs at padding are zero; NaN reaches nothing."""
    layer = make(framework, config)
    lengths, x = np.array([9, 0, 4, 6]), draw(9, 4)
    mask = np.arange(9) < lengths[:, None]
    x[~mask] = np.nan
    _, state = layer(tensor(framework, draw(3, 4)))
    y, after = layer(tensor(framework, x), state, tensor(framework, mask))
    assert not numpy(y)[~mask].any()
    for row in range(4):
        own = split(framework, state, row)
        if lengths[row]:
            alone, own = layer(tensor(framework, x[row : row + 1, : lengths[row]]), own)
            assert_same(y[row : row + 1, : lengths[row]], alone)
        for a, b in zip(leaves(numpy(after)), leaves(numpy(own)), strict=True):
            assert_same(a[row : row + 1], b)


def split(framework, state, row):
    """The state of one sequence."""
    if isinstance(state, dict):
        return {name: split(framework, value, row) for name, value in state.items()}
    return state[row : row + 1]


@BOTH
def test_padding_before_a_genuine_token_takes_its_place_unseen(framework, config):
    """It moves no block: a hole at the end of one is not filled by what follows, however the segment is cut."""
    layer = make(framework, config)
    x = draw(11)
    mask = np.ones((2, 11), bool)
    mask[0, [2, 3, 7]] = False
    y, after = layer(tensor(framework, x), None, tensor(framework, mask))
    x[~mask] = np.nan
    again, _ = layer(tensor(framework, x), None, tensor(framework, mask))
    np.testing.assert_array_equal(numpy(y), numpy(again))
    full, _ = layer(tensor(framework, x[1:]))
    assert_same(y[1:], full)
    positions = [leaf for leaf in leaves(numpy(after)) if leaf.ndim == 1]
    assert all((leaf == 11 % WINDOW).all() for leaf in positions)
    oracle = importlib.import_module("implementations.block_recurrent.reference")
    expected, _ = oracle.layer(config, get_parameters(layer), np.nan_to_num(x), mask=mask)
    assert_same(y, expected)


def gradients(framework, layer, x):
    """Of the sum of a second segment's outputs, by the first segment and by the initial states; the second of two
    sequences is reset between them."""
    start = tensor(framework, np.array([False, True]))

    def total(layer, first):
        _, state = layer(first)
        return layer(tensor(framework, x), layer.reset(state, start))[0].sum()

    if framework == "torch":
        first = tensor(framework, x).requires_grad_()
        total(layer, first).backward()
        return np.zeros(x.shape) if first.grad is None else numpy(first.grad), numpy(layer.states.initial.grad)
    from flax import nnx

    by_layer, by_first = nnx.grad(total, argnums=(0, 1))(layer, tensor(framework, x))
    return numpy(by_first), numpy(by_layer["states"]["initial"][...])


@pytest.mark.parametrize("truncated", [True, False])
def test_the_gradient_is_cut_between_segments_but_reaches_the_initial_states(framework, truncated):
    layer = make(framework, SMALL.replace(truncate_gradient=truncated))
    by_x, by_initial = gradients(framework, layer, draw(5))
    assert np.abs(by_initial).max() > 0
    assert (np.abs(by_x[0]).max() > 0) != truncated
    assert not by_x[1].any()


@BOTH
def test_the_states_reach_beyond_every_window(framework, config):
    """A token far in the past changes what is put out now; without its block's end it would not."""
    layer = make(framework, config)
    x = draw(6 * WINDOW)
    other = x.copy()
    other[:, 0] += 1.0
    y, z = (numpy(layer(tensor(framework, value))[0]) for value in (x, other))
    assert (np.abs(y - z)[:, -1] > 1e-9).any()
    if config is STACK:
        # With two windows a token would reach 2 W positions through the layers alone.
        assert (np.abs(y - z)[:, 2 * WINDOW + 1 :] > 1e-9).any()
