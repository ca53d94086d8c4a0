"""Rung 9 for attention over windows: values of the authors' own code, in float64.

Block-Recurrent Transformer's sliding window layer (google-research/meliad) with its cache over two segments, and
SPADE's local attention (microsoft/EfficientLongSequenceModeling), which has no norm, residual or feed-forward part.
"""

import importlib

import numpy as np
from golden import Golden, assert_gradients, assert_outputs, files

from implementations.common.initializers import Keys
from implementations.transformer.config import TransformerConfig


def twin(framework, module):
    """A module behind the interface of the ladder."""
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")


SLIDING = {
    "norm1.scale": "tbase/_kvq/pre_attn_layernorm/scale",
    "attention.scale": "tbase/_kvq/attention_scale",
    "attention.query.kernel": "tbase/_kvq/queries_layer/kernel",
    "attention.key.kernel": "tbase/_kvq/keys_layer/kernel",
    "attention.value.kernel": "tbase/_kvq/values_layer/kernel",
    "attention.out.kernel": "tbase/post_attn_mlp/output_layer/kernel",
    "attention.bias.table": "relative_positions/rel_embedding",
    "norm2.scale": "tbase/pre_ffn_layernorm/scale",
    "feed_forward.hidden.kernel": "tbase/ffn/hidden0/kernel",
    "feed_forward.out.kernel": "tbase/ffn/output_layer/kernel",
}


def sliding_layer(golden: Golden, framework: str):
    """The layer that the file describes, with its parameters, and its class's twin."""
    hyper = golden.hyper
    config = TransformerConfig(
        d_model=hyper["embedding_size"],
        heads=hyper["num_heads"],
        head_width=hyper["head_size"],
        d_ff=hyper["mlp_dim"],
        activation="relu",
        norm="rms",
        biases=False,
        attention="window",
        window=hyper["window_length"],
        causal=True,
        include_self=False,
        attend_start=True,
        positions="t5",
        buckets=hyper["num_buckets"],
        max_distance=hyper["max_distance"],
        qk_norm=True,
    )
    room = importlib.import_module(f"implementations.transformer.{framework}")
    found = twin(framework, room.TransformerLayer(config, Keys(0, "float64")))
    found.set({ours: golden.arrays[f"param/{official}"] for ours, official in SLIDING.items()}, {})
    return found


def cache(golden: Golden, prefix: str) -> dict[str, np.ndarray]:
    """A stored cache as the state of our layer."""
    keys, values = (golden.arrays[f"{prefix}/previous_{name}"] for name in ("keys", "values"))
    return {"state.keys": keys, "state.values": values, "state.valid": np.ones(keys.shape[:2], bool)}


def reset(framework: str, found, state: dict[str, np.ndarray], start: np.ndarray) -> dict[str, np.ndarray]:
    """The state after our own reset at document starts."""
    if framework == "jax":
        import jax.numpy as jnp

        make = jnp.asarray
    else:
        import torch

        make = torch.tensor
    given = {name.removeprefix("state."): make(value) for name, value in state.items()}
    found = found.module.reset(given, make(start))
    return {f"state.{n}": np.asarray(v.detach() if framework == "torch" else v) for n, v in found.items()}


@files("brect", "sliding_*")
def test_sliding_window(golden, framework):
    found = sliding_layer(golden, framework)
    start = golden.arrays["input/start_of_sequence"]
    assert start.any()
    assert not start.all()
    state = reset(framework, found, cache(golden, "state_in"), start)
    cotangents = {
        "y": golden.arrays["cotangent/y"],
        "state.keys": golden.arrays["cotangent/next_previous_keys"],
        "state.values": golden.arrays["cotangent/next_previous_values"],
    }
    result = found.call({"x": golden.arrays["input/x"], **state}, cotangents)
    assert_outputs(result.outputs["y"], golden.arrays["output/y"], "first segment")
    after = cache(golden, "state_out")
    for name, value in after.items():
        assert_outputs(result.outputs[name], value, name)
    gradients = dict(result.gradients)
    for name in ("keys", "values"):
        # A cache that was reset has no gradient; ours is taken by the state after the reset.
        gradients[f"input state.{name}"] = np.where(start[:, None, None, None], 0, gradients[f"input state.{name}"])
    assert_gradients(gradients, expected(golden, "grad", "x"))

    result = found.call({"x": golden.arrays["input/x2"], **after}, {"y": golden.arrays["cotangent/y2"]})
    assert_outputs(result.outputs["y"], golden.arrays["output/y2"], "second segment")
    for name, value in cache(golden, "state_out2").items():
        assert_outputs(result.outputs[name], value, name)
    assert_gradients(result.gradients, expected(golden, "grad_seg2", "x2"))


def expected(golden: Golden, prefix: str, x: str) -> dict[str, np.ndarray]:
    """The official gradients by the names that a twin gives them."""
    arrays = golden.arrays
    found = {ours: arrays[f"{prefix}/param/{official}"] for ours, official in SLIDING.items()}
    found["input x"] = arrays[f"{prefix}/input/{x}"]
    return found | {f"input state.{n}": arrays[f"{prefix}/state_in/previous_{n}"] for n in ("keys", "values")}


@files("brect", "sliding_*")
def test_any_cut_of_the_segments(golden, framework):
    """Both segments as one, and token by token."""
    found = sliding_layer(golden, framework)
    state = reset(framework, found, cache(golden, "state_in"), golden.arrays["input/start_of_sequence"])
    x = np.concatenate([golden.arrays["input/x"], golden.arrays["input/x2"]], 1)
    y = np.concatenate([golden.arrays["output/y"], golden.arrays["output/y2"]], 1)
    assert_outputs(found.call({"x": x, **state}).outputs["y"], y, "one segment")
    for t in range(x.shape[1]):
        outputs = found.call({"x": x[:, t : t + 1], **state}).outputs
        assert_outputs(outputs["y"], y[:, t : t + 1], f"token {t}")
        state = {name: value for name, value in outputs.items() if name != "y"}


LOCAL = {"query.kernel": "q", "key.kernel": "k", "value.kernel": "v", "out.kernel": "o"}


@files("spade", "local_*")
def test_local_attention(golden, framework):
    hyper = golden.hyper
    config = TransformerConfig(
        d_model=hyper["embed_dim"],
        heads=hyper["num_heads"],
        head_width=hyper["embed_dim"] // hyper["num_heads"],
        biases=False,
        attention="window",
        window=hyper["local_radius"] + 1,
        causal=hyper["causal"],
        positions="t5",
        buckets=hyper["num_buckets"],
        max_distance=hyper["max_distance"],
    )
    room = importlib.import_module(f"implementations.transformer.{framework}")
    found = twin(framework, room.Attention(config, Keys(0, "float64")))
    file = golden.arrays
    values = {ours: file[f"param/{official}.weight"].T for ours, official in LOCAL.items()}
    found.set({**values, "bias.table": file["param/relative_attention_bias.weight"].T}, {})
    valid = file["input/valid"]
    arrays = {"x": file["input/x"].swapaxes(0, 1), "mask": valid}
    result = found.call(arrays, {"y": file["cotangent/y"].swapaxes(0, 1)})
    y = np.where(valid[..., None], result.outputs["y"], 0)
    assert_outputs(y, file["output/y"].swapaxes(0, 1), "y")
    gradients = {ours: file[f"grad/param/{official}.weight"].T for ours, official in LOCAL.items()}
    gradients["bias.table"] = file["grad/param/relative_attention_bias.weight"].T
    gradients["input x"] = file["grad/input/x"].swapaxes(0, 1)
    assert_gradients(result.gradients, gradients)
