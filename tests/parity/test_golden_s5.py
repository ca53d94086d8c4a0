"""Rung 9 for S5: outputs, gradients and statistics of the authors' own code, in float64."""

import importlib

import numpy as np
import pytest
from golden import Golden, assert_gradients, assert_outputs, files, layer_config, model_config

from implementations.catalog import model_class
from implementations.common.initializers import Keys


def twin(framework, module):
    """A module behind the interface of the ladder."""
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")


def renamed(golden: Golden, prefix: str, inputs: dict[str, str]) -> dict[str, np.ndarray]:
    """The official gradients below a prefix by the names that a twin gives them."""
    given = {f"input {ours}": golden.arrays[f"{prefix}/input/{official}"] for official, ours in inputs.items()}
    return golden.ours(f"{prefix}/param") | given


def set_all(found, golden: Golden) -> None:
    found.set(golden.ours("param"), golden.ours("state_in"))


@files("s5_ssm")
def test_ssm(golden, framework):
    config = layer_config(golden.hyper)
    room = importlib.import_module(f"implementations.s5.{framework}")
    found = twin(framework, room.S5SSM(config, Keys(0, "float64")))
    set_all(found, golden)
    arrays, cotangents = {"u": golden.arrays["input/u"][None]}, {"y": golden.arrays["cotangent/y"][None]}
    for scan in ("associative", "chunked", "convolution"):
        result = found.call(arrays, cotangents, step_rescale=golden.hyper["step_rescale"], scan=scan)
        assert_outputs(result.outputs["y"][0], golden.arrays["output/y"], scan)
        gradients = result.gradients | {"input u": result.gradients["input u"][0]}
        assert_gradients(gradients, renamed(golden, "grad", {"u": "u"}))


def modes(golden: Golden, name: str) -> list[tuple[str, str, bool]]:
    """Output name, gradient prefix and training flag of every mode a file holds; without batch norm both are one."""
    if golden.hyper["batchnorm"]:
        return [(f"{name}_train", "grad", True), (f"{name}_eval", "grad_eval", False)]
    return [(name, "grad", True), (name, "grad", False)]


@files("s5_layer")
def test_layer(golden, framework):
    room = importlib.import_module(f"implementations.s5.{framework}")
    found = twin(framework, room.S5Layer(layer_config(golden.hyper), Keys(0, "float64")))
    set_all(found, golden)
    for name, prefix, training in modes(golden, "y"):
        arrays, cotangents = {"x": golden.arrays["input/x"]}, {"y": golden.arrays[f"cotangent/{name}"]}
        options = {"training": training, "step_rescale": golden.hyper.get("step_rescale", 1.0)}
        result = found.call(arrays, cotangents, **options)
        assert_outputs(result.outputs["y"], golden.arrays[f"output/{name}"], name)
        assert_gradients(result.gradients, renamed(golden, prefix, {"x": "x"}))
        check_statistics(golden, result.statistics, training)


def check_statistics(golden: Golden, found: dict[str, np.ndarray], training: bool) -> None:
    """After training the official running statistics, after evaluation the ones before."""
    expected = golden.ours("state_out" if training else "state_in")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_outputs(found[name], value, name)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits, -1, keepdims=True)


def lengths_of(golden: Golden) -> np.ndarray | None:
    """The genuine lengths, where the official model pooled with them."""
    return golden.arrays["input/lengths"].astype(np.int64) if golden.hyper.get("padded", True) else None


@files("s5_model")
def test_model(golden, framework):
    config = model_config(golden.hyper, "values")
    found = twin(framework, model_class(config, framework)(config, Keys(0, "float64")))
    set_all(found, golden)
    arrays = {"inputs": golden.arrays["input/x"], "lengths": lengths_of(golden)}
    for name, prefix, training in modes(golden, "logp"):
        options = {"training": training, "step_rescale": golden.hyper.get("step_rescale", 1.0)}
        logits = found.call(arrays, **options).outputs["y"]
        log_probabilities = log_softmax(logits)
        assert_outputs(log_probabilities, golden.arrays[f"output/{name}"], name)
        c = golden.arrays[f"cotangent/{name}"]
        cotangent = c - np.exp(log_probabilities) * c.sum(-1, keepdims=True)
        result = found.call(arrays, {"y": cotangent}, **options)
        assert_gradients(result.gradients, renamed(golden, prefix, {"x": "inputs"}))
        check_statistics(golden, result.statistics, training)


@files("s5_model")
def test_tokens_are_one_hot_values(golden, framework):
    values = golden.arrays["input/x"]
    if not golden.hyper["onehot"]:
        values = np.eye(golden.hyper["d_input"])[np.argmax(values, -1)]
    assert (values.sum(-1) == 1).all()
    tokens = np.argmax(values, -1)
    logits = []
    for kind, inputs in (("tokens", tokens), ("values", values)):
        config = model_config(golden.hyper, kind)
        found = twin(framework, model_class(config, framework)(config, Keys(0, "float64")))
        set_all(found, golden)
        logits.append(found.call({"inputs": inputs, "lengths": lengths_of(golden)}).outputs["y"])
    assert_outputs(logits[0], logits[1], "tokens")
    assert np.ptp(logits[0]) > 0


def test_every_official_path_has_its_own_place():
    from golden import our_path

    assert our_path("encoder/layers_11/seq/C1") == "layers.11.ssm.C1"
    assert our_path("encoder/encoder/kernel") == "encoder.kernel"
    assert our_path("encoder/layers_0/norm/mean") == "layers.0.norm.mean"
    assert our_path("decoder/layer1/bias") == "hidden.bias"
    assert our_path("decoder/layer2/kernel") == "decoder.kernel"
    assert our_path("decoder/kernel") == "decoder.kernel"
    assert our_path("seq/log_step") == "ssm.log_step"
    assert our_path("Lambda_re") == "Lambda_re"
    with pytest.raises(KeyError):
        model_config({"mode": "max", "H": 2, "ssm_size_base": 4, "n_layers": 1, "d_input": 1, "d_output": 1}, "values")
