"""Rung 9 for S4 and S4D: kernels, states, blocks and gradients of the authors' own code, in float64."""

import importlib
from typing import Any

import numpy as np
import pytest
from golden import Golden, files
from golden_s4 import config, kind, ours, pairs, parameters

from implementations.common.initializers import Keys
from implementations.parameters import get_parameters
from implementations.s4.config import S4Config, S4DConfig, eigenvalues, initial_bank


def assert_outputs(found, expected, what: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9, err_msg=what)


def assert_gradients(found, expected) -> None:
    """The same names, each equal to 1e-8 of its largest value."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        largest = np.abs(gradient).max()
        assert largest > 0, name
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-8 * largest, err_msg=name)


def part(framework: str, layer, name: str):
    """A module around one method of a layer, behind the interface of the ladder."""
    base = {"jax": ("flax.nnx", "__call__"), "torch": ("torch.nn", "forward")}[framework]
    methods = {
        "block": lambda self, x, **given: self.layer.block(x, **given),
        "bank": lambda self, x, **given: self.layer.ssm(x, **given),
        "kernel": _kernel,
    }
    cls = type("Part", (importlib.import_module(base[0]).Module,), {base[1]: methods[name]})
    module = cls()
    module.layer = layer
    return importlib.import_module(f"suite.equivalence.{framework}").Twin(module, "float64")


def _kernel(self, state=None, *, length, step_rescale):
    """The kernel, and the response to a state where one is given."""
    system = self.layer.ssm.system(step_rescale)
    return system.kernel(length), None if state is None else system.response(state, length)


def twin(golden: Golden, framework: str, name: str, **changes):
    """A part of our layer with the file's parameters; what the official module lacks keeps its initial values."""
    layer = importlib.import_module(f"implementations.s4.{framework}").S4Layer
    found = part(framework, layer(config(golden).replace(**changes), Keys(0, "float64")), name)
    values = get_parameters(found.module)
    given = {f"layer.{path}": array for path, array in parameters(golden, "param").items()}
    assert given.keys() <= values.keys()
    if kind(golden) == "minimal":
        values["layer.ssm.B"] = np.broadcast_to([1.0, 0.0], values["layer.ssm.B"].shape)
    found.set(values | given, {})
    return found


def own(golden: Golden, gradients):
    """Our gradients of what the official module has, by our paths and the names of inputs."""
    named = {path.removeprefix("layer."): gradient for path, gradient in gradients.items()}
    official = parameters(golden, "grad/param")
    return {name: g for name, g in named.items() if name in official or name.startswith("input ")}


def of_kind(*wanted: str):
    """A parametrisation over the files that hold one kind of module."""
    found = files("s4")
    chosen = []
    for parameter in found.args[1]:
        with np.load(parameter.values[0]) as file:
            arrays = dict.fromkeys(file.files)
        if kind(Golden(parameter.values[0], {}, arrays)) in wanted:  # pyright: ignore[reportArgumentType]
            chosen.append(parameter)
    assert chosen
    return pytest.mark.parametrize("golden", chosen, indirect=True)


@of_kind("kernel")
def test_kernel(golden, framework):
    hyper, arrays = golden.hyper, {}
    options = {"length": golden.arrays["output/K"].shape[-1], "step_rescale": hyper.get("rate", 1.0)}
    cotangents = {"y": golden.arrays["cotangent/K"]}
    expected = parameters(golden, "grad/param")
    if "state_in/state" in golden.arrays:
        arrays["state"] = pairs(golden.arrays["state_in/state"])
        cotangents["state"] = golden.arrays["cotangent/K_state"]
        expected["input state"] = pairs(golden.arrays["grad/state_in/state"])
    result = twin(golden, framework, "kernel").call(arrays, cotangents, **options)
    assert_outputs(result.outputs["y"], golden.arrays["output/K"], "K")
    if arrays:
        assert_outputs(result.outputs["state"], golden.arrays["output/K_state"], "K_state")
    assert_gradients(own(golden, result.gradients), expected)


