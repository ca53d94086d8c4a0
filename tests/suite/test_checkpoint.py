"""Checkpoints: whole or absent, checked when read, and the previous one kept until the next is on disk."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from suite.training.checkpoint import CheckpointError, CheckpointStore

ROOT = Path(__file__).parents[2]


def arrays(value: float) -> dict[str, np.ndarray]:
    return {
        "a.b": np.full((3, 2), value, np.float32),
        "step": np.array(int(value)),
        "empty": np.zeros((0,), np.float64),
    }


def store(folder) -> tuple[CheckpointStore, list[str]]:
    lines: list[str] = []
    return CheckpointStore(folder, lines.append), lines


def test_what_is_saved_is_loaded(tmp_path):
    found, lines = store(tmp_path / "cell")
    assert found.load() is None
    found.save(arrays(0.1), {"loss": 0.1 + 0.2, "none": None, "rows": [{"epoch": 1}]})
    loaded = found.load()
    assert loaded is not None
    assert loaded.values == {"loss": 0.1 + 0.2, "none": None, "rows": [{"epoch": 1}]}
    for name, array in arrays(0.1).items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
        assert loaded.arrays[name].dtype == array.dtype
        assert loaded.arrays[name].shape == array.shape
    assert not lines


def test_two_checkpoints_are_kept_and_the_newest_is_read(tmp_path):
    found, _ = store(tmp_path)
    for step in range(1, 6):
        found.save(arrays(step), {"step": step})
    assert found.load().values == {"step": 5}  # pyright: ignore[reportOptionalMemberAccess]
    names = sorted(path.name for path in tmp_path.iterdir())
    stems = ("checkpoint-000004", "checkpoint-000005")
    assert names == [f"{stem}.{ext}" for stem in stems for ext in ("json", "safetensors")]
    found.clear()
    assert found.load() is None
    assert not list(tmp_path.glob("checkpoint*"))


@pytest.mark.parametrize("damage", ["truncate arrays", "flip arrays", "flip json", "empty json", "no arrays", "schema"])
def test_a_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path, damage):
    found, lines = store(tmp_path)
    for step in (1, 2):
        found.save(arrays(step), {"step": step})
    data, pointer = tmp_path / "checkpoint-000002.safetensors", tmp_path / "checkpoint-000002.json"
    content = bytearray(data.read_bytes())
    if damage == "truncate arrays":
        data.write_bytes(content[:-3])
    elif damage == "flip arrays":
        content[-1] ^= 1
        data.write_bytes(content)
    elif damage == "flip json":
        pointer.write_text(pointer.read_text().replace('\\"step\\": 2', '\\"step\\": 3'))
    elif damage == "empty json":
        pointer.write_bytes(b"")
    elif damage == "schema":
        pointer.write_text("{}")
    else:
        data.unlink()
    loaded = found.load()
    assert loaded is not None
    assert loaded.values == {"step": 1}
    assert len(lines) == 1
    assert "checkpoint-000002.json is damaged" in lines[0]
    assert "falling back" in lines[0]
    found.save(arrays(3), {"step": 3})
    assert found.load().values == {"step": 3}  # pyright: ignore[reportOptionalMemberAccess]


KILLED = textwrap.dedent("""
    import os, signal, sys
    import numpy as np
    from suite.training.checkpoint import CheckpointStore
    folder, moment = sys.argv[1], int(sys.argv[2])
    store = CheckpointStore(folder)
    store.save({"a": np.full(1000, 1.0)}, {"step": 1})
    store.save({"a": np.full(1000, 2.0)}, {"step": 2})
    calls = 0
    def dying(function):
        def call(*arguments, **options):
            global calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return call
    for name in ("fsync", "replace", "unlink", "chmod"):
        setattr(os, name, dying(getattr(os, name)))
    store.save({"a": np.full(1000, 3.0)}, {"step": 3})
    print("finished", calls)
""")


def test_killed_at_every_moment_of_a_write_one_whole_checkpoint_is_left(tmp_path):
    outcomes = []
    for moment in range(1, 20):
        folder = tmp_path / str(moment)
        arguments = [sys.executable, "-c", KILLED, str(folder), str(moment)]
        child = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        found, lines = store(folder)
        loaded = found.load()
        assert loaded is not None
        step = loaded.values["step"]
        np.testing.assert_array_equal(loaded.arrays["a"], np.full(1000, float(step)))
        assert not lines
        outcomes.append(step)
        found.save({"a": np.zeros(1)}, {"step": 4})
        assert found.load().values == {"step": 4}  # pyright: ignore[reportOptionalMemberAccess]
        assert not list(folder.glob(".*"))
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, child.stderr
    else:
        pytest.fail("the write made more calls than were tried")
    assert {2, 3} <= set(outcomes)
    assert outcomes == sorted(outcomes)


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path):
    program = textwrap.dedent("""
        import resource, signal, sys
        import numpy as np
        from suite.training.checkpoint import CheckpointError, CheckpointStore
        store = CheckpointStore(sys.argv[1])
        store.save({"a": np.ones(10)}, {"step": 1})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            store.save({"a": np.ones(100_000)}, {"step": 2})
        except CheckpointError as error:
            print(error)
        print(store.load().values)
    """)
    arguments = [sys.executable, "-c", program, str(tmp_path / "cell")]
    child = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    message, values = child.stdout.splitlines()
    assert "cannot write checkpoint" in message
    assert "File too large" in message
    assert "previous checkpoint is kept" in message
    assert values == "{'step': 1}"
    assert len(list((tmp_path / "cell").iterdir())) == 2


def test_a_cell_runs_in_one_process_at_a_time(tmp_path):
    found, _ = store(tmp_path)
    found.lock()
    program = "import sys; from suite.training.checkpoint import *; CheckpointStore(sys.argv[1]).lock()"
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    child = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert child.returncode != 0
    assert CheckpointError.__name__ in child.stderr
    assert "another process is running this cell" in child.stderr
    found.unlock()
    assert os.path.exists(tmp_path / "lock")
    subprocess.run(arguments, cwd=ROOT, check=True, timeout=300)
