"""The commands that the documents tell users to type, and what of them a test does not run as it stands, and why."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "data_manifests/README.md",
    "reports/measured/README.md",
)
PROGRAMS = (".", "bash", "cd", "docker", "git", "make", "nox", "pip", "pre-commit", "pytest", "python", "source")
"""What a command begins with, beside every program that is found here."""

NOT_RUN = {
    "pip install nox": "changes the machine and needs a network",
    ". .nox/longseq-bench/bin/activate": "activates the environment that nox made",
    "pre-commit install": "writes into .git",
    "python -m suite.data fetch lra_text": "downloads 80 MB",
    "python -m pytest tests/parity tests/test_imports.py tests/implementations tests/reports/test_architectures.py": (
        "is a part of this test suite"
    ),
    'pytest -m "not slow"': "is a part of this test suite",
    "python -m suite.tasks.listops_by_operator reports/measured": "generates 96,000 sequences; its test has a few",
    "python -m suite.tasks.authors_s5_training": "needs the authors' own code, and days",
    "python -m suite.run --tasks equivalence.leaky lra.listops --architectures leaky --profile smoke": (
        "run in a copy that has this architecture: parity/test_add_an_architecture.py"
    ),
    "python -m suite.run --all --architectures leaky --profile smoke --dry-run": (
        "run in a copy that has this architecture: parity/test_add_an_architecture.py"
    ),
}
"""Not run at all, and why."""
TRAININGS = {
    "python -m suite.run --tasks lm.book --architectures block_state seqboat": "minutes",
    "python -m suite.run --tasks speed.block_state --profile smoke": "minutes",
    "python -m suite.run --tasks lm.pg19 --architectures s5 --set data.settings.source=local": "a minute",
    "python -m suite.run --all --architectures <name> --profile smoke": "an hour",
    "python -m suite.run --benchmarks lra --architectures s5 s4 --profile paper --time-limit 8h": "days",
}
"""Run as --dry-run with the same arguments, because they take so long."""
REFUSED = {
    "python -m suite.data import lra_text PATH": "holds nothing of lra_text",
    "python -m suite.data prepare lra_text": "python -m suite.data fetch lra_text",
}
"""Run, and refused with such a sentence, because the genuine files are not here."""
SMOKE = "python -m suite.run --tasks lra.listops --architectures s5 --frameworks jax torch --profile smoke"
"""The training of the tour: run with a tiny model on a few sequences; what the tour does with its record is run too."""


def is_command(text: str) -> bool:
    """Whether code within a sentence is something to type: a program with arguments, a variable, or an option."""
    first, _, rest = text.partition(" ")
    known = first in PROGRAMS or shutil.which(first) is not None
    return text.startswith("--") or re.match(r"[A-Z_]+=\S", text) is not None or (known and bool(rest))


def commands() -> list[str]:
    """Every command of the documents once: the lines of shell blocks, indented lines, and code within sentences."""
    found: dict[str, None] = {}
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        shell = [line for kind, block in blocks if kind in ("", "sh", "bash", "console") for line in block.splitlines()]
        text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        indented = [line for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE) if is_command(line)]
        inline = [" ".join(one.split()) for one in re.findall(r"`([^`]+)`", text)]
        for line in [*shell, *indented, *(one for one in inline if is_command(one))]:
            line = re.sub(r"\s+#.*$", "", line).strip()
            found |= {part.strip(): None for part in line.split("&&") if part.strip()}
    return list(found)
