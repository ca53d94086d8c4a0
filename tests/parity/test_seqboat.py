"""SeqBoat beyond the ladder: what activation decides, what it must not, streaming, initial values, wrong inputs."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.utils.flop_counter import FlopCounterMode

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.ops.routing import capacities
from implementations.parameters import get_parameters
from implementations.seqboat import reference
from implementations.seqboat.config import SeqBoatConfig
from suite.equivalence.cases import flatten

SMALL = SeqBoatConfig(
    d_model=4, query_size=2, value_size=3, state_size=2, bidirectional=False, window=3, max_positions=6, capacities=1
)


def layer(framework: str, config: SeqBoatConfig):
    return importlib.import_module(f"implementations.seqboat.{framework}").SeqBoatLayer(config, Keys(3, "float64"))


def twin(framework: str, config: SeqBoatConfig):
    """The layer with moved parameters, behind the interface of the ladder."""
    module = layer(framework, config)
    found = importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")
    rng = np.random.default_rng(0)
    found.set({p: v + 0.5 * rng.standard_normal(v.shape) for p, v in sorted(get_parameters(module).items())}, {})
    return found


def call(framework: str, module, return_activity: bool = False, **arrays):
    """A call with NumPy arrays, whose outputs are NumPy arrays."""
    make = jnp.asarray if framework == "jax" else torch.tensor
    given = {name: make(value) for name, value in arrays.items()}
    return [numpy(value) for value in module(**given, return_activity=return_activity)]


def numpy(value):
    if value is None or isinstance(value, dict):
        return value
    return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)


def inputs(batch=3, length=13, seed=5):
    return np.random.default_rng(seed).standard_normal((batch, length, 4))


@pytest.mark.parametrize(("window", "lengths"), [(3, [1, 6, 6]), (16, [6, 1, 6]), (None, [6, 1, 6])])
def test_cuts_anywhere_change_nothing(framework, lengths, window):
    found, x = twin(framework, SMALL.replace(window=window)), inputs()
    mask = np.random.default_rng(6).random((3, 13)) < 0.8
    mask[:, [0, 5, 6, 12]] = True  # What ends a part is genuine: padding there would leave no trace.
    whole = found.call({"x": x, "mask": mask}).outputs
    arrays, outputs, start = flatten(found.module.initial_state(3), "state"), [], 0
    for length in lengths:
        part = slice(start, start + length)
        result = found.call({**arrays, "x": x[:, part], "mask": mask[:, part]}).outputs
        outputs.append(result.pop("y"))
        arrays, start = result, start + length
    np.testing.assert_allclose(np.concatenate(outputs, 1)[mask], whole.pop("y")[mask], rtol=0, atol=1e-12)
    assert arrays.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(arrays[name], value, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("window", [3, None])
def test_a_document_begins_in_an_emptied_state(framework, window):
    found, x = twin(framework, SMALL.replace(window=window)), inputs()
    make = jnp.asarray if framework == "jax" else torch.tensor
    _, state = found.module(make(x[:, :7]))
    state = found.module.reset(state, make(np.array([False, True, False])))
    after = numpy(found.module(make(x[:, 7:]), state)[0])
    fresh, whole = found.call({"x": x[:, 7:]}).outputs["y"], found.call({"x": x}).outputs["y"][:, 7:]
    np.testing.assert_allclose(after[1], fresh[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(after[[0, 2]], whole[[0, 2]], rtol=0, atol=1e-12)


def test_a_step_costs_the_same_however_much_came_before():
    found = twin("torch", SMALL)
    flops, state = [], found.module.initial_state(3)
    x = torch.tensor(inputs(length=40))
    for t in range(40):
        with FlopCounterMode(display=False) as counter:
            _, state = found.module(x[:, t : t + 1], state)
        flops.append(counter.get_total_flops())
        assert {name: value.shape[1] for name, value in state.items() if name != "mixer"} == dict.fromkeys(
            ("keys", "values", "active", "age"), 3
        )
    assert len(set(flops)) == 1
    assert flops[0] > 0


BIASES = (-1000.0, 0.0, 0.5, 1000.0)


def test_work_in_pytorch_falls_with_activation():
    config = SMALL.replace(bidirectional=True, window=4)
    flops, shares, x = [], [], torch.tensor(inputs(length=256))
    for bias in BIASES:
        module = twin("torch", config.replace(act_bias=bias)).module
        with FlopCounterMode(display=False) as counter:
            shares.append(float(module(x, return_activity=True)[2].max()))
        flops.append(counter.get_total_flops())
    assert shares[0] == 1
    assert shares[-1] == 0
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == 4
    always = flops[-1]
    for share, spent in zip(shares[:3], flops[:3], strict=True):
        assert (spent - always) / (flops[0] - always) == pytest.approx(share, abs=0.05)


def products(jaxpr) -> int:
    """The results of all matrix products of a program."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += int(np.prod(equation.outvars[0].aval.shape)) * equation.invars[0].aval.shape[-1]
        for value in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "jaxpr")):
            if hasattr(value, "jaxpr"):
                total += products(value.jaxpr)
    return total


