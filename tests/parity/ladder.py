"""The ladder of an architecture, climbed once per session in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIMB = """
import json, sys, warnings
warnings.simplefilter("error")
from suite.tasks.equivalence import run
rows = run(sys.argv[1], 0)
print(json.dumps(rows))
"""
_climbed: dict[str, list[dict]] = {}


def rows(architecture: str) -> list[dict]:
    """All rows; a ladder that does not come to its end fails with its own message."""
    if architecture not in _climbed:
        command = [sys.executable, "-c", CLIMB, architecture]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        _climbed[architecture] = json.loads(found.stdout.splitlines()[-1])
    return _climbed[architecture]
