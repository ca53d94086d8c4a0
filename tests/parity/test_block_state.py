"""The Block-State layer beyond the ladder: cuts anywhere, what variants see, no loop over windows, wrong inputs."""

import functools
import importlib

import numpy as np
import pytest

from implementations.block_state.config import BlockStateConfig
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.parameters import get_parameters, set_parameters
from suite.equivalence.cases import flatten

W, D, H = 4, 5, 2
SMALL = BlockStateConfig(
    d_model=D,
    heads=H,
    head_width=3,
    d_ff=6,
    window=W,
    context_states=3,
    kernel="s4d",
    state_size=4,
    dt_min=0.05,
    dt_max=0.5,
    filter_length=6,
    position_features=4,
)
KINDS = {
    "SH": SMALL,
    "MH, S4": SMALL.replace(variant="MH", kernel="s4"),
    "MF": SMALL.replace(variant="MF"),
    "SH, own window": SMALL.replace(attend_previous_window=False, attend_start=False, include_self=True),
    "MF, unstructured": SMALL.replace(variant="MF", kernel="unstructured"),
}
kinds = pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
variants = pytest.mark.parametrize("variant", ["SH", "MH", "MF"])


@functools.cache
def twin(framework: str, config: BlockStateConfig, purpose: str = "reading"):
    """A layer whose parameters are away from their initial values, behind the interface of the ladder."""
    module = importlib.import_module(f"implementations.block_state.{framework}").BlockStateLayer(
        config, Keys(3, "float64")
    )
    found = importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")
    rng = np.random.default_rng(0)
    found.set({path: p + 0.3 * rng.standard_normal(p.shape) for path, p in get_parameters(module).items()}, {})
    return found


def array(framework: str, values: np.ndarray):
    """An array of a framework."""
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.asarray(values)
    import torch

    return torch.from_numpy(np.array(values))


