"""Programs for TPUs that are not here: which of them a cell has, for what chips, on what shapes. No framework is named.

`jax.py` beside it lowers and compiles them with the compiler of the `libtpu` wheel, which needs no TPU.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from typing import Any

import numpy as np

from suite.data import Batch
from suite.data.catalog import place
from suite.data.text.batches import LanguageBatch
from suite.hardware.profiles import PROFILES
from suite.recipes.base import Recipe

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Topology:
    """One host's chips as the compiler names them, and what its plugin is told of them."""

    name: str
    accelerator: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


TOPOLOGIES = {
    "tpu-v4": Topology(
        "v4:2x2x1",
        "v4-8",
        {"chip_config_name": "megacore", "chips_per_host_bounds": (2, 2, 1), "num_slices": 1},
    ),
    "tpu-v5e": Topology("v5e:2x2", "v5litepod-4"),
    "tpu-v5p": Topology("v5p:2x2x1", "v5p-8"),
    "tpu-v6e": Topology("v6e:2x2", "v6e-4"),
}


def environment(hardware: str) -> dict[str, str]:
    """Variables of a process that compiles for so-called hardware: it looks for no TPU, and others may compile too."""
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": TOPOLOGIES[hardware].accelerator,
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def blank(dtype: Any, *shape: int) -> np.ndarray:
    """Zeros that take no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def abstract_batch(recipe: Recipe, rows: int, length: int | None = None, evaluation: bool = False) -> Any:
    """A batch of the shapes that a recipe trains or is evaluated on, without its data; `length` in place of theirs."""
    language, model = recipe.language, recipe.model
    if language is not None:
        shape = rows, length or (language.evaluation_segment if evaluation else language.segment)
        tokens = blank(np.int32, *shape)
        return LanguageBatch(tokens, tokens, blank(bool, *shape), blank(bool, rows))
    facts = place(recipe.data.name, None, recipe.data.settings).settings.protocol()
    length, sequences = length or facts["maximum_length"], rows * facts.get("documents", 1)
    if model.input_kind == "tokens":
        inputs = blank(np.uint8 if model.input_size <= 256 else np.int32, sequences, length)
    else:
        inputs = blank(np.float32, sequences, length, model.input_size)
    if model.objective == "gaussian":
        labels = blank(np.float32, rows, length, len(facts["targets"]))
    else:
        labels = blank(np.int32 if model.objective == "cross_entropy" else np.float32, rows)
    return Batch(inputs, blank(np.int32, sequences), labels)


def described(counted: dict[str, float], memory: Any, loops: int) -> Row:
    """The numbers of a compiled program. Its operations and traffic are the compiler's, which counts the body of a
    loop once; so where there are `loops` they are at least that many."""
    flops, traffic = counted.get("flops"), counted.get("bytes accessed")
    parts = {
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "aliased_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
    }
    peak = sum(parts.values()) - 2 * parts["aliased_bytes"]
    return {
        "fits": True,
        "peak_memory_bytes": peak,
        "flops": flops,
        "bytes_accessed": traffic,
        "arithmetic_intensity": flops / traffic if flops and traffic else None,
        "loops": loops,
        **parts,
    }


_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def does_not_fit(message: str) -> Row:
    """The row of a program that its compiler refused because the chip has not enough memory for it."""
    found = _USED.search(message)
    used = round(float(found[1]) * _UNITS[found[2]]) if found else None
    return {"fits": False, "peak_memory_bytes": used, "refused": " ".join(message.split())[:500]}
