"""What a running command shows: bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from reports.render import one_line
from suite.launch.cell import progress_path
from suite.matrix import Cell


class Display:
    """One bar per running cell on a terminal; in a log, the lines that the cells write into theirs."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream = stream
        self.bars: dict[str, tqdm] = {}
        self.logs: dict[str, tuple[Path, int]] = {}

    def say(self, line: str) -> None:
        """One line, above the bars where there are any; what a log or a record says is plain text here."""
        line = one_line(line)
        if self.stream.isatty():
            tqdm.write(line, file=self.stream)
        else:
            print(line, file=self.stream, flush=True)

    def started(self, cell: Cell, log: Path) -> None:
        """A cell has begun to write its log."""
        self.logs[cell.id] = (log, 0)
        self.say(f"{cell.label}: started, cell {cell.id}")

    def update(self, running: Iterable[Cell], out: Path) -> None:
        """Show how far the running cells of a runs folder are."""
        for cell in running:
            if self.stream.isatty():
                self._bar(cell, progress_path(out, cell))
            else:
                self._follow(cell)

    def finished(self, cell: Cell) -> None:
        """A cell has ended: its last lines, and no bar any more."""
        if cell.id in self.bars:
            self.bars.pop(cell.id).close()
        if not self.stream.isatty():
            self._follow(cell)
        self.logs.pop(cell.id, None)

    def outcome(self, label: str, status: str, reason: str) -> None:
        """What became of a cell."""
        self.say(f"{label}: {status}" + (f" ({reason})" if reason else ""))

    def _bar(self, cell: Cell, path: Path) -> None:
        try:
            shown = json.loads(path.read_text())
        except (OSError, ValueError):
            return
        if cell.id not in self.bars:
            self.bars[cell.id] = tqdm(total=shown["total"], desc=cell.label, unit="step", file=self.stream, leave=False)
        bar = self.bars[cell.id]
        bar.set_postfix_str(f"epoch {shown['epoch'] + 1} {shown['text']}", refresh=False)
        bar.update(shown["step"] - bar.n)

    def _follow(self, cell: Cell) -> None:
        path, offset = self.logs.get(cell.id, (None, 0))
        if path is None or not path.exists():
            return
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.logs[cell.id] = (path, offset + len(whole))
        for line in whole.decode(errors="replace").splitlines():
            if line.startswith(("epoch ", "step ", "resumed ", "checkpoint ", "program ")):
                self.say(f"{cell.label}: {line}")
