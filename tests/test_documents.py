"""What the documents tell users to type: every command is understood, every session exists, every example runs."""

import argparse
import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "data_manifests/README.md",
    "reports/measured/README.md",
)
WORDS = {"<name>": "s5", "NAME": "lra_listops", "PATH": "copy.tar", "DIR": "folder", "RUNS": "runs", "SITE": "site",
         "RECORD": "0439af6ff8aa", "[RUNS": "runs", "...]": ""}  # fmt: skip
"""What stands for the reader's own names."""


def commands(start: str) -> list[str]:
    """Every command of the documents that begins with these words: lines of code, and code within sentences."""
    found = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        lines = re.findall(rf"^(?: {{4}})?({start}[^\n`]*?)(?:\s+#.*)?$", text, re.MULTILINE)
        found += lines + [" ".join(one.split()) for one in re.findall(rf"`({start}[^`]*)`", text)]
    return sorted(set(found))


class Parsed(Exception):
    """Raised in the place of what a command would do."""


def words(command: str) -> tuple[str, list[str]]:
    """The module of a command and its arguments."""
    _, _, module, *arguments = (WORDS.get(word, word) for word in shlex.split(command))
    return module, [word for word in arguments if word]


@pytest.mark.parametrize("command", commands("python -m "))
def test_a_command_of_the_documents_is_understood(command, monkeypatch):
    module, arguments = words(command)
    if module == "pytest":
        assert all((ROOT / path).exists() for path in arguments if not path.startswith("-"))
        return
    name = f"{module}.__main__" if module == "suite.data" else module
    if not arguments:  # a program is named, no command given
        assert callable(importlib.import_module(name).main)
        return
    parse = argparse.ArgumentParser.parse_args

    def parsed(self, *given):
        parse(self, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    with pytest.raises(Parsed):
        importlib.import_module(name).main(arguments)


@pytest.mark.parametrize("command", [one for one in commands("python -m suite.run") if len(one.split()) > 3])
def test_a_selection_of_the_documents_has_cells(command, tmp_path, capsys):
    from suite.run import main

    _, arguments = words(command)
    if "--list" not in arguments:
        arguments += ["--dry-run", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    status, said = main(arguments), capsys.readouterr()
    if "--hardware" in arguments and importlib.util.find_spec("libtpu") is None:
        assert status == 2
        assert "longseq-bench[tpu]" in said.err
    else:
        assert status == 0
        assert said.out.count("\n") > 1


def test_every_session_of_the_documents_exists():
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    sessions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    named = set()
    for command in commands("(?:pip install nox && )?nox -s "):
        given = command.partition("nox -s ")[2].partition(" -- ")[0]
        named |= {one for part in given.split() for one in part.split("|")}
    assert {"lra", "tests"} <= named <= sessions


def test_the_examples_in_python_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples
    for example in examples:
        names: dict = {}
        exec(example, names)
        assert names["y"].shape == (2, 1, 64)
