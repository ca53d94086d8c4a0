"""Parameters: read, set, converted, saved and loaded; what does not fit is named."""

import json

import numpy as np
import pytest

from implementations.catalog import FRAMEWORKS, model_class
from implementations.common.initializers import Keys
from implementations.models.config import ClassifierConfig, config_from_dict
from implementations.parameters import (
    ParameterError,
    get_parameters,
    get_statistics,
    load,
    save,
    set_parameters,
    set_statistics,
)
from implementations.s5.config import S5Config

CONFIG = ClassifierConfig(
    layer=S5Config(d_model=4, ssm_size=8, norm="batch", bidirectional=True, activation="full_glu"),
    depth=2,
    input_kind="tokens",
    input_size=5,
    classes=3,
)


def model(framework, seed=0, dtype="float32"):
    return model_class(CONFIG, framework)(CONFIG, Keys(seed, dtype))


def test_the_paths_are_the_documented_ones():
    layer = [
        *("norm.bias", "norm.scale", "out1.bias", "out1.kernel", "out2.bias", "out2.kernel"),
        *(f"ssm.{name}" for name in ("B", "C1", "C2", "D", "Lambda_im", "Lambda_re", "log_step")),
    ]
    ends = [f"{name}.{part}" for name in ("decoder", "encoder") for part in ("bias", "kernel")]
    expected = sorted([*ends, *(f"layers.{i}.{name}" for i in range(2) for name in layer)])
    for framework in FRAMEWORKS:
        found = get_parameters(model(framework))
        assert list(found) == expected
        assert found["encoder.kernel"].shape == (5, 4)
        assert found["decoder.kernel"].shape == (4, 3)
        assert list(get_statistics(model(framework))) == [
            f"layers.{i}.norm.{n}" for i in range(2) for n in ("mean", "var")
        ]


@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_conversion_is_the_identity(source, target):
    first, second = model(source, seed=1), model(target, seed=2)
    parameters, statistics = get_parameters(first), get_statistics(first)
    statistics = {path: value + 0.5 for path, value in statistics.items()}
    assert (get_parameters(second)["encoder.kernel"] != parameters["encoder.kernel"]).any()
    set_parameters(second, parameters)
    set_statistics(second, statistics)
    for found, expected in ((get_parameters(second), parameters), (get_statistics(second), statistics)):
        assert found.keys() == expected.keys()
        for path, value in expected.items():
            np.testing.assert_array_equal(found[path], value, err_msg=path)
            assert found[path].dtype == value.dtype


def aligned(values):
    """A copy at an address that JAX would take over instead of copying: a multiple of 64 bytes."""
    memory = np.zeros(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    found = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    found[...] = values
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_was_read_is_a_copy(framework):
    found = model(framework)
    before = get_parameters(found)
    get_parameters(found)["encoder.kernel"][:] = 7.0
    np.testing.assert_array_equal(get_parameters(found)["encoder.kernel"], before["encoder.kernel"])
    set_parameters(found, given := {path: aligned(value + 1) for path, value in before.items()})
    given["encoder.kernel"][:] = 7.0
    np.testing.assert_array_equal(get_parameters(found)["encoder.kernel"], before["encoder.kernel"] + 1)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.kernel": None}, r"parameter 'encoder.kernel' is missing: expected shape \(5, 4\)"),
        ({"encoder.kernels": np.zeros(1)}, "parameter 'encoder.kernels' is unknown"),
        ({"encoder.kernel": np.zeros((4, 5))}, r"'encoder.kernel' has shape \(4, 5\): expected \(5, 4\)"),
    ],
)
def test_parameters_that_do_not_fit_are_named_and_nothing_changes(framework, change, message):
    found = model(framework)
    before = get_parameters(found)
    given = {path: value + 1 for path, value in before.items()} | change
    with pytest.raises(ParameterError, match=message):
        set_parameters(found, {path: value for path, value in given.items() if value is not None})
    for path, value in get_parameters(found).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)
    with pytest.raises(ParameterError, match=r"layers\.0\.norm\.mean"):
        set_statistics(found, {})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files_hold_every_bit_and_the_config(tmp_path, dtype):
    parameters = get_parameters(model("torch", dtype=dtype))
    path = tmp_path / "model.safetensors"
    save(path, parameters, CONFIG.to_dict())
    found, config = load(path)
    assert config_from_dict(config) == CONFIG
    assert found.keys() == parameters.keys()
    for name, value in parameters.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    twin = model("jax", seed=5, dtype=dtype)
    set_parameters(twin, found)
    np.testing.assert_array_equal(get_parameters(twin)["layers.1.ssm.B"], parameters["layers.1.ssm.B"])


def test_arrays_in_another_memory_order_are_saved_by_value(tmp_path):
    value = np.arange(6.0).reshape(2, 3)
    save(tmp_path / "x", {"a": value.T, "b": value[:, ::2]}, {})
    found, _ = load(tmp_path / "x")
    np.testing.assert_array_equal(found["a"], value.T)
    np.testing.assert_array_equal(found["b"], value[:, ::2])


def test_saving_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save(path, {"a": np.zeros(3)}, {"old": True})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        save(path, {"a": np.ones(3)}, {"old": False})
    assert load(path)[1] == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def damaged(data: bytes) -> dict[str, bytes]:
    header = json.dumps({"a": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}}).encode()
    return {
        "empty": b"",
        "short": data[:5],
        "cut": data[:-1],
        "longer": data + b"\0",
        "noise": bytes(range(256)) * 4,
        "pickle": b"\x80\x04\x95" + b"\0" * 64,
        "length": b"\xff" * 8 + data[8:],
        "no config": len(header).to_bytes(8, "little") + header + b"\0" * 24,
        "no JSON": data.replace(b'"config"', b'"confiX"'),
    }


KINDS = ("empty", "short", "cut", "longer", "noise", "pickle", "length", "no config", "no JSON")


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    save(path, {"a": np.arange(3.0)}, CONFIG.to_dict())
    path.write_bytes(damaged(path.read_bytes())[kind])
    with pytest.raises(ParameterError, match=r"model\.safetensors is no parameter file of this project, or is damaged"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"nowhere\.safetensors does not exist"):
        load(tmp_path / "nowhere.safetensors")
