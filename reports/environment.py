"""What a Python must have for the programs of this project; imports nothing beyond the standard library itself."""

import importlib.util
import sys

NEEDED = (
    *("numpy", "scipy", "pandas", "matplotlib", "jinja2", "tqdm", "einops", "safetensors", "msgspec", "psutil"),
    "jaxtyping",
)
"""The packages that every installation has and that are imported; frameworks and extras name themselves."""
ABSENT = 2
"""Exit status of a program that cannot run in this environment."""


def require() -> None:
    """End a program started with `python -m`, before it imports a package that is not here, in one sentence.

    Called where a package of this project is imported first: `sys.argv` still says "-m" then. Other importers are left
    alone.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None] if sys.argv[:1] == ["-m"] else []
    if missing:
        print(
            f"this Python ({sys.executable}) lacks {', '.join(missing)}: set up the environment with `pip install nox "
            "&& nox -s lra`, enter it with `. .nox/longseq-bench/bin/activate` (README.md), and run this again",
            file=sys.stderr,
        )
        sys.exit(ABSENT)
