"""SPADE beyond the ladder: cuts, documents, padding, lent biases, frozen S4, initial values, and wrong inputs."""

import importlib

import numpy as np
import pytest

from implementations import catalog
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.parameters import get_parameters
from implementations.spade.config import SpadeConfig, SpadeStackConfig
from suite.equivalence.cases import flatten

SMALL = SpadeConfig(
    d_model=4, heads=2, d_ff=5, window=3, s4_state_size=4, buckets=8, max_distance=12, causal=True, activation="gelu"
)
ABOVE = SMALL.replace(global_branch=False)
MEGA = ABOVE.replace(attention="mega", positions="none", mega_query_size=2, mega_value_size=3, mega_state_size=2)
STREAMING = {
    "window": SMALL,
    "chunks above": ABOVE.replace(attention="chunk"),
    "chunks and those before": ABOVE.replace(attention="chunk", neighbours=True),
    "stack": SpadeStackConfig(bottom=SMALL, upper=ABOVE.replace(attention="chunk"), depth=3),
}


def twin(framework: str, config, **changes):
    config = config.replace(**changes)
    module = catalog.layer_class(config.architecture, framework)(config, Keys(3, "float64"))
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")


def array(framework: str, values: np.ndarray):
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.asarray(values)
    import torch

    return torch.tensor(values)


def inputs(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape)


@pytest.mark.parametrize("lengths", [[4, 4, 5], [1, 6, 1, 5]])
@pytest.mark.parametrize("name", [*STREAMING, "Mega"])
def test_cuts_anywhere_change_nothing(framework, name, lengths):
    """Also from no state at all, where chunks are cut without a cache."""
    found, x = twin(framework, {**STREAMING, "Mega": MEGA}[name]), inputs(2, 13, 4)
    whole = found.call({"x": x}).outputs
    arrays, outputs, start = {}, [], 0
    for length in lengths:
        result = found.call({**arrays, "x": x[:, start : start + length]}).outputs
        outputs.append(result.pop("y"))
        arrays, start = result, start + length
    np.testing.assert_allclose(np.concatenate(outputs, 1), whole.pop("y"), rtol=0, atol=1e-12)
    assert arrays.keys() == whole.keys() == flatten(found.module.initial_state(2), "state").keys()
    for leaf, value in whole.items():
        np.testing.assert_allclose(arrays[leaf], value, rtol=0, atol=1e-12, err_msg=leaf)


