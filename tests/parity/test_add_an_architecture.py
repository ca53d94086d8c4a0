"""The recipe of CONTRIBUTING.md for a new architecture: its blocks, written into a copy of the project, run there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports import records

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Add an architecture")[1].split("\n## ")[0]
BLOCKS = dict(re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))
"""What the document says that files hold, by their paths; of files that are here already, what is put in."""
PLACES = {
    "implementations/catalog.py": "_ARCHITECTURES = (\n",
    "tests/implementations/test_layer_contract.py": "STREAMING: dict[str, Any] = {\n",
    "tests/reports/test_architectures.py": "NAMES = (\n",
}
"""After which line an entry is put into a file."""
TINY = (
    *("model.depth=1", "model.layer.d_model=8", "batch_size=4", "evaluation_batch_size=4", "epochs=1"),
    *("data.settings.train=40", "data.settings.validation=10", "data.settings.test=10"),
    *("data.settings.min_length=5", "data.settings.max_length=40"),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The project with the example in it, and no other architecture's records and pages."""
    root = tmp_path_factory.mktemp("copy") / "project"
    without = shutil.ignore_patterns("__pycache__", "pages", "measured", "golden", ".*")
    for name in ("implementations", "suite", "reports", "data_manifests", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=without)
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "reports/measured/records").mkdir(parents=True)
    (root / "implementations/leaky").mkdir()
    (root / "implementations/leaky/__init__.py").write_text('"""A leaky average."""\n')
    for name, block in BLOCKS.items():
        if name in PLACES:
            before, after = (root / name).read_text(encoding="utf-8").split(PLACES[name])
            block = before + PLACES[name] + block + after
        else:
            assert not (root / name).exists(), name
        (root / name).write_text(block, encoding="utf-8")
    return root


def python(root: Path, *arguments: str) -> str:
    """What a command says that must end well."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ended = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


COMMAND, EVERYWHERE = re.findall(r"^python -m (suite\.run .*?)(?: +#.*)?$", TEXT, re.MULTILINE)


@pytest.mark.ladder
def test_the_example_trains_and_has_a_page(copy):
    tiny = [word for text in TINY for word in ("--set", text)]
    words = ["--hardware", "cpu", "--frameworks", "torch", *tiny]
    python(copy, *COMMAND.replace("equivalence.leaky ", "").split(), *words)
    (record,) = records.read_all(copy / "runs")
    assert (record.status, record.cell.architecture) == ("measured", "leaky")
    assert len(record.curves["step_loss"]) == 10
    page = (copy / "runs/site/architectures/leaky.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert "One leaky average." in page
    said = python(copy, *EVERYWHERE.split())
    assert {line.split()[1] for line in said.splitlines()[1:-1]} == {"lra.listops", "equivalence.leaky"}


@pytest.mark.ladder
def test_the_example_climbs_the_ladder(copy):
    python(copy, *COMMAND.replace("lra.listops ", "").split(), "--hardware", "cpu", "--out", "ladder")
    (record,) = records.read_all(copy / "ladder")
    rows = record.tables["parity"]
    assert {row["rung"] for row in rows} == {0, 1, 3, 4, 5, 6, 7}
    assert all(row["passed"] for row in rows)


def test_the_example_keeps_what_layers_and_imports_owe(copy):
    tests = [
        "tests/implementations/test_layer_contract.py",
        "tests/test_imports.py",
        "tests/reports/test_architectures.py",
    ]
    said = python(
        copy, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "leaky or import or described", *tests
    )
    assert " passed" in said
