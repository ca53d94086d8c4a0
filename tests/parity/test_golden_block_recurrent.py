"""Rung 9 for the Block-Recurrent Transformer: values of the authors' own code (google-research/meliad), in float64.

Recurrent layers over two segments, the second from the state after the first, and whole decoders, with feedback too.
"""

import importlib

import numpy as np
import pytest
from decoder import decoder, started
from golden import Golden, assert_gradients, assert_outputs, files

from implementations.block_recurrent import reference
from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from implementations.common.initializers import Keys
from implementations.parameters import get_parameters

GATE = {
    "out.kernel": "output_layer/kernel",
    "bias": "gate_bias",
    "input.kernel": "input_gate/kernel",
    "input.bias": "input_gate/bias",
    "forget.kernel": "forget_gate/kernel",
    "forget.bias": "forget_gate/bias",
}
SIDE = {
    "norm1.scale": "_kvq/pre_attn_layernorm/scale",
    "identifiers": "_kvq/position_embeddings",
    "scale": "_kvq/attention_scale",
    "cross_scale": "attention_scale2",
    "query.kernel": "_kvq/queries_layer/kernel",
    "cross_query.kernel": "_kvq/queries2_layer/kernel",
    "key.kernel": "_kvq/keys_layer/kernel",
    "value.kernel": "_kvq/values_layer/kernel",
    "out.kernel": "post_attn_mlp/output_layer/kernel",
    "norm2.scale": "pre_ffn_layernorm/scale",
    "hidden.kernel": "ffn/hidden0/kernel",
    "feed_forward.hidden.kernel": "ffn/hidden0/kernel",
    "feed_forward.out.kernel": "ffn/output_layer/kernel",
}
SIDES = {"tokens": "tbase", "states": "recurrent_tbase", "attention": "tbase"}


def official(path: str) -> str:
    """The authors' path of a parameter: of a recurrent layer, of one with feedback, or of a sliding window layer."""
    side, _, rest = path.partition(".")
    if path == "states.initial":
        return "recurrent_initial_state"
    if rest == "bias.table":
        return "relative_positions/rel_embedding"
    if side not in SIDES:
        return f"tbase/{SIDE[path]}"
    rest = rest.removeprefix("heads.")
    for gate, place in (("attention_gate.", "post_attn_mlp"), ("gate.", "ffn")):
        if rest.startswith(gate):
            return f"{SIDES[side]}/{place}/{GATE[rest.removeprefix(gate)]}"
    return f"{SIDES[side]}/{SIDE[rest]}"


def layer_config(hyper: dict, **changes) -> BlockRecurrentConfig:
    """The recurrent layer that a file's hyper-parameters describe, with gradients between segments."""
    recurrent = hyper.get("recurrent", hyper)
    return BlockRecurrentConfig(
        d_model=hyper["embedding_size"],
        heads=hyper["num_heads"],
        head_width=hyper["head_size"],
        d_ff=hyper["mlp_dim"],
        window=hyper["window_length"],
        states=recurrent["num_states"],
        gate={"bias": "fixed", "lstm": "lstm"}[recurrent["gate_type"]],
        configuration=recurrent["configuration"],
        truncate_gradient=False,
    ).replace(**changes)


def cache(config: BlockRecurrentConfig, golden: Golden, prefix: str, recurrent: bool) -> dict[str, np.ndarray]:
    """A stored state as ours; of the two blocks that our state of a recurrent layer keeps, the first is never read."""
    keys, values = (golden.arrays[f"{prefix}/previous_{name}"] for name in ("keys", "values"))
    if not recurrent:
        return {"keys": keys, "values": values, "valid": np.ones(keys.shape[:2], bool)}
    keys, values = (np.concatenate([np.zeros_like(x), x], 1) for x in (keys, values))
    return {
        "keys": keys,
        "values": values,
        "valid": np.ones(keys.shape[:2], bool),
        "position": np.zeros(len(keys), np.int32),
        "states": golden.arrays[f"{prefix}/recurrent_state"],
    }


def named(state: dict, name: str = "state") -> dict[str, np.ndarray]:
    """A state as arguments of a twin."""
    found = {}
    for key, value in state.items():
        found |= named(value, f"{name}.{key}") if isinstance(value, dict) else {f"{name}.{key}": value}
    return found


def twin(framework, module):
    """A module behind the interface of the ladder."""
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")


def room(framework):
    """The twins."""
    return importlib.import_module(f"implementations.block_recurrent.{framework}")


def recurrent_layer(golden: Golden, framework: str, **changes):
    """The layer that the file describes, reset where documents start, with its parameters."""
    config = layer_config(golden.hyper, **changes)
    layer = room(framework).BlockRecurrentLayer(config, Keys(0, "float64"))
    found = twin(framework, started(framework, layer))
    paths = get_parameters(found.module)
    found.set({path: golden.arrays[f"param/{official(path.removeprefix('layer.'))}"] for path in paths}, {})
    return config, found


