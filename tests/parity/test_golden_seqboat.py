"""Rung 9 for SeqBoat: outputs, statistics, activity and gradients of the authors' own code, whichever cases there are.

The authors' layout is (L, B, D). Everything of theirs behind a flag is on; where it cannot show, it is off as well.
"""

import importlib

import numpy as np
from golden import Golden, assert_gradients, assert_outputs, files

from implementations.common.initializers import Keys
from implementations.seqboat import reference
from implementations.seqboat.config import SeqBoatConfig

NORMS = {"layernorm": "layer", "scalenorm": "scale", "rmsnorm": "rms", "batchnorm": "batch"}
PATHS = {
    "norm.norm.weight": "norm.scale",
    "norm.norm.scalar": "norm.scale",
    "norm.norm.bias": "norm.bias",
    "norm.norm.running_mean": "norm.mean",
    "norm.norm.running_var": "norm.var",
    "rel_pos_bias.rel_pos_bias": "table",
    "q_router.temp": "log_temperature",
}


def config_of(golden: Golden, **changes) -> SeqBoatConfig:
    """The layer that a file's hyper-parameters describe, with all of the authors' behaviour."""
    hyper = golden.hyper
    window = hyper["chunk_size"] if hyper["chunk_size"] > 0 else None
    given = SeqBoatConfig(
        d_model=hyper["embed_dim"],
        query_size=hyper["zdim"],
        value_size=hyper["hdim"],
        state_size=hyper["ndim"],
        truncation=hyper["truncation"],
        bidirectional=hyper["bidirectional"],
        window=window,
        attention=hyper["attention_activation"],
        bias="local" if hyper["local_pos"] and window is not None else hyper["rel_pos_bias"],
        max_positions=hyper["max_positions"],
        always_act=hyper["always_act"],
        act_bias=hyper["act_bias"],
        norm=NORMS[hyper["norm_type"]],
        prenorm=hyper["prenorm"],
        bn_momentum=1 - hyper["bn_momentum_torch"],
        mask_padding=False,
        density_threshold=float(hyper["density_threshold"]),
        masked_keys="none" if window is None else "leak",
        capacities=3,
    )
    return given.replace(**changes)


def ours(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Official names and shapes in our paths: kernels (in, out), `delta` and its like without the last axis of one."""
    values = {}
    for name, value in found.items():
        path = PATHS.get(name, name.replace("move.", "mixer."))
        if name.endswith("_proj.weight"):
            path, value = path.replace("weight", "kernel"), value.T
        values[path] = value[..., 0] if path in ("mixer.delta", "mixer.alpha", "mixer.beta") else value
    return {path: value for path, value in values.items() if not path.endswith("tracked")}


def inputs_of(golden: Golden) -> dict[str, np.ndarray]:
    arrays = {"x": batch_first(golden.arrays["input/x"])}
    if "input/padding_mask" in golden.arrays:
        arrays["mask"] = ~golden.arrays["input/padding_mask"].astype(bool)
    return arrays


def batch_first(x: np.ndarray) -> np.ndarray:
    """(L, B, D) -> (B, L, D)."""
    return x.transpose(1, 0, 2)


def twin(framework: str, golden: Golden, config: SeqBoatConfig):
    """The layer with the official parameters and statistics, behind the interface of the ladder."""
    module = importlib.import_module(f"implementations.seqboat.{framework}").SeqBoatLayer(config, Keys(0, "float64"))
    found = importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")
    found.set(ours(golden.part("param")), ours(golden.part("state_in")))
    return found


def modes(golden: Golden) -> list[tuple[str, str, bool]]:
    """Suffix of outputs, name of gradients and whether it is training, for every output of a file."""
    if "output/y" in golden.arrays:
        return [("", "grad", False)]
    return [("_train", "grad", True), ("_eval", "grad_eval", False)]


@files("seqboat_unit")
def test_the_authors_values(golden, framework):
    found = twin(framework, golden, config_of(golden))
    for suffix, gradients, training in modes(golden):
        cotangents = {"y": batch_first(golden.arrays[f"cotangent/y{suffix}"])}
        result = found.call(inputs_of(golden), cotangents, training=training)
        assert_outputs(result.outputs["y"], batch_first(golden.arrays[f"output/y{suffix}"]), f"y{suffix}")
        expected = ours(golden.part(f"{gradients}/param"))
        expected["input x"] = batch_first(golden.arrays[f"{gradients}/input/x"])
        assert_gradients(result.gradients, expected)
        for name, value in ours(golden.part("state_out")).items() if training else ():
            assert_outputs(result.statistics[name], value, name)


@files("seqboat_unit")
def test_the_same_tokens_are_active(golden, framework):
    found = twin(framework, golden, config_of(golden))
    for suffix, _, training in modes(golden):
        extra = golden.part(f"extra{suffix}")
        if training or "active" not in extra:
            continue
        given = found.call(inputs_of(golden))
        arrays = inputs_of(golden)
        genuine = arrays.get("mask", np.ones(arrays["x"].shape[:2], bool))
        expected = extra["active"][:, 0, :, 0].sum(1) / genuine.sum(1)
        rate = activity(framework, found.module, arrays)
        np.testing.assert_allclose(rate, expected, rtol=0, atol=1e-12)
        assert given.outputs["y"].shape == arrays["x"].shape


def activity(framework: str, module, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The third output."""
    make = (
        importlib.import_module("torch").from_numpy
        if framework == "torch"
        else importlib.import_module("jax").numpy.asarray
    )
    _, _, rate = module(**{name: make(np.ascontiguousarray(a)) for name, a in arrays.items()}, return_activity=True)
    return np.asarray(rate.detach() if framework == "torch" else rate)


@files("seqboat_unit")
def test_the_oracle_agrees_with_the_authors(golden):
    given = inputs_of(golden)
    for suffix, _, training in modes(golden):
        statistics = None if training else ours(golden.part("state_in"))
        y, _ = reference.layer(
            config_of(golden), ours(golden.part("param")), given["x"], statistics, mask=given.get("mask")
        )
        assert_outputs(y, batch_first(golden.arrays[f"output/y{suffix}"]), f"y{suffix}")


@files("seqboat_unit")
def test_the_flags_change_nothing_where_they_cannot_show(golden, framework):
    hyper = golden.hyper
    padded_statistics = hyper["norm_type"] == "batchnorm" and hyper["lengths"] is not None
    if not hyper["compressed"] or hyper["attention_activation"] == "laplace" or padded_statistics:
        config = config_of(golden)
        assert config.replace(density_threshold=None, masked_keys="none").causal != config.bidirectional
        return
    plain = config_of(golden, density_threshold=None, masked_keys="none", mask_padding=True)
    given = inputs_of(golden)
    y = twin(framework, golden, plain).call(given).outputs["y"]
    genuine = given.get("mask", np.ones(y.shape[:2], bool))
    assert_outputs(y[genuine], batch_first(golden.arrays["output/y"])[genuine], "genuine positions")
