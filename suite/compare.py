"""Two sets of records side by side: `python -m suite.compare A B`.

Exit status: 0 compared; 2 a folder or a record in it cannot be read, or the page cannot be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports import atomic, compare, records
from reports.comparison import compare as paired

COMPARED, CANNOT = 0, 2
PAGES = {"html": compare.html, "markdown": compare.markdown}
EXAMPLES = """examples:
  python -m suite.compare runs-before runs-after                  two commits
  python -m suite.compare reports/measured runs --html compare.html

Cells are paired by task, architecture, profile, framework, seed, factor and level. Numbers of different protocols are
shown and not tested; times of different machines are shown and not set against each other."""


class CannotWrite(RuntimeError):
    """A page cannot be written; the message names the file and what helps."""


def _write(path: Path, data: bytes) -> None:
    try:
        atomic.write_bytes(path, data)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror}; name another file, or free the disk") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m suite.compare",
        description="Compare two sets of records, of two commits or machines, cell by cell.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("A", "B"):
        parser.add_argument(name.lower(), type=Path, metavar=name, help="runs folder, with records/")
    for name in PAGES:
        parser.add_argument(
            f"--{name}", type=Path, metavar="FILE", help=f"also write the comparison as a page of {name}"
        )
    options = parser.parse_args(arguments)
    try:
        if options.a.resolve() == options.b.resolve():
            print(f"A and B are one folder, {options.a}: every cell is compared with itself")
        sets = [records.read_all(folder) for folder in (options.a, options.b)]
        for folder, found in zip((options.a, options.b), sets, strict=True):
            if not found:
                raise records.RecordError(f"{folder} has no records; give the folder that --out of suite.run named")
        names = (options.a.name or str(options.a), options.b.name or str(options.b))
        found = paired(sets[0], sets[1], names if names[0] != names[1] else (str(options.a), str(options.b)))
        print(compare.text(found))
        print(compare.summary(found))
        for name, render in PAGES.items():
            path = getattr(options, name)
            if path:
                _write(path, render(found))
                print(f"comparison: {path}")
    except (records.RecordError, CannotWrite) as error:
        print(error, file=sys.stderr)
        return CANNOT
    return COMPARED


if __name__ == "__main__":
    sys.exit(main())
