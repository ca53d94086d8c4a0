"""Where a number comes from: commit, versions, hardware and command; never a host, a user or an absolute path."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from suite.hardware import detect

ROOT = Path(__file__).resolve().parents[1]
COMMIT_VARIABLE = "LONGSEQ_COMMIT"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
"""Variables that share out the cores, and with them the order of sums on a CPU; NPROC is XLA's."""
ENVIRONMENT = (*THREADS, "XLA_FLAGS")
PACKAGES = (
    "longseq-bench", "numpy", "scipy", "pandas", "safetensors", "msgspec", "einops",
    "jax", "jaxlib", "flax", "optax", "jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu",
    "torch", "triton", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13",
)  # fmt: skip


def commit() -> tuple[str, bool | None]:
    """The git commit of this tree and whether it has uncommitted changes; ("unknown", None) where nothing tells.

    Files that git does not know count where they could make numbers; a runs folder beside them is no change. The
    variable LONGSEQ_COMMIT speaks for a tree without .git.
    """
    if (ROOT / ".git").exists():
        head = _git("rev-parse", "HEAD")
        if head:
            changes = _git("status", "--porcelain", "--untracked-files=no")
            new = _git("ls-files", "--others", "--exclude-standard", "--", *CODE)
            return head, None if changes is None or new is None else bool(changes or new)
    return os.environ.get(COMMIT_VARIABLE) or "unknown", None


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


CODE = ("implementations", "suite", "data_manifests")
"""What numbers are made by."""
READERS = ("suite/run.py", "suite/arguments.py", "suite/verify.py", "suite/compare.py", "suite/replay/")
"""Parts of it that start runs or read records, and make no number."""


def changed_since(head: str) -> list[str] | None:
    """The files that make numbers and differ from those of a commit, here and now; None where git cannot tell."""
    if not (ROOT / ".git").exists() or not re.fullmatch(r"[0-9a-f]{7,64}", head):
        return None
    answer = _git("diff", "--name-only", head, "--", *CODE)
    new = _git("ls-files", "--others", "--exclude-standard", "--", *CODE)
    if answer is None or new is None:
        return None
    return [name for name in (answer + "\n" + new).split() if not name.startswith(READERS)]


def versions() -> dict[str, str]:
    """Versions of Python and of every relevant package that is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Operating system, processor, memory in bytes and GPUs of this machine."""
    cards = detect.gpus()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [{"name": card.name, "driver": card.driver, "memory_bytes": card.memory} for card in cards],
        "tpu": detect.tpu(),
    }


def environment() -> dict[str, str]:
    """The variables that can change last digits, where they are set; parts of them that hold a path are left out."""
    found = {name: os.environ.get(name, "").split() for name in ENVIRONMENT}
    shown = {name: " ".join(word for word in words if os.sep not in word) for name, words in found.items()}
    return {name: value for name, value in shown.items() if value}


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command(arguments: Sequence[str]) -> str:
    """The exact command line, with paths inside the working folder relative and others cut to their last part."""
    return shlex.join(["python", "-m", "suite.run", *(_without_place(argument) for argument in arguments)])


def _without_place(argument: str) -> str:
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return argument
    here = Path.cwd()
    return option + equals + str(path.relative_to(here) if path.is_relative_to(here) else path.name)


def collect(arguments: Sequence[str]) -> dict[str, Any]:
    """Everything above in one dictionary, for the record of a cell."""
    head, dirty = commit()
    return {
        "command": command(arguments),
        "commit": head,
        "dirty": dirty,
        "versions": versions(),
        "hardware": hardware(),
        "environment": environment(),
        "frameworks_loaded": [name for name in ("jax", "torch") if name in sys.modules],
    }
