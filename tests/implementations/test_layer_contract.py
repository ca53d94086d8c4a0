"""What every layer owes the models around it, whatever its architecture, and every twin the other."""

import ast
import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implementations import catalog
from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from implementations.block_state.config import BlockStateConfig
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.ema.config import EMAConfig
from implementations.mega.config import MegaConfig
from implementations.models.config import MODELS, ClassifierConfig
from implementations.s4.config import S4Config, S4DConfig
from implementations.s5.config import S5Config
from implementations.seqboat.config import SeqBoatConfig
from implementations.spade.config import SpadeConfig, SpadeStackConfig
from implementations.transformer.config import TransformerConfig

ROOT = Path(__file__).parents[2] / "implementations"

WIDTHS: dict[str, Any] = {"d_model": 4, "heads": 2, "head_width": 2, "d_ff": 4}
TRANSFORMER = TransformerConfig(causal=True, **WIDTHS)
STATE = BlockStateConfig(window=3, kernel="s4d", state_size=4, filter_length=6, **WIDTHS)
RECURRENT = BlockRecurrentConfig(window=3, states=2, buckets=4, max_distance=8, **WIDTHS)
SPADE = SpadeConfig(d_model=4, heads=2, d_ff=4, window=3, causal=True, s4_state_size=4)
MEGA = MegaConfig(
    d_model=4, query_size=2, value_size=3, feedforward_size=4, state_size=2, bidirectional=False, chunk_size=3
)
BOAT = SeqBoatConfig(d_model=4, query_size=2, value_size=3, state_size=2, bidirectional=False, window=3)
STREAMING: dict[str, Any] = {
    "s5": S5Config(d_model=4, ssm_size=4),
    "s4": S4Config(d_model=4, state_size=4),
    "s4, stepping": S4Config(d_model=4, state_size=4, scan="recurrent"),
    "s4d": S4DConfig(d_model=4, state_size=4),
    "ema": EMAConfig(d_model=4, state_size=2),
    "ema, truncated": EMAConfig(d_model=4, state_size=2, truncation=3),
    "mega": MEGA,
    "mega, whole": MEGA.replace(chunk_size=None),
    "seqboat": BOAT,
    "seqboat, whole": BOAT.replace(window=None),
    "transformer": TRANSFORMER,
    "transformer, window": TRANSFORMER.replace(attention="window", window=3),
    "spade": SPADE,
    "spade, chunks": SPADE.replace(attention="chunk"),
    "spade_stack": SpadeStackConfig(bottom=SPADE, upper=SPADE.replace(global_branch=False)),
    "block_recurrent": RECURRENT,
    "block_recurrent_feedback": FeedbackConfig(recurrent=RECURRENT, depth=2, recurrent_layers=(0,)),
    "block_state, SH": STATE,
    "block_state, own window": STATE.replace(attend_previous_window=False, attend_start=False),
    "block_state, MF": STATE.replace(variant="MF", context_states=2),
    "block_state, unstructured": STATE.replace(kernel="unstructured", variant="MH"),
}


def layer(framework: str, config: Any) -> Any:
    return catalog.layer_class(config.architecture, framework)(config, Keys(0))


def make(framework: str, value: np.ndarray) -> Any:
    return importlib.import_module("jax.numpy" if framework == "jax" else "torch").asarray(value)


def leaves(state: Any) -> dict[str, Any]:
    if not isinstance(state, dict):
        return {"": state}
    return {f"{name}.{path}": leaf for name, child in state.items() for path, leaf in leaves(child).items()}


def test_every_architecture_of_the_catalog_is_here():
    assert {config.architecture for config in STREAMING.values()} == set(catalog.names())


def rows(state: Any, row: int) -> Any:
    """The state of one row."""
    if isinstance(state, dict):
        return {name: rows(child, row) for name, child in state.items()}
    return state[row : row + 1]


@pytest.mark.parametrize("name", STREAMING)
def test_padding_at_the_end_of_a_segment_changes_nothing_behind_it(name):
    """Every row goes on as if it had been alone, in the padded segment itself too; the ladders hold that JAX agrees."""
    found = catalog.layer_class(STREAMING[name].architecture, "torch")(STREAMING[name], Keys(0, "float64"))
    x, lengths = np.random.default_rng(0).standard_normal((4, 13, 4)), (8, 5, 1, 0)
    mask = np.arange(8) < np.array(lengths)[:, None]
    start, more = make("torch", x[:, :5]), make("torch", x[:, 5:])
    _, before = found(start)
    first, state = found(more, before, make("torch", mask))
    last, _ = found(start, state)
    for row, length in enumerate(lengths):
        alone = rows(before, row)
        if length:
            y, alone = found(more[row : row + 1, :length], alone)
            np.testing.assert_allclose(first[row, :length].detach(), y[0].detach(), rtol=0, atol=1e-12)
        y, _ = found(start[row : row + 1], alone)
        np.testing.assert_allclose(last[row].detach(), y[0].detach(), rtol=0, atol=1e-12)


