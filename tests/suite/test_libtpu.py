"""The compiler of the `libtpu` wheel itself: programs for all chips of a TPU v4 that is not here, and for one."""

import pytest
from tiny_runs import OPTIONS

from reports import records
from suite import run

pytestmark = pytest.mark.tpu


def compiled(out, *arguments):
    """The record of a cell that a command compiles."""
    pytest.importorskip("libtpu")
    what = ["--tasks", "lra.listops", "--architectures", "s5", "--frameworks", "jax", "--hardware", "tpu-v4", *OPTIONS]
    assert run.main([*what, "--out", str(out), *arguments]) == 0
    (record,) = records.read_all(out)
    assert record.status == "compiled"
    return record


def test_programs_of_all_chips_and_of_one(tmp_path, capsys):
    everything = compiled(tmp_path / "all", "--compilations", "1")
    step, evaluation = everything.tables["programs"]
    assert (step["program"], evaluation["program"]) == ("training step", "evaluation")
    assert step["chips"] == evaluation["chips"] == everything.provenance["compiled_for"]["chips"] == 4
    assert step["collectives"]["all-reduce"] > 0
    assert 0 < evaluation["peak_memory_bytes"] < step["peak_memory_bytes"] < 2**30
    assert "TPU v4" in everything.provenance["compiled_for"]["compiler"]
    capsys.readouterr()
    assert compiled(tmp_path / "all", "--compilations", "1") == everything
    assert "1 kept" in capsys.readouterr().out

    (alone,) = compiled(tmp_path / "one", "--devices", "1").tables["programs"]
    assert (alone["chips"], alone["collectives"]) == (1, {})
    assert 1.2 < alone["flops"] / step["flops"] <= 4
