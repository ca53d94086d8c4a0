"""Imports go one way, and a framework is imported only where it is asked for."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from implementations.catalog import FRAMEWORKS, get, names

ROOT = Path(__file__).parents[1]
PACKAGES = ("implementations", "suite", "reports")
OUTSIDE = {"jax": {"jax", "jaxlib", "flax", "optax"}, "torch": {"torch"}}
ALL = set().union(*OUTSIDE.values())


def modules(package: str) -> list[Path]:
    """The source files of a package."""
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The absolute names that a file imports, wherever in it, or only as it is loaded itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        elif top_level_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        pending.extend(ast.iter_child_nodes(node))
    return found


def roots(found: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in found}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("implementations", {"suite", "reports", "tests", "data_manifests"}),
        ("reports", {"suite", "implementations", "tests", *ALL}),
        ("suite", {"tests"}),
    ],
)
def test_imports_go_one_way(package, forbidden):
    for path in modules(package):
        assert not roots(imported(path)) & forbidden, path


def test_a_file_of_one_framework_never_names_the_other():
    seen = set()
    for package in PACKAGES:
        for path in modules(package):
            for own, other in (("jax", "torch"), ("torch", "jax")):
                if path.stem != own:
                    continue
                seen.add(path)
                found = imported(path)
                assert not roots(found) & OUTSIDE[other], path
                assert not {name for name in found if f".{other}" in name and roots({name}) <= set(PACKAGES)}, path
    assert len(seen) >= 8


# Modules that compare or time both frameworks, or the official code, import them inside their functions.
def test_only_files_of_a_framework_import_it_as_they_load():
    for package in PACKAGES:
        for path in modules(package):
            found = imported(path, top_level_only=True)
            allowed = OUTSIDE.get(path.stem, set())
            if path.stem == "cuda_graph":
                allowed = OUTSIDE["torch"]
            assert not roots(found) & (ALL - allowed), path


def loaded_by(*modules: str) -> set[str]:
    """The top-level packages in memory after importing modules in a fresh process."""
    script = f"import importlib, json, sys\nfor m in {modules!r}: importlib.import_module(m)\n" + (
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return set(json.loads(found.stdout.splitlines()[-1]))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_twin_never_loads_the_other_framework(framework):
    own = [name_of(path) for path in modules("implementations") if path.stem == framework]
    assert {f"{get(name).room}.{framework}" for name in names()} <= set(own)
    assert {f"implementations.{room}.{framework}" for room in ("models", "common", "ops.scan")} <= set(own)
    found = loaded_by(*own, f"suite.training.{framework}", "implementations.parameters")
    other = next(f for f in FRAMEWORKS if f != framework)
    assert framework in found
    assert not found & OUTSIDE[other]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_parameters_of_a_twin_are_read_without_the_other_framework(framework):
    script = (
        "import json, sys\n"
        "from implementations.catalog import model_class\n"
        "from implementations.common.initializers import Keys\n"
        "from implementations.models.config import ClassifierConfig\n"
        "from implementations.parameters import get_parameters, get_statistics, set_parameters, set_statistics\n"
        "from implementations.s5.config import S5Config\n"
        "config = ClassifierConfig(S5Config(d_model=2, ssm_size=2, norm='batch'), 1, 'tokens', 2, 2)\n"
        f"model = model_class(config, {framework!r})(config, Keys(0))\n"
        "set_parameters(model, get_parameters(model))\n"
        "set_statistics(model, get_statistics(model))\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    loaded = set(json.loads(found.stdout))
    other = next(f for f in FRAMEWORKS if f != framework)
    assert framework in loaded
    assert not loaded & OUTSIDE[other]


def test_everything_else_loads_without_a_framework():
    framework_files = {*FRAMEWORKS, "cuda_graph", "__main__"}
    free = [name_of(p) for package in PACKAGES for p in modules(package) if p.stem not in framework_files]
    essential = {"implementations.catalog", "implementations.parameters", "implementations.s5.config"}
    essential |= {"implementations.models.config", "suite.matrix", "suite.recipes.s5", "suite.training.optimizer"}
    essential |= {"suite.run", "suite.tasks.equivalence", "reports.records", "suite.data", "suite.equivalence.ladder"}
    assert essential <= set(free)
    assert not loaded_by(*free) & ALL


def test_the_detector_detects(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("import a.b\nfrom c.d import e\ndef f():\n    import g\nif TYPE_CHECKING:\n    import h\n")
    assert imported(file) == {"a.b", "c.d.e", "g", "h"}
    assert imported(file, top_level_only=True) == {"a.b", "c.d.e"}
    file.write_text("from . import a\n")
    with pytest.raises(AssertionError, match="imports relatively"):
        imported(file)
    assert "jax" in loaded_by("jax")