def numpy(value) -> np.ndarray:
    """The array's values."""
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def inputs(length: int = 19, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((batch, length, D))


def fresh(found, batch: int = 2) -> dict[str, np.ndarray]:
    """The state before the first token."""
    return {name: numpy(value) for name, value in flatten(found.module.initial_state(batch), "state").items()}


def stream(found, x: np.ndarray, lengths: list[int], mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Outputs of segments one after the other, and the state after the last."""
    state, outputs, start = fresh(found, len(x)), [], 0
    for length in lengths:
        part = slice(start, start + length)
        given = {"x": x[:, part], **state} | ({} if mask is None else {"mask": mask[:, part]})
        state = found.call(given).outputs
        outputs.append(state.pop("y"))
        start += length
    assert start == x.shape[1]
    return {"y": np.concatenate(outputs, 1), **state}


@kinds
@pytest.mark.parametrize("lengths", [[8, 8, 3], [1, 7, 3, 8]])
def test_cuts_anywhere_change_nothing(framework, config, lengths):
    found, x = twin(framework, config), inputs()
    mask = np.random.default_rng(6).random(x.shape[:2]) < 0.8
    mask[:, [0, 7, 10, 15, 18]] = True  # What ends a part is genuine: padding there would leave no trace.
    whole, parts = found.call({"x": x, "mask": mask}).outputs, stream(found, x, lengths, mask)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=0, atol=1e-12, err_msg=name)


@kinds
def test_documents_may_start_anywhere_in_a_batch(framework, config):
    """After a reset one sequence is at the start of a document, the other in the middle of a window."""
    found, x = twin(framework, config), inputs(11)
    state = stream(found, x[:, :3], [3])
    state.pop("y")
    native = {name.removeprefix("state."): array(framework, value) for name, value in state.items()}
    reset = found.module.reset(native, array(framework, np.array([True, False])))
    for name, value in fresh(found).items():
        np.testing.assert_array_equal(numpy(reset[name.removeprefix("state.")])[0], value[0])
    given = {f"state.{name}": numpy(value) for name, value in reset.items()}
    y = found.call({"x": x[:, 3:], **given}).outputs["y"]
    np.testing.assert_allclose(y[0], found.call({"x": x[:, 3:]}).outputs["y"][0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(y[1], found.call({"x": x}).outputs["y"][1, 3:], rtol=0, atol=1e-12)


@kinds
def test_no_output_depends_on_a_later_token_or_on_batch_mates(framework, config):
    """Bit for bit, whatever they hold."""
    found, x = twin(framework, config), inputs()
    y = found.call({"x": x}).outputs["y"]
    moved = x.copy()
    moved[1, 9:] = 100.0
    other = found.call({"x": moved}).outputs["y"]
    np.testing.assert_array_equal(other[0], y[0])
    np.testing.assert_array_equal(other[1, :9], y[1, :9])
    assert np.abs(other - y)[1, 9:].min() > 0


@kinds
def test_nan_in_padding_reaches_nothing_genuine(framework, config):
    found, x = twin(framework, config), inputs(11)
    mask = np.arange(11) < np.array([7, 11])[:, None]
    dirty = np.where(mask[..., None], x, np.nan)
    y = found.call({"x": x, "mask": mask}).outputs["y"]
    np.testing.assert_array_equal(found.call({"x": dirty, "mask": mask}).outputs["y"][mask], y[mask])
    alone = found.call({"x": x[:1, :7]}).outputs["y"]
    np.testing.assert_allclose(y[:1, :7], alone, rtol=0, atol=1e-12)


def seen(framework: str, config: BlockStateConfig, length: int) -> np.ndarray:
    """Which tokens (rows) see the filters' outputs of which time steps."""
    found, x = twin(framework, config), inputs(length, 1)
    contexts = np.random.default_rng(1).standard_normal((1, length, config.channels, D))
    state = {name.removeprefix("state."): array(framework, value) for name, value in fresh(found, 1).items()}
    valid = array(framework, np.ones((1, W + length), bool))

    windows = importlib.import_module(f"implementations.block_state.windows.{framework}")

    def heads(contexts: np.ndarray) -> np.ndarray:
        known = array(framework, contexts)
        known = windows.window_ends(known, W, None) if config.variant == "MF" else known
        given = (array(framework, x), known, state, valid, None, None, "einsum")
        return numpy(found.module.context(*given)[0])

    before, touched = heads(contexts), []
    for t in range(length):
        moved = contexts.copy()
        moved[:, t] += 1.0
        touched.append((heads(moved) != before).any((0, 2, 3)))
    return np.stack(touched, 1)


@variants
def test_each_variant_sees_the_contexts_of_the_paper(framework, variant):
    """SH, MH: those of the own window up to the token, W for its last; MF: the end of the window before."""
    length = 3 * W + 2
    t = np.arange(length)
    same = t[:, None] // W == t // W
    expected = same & (t <= t[:, None]) if variant != "MF" else t == (t[:, None] // W) * W - 1
    found = seen(framework, SMALL.replace(variant=variant), length)
    np.testing.assert_array_equal(found, expected)
    if variant != "MF":
        assert found[2 * W - 1].sum() == W


def test_the_first_window_of_mf_sees_the_learned_context(framework):
    found = twin(framework, SMALL.replace(variant="MF"), "another initial context")
    x = inputs(2 * W)
    y = found.call({"x": x}).outputs["y"]
    values = get_parameters(found.module)
    set_parameters(found.module, {**values, "context.initial": values["context.initial"][::-1] + 0.5})
    changed = (found.call({"x": x}).outputs["y"] != y).any((0, 2))
    np.testing.assert_array_equal(changed, np.arange(2 * W) < W)


@kinds
def test_contexts_without_weight_leave_a_transformer(framework, config):
    """The plain window layer of the Transformer, with the same parameters elsewhere."""
    if not config.attend_previous_window:
        config = config.replace(attend_previous_window=True)
    found, x = twin(framework, config, "contexts without weight"), inputs()
    values = get_parameters(found.module)
    own = config.heads * config.head_width
    values["out.kernel"][own:] = 0
    set_parameters(found.module, values)
    room = importlib.import_module(f"implementations.transformer.{framework}")
    plain = room.TransformerLayer(config.sliding, Keys(0, "float64"))
    values["attention.out.kernel"] = values["out.kernel"][:own]
    set_parameters(plain, {path: values[path] for path in get_parameters(plain)})
    y, state = plain(array(framework, x))
    outputs = found.call({"x": x}).outputs
    np.testing.assert_allclose(outputs["y"], numpy(y), rtol=0, atol=1e-13)
    for name, value in state.items():
        np.testing.assert_allclose(outputs[f"state.{name}"], numpy(value), rtol=0, atol=1e-13)


def operations(framework: str, config: BlockStateConfig, length: int, streaming: bool) -> list[str]:
    """The operations of a forward pass."""
    found = twin(framework, config)
    x = array(framework, inputs(length))
    state = found.module.initial_state(2) if streaming else None
    if framework == "jax":
        import jax
        from flax import nnx

        graph, values = nnx.split(found.module)
        program = jax.make_jaxpr(lambda values, x, state: nnx.merge(graph, values)(x, state))(values, x, state)
        return _primitives(program.jaxpr)
    from torch.utils._python_dispatch import TorchDispatchMode

    names = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            names.append(str(function))
            return function(*arguments, **(keywords or {}))

    with Count():
        found.module(x, state)
    return names


def _primitives(jaxpr) -> list[str]:
    """The names of all equations, those inside of equations too."""
    names = []
    for equation in jaxpr.eqns:
        names.append(equation.primitive.name)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                names += _primitives(inner)
    return names


@kinds
@pytest.mark.parametrize("streaming", [False, True])
def test_more_windows_are_no_more_operations(framework, config, streaming):
    """No loop over windows or tokens; the powers of S4's matrix are taken by squaring, 90 operations a doubling, and MF
    adds up the states of windows by doubling, 45 operations each time."""
    short, long = (operations(framework, config, n * W + 1, streaming) for n in (20, 80))  # two doublings
    assert not {"scan", "while"} & set(long)
    doubling = (100 if config.kernel == "s4" else 0) + (45 if config.variant == "MF" else 0)
    assert len(long) - len(short) <= 2 * doubling


def test_unstructured_filters_are_their_formula(framework):
    config = SMALL.replace(kernel="unstructured", variant="MF", beyond="extend")
    found = twin(framework, config)
    values = get_parameters(found.module)
    kernel = numpy(found.module.ssm.kernel(11))
    assert kernel.shape == (3, D, 11)
    for lag in (0, 1, 5, 10):
        embedded = [np.sin(lag), np.cos(lag), np.sin(lag / 100), np.cos(lag / 100)]
        dense = np.array(embedded) @ values["ssm.filter.kernel"] + values["ssm.filter.bias"]
        decay = np.exp(-np.linspace(3.07, 15.35, D) * lag / 5)
        np.testing.assert_allclose(kernel[..., lag], dense.reshape(3, D) * decay, rtol=0, atol=1e-13)
    ends = twin(framework, config.replace(beyond="zero"))
    np.testing.assert_allclose(numpy(ends.module.ssm.kernel(11)), kernel[..., :6], rtol=0, atol=1e-14)


def test_filters_without_end_take_any_length_but_no_state(framework):
    config = SMALL.replace(kernel="unstructured", beyond="extend")
    found, x = twin(framework, config), inputs(30)
    y = found.call({"x": x}).outputs["y"]
    shorter = twin(framework, config.replace(beyond="zero")).call({"x": x}).outputs["y"]
    np.testing.assert_allclose(y[:, :6], shorter[:, :6], rtol=0, atol=1e-12)
    assert np.abs(y - shorter)[:, 6:].max() > 1e-9
    assert found.module.initial_state(2) is None
    state = fresh(twin(framework, config.replace(beyond="zero")))
    with pytest.raises(
        ConfigError, match=r"BlockStateConfig\.beyond is 'extend': a layer that cannot stream takes no state"
    ):
        found.call({"x": x, **state})


def test_wrong_inputs_are_named(framework):
    found = twin(framework, SMALL)
    expected = r"expected \(B, L, D\) with L at least 1 and D = d_model = 5"
    for shape in ((2, 3, 4), (2, 0, 5)):
        with pytest.raises(ConfigError, match=expected):
            found.call({"x": np.zeros(shape)})
    state = fresh(found)
    short = {**state, "state.context_keys": np.zeros((2, W - 1, H, 3))}
    with pytest.raises(ConfigError, match=r"state\['context_keys'\] has shape \(2, 3, 2, 3\): expected \(2, 4, 2, 3\)"):
        found.call({"x": inputs(), **short})
    state.pop("state.position")
    with pytest.raises(ConfigError, match=r"state has .*: expected a dictionary with .*, position"):
        found.call({"x": inputs(), **state})


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("d_model", {"d_model": 0}),
        ("window", {"window": 0}),
        ("context_states", {"context_states": 0}),
        ("variant", {"variant": "SF"}),
        ("kernel", {"kernel": "hyena"}),
        ("state_size", {"state_size": 3}),
        ("dt_min", {"dt_min": 1.0}),
        ("decay_min", {"decay_min": -1.0}),
        ("attend_start", {"attend_previous_window": False}),
        ("buckets", {"buckets": 7}),
        ("max_distance", {"max_distance": 16}),
        ("dropout", {"dropout": 1.0}),
        ("scan", {"scan": "recurrent", "kernel": "unstructured"}),
    ],
)
def test_wrong_configs_name_the_field(field, changes):
    with pytest.raises(ConfigError, match=rf"BlockStateConfig\.{field} is "):
        BlockStateConfig(**changes)


def test_configs_survive_a_dictionary():
    config = SMALL.replace(variant="MF", kernel="unstructured", beyond="extend")
    assert BlockStateConfig.from_dict(config.to_dict()) == config


def test_learned_contexts_are_drawn_as_the_states_of_block_recurrent():
    config = BlockStateConfig(d_model=64, variant="MF", context_states=64, state_size=2)
    values = get_parameters(
        importlib.import_module("implementations.block_state.torch").BlockStateLayer(config, Keys(0))
    )
    assert abs(values["context.initial"].std() - 0.1) < 0.005
    assert abs(values["context.ids"].std() - 1) < 0.05
    assert values["out.kernel"].shape == (2 * 4 * 32, 64)
    assert abs(values["out.kernel"].std() * 16 - 1) < 0.05


def count(config) -> int:
    """Parameters of a layer."""
    from implementations import catalog

    return sum(p.numel() for p in catalog.layer_class(config.architecture, "torch")(config, Keys(0)).parameters())


def test_sizes_of_the_paper(monkeypatch):
    """Table 1 in millions, vocabulary included: what contexts add to Slide is what is published, and -L is 366M.

    The published sizes stand 6M above the sum of their layers (190M for Slide, whose parts are 184M), and 15M more
    for "MH" and "MF" than for "SH", where the paper names no parameters.
    """
    from suite.recipes.block_state import PLACES, SIZES, VOCABULARY, layer

    monkeypatch.setattr(Keys, "uniform", lambda self, shape: np.broadcast_to(0.5, shape))

    def model(size, **changes) -> float:
        with_contexts = layer(size=size, **changes)
        slide = count(with_contexts.sliding)
        places = PLACES[size]
        total = 12 * slide + len(places) * (count(with_contexts) - slide) if changes else 12 * slide
        return (total + 1024 * VOCABULARY) / 1e6

    assert set(SIZES) == set(PLACES)
    slide = model("small")
    assert round(slide, 1) == 183.9
    assert round(model("small", variant="SH", kernel="s4") - slide) in (12, 13)
    for variant in ("SH", "MH", "MF"):
        assert 190 < model("small", variant=variant) < 221
    assert abs(model("large", variant="SH") / 366 - 1) < 0.02


def test_presets_place_the_layers_of_the_paper():
    from suite.recipes.block_state import PLACES, layer, speed, stack

    for size, places in PLACES.items():
        layers = stack("MF", "unstructured", size)
        assert len(layers) == 12
        assert tuple(i for i, one in enumerate(layers, 1) if one.architecture == "block_state") == places
        assert {one.window for one in layers} == {512}
        assert {one for one in layers if one.architecture == "transformer"} == {layer(size=size).sliding}
    timed = speed("MH")
    assert (timed.window, timed.state_size, timed.heads, timed.d_model) == (128, 16, 16, 512)
