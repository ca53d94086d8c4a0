"""Annotations are checked at run time, and JAX computes in 64 bits where it is told to, in this process only.

The import hook lets beartype hold every annotated function of the numerical modules to its shapes; configs and the
catalog check their own arguments, and tests look at those messages. The hook breaks `torch.compile`: what compiles
runs in processes of its own, which inherit neither the hook nor the 64 bits.
"""

import importlib.util
from pathlib import Path

from jaxtyping import install_import_hook

ROOT = Path(__file__).parents[1]
SELF_CHECKED = {"__init__", "catalog", "config", "parameters"}
NUMERICAL = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "implementations").rglob("*.py"))
    if path.stem not in SELF_CHECKED
]
install_import_hook(NUMERICAL, "beartype.beartype")

if importlib.util.find_spec("jax") is not None:
    import jax

    jax.config.update("jax_enable_x64", True)