@of_kind("kernel", "block", "segments")
def test_the_kernel_of_c_itself_is_that_of_the_authors_c(golden, framework):
    """Exactly so at rate 1: at other rates the authors use C~ of rate 1, which is another C."""
    if "ssm.P" not in parameters(golden, "param"):
        found = twin(golden, framework, "kernel")
        np.testing.assert_array_equal(golden.arrays["extra/C_true"], get_parameters(found.module)["layer.ssm.C"])
        return
    truncated = twin(golden, framework, "kernel")
    whole = twin(golden, framework, "kernel", truncated_length=None)
    values = get_parameters(whole.module)
    whole.set(values | {"layer.ssm.C": golden.arrays["extra/C_true"]}, {})
    for length in (1, 6, 17, 33):
        given = {"length": length, "step_rescale": 1.0}
        assert_outputs(whole.call({}, **given).outputs["y"], truncated.call({}, **given).outputs["y"], "K")


@of_kind("block", "minimal")
def test_block(golden, framework):
    found, hyper = twin(golden, framework, "block"), golden.hyper
    arrays = {"x": ours(golden, golden.arrays["input/x"])}
    if hyper.get("lengths") is not None:
        arrays["mask"] = np.arange(arrays["x"].shape[1]) < np.asarray(hyper["lengths"]).reshape(-1, 1)
        arrays["mask"] = np.broadcast_to(arrays["mask"], arrays["x"].shape[:2])
    result = found.call(arrays, {"y": ours(golden, golden.arrays["cotangent/y"])})
    assert_outputs(result.outputs["y"], ours(golden, golden.arrays["output/y"]), "y")
    expected = parameters(golden, "grad/param") | {"input x": ours(golden, golden.arrays["grad/input/x"])}
    assert_gradients(own(golden, result.gradients), expected)
    modes = [name for name in golden.arrays if name.startswith("output/y_step_")]
    if modes:
        state = np.zeros((len(arrays["x"]), hyper["H"], hyper["d_state"] // 2, 2))
        stepped = [found.call(arrays | {"state": state}, scan=scan).outputs for scan in ("recurrent", "fft", "direct")]
        for outputs in stepped:
            check_steps(golden, modes, outputs)


def check_steps(golden: Golden, modes: list[str], outputs) -> None:
    """The official recurrent modes: outputs, and the half of their last states that we keep."""
    for name in modes:
        assert_outputs(outputs["y"], ours(golden, golden.arrays[name]), name)
        state = golden.arrays.get(name.replace("output/y_step_", "state_out/"))
        if state is not None:
            assert_outputs(outputs["state"], pairs(state)[:, :, : golden.hyper["d_state"] // 2], name)


@of_kind("segments")
def test_two_segments(golden, framework):
    found = twin(golden, framework, "bank")
    x1, x2 = (golden.arrays[f"input/{name}"].swapaxes(1, 2) for name in ("x1", "x2"))
    arrays = {"x": x1, "state": pairs(golden.arrays["state_in/s0"])}
    cotangent = golden.arrays["cotangent/y1"].swapaxes(1, 2)[:, :, None]
    for scan in ("recurrent", "fft", "direct"):
        first = found.call(arrays, {"y": cotangent}, scan=scan)
        second = found.call({"x": x2, "state": first.outputs["state"]}, scan=scan)
        for k, result in ((1, first), (2, second)):
            y = result.outputs["y"].reshape(*result.outputs["y"].shape[:2], -1).swapaxes(1, 2)
            assert_outputs(y, golden.arrays[f"output/y{k}"], f"y{k}")
            assert_outputs(result.outputs["state"], pairs(golden.arrays[f"state_out/s{k}"]), f"s{k}")
        expected = parameters(golden, "grad/param") | {
            "input x": golden.arrays["grad/input/x1"].swapaxes(1, 2),
            "input state": pairs(golden.arrays["grad/state_in/s0"]),
        }
        assert_gradients(own(golden, first.gradients), expected)


@files("s4_init")
def test_initial_values(golden):
    size, file = golden.hyper["N"], golden.arrays
    bank = {name: S4Config(d_model=1, state_size=size, B_clip=clip) for name, clip in (("whole", None), ("clip", 2.0))}
    values = {name: initial_bank(found, Keys(0, "float64")) for name, found in bank.items()}
    whole = {name: values["whole"][name][0] for name in ("P", "B")}
    B, P = (whole[name][:, 0] + 1j * whole[name][:, 1] for name in ("B", "P"))
    Lambda = -np.exp(values["whole"]["A_real"][0]) - 1j * values["whole"]["A_imag"][0]
    assert_outputs(Lambda, file["output/W"], "Lambda")
    assert_outputs(np.abs(P), file["extra/absP"][0], "|P|")
    assert_outputs(np.abs(B), file["extra/absB"], "|B|")
    assert_outputs(P * B.conj(), file["extra/PconjB"], "P B^*")
    assert_outputs(
        np.abs(values["clip"]["B"][0]), np.abs(pairs(file["extra/B_clipped"])), "clipped B, but for its sign"
    )
    for name in ("legs", "lin", "inv", "inv2", "quad", "real"):
        np.testing.assert_allclose(eigenvalues(name, size), file[f"output/dplr_{name}_A"][0], rtol=1e-6, atol=1e-6)
        found = initial_bank(S4DConfig(d_model=1, state_size=size, initialization=name), Keys(0, "float64"))
        expected = np.abs(pairs(file[f"output/dplr_{name}_B"][0]))
        np.testing.assert_allclose(np.abs(found["B"][0]), expected, rtol=1e-6, atol=1e-6)


def test_what_is_drawn_is_distributed_as_in_the_authors_code():
    """C complex standard normal, D standard normal, time steps log-uniform."""
    size: dict[str, Any] = {
        "d_model": 300,
        "state_size": 8,
        "channels": 2,
        "bidirectional": True,
        "dt_min": 0.01,
        "dt_max": 0.2,
    }
    values = initial_bank(S4Config(**size), Keys(0))
    assert values["C"].shape == (4, 300, 4, 2)
    assert abs(values["C"].std() * 2**0.5 - 1) < 0.03
    assert abs(values["D"].std() - 1) < 0.15
    soft = initial_bank(S4Config(**size, dt_transform="softplus"), Keys(0))
    for steps in (np.exp(values["log_step"]), np.log1p(np.exp(soft["log_step"]))):
        share = np.log(steps / 0.01) / np.log(20)
        assert 0 < share.min() < 0.02
        assert 0.98 < share.max() < 1
        assert abs(share.mean() - 0.5) < 0.1


def test_the_reverse_kernel_begins_where_it_is_told(framework):
    """The authors' begins at the next position (`reverse_offset` 1), 0 lets both kernels see the present one."""
    layer = importlib.import_module(f"implementations.s4.{framework}").S4Layer
    base = S4DConfig(d_model=2, state_size=4, bidirectional=True, dt_min=0.1, dt_max=0.5)
    assert base.reverse_offset == 1
    u = np.zeros((1, 5, 2))
    u[:, 3] = 1.0
    for offset in (0, 1):
        bank = layer(base.replace(reverse_offset=offset), Keys(1, "float64"))
        kernel, reverse = np.split(part(framework, bank, "kernel").call({}, length=5, step_rescale=1.0).outputs["y"], 2)
        found = part(framework, bank, "bank").call({"x": u}).outputs["y"][0, :, 0]
        for t in range(5):
            expected = kernel[0, :, t - 3] if t >= 3 else np.zeros(2)
            expected = expected + (reverse[0, :, 3 - offset - t] if t <= 3 - offset else 0.0)
            expected = expected + (get_parameters(bank)["ssm.D"][0] if t == 3 else 0.0)
            np.testing.assert_allclose(found[t], expected, rtol=0, atol=1e-12)


def test_c_is_truncated_exactly_where_asked():
    """C~ for l positions, turned back, is the C that would have been drawn."""
    from implementations.s4.reference import output_matrix

    base = S4Config(d_model=3, state_size=6, dt_min=0.01, dt_max=0.3, n_ssm=1)
    drawn = initial_bank(base, Keys(3, "float64"))
    cut = base.replace(truncated_length=7)
    values = initial_bank(cut, Keys(3, "float64"))
    assert np.abs(values["C"] - drawn["C"]).max() > 0.01
    assert_outputs(output_matrix(cut, values), output_matrix(base, drawn), "C")