def cotangents(config: BlockRecurrentConfig, golden: Golden) -> dict[str, np.ndarray]:
    """Those of the first segment, by our names."""
    keys, values = (golden.arrays[f"cotangent/next_previous_{name}"] for name in ("keys", "values"))
    return {
        "y": golden.arrays["cotangent/y"],
        "state.keys": np.concatenate([np.zeros_like(keys), keys], 1),
        "state.values": np.concatenate([np.zeros_like(values), values], 1),
        "state.states": golden.arrays["cotangent/next_recurrent_state"],
    }


def expected(paths: dict, golden: Golden, prefix: str, x: str) -> dict[str, np.ndarray]:
    """The official gradients by the names that a twin gives them."""
    arrays = golden.arrays
    found = {path: arrays[f"{prefix}/param/{official(path.removeprefix('layer.'))}"] for path in paths}
    for name in ("keys", "values"):
        gradient = arrays[f"{prefix}/state_in/previous_{name}"]
        found[f"input state.{name}"] = np.concatenate([np.zeros_like(gradient), gradient], 1)
    found["input state.states"] = arrays[f"{prefix}/state_in/recurrent_state"]
    return found | {"input x": arrays[f"{prefix}/input/{x}"]}


def assert_state(config: BlockRecurrentConfig, golden: Golden, outputs: dict, prefix: str) -> None:
    """The state after a segment is the authors': the last block, and the states."""
    for name in ("keys", "values"):
        last = outputs[f"state.{name}"][:, -config.window :]
        assert_outputs(last, golden.arrays[f"{prefix}/previous_{name}"], name)
    assert_outputs(outputs["state.states"], golden.arrays[f"{prefix}/recurrent_state"], "states")
    assert not outputs["state.position"].any()


@files("brect", "rec_*")
def test_recurrent_layer(golden, framework):
    config, found = recurrent_layer(golden, framework)
    start = golden.arrays["input/start_of_sequence"]
    assert start.any()
    assert not start.all()
    paths = get_parameters(found.module)
    given = {"x": golden.arrays["input/x"], **named(cache(config, golden, "state_in", True)), "start": start}
    result = found.call(given, cotangents(config, golden))
    assert_outputs(result.outputs["y"], golden.arrays["output/y"], "first segment")
    assert_state(config, golden, result.outputs, "state_out")
    assert_gradients(result.gradients, expected(paths, golden, "grad", "x"))

    given = {"x": golden.arrays["input/x2"], **named(cache(config, golden, "state_out", True)), "start": start & False}
    result = found.call(given, {"y": golden.arrays["cotangent/y2"]})
    assert_outputs(result.outputs["y"], golden.arrays["output/y2"], "second segment")
    assert_state(config, golden, result.outputs, "state_out2")
    assert_gradients(result.gradients, expected(paths, golden, "grad_seg2", "x2"))


@files("brect", "rec_*")
def test_any_cut_of_the_segments(golden, framework):
    """Both segments as one, in pieces that end inside blocks, and token by token."""
    config, found = recurrent_layer(golden, framework)
    start = golden.arrays["input/start_of_sequence"]
    x = np.concatenate([golden.arrays["input/x"], golden.arrays["input/x2"]], 1)
    y = np.concatenate([golden.arrays["output/y"], golden.arrays["output/y2"]], 1)
    length, cut = x.shape[1], 2 * config.window + 1
    for ends in ([length], [cut, cut + 2, length], range(1, length + 1)):
        state, first, begin = named(cache(config, golden, "state_in", True)), start, 0
        for end in ends:
            outputs = found.call({"x": x[:, begin:end], **state, "start": first}).outputs
            assert_outputs(outputs["y"], y[:, begin:end], f"{begin} to {end}")
            state = {name: value for name, value in outputs.items() if name != "y"}
            first, begin = start & False, end
        assert_state(config, golden, outputs, "state_out2")


@files("brect", "rec_*")
def test_oracle(golden):
    config = layer_config(golden.hyper)
    module = room("torch").BlockRecurrentLayer(config, Keys(0, "float64"))
    parameters = {path: golden.arrays[f"param/{official(path)}"] for path in get_parameters(module)}
    start = golden.arrays["input/start_of_sequence"]
    before = cache(config, golden, "state_in", True)
    fresh = reference.initial_state(config, parameters, len(start))
    state = {n: np.where(start.reshape(-1, *(1,) * (x.ndim - 1)), fresh[n], x) for n, x in before.items()}
    y, state = reference.layer(config, parameters, golden.arrays["input/x"], state=state)
    assert_outputs(y, golden.arrays["output/y"], "first segment")
    y, state = reference.layer(config, parameters, golden.arrays["input/x2"], state=state)
    assert_outputs(y, golden.arrays["output/y2"], "second segment")
    assert_state(config, golden, named(state), "state_out2")


