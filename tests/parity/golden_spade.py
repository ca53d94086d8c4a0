"""How the names and hyper-parameters of the SPADE authors' files map to ours.

Arrays are (L, B, D); a file's `C` of S4 is C~ for `max_target_positions`: our `s4_truncated_length`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from golden import Golden

from implementations.s4.config import S4Config
from implementations.spade.config import SpadeConfig, SpadeStackConfig

Array = np.ndarray
Arrays = dict[str, Array]

NAMES = {
    "self_attn.q": "local.query",
    "self_attn.k": "local.key",
    "self_attn.v": "local.value",
    "self_attn.o": "local.out",
    "self_attn.relative_attention_bias": "local.table",
    "self_attn_layer_norm": "norm1",
    "final_layer_norm": "norm2",
    "fc1": "feed_forward.hidden",
    "fc2": "feed_forward.out",
    "aggregate": "aggregate",
    "norm_global": "norm_global",
    "norm_local": "norm_local",
}
ACTIVATIONS = {"relu": "relu", "gelu": "gelu_exact", "gelu_accurate": "gelu", "gelu_fast": "gelu", "swish": "silu"}


def s4_leaf(name: str, array: Array) -> tuple[str, Array]:
    """An official parameter of S4, or its gradient, by our name and in our shape: Lambda = -exp(A_real) - i A_imag."""
    if name in ("B", "P"):
        assert array.shape[0] == 1
        return name, array[0]
    if name == "log_dt":
        return "log_step", array[:, None]
    if name == "w_imag":
        return "A_imag", -array
    return {"inv_w_real": "A_real"}.get(name, name), array


def parameter(official: str, array: Array) -> tuple[str, Array]:
    """An official parameter of a layer, or its gradient, by our path and in our shape."""
    path, _, leaf = official.rpartition(".")
    if path.startswith("s4_module."):
        name, array = s4_leaf(leaf, array)
        return f"s4.{name}", array
    ours = NAMES[path]
    if ours == "local.table":
        return ours, array.T
    if leaf == "bias":
        return f"{ours}.bias", array
    return (f"{ours}.kernel", array.T) if array.ndim == 2 else (f"{ours}.scale", array)


def parameters(golden: Golden, prefix: str) -> Arrays:
    """Official parameters below a prefix by our paths, embeddings left out."""
    found = {}
    for official, array in golden.part(prefix).items():
        if official.startswith("embed_tokens"):
            continue
        parts = official.split(".")
        first = 2 if parts[0] == "layers" else 0
        name, array = parameter(".".join(parts[first:]), array)
        found[".".join([*parts[:first], name])] = array
    return found


def bank(golden: Golden) -> S4Config:
    """The bank that an `s4module` file describes."""
    hyper = golden.hyper
    return S4Config(
        d_model=hyper["embed_dim"],
        state_size=hyper["d_state"],
        n_ssm=hyper["n_ssm"],
        bidirectional=hyper["bidirectional"],
        truncated_length=hyper["l_max"],
    )


def layer(golden: Golden, global_branch: bool, positions: Any) -> SpadeConfig:
    """The layer that a file's `cfg` describes: in the language model always causal, S4 without a mask."""
    cfg = golden.hyper["cfg"]
    return SpadeConfig(
        d_model=cfg["decoder"]["embed_dim"],
        heads=cfg["decoder"]["attention_heads"],
        d_ff=cfg["decoder"]["ffn_embed_dim"],
        activation=ACTIVATIONS[cfg["activation_fn"]],  # pyright: ignore[reportArgumentType]
        causal=True,
        global_branch=global_branch,
        window=cfg["local_radius"] + 1,
        combine=cfg["s4_local_combine"],
        combine_weight=cfg["s4_weight"],
        s4_state_size=cfg["s4_state_dim"],
        s4_copies=cfg["s4_n_ssm"],
        s4_truncated_length=cfg["max_target_positions"],
        positions=positions,
        buckets=cfg["relative_attention_num_buckets"],
        max_distance=cfg["relative_attention_max_distance"],
        prenorm=cfg["decoder"]["normalize_before"],
        mask_padding=False,
    )


def config(golden: Golden) -> SpadeConfig | SpadeStackConfig:
    """The layer or the layers that a file holds."""
    given = parameters(golden, "param")
    if "layers.0.norm1.scale" not in given:
        return layer(golden, "s4.D" in given, "t5" if "local.table" in given else "none")
    positions = "t5" if "layers.0.local.table" in given else "none"
    cfg = golden.hyper["cfg"]
    return SpadeStackConfig(
        bottom=layer(golden, True, positions),
        upper=layer(golden, False, positions),
        depth=cfg["decoder"]["layers"],
        every=cfg["s4_every_n_layers"],
    )
