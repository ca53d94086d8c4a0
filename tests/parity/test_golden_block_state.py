"""Rung 9 for the Block-State layer: no code of its authors is released, but its parts are Block-Recurrent's.

Values of google-research/meliad: the vertical path of its recurrent layer, which a Block-State layer is with contexts
that another source gives; and its sliding-window layer, which a Block-State layer is where contexts have no weight.
"""

import importlib

import numpy as np
from golden import Golden, assert_outputs, files
from test_golden_sliding import SLIDING, cache, reset

from implementations.block_state.config import BlockStateConfig
from implementations.common.initializers import Keys
from implementations.parameters import get_parameters

CONTEXT = {
    "context.query.kernel": "tbase/_kvq/queries2_layer/kernel",
    "context.scale": "tbase/attention_scale2",
    "context.norm.scale": "recurrent_tbase/_kvq/pre_attn_layernorm/scale",
    "context.ids": "recurrent_tbase/_kvq/position_embeddings",
    "context.key.kernel": "recurrent_tbase/_kvq/keys_layer/kernel",
    "context.value.kernel": "recurrent_tbase/_kvq/values_layer/kernel",
    "context.initial": "recurrent_initial_state",
}


def layer(golden: Golden, framework: str, **changes):
    """The layer that the file describes, without its parameters."""
    hyper = golden.hyper
    config = BlockStateConfig(
        d_model=hyper["embedding_size"],
        heads=hyper["num_heads"],
        head_width=hyper["head_size"],
        d_ff=hyper["mlp_dim"],
        window=hyper["window_length"],
        variant="MF",
        kernel="s4d",
        state_size=4,
        lift=False,
        buckets=hyper["num_buckets"],
        max_distance=hyper["max_distance"],
    ).replace(**changes)
    room = importlib.import_module(f"implementations.block_state.{framework}")
    twin = importlib.import_module(f"suite.equivalence.{framework}").Twin
    return twin(room.BlockStateLayer(config, Keys(0, "float64")), "float64")


def shared(golden: Golden) -> dict[str, np.ndarray]:
    """The parameters outside of the contexts, but for the projection of the heads."""
    found = {ours: golden.arrays[f"param/{official}"] for ours, official in SLIDING.items()}
    found["out.kernel"] = found.pop("attention.out.kernel")
    return found


def state(golden: Golden, prefix: str, found) -> dict[str, np.ndarray]:
    """A stored state at the beginning of a window."""
    batch = len(golden.arrays["input/x"])
    own = {name: np.array(value.tolist()) for name, value in found.module.initial_state(batch).items()}
    given = {f"state.{name}": own[name] for name in ("ssm", "position", "valid")}
    return {**cache(golden, prefix), **given, "state.context": golden.arrays[f"{prefix}/recurrent_state"]}


@files("brect", "rec_*")
def test_tokens_and_contexts_are_the_vertical_path(golden, framework):
    """The first window of either segment, whole and token by token: its contexts are the state that entered it."""
    states = golden.hyper["recurrent"]["num_states"]
    found = layer(golden, framework, context_states=states)
    values = {**get_parameters(found.module), **shared(golden)}
    found.set(values | {ours: golden.arrays[f"param/{official}"] for ours, official in CONTEXT.items()}, {})
    start, W = golden.arrays["input/start_of_sequence"], golden.hyper["window_length"]
    assert start.any()
    assert not start.all()
    first = reset(framework, found, state(golden, "state_in", found), start)
    for x, y, given in (("x", "y", first), ("x2", "y2", state(golden, "state_out", found))):
        tokens, expected = golden.arrays[f"input/{x}"][:, :W], golden.arrays[f"output/{y}"][:, :W]
        assert_outputs(found.call({"x": tokens, **given}).outputs["y"], expected, y)
        for t in range(W):
            outputs = found.call({"x": tokens[:, t : t + 1], **given}).outputs
            assert_outputs(outputs["y"], expected[:, t : t + 1], f"{y}, token {t}")
            given = {name: value for name, value in outputs.items() if name != "y"}


@files("brect", "sliding_*")
def test_contexts_without_weight_leave_the_sliding_window(golden, framework):
    for variant in ("SH", "MF"):
        found = layer(golden, framework, variant=variant)
        values = {**get_parameters(found.module), **shared(golden)}
        values["out.kernel"] = np.concatenate([values["out.kernel"], np.zeros_like(values["out.kernel"])])
        found.set(values, {})
        own = found.module.initial_state(len(golden.arrays["input/x"]))
        rest = {f"state.{name}": np.array(value.tolist(), str(value.dtype).removeprefix("torch."))
                for name, value in own.items() if name not in ("keys", "values", "valid")}  # fmt: skip
        given = reset(framework, found, {**cache(golden, "state_in"), **rest}, golden.arrays["input/start_of_sequence"])
        for x, y, after in (("x", "y", "state_out"), ("x2", "y2", "state_out2")):
            outputs = found.call({"x": golden.arrays[f"input/{x}"], **given}).outputs
            assert_outputs(outputs["y"], golden.arrays[f"output/{y}"], y)
            for name, value in cache(golden, after).items():
                assert_outputs(outputs[name], value, name)
            given = {name: value for name, value in outputs.items() if name != "y"}