def test_work_in_jax_falls_with_activation():
    config = SMALL.replace(bidirectional=True, window=4, capacities=4)
    module, x = twin("jax", config).module, jnp.asarray(inputs(length=256))
    program = jax.make_jaxpr(lambda x: module(x)[0])(x)
    (switch,) = [equation for equation in program.eqns if equation.primitive.name == "cond"]
    work = [products(branch.jaxpr) for branch in switch.params["branches"]]
    sizes = capacities(256, 4)
    assert [w / work[-1] for w in work] == pytest.approx([size / 256 for size in sizes], rel=0.01)
    assert work[0] > 0


def test_one_program_serves_all_rates(framework):
    config = SMALL.replace(bidirectional=True, capacities=3, act_bias=-1.0)
    found, traces = twin(framework, config), 0
    alone = twin(framework, config.replace(capacities=1))
    graph, values = nnx.split(found.module) if framework == "jax" else (None, None)

    def forward(values, x):
        nonlocal traces
        traces += 1
        return nnx.merge(graph, values)(x, return_activity=True)

    fast = jax.jit(forward)
    seen = set()
    for scale in (1.0, 3.0, -1.0, -3.0):
        x = inputs(length=32) * 0.5 + scale * np.random.default_rng(1).standard_normal(4)
        if framework == "jax":
            y, _, rate = (numpy(value) for value in fast(values, jnp.asarray(x)))
        else:
            y, _, rate = call(framework, found.module, x=x, return_activity=True)
        expected, _ = reference.layer(config, get_parameters(found.module), x)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(y, alone.call({"x": x}).outputs["y"], rtol=0, atol=1e-12)
        seen.add(round(float(rate.max()), 3))
    assert len(seen) >= 3
    assert framework == "torch" or traces == 1


