"""A Python without the packages of the project is told so in one sentence."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from reports import environment

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("words", [["suite.run", "--list"], ["suite.data", "list"], ["reports.build", "runs"]])
def test_outside_the_environment_a_program_names_the_command_that_sets_it_up(words):
    bare = [sys.executable, "-S", "-m", *words]  # -S: no installed packages
    child = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (child.returncode, child.stdout) == (2, "")
    (said,) = child.stderr.splitlines()
    assert "lacks numpy, " in said
    commands = re.findall("`(.+?)`", said)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(commands) == 2
    assert all(command in readme for command in commands)


def test_an_import_in_a_program_of_ones_own_is_left_alone():
    bare = [sys.executable, "-S", "-c", "import suite"]
    subprocess.run(bare, cwd=ROOT, timeout=60, check=True)


def test_what_is_needed_is_what_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split("[><=]", one)[0] for one in project["dependencies"]}
    assert set(environment.NEEDED) == declared - {"seaborn"}  # which nothing imports
