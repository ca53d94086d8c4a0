"""Provenance tells everything that a repetition needs and nothing about who ran it where."""

import getpass
import json
import os
import platform
import shlex
import subprocess
from pathlib import Path

import pytest

from suite import provenance


def test_what_is_collected():
    found = provenance.collect(["--tasks", "lra.listops"])
    assert found["command"] == "python -m suite.run --tasks lra.listops"
    assert found["versions"]["python"] == platform.python_version()
    assert {"numpy", "safetensors", "msgspec"} <= found["versions"].keys()
    assert found["hardware"]["memory_bytes"] > 2**28
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["cpu"]
    json.dumps(found)


def test_nothing_names_the_host_the_user_or_a_folder():
    text = json.dumps(provenance.collect(["--out", str(Path.cwd() / "runs"), f"--data={Path.home()}/data"]))
    forbidden = [platform.node(), str(Path.home()), str(provenance.ROOT), os.environ.get("HOSTNAME", "")]
    for secret in [*forbidden, f'"{getpass.getuser()}"']:
        assert len(secret) < 3 or secret not in text, secret


def test_paths_of_the_command_are_relative_and_it_can_be_pasted():
    words = ["--out", str(Path.cwd() / "a b" / "runs"), "--data=/some/where/data", "--set", "x=1", "--seeds", "0"]
    command = provenance.command(words)
    assert shlex.split(command)[3:] == ["--out", "a b/runs", "--data=data", "--set", "x=1", "--seeds", "0"]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.delenv(provenance.COMMIT_VARIABLE, raising=False)
    return tmp_path


def test_a_tree_without_git(tree, monkeypatch):
    assert provenance.commit() == ("unknown", None)
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "abc123")
    assert provenance.commit() == ("abc123", None)


def test_a_checkout_and_its_changes(tree, monkeypatch):
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "not this one")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "tester")

    def git(*words):
        command = ["git", "-C", str(tree), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tree / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    (tree / "results").mkdir()
    (tree / "results" / "record.json").write_text("{}")
    assert provenance.commit() == (git("rev-parse", "HEAD"), False)
    (tree / "suite").mkdir()
    (tree / "suite" / "new.py").write_text("")
    assert provenance.commit() == (git("rev-parse", "HEAD"), True)
    (tree / "suite" / "new.py").unlink()
    assert provenance.commit() == (git("rev-parse", "HEAD"), False)
    (tree / "file").write_text("two")
    assert provenance.commit() == (git("rev-parse", "HEAD"), True)
