"""How the names and hyper-parameters of the S4 authors' files map to ours.

A file's `C` of S4 is C~ for `l_kernel` positions: our `truncated_length`. Arrays are (B, H, L), or (B, L, H) where not
`transposed`; complex numbers, where they are not pairs already, become pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from golden import Golden

from implementations.s4.config import BankConfig, S4Config, S4DConfig

Array = np.ndarray
Arrays = dict[str, Array]

LEAVES = {"inv_dt": "log_step", "log_dt": "log_step", "log_A_real": "A_real"}


def kind(golden: Golden) -> str:
    """Which of the authors' modules a file holds."""
    if "output/K" in golden.arrays:
        return "kernel"
    if "param/kernel.log_dt" in golden.arrays:
        return "minimal"
    return "segments" if "output/y1" in golden.arrays else "block"


def pairs(values: Array) -> Array:
    """Complex numbers as pairs."""
    return np.stack([values.real, values.imag], -1)


def leaf(name: str, array: Array, minimal: bool) -> tuple[str, Array]:
    """An official parameter, or its gradient, by our name and in our shape."""
    name = LEAVES.get(name, name)
    if name in ("B", "P"):
        assert array.shape[0] == 1
        array = array[0]
    if minimal:
        array = {"log_step": lambda a: a[:, None], "C": lambda a: a[None], "D": lambda a: a[None]}.get(
            name, lambda a: -a if name == "A_imag" else a
        )(array)
    return name, array


def parameters(golden: Golden, prefix: str) -> Arrays:
    """Official parameters below a prefix by our paths: `ssm.*` and `out.*`."""
    found = {}
    for official, array in golden.part(prefix).items():
        name = official.rpartition(".")[2]
        if official.startswith("output_linear"):
            found["out.kernel" if name == "weight" else "out.bias"] = (
                array.reshape(len(array), -1).T if (name == "weight") else array
            )
        else:
            name, array = leaf(name, array, kind(golden) == "minimal")
            found[f"ssm.{name}"] = array
    return found


def config(golden: Golden) -> BankConfig:
    """The bank and block that a file describes."""
    hyper, given = golden.hyper, parameters(golden, "param")
    changes: dict[str, Any] = {
        "d_model": hyper["H"],
        "state_size": hyper["d_state"],
        "channels": hyper.get("channels", 1),
        "n_ssm": given["ssm.A_real"].shape[0],
        "dt_tie": given["ssm.log_step"].shape[1] == 1,
        "bidirectional": hyper.get("bidirectional", False),
        "output": {"glu": "glu", "id": "linear", None: "none"}[hyper.get("final_act", "glu")],
    }
    if "ssm.P" in given:
        length = hyper.get("l_max") or hyper.get("L") or hyper["L1"]
        return S4Config(truncated_length=int(golden.arrays.get("extra/l_kernel", length)), **changes)
    return S4DConfig(discretization=hyper.get("disc", "zoh"), **changes)


def ours(golden: Golden, array: Array) -> Array:
    """(B, L, D) of the official layout."""
    return array.swapaxes(1, 2) if golden.hyper.get("transposed", True) else array
