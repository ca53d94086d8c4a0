"""Rung 9 for MH-EMA: outputs, states and gradients of the authors' own code, in float64, whichever cases there are.

The authors' layouts: (L, B, D) in forward passes; (B, D, L) in and (L, B, D) out of `step` and `one_step`.
"""

import importlib

import numpy as np
import pytest
from golden import Golden, assert_gradients, assert_outputs, files

from implementations.common.initializers import Keys
from implementations.ema import reference
from implementations.ema.config import EMAConfig

METHODS = ("auto", "fft", "direct")


def config_of(golden: Golden, **changes) -> EMAConfig:
    """The layer that a file's hyper-parameters describe."""
    hyper = golden.hyper
    given = EMAConfig(
        d_model=hyper["embed_dim"],
        state_size=hyper["ndim"],
        bidirectional=hyper.get("bidirectional", False),
        truncation=hyper.get("truncation"),
        activation="silu" if hyper.get("silu_inside") else "none",
    )
    return given.replace(**changes)


def parameters_of(golden: Golden, prefix: str, config: EMAConfig) -> dict[str, np.ndarray]:
    """Official parameters, or their gradients, in our shapes: delta, alpha and beta without the last axis of one."""
    found = golden.part(prefix)
    if not config.residual:
        del found["omega"]
    return {name: a[..., 0] if name in ("delta", "alpha", "beta") else a for name, a in found.items()}


def twin(framework: str, golden: Golden, config: EMAConfig):
    """The layer with the official parameters, behind the interface of the ladder."""
    room = importlib.import_module(f"implementations.ema.{framework}")
    module = room.MultiHeadEMA(config, Keys(0, "float64"))
    found = importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")
    found.set(parameters_of(golden, "param", config), {})
    return found


def batch_first(x: np.ndarray) -> np.ndarray:
    """(L, B, D) -> (B, L, D)."""
    return x.transpose(1, 0, 2)


def is_step(golden: Golden) -> bool:
    return "output/h_next" in golden.arrays


def is_incremental(golden: Golden) -> bool:
    return "chunks" in golden.hyper


def forward_inputs(golden: Golden) -> dict[str, np.ndarray]:
    arrays = {"x": batch_first(golden.arrays["input/x"])}
    if "input/padding_mask" in golden.arrays:
        arrays["mask"] = ~golden.arrays["input/padding_mask"].astype(bool)
    return arrays


@pytest.mark.parametrize("convolution", METHODS)
@files("ema")
def test_the_authors_values(golden, framework, convolution):
    check = check_step if is_step(golden) else check_segments if is_incremental(golden) else check_forward
    check(golden, framework, convolution)


def check_forward(golden, framework, convolution):
    config = config_of(golden, convolution=convolution)
    found = twin(framework, golden, config)
    cotangents = {"y": batch_first(golden.arrays["cotangent/y"])}
    for training in (False, True):
        result = found.call(forward_inputs(golden), cotangents, training=training)
        assert_outputs(result.outputs["y"], batch_first(golden.arrays["output/y"]), convolution)
        expected = parameters_of(golden, "grad/param", config)
        expected["input x"] = batch_first(golden.arrays["grad/input/x"])
        assert_gradients(result.gradients, expected)
    if "extra/kernel" in golden.arrays:
        official = golden.arrays["extra/kernel"]
        kernel = found.module.kernel(official.shape[1])
        assert_outputs(np.asarray(kernel.detach() if framework == "torch" else kernel), official, "kernel")


def check_step(golden, framework, convolution):
    """`step` and `one_step`, which leave omega out."""
    config = config_of(golden, convolution=convolution, residual=False)
    found = twin(framework, golden, config)
    x = golden.arrays["input/x"]
    arrays = {"x": x.transpose(0, 2, 1)}
    states = [name for name in ("h", "hx") if f"state_in/{name}" in golden.arrays]
    for name in states:
        arrays["state"] = golden.arrays[f"state_in/{name}"]
    y = golden.arrays["output/y"]
    cotangents = {"y": batch_first(golden.arrays["cotangent/y"]), "state": golden.arrays["cotangent/h_next"]}
    result = found.call(arrays, cotangents)
    assert_outputs(result.outputs["y"], batch_first(y), "y")
    assert_outputs(result.outputs["state"], golden.arrays["output/h_next"], "h_next")
    assert not golden.arrays["grad/param/omega"].any()
    expected = parameters_of(golden, "grad/param", config)
    expected["input x"] = golden.arrays["grad/input/x"].transpose(0, 2, 1)
    for name in states:
        expected["input state"] = golden.arrays[f"grad/state_in/{name}"]
    used = {name: gradient for name, gradient in expected.items() if gradient.any()}
    for name in expected.keys() - used.keys():
        assert not result.gradients[name].any(), name
    assert_gradients({name: result.gradients[name] for name in used}, used)


def check_segments(golden, framework, convolution):
    """Forward passes over segments, which have omega."""
    found = twin(framework, golden, config_of(golden, convolution=convolution))
    x, start, outputs = batch_first(golden.arrays["input/x"]), 0, []
    arrays = {}
    for i, length in enumerate(golden.hyper["chunks"]):
        result = found.call({**arrays, "x": x[:, start : start + length]}).outputs
        arrays = {"state": result["state"]}
        assert_outputs(result["state"], golden.arrays[f"state_out/h_{i}"], f"state {i}")
        outputs.append(result["y"])
        start += length
    assert_outputs(np.concatenate(outputs, 1), batch_first(golden.arrays["output/y_inc"]), "segments")
    assert_outputs(found.call({"x": x}).outputs["y"], batch_first(golden.arrays["output/y_full"]), "whole")


@files("ema")
def test_the_oracle_agrees_with_the_authors(golden):
    config = config_of(golden, residual=not is_step(golden))
    p = parameters_of(golden, "param", config)
    if is_step(golden):
        state = golden.arrays.get("state_in/h")
        y, state = reference.layer(config, p, golden.arrays["input/x"].transpose(0, 2, 1), state=state)
        assert state is not None
        assert_outputs(state, golden.arrays["output/h_next"], "h_next")
    else:
        given = forward_inputs(golden)
        y, _ = reference.layer(config, p, given["x"], mask=given.get("mask"))
    name = "output/y_full" if is_incremental(golden) else "output/y"
    assert_outputs(y, batch_first(golden.arrays[name]), name)
