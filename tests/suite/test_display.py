"""Progress: bars on a terminal, plain whole lines in a log."""

import io
import json

from tiny_runs import cell

from suite.launch.cell import progress_path
from suite.launch.display import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def prepare(tmp_path):
    found = cell("torch")
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / f"{found.id}.log"
    log.write_text("")
    return found, log


def test_bars_on_a_terminal(tmp_path):
    found, log = prepare(tmp_path)
    stream = Terminal()
    display = Display(stream)
    display.started(found, log)
    display.update([found], tmp_path)
    assert "step" not in stream.getvalue().split("started")[1]
    for step in (10, 25):
        shown = {"step": step, "total": 30, "epoch": step // 10, "text": "loss 1.25"}
        progress_path(tmp_path, found).write_text(json.dumps(shown))
        display.update([found], tmp_path)
    display.bars[found.id].refresh()
    text = stream.getvalue()
    assert "25/30" in text
    assert "epoch 3 loss 1.25" in text
    display.finished(found)
    assert not display.bars
    display.outcome(found.label, "measured", "")
    assert f"{found.label}: measured" in stream.getvalue()


def test_plain_whole_lines_in_a_log(tmp_path):
    found, log = prepare(tmp_path)
    stream = io.StringIO()
    display = Display(stream)
    display.started(found, log)
    log.write_text("some chatter of a library\nepoch 1 of 3, step 10: train loss 2.0\nepoch 2 of 3, st")
    display.update([found], tmp_path)
    display.update([found], tmp_path)
    with log.open("a") as file:
        file.write("ep 20: train loss 1.5\n")
    display.finished(found)
    lines = stream.getvalue().splitlines()
    assert lines[1:] == [
        f"{found.label}: epoch 1 of 3, step 10: train loss 2.0",
        f"{found.label}: epoch 2 of 3, step 20: train loss 1.5",
    ]