@pytest.mark.parametrize("name", STREAMING)
def test_a_document_begins_as_if_nothing_had_been_before(framework, name):
    found, x = twin(framework, STREAMING[name]), inputs(2, 12, 4)
    before = found.call({"x": x[:, :5]}).outputs
    state = {leaf.removeprefix("state."): array(framework, v) for leaf, v in before.items() if leaf != "y"}
    after = found.module.reset(state, array(framework, np.array([True, False])))
    given = {
        f"state.{leaf}": np.asarray(value.detach() if framework == "torch" else value) for leaf, value in after.items()
    }
    y = found.call({"x": x[:, 5:], **given}).outputs["y"]
    fresh, on = found.call({"x": x[:, 5:]}).outputs["y"], found.call({"x": x}).outputs["y"][:, 5:]
    np.testing.assert_allclose(y[0], fresh[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(y[1], on[1], rtol=0, atol=1e-12)
    assert np.abs(fresh[1] - on[1]).max() > 1e-3


def test_a_document_empties_the_state_of_mega(framework):
    found, x = twin(framework, MEGA), inputs(2, 7, 4)
    before = found.call({"x": x}).outputs
    state = {leaf.removeprefix("state."): array(framework, v) for leaf, v in before.items() if leaf != "y"}
    after = found.module.reset(state, array(framework, np.array([True, False])))
    for leaf in ("ema", "keys", "values", "genuine"):
        assert not np.asarray(after[leaf].detach() if framework == "torch" else after[leaf])[0].any()
        np.testing.assert_array_equal(np.asarray(after[leaf])[1], before[f"state.{leaf}"][1])
    assert np.asarray(after["position"]).tolist() == [0, 7 % 3]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("attention", ["window", "chunk", "mega"])
def test_what_padding_holds_reaches_nothing(framework, attention, causal):
    config = (MEGA if attention == "mega" else SMALL).replace(attention=attention, causal=causal, global_branch=True)
    found, x, mask = twin(framework, config), inputs(2, 8, 4), np.arange(8) < np.array([[8], [5]])
    filled = np.where(mask[..., None], x, np.nan)
    cotangent = inputs(2, 8, 4) * mask[..., None]
    plain, other = (found.call({"x": given, "mask": mask}, {"y": cotangent}) for given in (x, filled))
    np.testing.assert_array_equal(other.outputs["y"][mask], plain.outputs["y"][mask])
    assert plain.gradients.keys() == other.gradients.keys()
    for path, gradient in plain.gradients.items():
        np.testing.assert_array_equal(other.gradients[path], gradient, err_msg=path)
    short = found.call({"x": x[1:, :5]}).outputs["y"]
    np.testing.assert_allclose(plain.outputs["y"][1:, :5], short, rtol=0, atol=1e-12)


def test_the_first_layer_lends_its_bias_to_all(framework):
    stack = SpadeStackConfig(bottom=SMALL, upper=ABOVE, depth=4, every=2)
    values = get_parameters(twin(framework, stack).module)
    assert {path for path in values if path.endswith("table")} == {"layers.0.local.table"}
    assert {path.split(".")[1] for path in values if ".s4." in path} == {"0", "2"}
    own = get_parameters(twin(framework, stack, share_bias=False).module)
    assert len([path for path in own if path.endswith("table")]) == 4
    layer = twin(framework, ABOVE, positions="shared")
    with pytest.raises(ConfigError, match=r"^SpadeConfig.positions is 'shared': expected the relative bias of another"):
        layer.call({"x": inputs(1, 3, 4)})
    with pytest.raises(ConfigError, match=r"^SpadeConfig.positions is 'shared': expected 't5' to lend a bias"):
        layer.module.lend()


def test_a_frozen_s4_works_and_takes_no_gradient(framework):
    x = inputs(2, 7, 4)
    trained, frozen = (twin(framework, SMALL, s4_frozen=on).call({"x": x}, {"y": x}) for on in (False, True))
    np.testing.assert_array_equal(frozen.outputs["y"], trained.outputs["y"])
    for path, gradient in trained.gradients.items():
        expected = np.zeros_like(gradient) if path.startswith("s4.") else gradient
        np.testing.assert_allclose(frozen.gradients[path], expected, rtol=0, atol=1e-12, err_msg=path)
        assert gradient.any()


def test_s4_carries_what_local_attention_cannot_see(framework):
    x = inputs(1, 30, 4)
    moved = x.copy()
    moved[:, 0] *= -1
    far = {}
    for name, config in (("with", SMALL), ("without", ABOVE)):
        found = twin(framework, config)
        far[name] = np.abs(found.call({"x": moved}).outputs["y"] - found.call({"x": x}).outputs["y"])[:, 20:].max()
    assert far["with"] > 1e-6
    assert far["without"] == 0


def test_initial_values_are_distributed_as_the_authors_draw_them():
    config = SpadeConfig(d_model=200, heads=50, d_ff=300, s4_state_size=8)
    values = get_parameters(catalog.layer_class("spade", "torch")(config, Keys(0, "float64")))
    bounds = {
        "local.query.kernel": 0.5**0.5 * (6 / 400) ** 0.5,
        "local.key.kernel": 0.5**0.5 * (6 / 400) ** 0.5,
        "local.value.kernel": 0.5**0.5 * (6 / 400) ** 0.5,
        "local.out.kernel": (6 / 400) ** 0.5,
        "aggregate.kernel": 400**-0.5,
        "aggregate.bias": 400**-0.5,
        "feed_forward.hidden.kernel": 200**-0.5,
        "feed_forward.out.kernel": 300**-0.5,
    }
    for path, bound in bounds.items():
        value = values[path]
        assert np.abs(value).max() <= bound, path
        assert np.abs(value).max() > 0.95 * bound, path
        assert abs(value.std() / (bound / 3**0.5) - 1) < 0.1, path
    assert abs(values["local.table"].std() - 1) < 0.05
    assert np.exp(values["s4.log_step"]).min() >= 0.001
    assert np.exp(values["s4.log_step"]).max() <= 0.1
    assert values["s4.A_real"].shape == (200, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "SpadeConfig.heads is 3: expected a divisor of d_model = 4"),
        ({"window": 0}, "SpadeConfig.window is 0: expected at least 1"),
        ({"neighbours": True}, "SpadeConfig.neighbours is True: expected False unless attention is 'chunk'"),
        ({"attention": "sparse"}, "SpadeConfig.attention is 'sparse': expected one of 'window', 'chunk', 'mega'"),
        ({"attention": "mega", "positions": "shared"}, "SpadeConfig.positions is 'shared': expected 't5' or 'none'"),
        ({"combine_weight": 1.5}, "SpadeConfig.combine_weight is 1.5: expected 0 <= combine_weight <= 1"),
        ({"attention_dropout": 0.1}, "SpadeConfig.attention_dropout is 0.1: expected 0 unless attention is 'mega'"),
        ({"s4_state_size": 3}, "S4Config.state_size is 3: expected a positive even number"),
        ({"buckets": 7}, "SpadeConfig.buckets is 7: expected a multiple of 2"),
        ({"max_distance": 4}, "SpadeConfig.max_distance is 4: expected more than 4, the distances"),
        ({"epsilon": 0.0}, "SpadeConfig.epsilon is 0.0: expected a positive number"),
    ],
)
def test_wrong_layers_are_one_sentence(changes, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        SMALL.replace(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "SpadeStackConfig.depth is 0: expected at least 1"),
        ({"every": 0}, "SpadeStackConfig.every is 0: expected at least 1, or None for one bottom layer"),
        (
            {"upper": ABOVE.replace(d_model=8)},
            "SpadeStackConfig.upper is .*: expected the d_model of the bottom layer, 4",
        ),
        (
            {"bottom": SMALL.replace(positions="none")},
            "SpadeStackConfig.upper is .*: expected a bottom layer with a rel",
        ),
        (
            {"upper": ABOVE.replace(positions="shared")},
            "SpadeStackConfig.upper is .*: expected positions 't5' or 'none'",
        ),
    ],
)
def test_wrong_stacks_are_one_sentence(changes, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        SpadeStackConfig(bottom=SMALL, upper=ABOVE).replace(**changes)


def test_wrong_calls_are_one_sentence(framework):
    found = twin(framework, SMALL, causal=False)
    with pytest.raises(
        ConfigError, match=r"^x has shape \(2, 3, 5\): expected \(B, L, D\) with L at least 1 and D = d_model = 4"
    ):
        found.call({"x": inputs(2, 3, 5)})
    with pytest.raises(ConfigError, match=r"^SpadeConfig.causal is False: a layer that cannot stream takes no state"):
        found.call({"x": inputs(2, 3, 4), "state.s4": inputs(2, 4, 2, 2)})
    assert found.module.initial_state(2) is None
    with pytest.raises(ConfigError, match=r"^SpadeConfig.causal is False: a layer that cannot stream has no state"):
        found.module.reset({}, array(framework, np.array([True])))
