"""Rung 9 for SPADE: layers, decoders and S4 of the authors' own code, in float64; its local attention by itself.

Outputs at padded positions are undefined in the files, and zero there; their cotangents are zero too.
"""

import importlib

import numpy as np
from golden import Golden, assert_gradients, assert_outputs, files
from golden_spade import bank, config, parameters, s4_leaf

from implementations import catalog
from implementations.common.initializers import Keys
from implementations.s4 import reference as s4_reference
from implementations.spade import reference
from implementations.spade.config import SpadeConfig


def twin(framework, module):
    """A module behind the interface of the ladder."""
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")


def layer(golden: Golden, framework: str):
    """The layer or layers that the file holds, with their parameters."""
    given = config(golden)
    found = twin(framework, catalog.layer_class(str(given.architecture), framework)(given, Keys(0, "float64")))
    found.set(parameters(golden, "param"), {})
    return found


@files("spade", "layer_*")
def test_layer(golden, framework):
    file = golden.arrays
    x, y, cotangent = (file[name].swapaxes(0, 1) for name in ("input/x", "output/y", "cotangent/y"))
    valid = file["input/valid"] if "input/valid" in file else np.ones(x.shape[:2], bool)
    found = layer(golden, framework)
    result = found.call({"x": x, "mask": valid}, {"y": cotangent})
    assert_outputs(np.where(valid[..., None], result.outputs["y"], 0), y, "y")
    expected = parameters(golden, "grad/param") | {"input x": file["grad/input/x"].swapaxes(0, 1)}
    assert_gradients(result.gradients, expected)
    if found.module.config.causal:
        for t in range(x.shape[1]):
            state = {} if t == 0 else {name: value for name, value in outputs.items() if name != "y"}
            outputs = found.call({"x": x[:, t : t + 1], "mask": valid[:, t : t + 1], **state}).outputs
            assert_outputs(np.where(valid[:, t : t + 1, None], outputs["y"], 0), y[:, t : t + 1], f"token {t}")


@files("spade", "decoder_*")
def test_decoder(golden, framework):
    """The decoder without its softmax: embeddings times sqrt(D), then the layers, one relative bias for all."""
    file, hyper = golden.arrays, golden.hyper
    tokens, table = file["input/tokens"], file["param/embed_tokens.weight"]
    x, valid = hyper["embed_scale"] * table[tokens], tokens != hyper["padding_idx"]
    result = layer(golden, framework).call({"x": x, "mask": valid}, {"y": file["cotangent/y"]})
    assert_outputs(np.where(valid[..., None], result.outputs["y"], 0), file["output/y"], "y")
    gradients = dict(result.gradients)
    embedded = np.zeros_like(table)
    np.add.at(embedded, tokens, hyper["embed_scale"] * gradients.pop("input x"))
    expected = parameters(golden, "grad/param") | {"embed_tokens": file["grad/param/embed_tokens.weight"]}
    assert_gradients(gradients | {"embed_tokens": embedded}, expected)


@files("spade", "s4module_*")
def test_s4_module(golden, framework):
    """Convolution and D x, padding zeroed before."""
    file = golden.arrays
    room = importlib.import_module(f"implementations.s4.{framework}")
    found = twin(framework, room.S4Bank(bank(golden), Keys(0, "float64")))
    given, expected = (
        dict(s4_leaf(name.rpartition(".")[2], array) for name, array in golden.part(prefix).items())
        for prefix in ("param", "grad/param")
    )
    found.set(given, {})
    arrays = {"u": file["input/x"].swapaxes(0, 1)}
    if "input/valid" in file:
        arrays["mask"] = file["input/valid"].astype(bool)
    result = found.call(arrays, {"y": file["cotangent/y"].swapaxes(0, 1)[:, :, None]})
    y = file["output/y"].swapaxes(0, 1)[:, :, None]
    assert_outputs(result.outputs["y"], y, "y")
    assert_outputs(s4_reference.bank(bank(golden), given, **arrays)[0], y, "oracle")
    assert_gradients(result.gradients, expected | {"input u": file["grad/input/x"].swapaxes(0, 1)})


@files("spade", "local_*")
def test_local_attention(golden, framework):
    """The local attention of a layer, by itself."""
    file, hyper = golden.arrays, golden.hyper
    given = SpadeConfig(
        d_model=hyper["embed_dim"],
        heads=hyper["num_heads"],
        causal=hyper["causal"],
        window=hyper["local_radius"] + 1,
        positions="t5" if hyper["has_relative_attention_bias"] else "none",
        buckets=hyper["num_buckets"],
        max_distance=hyper["max_distance"],
    )
    room = importlib.import_module(f"implementations.spade.{framework}")
    found = twin(framework, room.LocalAttention(given, Keys(0, "float64")))
    names = {"q": "query.kernel", "k": "key.kernel", "v": "value.kernel", "o": "out.kernel"}
    names |= {"relative_attention_bias": "table"}

    def ours(prefix: str):
        return {names[name.removesuffix(".weight")]: array.T for name, array in golden.part(prefix).items()}

    found.set(ours("param"), {})
    valid = file["input/valid"] if "input/valid" in file else np.ones(file["input/x"].shape[1::-1], bool)
    arrays = {"x": file["input/x"].swapaxes(0, 1), "mask": valid}
    result = found.call(arrays, {"y": file["cotangent/y"].swapaxes(0, 1)})
    y = np.where(valid[..., None], result.outputs["y"], 0)
    assert_outputs(y, file["output/y"].swapaxes(0, 1), "y")
    assert_gradients(result.gradients, ours("grad/param") | {"input x": file["grad/input/x"].swapaxes(0, 1)})


@files("spade", "layer_*")
def test_the_oracle(golden):
    file = golden.arrays
    x, y = (file[name].swapaxes(0, 1) for name in ("input/x", "output/y"))
    valid = file["input/valid"] if "input/valid" in file else np.ones(x.shape[:2], bool)
    found, _ = reference.layer(config(golden), parameters(golden, "param"), x, mask=valid)
    assert_outputs(np.where(valid[..., None], found, 0), y, "y")
