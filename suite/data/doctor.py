"""What is here of a data set, whether it is whole, and which command comes next."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from suite.data import acquire, catalog, manifest
from suite.data.errors import DataError


@dataclass(frozen=True)
class Finding:
    """The state of a data set: one line for original files, one for prepared ones, and the next command, if any."""

    name: str
    raw: str
    prepared: str
    next: str
    healthy: bool


def examine(name: str, root: Path) -> Finding:
    """Look at a data set; everything prepared of it is hashed, original files are hashed when they are read."""
    description, data_set = manifest.read(name), catalog.find(name)
    folder = root / "raw" / description.raw
    here, total = acquire.present(description, folder), len(description.release.files)
    if data_set.read is None:
        original = "none are read"
    elif not here:
        original = f"not in {folder}"
    else:
        original = f"{len(here)} of {total} parts in {folder}"
    whole, broken = 0, ""
    for prepared in catalog.prepared_folders(name, root):
        try:
            catalog.open_folder(prepared, name, root)
            whole += 1
        except DataError as error:
            broken = broken or str(error)
    state = f"{whole} selection{'s' if whole > 1 else ''}, verified" if whole else "nothing"
    state = f"{state}; {broken}" if broken else state
    return Finding(name, original, state, _next(name, root, whole, broken), not broken)


def _next(name: str, root: Path, whole: int, broken: str) -> str:
    """The command that comes next; empty where all is well."""
    if whole and not broken:
        return ""
    description, place = manifest.read(name), catalog.place(name, root, {})
    of_files = {"source": "released"} if "released" in place.settings.SOURCES else {}
    if catalog.place(name, root, of_files).has_raw:
        return after_files(name, root)
    if place.settings.source == "generated":
        return place.command
    if description.release.fetchable:
        return shlex.join(["python", "-m", "suite.data", "fetch", name, "--root", str(root)])
    return acquire.by_hand(description, root)


def after_files(name: str, root: Path) -> str:
    """What comes after some original files were taken: the rest of them, or the preparation.

    A data set that is generated unless it is told otherwise is told so, here and in the run.
    """
    place = catalog.place(name, root, {})
    if place.settings.source == "generated" and "released" in place.settings.SOURCES:
        words = ["python", "-m", "suite.data", "prepare", name, "--root", str(root), "--source", "released"]
        flag = "--set data.settings.source=released"
        return f"{shlex.join(words)}, and in every run that reads them {flag}; without it they are generated"
    return place.next if place.settings.source == "released" and not place.has_raw else place.command
