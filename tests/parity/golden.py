"""Values that the authors' own code gave: files, and how their names and hyper-parameters map to ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from implementations.models.config import ClassifierConfig, DualEncoderConfig
from implementations.s5.config import S5Config

Array = np.ndarray
Arrays = dict[str, Array]

ROOT = Path(__file__).parents[1] / "golden"
FRAMEWORKS = ("jax", "torch")


@dataclass(frozen=True)
class Golden:
    """One file: its hyper-parameters and its arrays by official name."""

    path: Path
    hyper: dict[str, Any]
    arrays: Arrays

    def part(self, prefix: str) -> Arrays:
        """The arrays below a prefix, by the rest of their official names."""
        return {n.removeprefix(f"{prefix}/"): a for n, a in self.arrays.items() if n.startswith(f"{prefix}/")}

    def ours(self, prefix: str) -> Arrays:
        """The same by our dotted paths."""
        return {our_path(name): array for name, array in self.part(prefix).items()}


def files(family: str, pattern: str = "*") -> Any:
    """A parametrisation over all files of a family; there must be some."""
    found = sorted((ROOT / family).glob(f"{pattern}.npz"))
    assert found, f"no golden files {ROOT / family / pattern}"
    return pytest.mark.parametrize("golden", [pytest.param(path, id=path.stem) for path in found], indirect=True)


def read(path: Path) -> Golden:
    """A golden file."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file if name != "config"}
        hyper = json.loads(str(file["config"]))["hyper"]
    return Golden(path, hyper, arrays)


def our_path(official: str) -> str:
    """`encoder/layers_0/seq/B` -> `layers.0.ssm.B`; retrieval's `decoder/layer1|layer2` -> `hidden|decoder`."""
    parts = official.split("/")
    if parts[0] == "encoder" and len(parts) > 2:
        parts = parts[1:]
    if parts[0] == "decoder" and parts[1] in ("layer1", "layer2"):
        parts = [{"layer1": "hidden", "layer2": "decoder"}[parts[1]], *parts[2:]]
    if parts[0].startswith("layers_"):
        parts = ["layers", parts[0].removeprefix("layers_"), *parts[1:]]
    return ".".join("ssm" if part == "seq" else part for part in parts)


def layer_config(hyper: dict[str, Any]) -> S5Config:
    """The layer that a file's hyper-parameters describe; what a family does not name keeps its default."""
    same = ("blocks", "conj_sym", "bidirectional", "C_init", "discretization", "clip_eigs", "activation", "prenorm")
    given = {name: hyper[name] for name in (*same, "dt_min", "dt_max", "bn_momentum", "dropout") if name in hyper}
    if "batchnorm" in hyper:
        given["norm"] = "batch" if hyper["batchnorm"] else "layer"
    return S5Config(
        d_model=hyper["H"] if "H" in hyper else hyper["d_model"],
        ssm_size=hyper["ssm_size_base"],
        mask_padding=False,
        **given,
    )


def model_config(hyper: dict[str, Any], input_kind: Any) -> ClassifierConfig | DualEncoderConfig:
    """The model that a file's hyper-parameters describe."""
    cls = DualEncoderConfig if hyper.get("kind") == "retrieval" else ClassifierConfig
    return cls(
        layer=layer_config(hyper),
        depth=hyper["n_layers"],
        input_kind=input_kind,
        input_size=hyper["d_input"],
        classes=hyper["d_output"],
        pooling={"pool": "mean", "last": "last"}[hyper["mode"]],
    )


def assert_outputs(found: Array, expected: Array, what: str) -> None:
    """Equal to 1e-10."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10, err_msg=what)


def assert_gradients(found: Arrays, expected: Arrays) -> None:
    """The same names, each equal to 1e-9 of its largest value; where that is zero by design, to 1e-12."""
    assert found.keys() == expected.keys()
    assert any(gradient.any() for gradient in expected.values())
    for name, gradient in expected.items():
        tolerance = 1e-9 * np.abs(gradient).max() or 1e-12
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=tolerance, err_msg=name)