def filled(state: Any) -> Any:
    """A state of the same leaves, each of another value than before everywhere."""
    if isinstance(state, dict):
        return {name: filled(child) for name, child in state.items()}
    return ~state if "bool" in str(state.dtype) else state + 1


@pytest.mark.parametrize("framework", catalog.FRAMEWORKS)
@pytest.mark.parametrize("name", STREAMING)
def test_a_reset_of_all_rows_is_the_initial_state(framework, name):
    found = layer(framework, STREAMING[name])
    initial = found.initial_state(2)
    after = leaves(found.reset(filled(initial), make(framework, np.ones(2, bool))))
    assert after.keys() == leaves(initial).keys()
    for path, leaf in leaves(initial).items():
        assert bool((after[path] == leaf).all()), path
    with pytest.raises(ConfigError, match=r"^state is None: expected one to reset, from `initial_state` or "):
        found.reset(None, make(framework, np.ones(2, bool)))


NOT_STREAMING: dict[str, tuple[Any, str, str]] = {
    name: (config, f"{type(config).__name__}.{field}", remedy)
    for name, config, field, remedy in (
        ("s5", S5Config(d_model=4, ssm_size=4, bidirectional=True), "bidirectional is True", "bidirectional=False"),
        ("s4", S4Config(d_model=4, state_size=4, bidirectional=True), "bidirectional is True", "bidirectional=False"),
        ("s4d", S4DConfig(d_model=4, state_size=4, bidirectional=True), "bidirectional is True", "bidirectional=False"),
        ("ema", EMAConfig(d_model=4, state_size=2, bidirectional=True), "bidirectional is True", "bidirectional=False"),
        ("mega", MEGA.replace(bidirectional=True), "bidirectional is True", "bidirectional=False"),
        ("seqboat", BOAT.replace(bidirectional=True), "bidirectional is True", "bidirectional=False"),
        ("seqboat, dense", BOAT.replace(density_threshold=0.5), "density_threshold is 0.5", "density_threshold=None"),
        ("transformer", TRANSFORMER.replace(causal=False), "causal is False", "causal=True"),
        ("spade", SPADE.replace(causal=False), "causal is False", "causal=True"),
        ("block_state", STATE.replace(kernel="unstructured", beyond="extend"), "beyond is 'extend'", "beyond='zero'"),
    )
}
AHEAD = SPADE.replace(causal=False)
AHEAD_STACK = SpadeStackConfig(bottom=AHEAD, upper=AHEAD.replace(global_branch=False))
NOT_STREAMING["spade_stack"] = (AHEAD_STACK, "SpadeStackConfig.causal is False", "causal=True")


@pytest.mark.parametrize("framework", catalog.FRAMEWORKS)
@pytest.mark.parametrize("name", NOT_STREAMING)
def test_a_layer_that_cannot_stream_says_so_and_what_would(framework, name):
    config, found, remedy = NOT_STREAMING[name]
    ahead = layer(framework, config)
    assert ahead.initial_state(2) is None
    streams = STREAMING[name] if name in STREAMING else config.replace(**config.streaming)
    start = make(framework, np.ones(2, bool))
    sentence = f"{found}: a layer that cannot stream {{}}; it streams with {remedy}"
    with pytest.raises(ConfigError, match="^" + re.escape(sentence.format("has no state to reset")) + "$"):
        ahead.reset(None, start)
    state = layer(framework, streams).initial_state(2)
    with pytest.raises(ConfigError, match="^" + re.escape(sentence.format("takes no state")) + "$"):
        ahead(make(framework, np.ones((2, 3, 4), np.float32)), state)


@pytest.mark.parametrize("framework", catalog.FRAMEWORKS)
def test_a_stack_with_a_layer_that_cannot_stream_says_so(framework):
    streams = S5Config(d_model=4, ssm_size=4)
    placed = ((1, streams.replace(bidirectional=True)),)
    model = ClassifierConfig(layer=streams, placed=placed, depth=2, input_kind="values", input_size=3, classes=2)
    with pytest.raises(ConfigError, match=r"^S5Config.bidirectional is True: .* has no state to reset; it streams "):
        catalog.model_class(model, framework)(model, Keys(0)).reset(None, make(framework, np.ones(2, bool)))