def whole_decoder(golden: Golden, framework: str):
    """The decoder that the file describes, with its parameters; whether it is one stack; its recurrent layers."""
    hyper = golden.hyper
    config = layer_config(hyper)
    stack = FeedbackConfig(config, hyper["num_layers"], tuple(hyper["recurrent_layer_indices"]))
    feedback = hyper["feedback_recurrence"] and hyper["dstack_window_length"] > 0
    keys = Keys(0, "float64")
    if feedback:
        layers = [room(framework).FeedbackStack(stack, keys)]
    else:
        sliding = importlib.import_module(f"implementations.transformer.{framework}").TransformerLayer
        recurrent = room(framework).BlockRecurrentLayer
        layers = [
            recurrent(config, keys) if i in stack.indices else sliding(config.sliding, keys) for i in range(stack.depth)
        ]
    module = decoder(framework, layers, hyper["vocab_size"], config.d_model, feedback)
    found = twin(framework, module)
    names = {path: decoder_path(path, feedback) for path in get_parameters(module)}
    found.set({path: golden.arrays[f"param/{name}"] for path, name in names.items()}, {})
    return config, found, stack, feedback, names


def decoder_path(path: str, feedback: bool) -> str:
    """The authors' path of a parameter of a decoder."""
    if path == "embed.table":
        return "embed/embedding"
    if path == "norm.scale":
        return "final_layernorm/scale"
    _, number, path = path.removeprefix("layers.0." if feedback else "").split(".", 2)
    return f"transformer{number}/{official(path)}"


def decoder_state(config, golden: Golden, prefix: str, stack: FeedbackConfig, feedback: bool) -> dict[str, np.ndarray]:
    """The stored states of all layers."""
    layers = {str(i): cache(config, golden, f"{prefix}/transformer{i}", i in stack.indices) for i in range(stack.depth)}
    return named({"layers": layers} if feedback else layers)


@files("brect", "stack_*")
def test_decoder(golden, framework):
    config, found, stack, feedback, names = whole_decoder(golden, framework)
    start = golden.arrays["input/start_of_sequence"]
    before = decoder_state(config, golden, "state_in", stack, feedback)
    given = {"tokens": golden.arrays["input/tokens"], **before, "start": start}
    result = found.call(given, {"y": golden.arrays["cotangent/logits"]})
    assert_outputs(result.outputs["y"], golden.arrays["output/logits"], "first segment")
    after = decoder_state(config, golden, "state_out", stack, feedback)
    for name, value in after.items():
        if not name.endswith(("valid", "position")):
            recurrent = name.endswith(("keys", "values")) and value.shape[1] == config.cached
            first = config.window if recurrent else 0
            assert_outputs(result.outputs[name][:, first:], value[:, first:], name)
    gradients = {path: golden.arrays[f"grad/param/{name}"] for path, name in names.items()}
    assert_gradients({path: result.gradients[path] for path in names}, gradients)
    for name in before:
        if f"input {name}" in result.gradients:
            assert_state_gradient(golden, name, result.gradients[f"input {name}"])

    given = {"tokens": golden.arrays["input/tokens2"], **after, "start": start & False}
    outputs = found.call(given).outputs
    assert_outputs(outputs["y"], golden.arrays["output/logits2"], "second segment")


def assert_state_gradient(golden: Golden, name: str, gradient: np.ndarray) -> None:
    """The gradient of a layer's keys, values or states before the first segment."""
    *_, number, leaf = name.split(".")
    theirs = {"keys": "previous_keys", "values": "previous_values", "states": "recurrent_state"}[leaf]
    value = golden.arrays[f"grad/state_in/transformer{number}/{theirs}"]
    unread, read = np.split(gradient, [gradient.shape[1] - value.shape[1]], 1)
    assert not unread.any()
    np.testing.assert_allclose(read, value, rtol=0, atol=1e-9 * np.abs(value).max() or 1e-12, err_msg=name)


@files("brect", "stack_*")
@pytest.mark.parametrize("pieces", [[12], [3, 6, 3], [1] * 12])
def test_any_cut_of_a_decoders_segment(golden, framework, pieces):
    config, found, stack, feedback, _ = whole_decoder(golden, framework)
    start = golden.arrays["input/start_of_sequence"]
    state = decoder_state(config, golden, "state_in", stack, feedback)
    assert sum(pieces) == golden.hyper["segment"]
    begin = 0
    for size in pieces:
        tokens = golden.arrays["input/tokens"][:, begin : begin + size]
        outputs = found.call({"tokens": tokens, **state, "start": start}).outputs
        assert_outputs(outputs["y"], golden.arrays["output/logits"][:, begin : begin + size], f"from {begin}")
        state = {name: value for name, value in outputs.items() if name != "y"}
        start, begin = start & False, begin + size