@pytest.mark.parametrize("window", [3, None])
def test_padding_and_batch_mates_change_nothing(framework, window):
    config = SMALL.replace(bidirectional=True, window=window, act_bias=-0.7)
    found, x = twin(framework, config), inputs()
    lengths = np.array([13, 9, 4])
    mask = np.arange(13) < lengths[:, None]
    dirty = np.where(mask[..., None], x, np.nan)
    y = found.call({"x": dirty, "mask": mask}).outputs["y"]
    longer = np.concatenate([dirty, np.full((3, 5, 4), np.nan)], 1)
    wider = found.call({"x": longer, "mask": np.pad(mask, ((0, 0), (0, 5)))}).outputs["y"]
    for row, length in enumerate(lengths):
        alone = found.call({"x": x[row : row + 1, :length]}).outputs["y"]
        np.testing.assert_allclose(y[row, :length], alone[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(wider[row, :length], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [3, None])
def test_dropout_of_weights_is_the_same_behind_more_padding(framework, window):
    config = SMALL.replace(bidirectional=True, window=window, attention_dropout=0.5, act_bias=-2.0, capacities=3)
    found, x = twin(framework, config), inputs(length=5)
    y = found.call({"x": x}, training=True, dropout_seed=7).outputs["y"]
    longer, mask = np.pad(x, ((0, 0), (0, 4), (0, 0))), np.tile(np.arange(9) < 5, (3, 1))
    wider = found.call({"x": longer, "mask": mask}, training=True, dropout_seed=7).outputs["y"]
    np.testing.assert_allclose(wider[:, :5], y, rtol=0, atol=1e-12)
    assert np.abs(y - found.call({"x": x}).outputs["y"]).max() > 1e-3


def test_the_authors_threshold_makes_rows_depend_on_each_other(framework):
    """The flag does what it says, and without it nothing of the kind happens."""
    config, x = SMALL.replace(bidirectional=True, act_bias=-0.5), inputs()
    rate = call(framework, twin(framework, config).module, x=x, return_activity=True)[2]
    least = int(rate.argmin())
    assert rate[least] < rate.max()
    for threshold in (None, float(rate.max())):
        found = twin(framework, config.replace(density_threshold=threshold))
        together = found.call({"x": x}).outputs["y"][least]
        alone = found.call({"x": x[least : least + 1]}).outputs["y"][0]
        assert np.allclose(together, alone, rtol=0, atol=1e-12) is (threshold is None)


def test_the_activation_rate_is_an_output(framework):
    mask = np.arange(13) < np.array([13, 9, 4])[:, None]
    found = twin(framework, SMALL)
    y, state, rate = call(framework, found.module, x=inputs(), mask=mask, return_activity=True)
    p = get_parameters(found.module)
    m = reference.silu(reference.mixed(SMALL, p, np.where(mask[..., None], inputs(), 0.0), None, mask)[0])
    logits = m @ p["hx_proj.kernel"][:, :2] + p["hx_proj.bias"][:2]
    active = (logits[..., 1] > logits[..., 0]) & mask
    np.testing.assert_allclose(rate, active.sum(1) / mask.sum(1), rtol=1e-12)
    assert 0 < rate.min() < rate.max()
    two = call(framework, found.module, x=inputs(), mask=mask)
    assert len(two) == 2
    np.testing.assert_array_equal(two[0], y)
    always = layer(framework, SMALL.replace(always_act=True))
    np.testing.assert_array_equal(call(framework, always, x=inputs(), mask=mask, return_activity=True)[2], np.ones(3))
    never = layer(framework, SMALL.replace(act_bias=1e4))
    np.testing.assert_array_equal(call(framework, never, x=inputs(), mask=mask, return_activity=True)[2], np.zeros(3))
    assert state is not None


def test_a_certain_configurator_is_none(framework):
    """With every token active at confidence one, the layer is the one without a configurator."""
    certain = twin(framework, SMALL.replace(act_bias=-1e6))
    values = get_parameters(certain.module)
    always = twin(framework, SMALL.replace(always_act=True))
    values |= {name: values[name][..., 2:] for name in ("hx_proj.kernel", "hx_proj.bias")}
    del values["log_temperature"]
    always.set(values, {})
    x = inputs()
    y, expected = (found.call({"x": x}).outputs["y"] for found in (certain, always))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


def test_initial_values_are_the_authors(framework):
    config = SeqBoatConfig(d_model=64, query_size=32, value_size=96, initial_temperature=0.4, bias="local", window=32)
    values = get_parameters(layer(framework, config))
    for name in ("hx_proj.kernel", "mx_proj.kernel", "h_proj.kernel", "table"):
        assert np.abs(values[name]).max() <= 0.04
        assert values[name].std() == pytest.approx(0.02 * 0.8796, rel=0.1)
    assert values["table"].shape == (6 * 32 - 1,)
    assert np.exp(values["log_temperature"]) == pytest.approx(0.4 * 8)
    assert not any(values[f"{name}.bias"].any() for name in ("hx_proj", "mx_proj", "h_proj"))
    x = np.random.default_rng(0).standard_normal((4, 100, 64))
    rate = call(framework, layer(framework, config), x=x, return_activity=True)[2]
    assert 0.3 < rate.mean() < 0.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 0}, "SeqBoatConfig.window is 0: expected at least 1, or None"),
        ({"window": None, "bias": "local"}, "SeqBoatConfig.bias is 'local'"),
        ({"bias": "rotary", "query_size": 3}, "query_size is 3: expected an even number"),
        ({"window": None, "masked_keys": "leak"}, "masked_keys is 'leak'"),
        ({"density_threshold": 1.5}, "density_threshold is 1.5"),
        ({"mixer": "s4d", "truncation": 9}, "truncation is 9"),
        ({"mixer": "s4d", "state_size": 3}, "state_size is 3"),
        ({"initial_temperature": 0.0}, "initial_temperature is 0.0"),
        ({"capacities": 0}, "capacities is 0"),
    ],
)
def test_wrong_configs_are_one_clear_sentence(changes, message):
    with pytest.raises(ConfigError, match=message):
        SMALL.replace(**changes)


def test_wrong_inputs_are_one_clear_sentence(framework):
    module, make = layer(framework, SMALL), jnp.asarray if framework == "jax" else torch.tensor
    with pytest.raises(ConfigError, match=r"x has shape \(2, 3, 5\): expected \(B, L, D\)"):
        module(make(np.zeros((2, 3, 5))))
    state = module.initial_state(2)
    assert layer(framework, SMALL.replace(bidirectional=True)).initial_state(2) is None
    with pytest.raises(ConfigError, match="cannot stream"):
        layer(framework, SMALL.replace(density_threshold=1.0))(make(np.zeros((2, 3, 4))), state)