@pytest.mark.parametrize("name", catalog.names())
def test_every_layer_is_made_of_a_name_and_a_width(name):
    """One layer in a model of your own: it runs, and streams with what its config says lets it stream.

    JAX traces it without compiling it; that the twins agree is held elsewhere.
    """
    config: Any = catalog.get(name).config.of_width(16)
    config = catalog.get(name).config.of_width(16, **config.streaming)
    assert config.d_model == 16
    found, x = layer("torch", config), make("torch", np.ones((2, 3, 16), np.float32))
    y, state = found(x)[0], found.initial_state(2)
    first, state = found(x[:, :2], state)
    last, _ = found(x[:, 2:], state)
    streamed = np.concatenate([first.detach().numpy(), last.detach().numpy()], 1)
    np.testing.assert_allclose(streamed, y.detach().numpy(), rtol=1e-4, atol=1e-4)
    other, jax = layer("jax", config), importlib.import_module("jax")
    start = make("jax", np.ones((2, 3, 16), np.float32))
    traced, _ = jax.eval_shape(other, start, other.initial_state(2))
    assert traced.shape == y.shape


def test_a_wrong_field_of_a_layer_by_width_is_named():
    for name in catalog.names():
        with pytest.raises(ConfigError, match=r"Config has no field 'widht': "):
            catalog.get(name).config.of_width(16, widht=3)


@pytest.mark.parametrize("framework", catalog.FRAMEWORKS)
@pytest.mark.parametrize("name", STREAMING)
def test_a_segment_without_a_position_is_one_sentence(framework, name):
    found = layer(framework, STREAMING[name])
    with pytest.raises(ConfigError, match=r"^x has shape \(2, 0, 4\): expected \(B, L, D\) with L at least 1 and D = "):
        found(make(framework, np.zeros((2, 0, 4), np.float32)))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", STREAMING)
def test_states_hold_no_segment_in_memory(name, batch):
    """PyTorch's views would, and their strides make a compiler trace anew."""
    found = layer("torch", STREAMING[name])
    state = found.initial_state(batch)
    for length in (7, 1):
        for path, leaf in leaves(state).items():
            assert leaf.is_contiguous(), path
            assert leaf.untyped_storage().nbytes() == leaf.nbytes, path
        _, state = found(make("torch", np.ones((batch, length, 4), np.float32)), state)


@pytest.mark.parametrize("config", [catalog.get(name).config for name in catalog.names()] + list(MODELS.values()))
def test_every_field_is_in_the_docstring(config):
    documents = " ".join(cls.__doc__ or "" for cls in config.__mro__ if dataclasses.is_dataclass(cls))
    missing = [f.name for f in dataclasses.fields(config) if not re.search(rf"\b{f.name}\b", documents)]
    assert missing == []


OF_ONE_FRAMEWORK = {
    "BatchStatistic", "detached", "grows", "owned", "product_precision", "LanguageModel._start", "_associative", "_at",
    "_blocks", "compiling_for", "platform", "_compiled_flex", "_edges", "_interleave", "_offered", "_over", "words_at",
    "current_precision", "rounded",
}  # fmt: skip
"""Helpers without a counterpart, where the other framework has the function itself."""

OTHERWISE_CALLED = {"random_words", "_fused", "_after", "_memory", "_kernel_runs"}
"""What takes one argument more in one framework: the device, the kernel's own window, the tensor that knows its device,
or the precision that a program is compiled for."""


def surface(path: Path) -> dict[str, Any]:
    """Functions, classes and their methods in order, with their arguments and the values these have by default."""
    found: dict[str, Any] = {}

    def arguments(node: ast.FunctionDef) -> Any:
        given = node.args
        names = [a.arg for a in (*given.posonlyargs, *given.args)], [a.arg for a in given.kwonlyargs]
        values = [d and ast.unparse(d) for d in (*given.defaults, *given.kw_defaults)]
        return names, values, given.vararg is None, given.kwarg is None

    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = arguments(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = "class"
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    name = "__call__" if method.name == "forward" else method.name
                    found[f"{node.name}.{name}"] = arguments(method)
    return {name: value for name, value in found.items() if name not in OF_ONE_FRAMEWORK}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("jax.py")), ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_twins_have_the_same_functions_classes_and_arguments(path):
    ours, theirs = surface(path), surface(path.with_name("torch.py"))
    if path.parent.name == "kernel":  # written for its compiler: the twins share how it is called
        ours, theirs = {"scan": ours["scan"]}, {"scan": theirs["scan"]}
    assert list(ours) == list(theirs)
    for name in ours.keys() - OTHERWISE_CALLED:
        assert ours[name] == theirs[name], name
