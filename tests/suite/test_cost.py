"""What cells cost, from which record, and which of them fit into a budget."""

import dataclasses
from typing import Any

import msgspec
import pytest
from tiny_runs import OPTIONS, cell

from reports import contended, records
from reports.records import Record
from suite import planning, run
from suite.data import open_dataset
from suite.hardware import detect
from suite.hardware.profiles import PROFILES
from suite.launch import budget, cost, operations, result
from suite.launch.cost import Cost, Estimator
from suite.matrix import Cell, Selection, cells


def measured(of: Cell, seconds: float, **timing: Any) -> Record:
    recipe = of.recipe.to_dict() if of.recipe else of.settings
    return Record(
        cell=result.record_cell(of), status="measured", recipe=recipe, timing={"total_seconds": seconds, **timing}
    )


def one(**selection: Any) -> Cell:
    chosen = {"tasks": ("lra.listops",), "architectures": ("s5",), "frameworks": ("jax",), **selection}
    (found,) = cells(Selection(**chosen))
    return found


def test_the_same_recipe_costs_what_it_cost():
    known = [
        measured(one(seeds=(3,)), 100.0, peak_memory_bytes=2**30, process_peak_memory_bytes=1, energy_joules=3.6e6),
        measured(one(), 90.0),
    ]
    found = Estimator(known, 2).estimate(one(seeds=(2,)))
    assert found == Cost(100.0, f"measured, cell {one(seeds=(3,)).id}", 2**30, 3.6e6, True)
    assert (cost.memory(found.memory), cost.energy(found.joules)) == ("1.0 GiB", "1.0 kWh")
    host = measured(one(), 90.0, peak_memory_bytes=None, process_peak_memory_bytes=2**31)
    assert Estimator([host], 2).estimate(one()).memory == 2**31
    assert Estimator([host], 2).estimate(one()).joules is None
    told = msgspec.structs.replace(host, recipe={**host.recipe, "source": {"all": "elsewhere"}})
    assert Estimator([told], 2).estimate(one()).basis.startswith("measured, cell")
    assert [cost.duration(found) for found in (89, 91, 5_399, 5_400)] == ["89 s", "2 min", "90 min", "1.5 h"]


def test_the_nearest_record_is_scaled_by_operations():
    longer, base = one(overrides=("epochs=60",)), one()
    ratio = (operations.total_operations(longer) or 0) / (operations.total_operations(base) or 1)
    known = [
        measured(base, 100.0, energy_joules=1e3, peak_memory_bytes=7),
        measured(one(overrides=("batch_size=8",)), 1.0),
        measured(one(frameworks=("torch",)), 2.0),
    ]
    found = Estimator(known, 2).estimate(longer)
    assert found.seconds == pytest.approx(100 * ratio)
    assert found.joules == pytest.approx(1e3 * ratio)
    assert (found.measured, found.memory) == (True, 7)  # another number of epochs needs the same memory
    assert base.id in found.basis
    assert "times the operations of cell" in found.basis
    compiled = measured(base, 100.0, energy_joules=1e3, compile_seconds=40.0)
    found = Estimator([compiled], 2).estimate(longer)  # which is compiled once, too
    assert found.seconds == pytest.approx(40 + 60 * ratio)
    assert found.joules == pytest.approx(1e3 * (40 + 60 * ratio) / 100)
    own = Estimator(known[1:], 2).estimate(base)  # a batch of another size rather than another framework
    assert known[1].cell.id in own.basis
    assert own.measured
    twin = Estimator(known[2:], 2).estimate(base)
    assert twin.seconds == pytest.approx(2.0)
    assert "torch" in twin.basis


@pytest.mark.parametrize(
    "record",
    [
        measured(one(hardware="h200"), 1.0),
        measured(one(overrides=("model.layer.d_model=1024", "model.layer.ssm_size=1024")), 1.0),
        measured(one(architectures=("s4",), frameworks=("torch",)), 1.0),
        measured(one(tasks=("lm.book",)), 1.0),
        msgspec.structs.replace(measured(one(), 1.0), status="failed"),
        msgspec.structs.replace(measured(one(), 1.0), recipe={"of": "another version"}),
        measured(one(), 0.0),
    ],
)
def test_what_is_not_near_is_an_assumption_and_says_so(record):
    found = Estimator([record], 2).estimate(one())
    assert not found.measured
    assert found.basis.startswith("no record is near; counted operations at an assumed 8e+09 a second")
    assert found.joules is found.memory is None
    assert found.seconds == (operations.total_operations(one()) or 0) / 8e9


def test_operations_of_a_run_are_its_updates_and_one_pass_of_each_evaluation():
    found = one()
    assert found.recipe is not None
    update, whole = operations.update_operations(found), operations.total_operations(found)
    assert update is not None
    settings, batch = found.recipe.data.settings, found.recipe.batch_size
    passes = found.recipe.epochs * (settings["validation"] + settings["test"]) / (3 * batch)
    assert whole == pytest.approx(update * (found.recipe.total_steps + passes))
    pair = one(tasks=("lra.retrieval",))
    assert pair.recipe is not None
    per_token = operations.recipes_of.operations_per_token("s5", pair.recipe.model) or 0
    assert operations.update_operations(pair) == 3 * per_token * pair.recipe.batch_size * 2 * operations.positions(pair)
    gpu = Estimator([], 2).estimate(one(hardware="h100"))
    assert gpu.seconds == pytest.approx((whole or 0) / (0.1 * (PROFILES["h100"].float32 or 0)))
    assert "at an assumed 10% of the peak rate" in gpu.basis
    assert gpu.joules == pytest.approx(700 * (gpu.seconds or 0))
    assert gpu.basis.endswith("energy at an assumed 700 W, the power of the board")


def test_there_is_no_estimate_where_nothing_is_known():
    found = Estimator([], 2).estimate(one(hardware="gpu"))
    assert found.seconds is None
    assert "the peak rate of this hardware is not known" in found.basis
    (check,) = cells(Selection(tasks=("equivalence.s5",)))
    assert "no such check or timing is measured" in Estimator([], 2).estimate(check).basis
    assert Estimator([measured(check, 60.0)], 2).estimate(check).seconds == 60


def test_evaluations_of_a_language_model_count(tmp_path):
    found = one(tasks=("lm.book",))
    assert found.recipe is not None
    before = operations.total_operations(found, tmp_path)
    assert "evaluations left out" in Estimator([], 2, tmp_path).estimate(found).basis
    text: Any = open_dataset("book", tmp_path)
    operations._tokens.cache_clear()
    read = text.validation.token_count + text.test.token_count
    assert operations.evaluated_tokens(found.recipe, tmp_path) == read
    after = operations.total_operations(found, tmp_path)
    assert before is not None
    assert after is not None
    per_token = operations.update_operations(found) / (3 * found.recipe.batch_size * found.recipe.language.segment)  # pyright: ignore
    assert after - before == pytest.approx(found.recipe.epochs * per_token * read)
    assert "evaluations left out" not in Estimator([], 2, tmp_path).estimate(found).basis
    study = one(tasks=("length.book",)).recipe
    assert study is not None
    assert study.language is not None
    again = text.validation.token_count + (1 + len(study.language.lengths)) * text.test.token_count
    assert operations.evaluated_tokens(study, tmp_path) == again
    windows = study.replace(language=study.language.replace(lengths=(), evaluation="strided", stride=256))
    assert operations.evaluated_tokens(windows, tmp_path) == read * study.language.evaluation_segment / 256


def listops(architectures: tuple[str, ...], seeds: tuple[int, ...] = (0,)) -> list[Cell]:
    return cells(Selection(tasks=("lra.listops",), architectures=architectures, seeds=seeds))


def seconds(found: list[Cell], price: dict[str, float | None]) -> list[tuple[Cell, Cost]]:
    return [(of, Cost(price[of.architecture], "", measured=True)) for of in found]


def names(found: list[Cell]) -> list[tuple[str, int]]:
    return sorted({(of.architecture, of.seed) for of in found})


def test_every_architecture_comes_before_a_second_seed():
    priced = seconds(listops(("s5", "s4", "ema"), (0, 1)), {"s5": 10, "s4": 20, "ema": 40})
    chosen, left_out = budget.choose(priced, 80, 1)
    assert names(chosen) == [("s4", 0), ("s5", 0), ("s5", 1)]
    assert len(chosen) == 6
    reasons = {(one.cell.architecture, one.cell.seed): one.reason for one in left_out}
    assert reasons[("ema", 0)] == "would take 80 s more with its partners, 20 s are left"
    assert set(reasons) == {("ema", 0), ("ema", 1), ("s4", 1)}
    assert names(budget.choose(priced, 140, 1)[0]) == [("ema", 0), ("s4", 0), ("s5", 0)]
    assert names(budget.choose(priced, 70, 2)[0]) == [("ema", 0), ("s4", 0), ("s5", 0)]
    assert budget.choose(priced, 0, 1)[0] == []
    assert len(budget.choose(priced, 1e9, 1)[0]) == len(priced)
    again = budget.choose(priced, 80, 1)
    assert again == (chosen, left_out)


def test_twins_go_together_and_unknown_costs_stay_out():
    found = listops(("s5", "s4"))
    priced = [(of, Cost(None if (of.architecture, of.framework) == ("s5", "torch") else 5.0, "")) for of in found]
    chosen, left_out = budget.choose(priced, 100, 1)
    assert names(chosen) == [("s4", 0)]
    assert {one.cell.framework: one.reason for one in left_out} == {
        "jax": "its partner lra.listops s5 torch seed 0: no estimate of it; run it once without --budget",
        "torch": "no estimate of it; run it once without --budget",
    }


def test_a_level_is_not_taken_without_its_base():
    found = cells(Selection(tasks=("ablation.s5",), architectures=("s5",), frameworks=("jax",)))
    bases = [of for of in found if not of.factor]
    levels = [of for of in found if of.factor]
    assert len(bases) == 1
    assert len(levels) >= 2
    chosen, _ = budget.choose([(of, Cost(10.0, "")) for of in found], 25, 1)
    assert chosen == [bases[0], levels[0]]
    only = [(of, Cost(0.0 if of is bases[0] else 10.0, "")) for of in reversed(found)]
    assert bases[0] in budget.choose(only, 10, 1)[0]
    assert len(budget.choose(only, 10, 1)[0]) == 2


def test_what_is_timed_has_the_machine_alone():
    (of,) = cells(Selection(tasks=("speed.layer",), architectures=("s5",), frameworks=("jax",)))
    assert budget.choose([(of, Cost(10.0, ""))], 5, 4)[0] == []
    (trained,) = cells(Selection(tasks=("lra.listops",), architectures=("s5",), frameworks=("jax",)))
    assert budget.choose([(trained, Cost(10.0, ""))], 5, 4)[0] == []
    assert budget.choose([(trained, Cost(10.0, ""))], 10, 4)[0] == [trained]
    assert budget.wall_seconds([(trained, Cost(4.0, "")), (of, Cost(10.0, "")), (trained, Cost(3.0, ""))], 2) == 17


def test_a_selection_takes_as_long_as_its_cells_one_behind_the_other_in_each_place():
    priced = [(of, Cost(10.0, "")) for of in listops(("s5",), (0, 1, 2))][:3]
    assert [budget.wall_seconds(priced, jobs) for jobs in (1, 2, 3, 16)] == [30, 20, 10, 10]
    assert budget.wall_seconds([], 4) == 0
    assert budget.wall_seconds([(of, Cost(None, "")) for of, _ in priced], 2) == 0
    twins = [(of, Cost(10.0, "")) for of in listops(("s5", "s4"))]
    assert len(budget.choose(twins, 19, 2)[0]) == 2
    assert len(budget.choose(twins, 20, 2)[0]) == 4
    (left_out, *_) = budget.choose(twins, 15, 2)[1]
    assert left_out.reason == "would take 10 s more with its partners, 5 s are left"


def test_what_cannot_fit_into_memory_is_in_no_budget():
    lacks = "does not fit: an estimated 99.0 GiB, and NVIDIA H100 80 GB SXM has 74.5 GiB"
    priced = [(of, Cost(1.0, "", lacks=lacks if of.framework == "jax" else "")) for of in listops(("s5",))]
    chosen, left_out = budget.choose(priced, 100, 1)
    assert chosen == []
    more = f"{lacks}; a smaller --set batch_size or --set model.checkpoint=true takes less"
    assert [one.reason for one in left_out] == [more, f"its partner lra.listops s5 jax seed 0: {more}"]


@pytest.mark.parametrize("jobs", [1, 2, 4, 16])
def test_jobs_share_the_cores_and_make_no_time_of_nothing(jobs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detect, "cores", lambda: 4)
    monkeypatch.setattr(planning, "known_records", lambda out: [])
    arguments = ["--tasks", "lra.listops", "--architectures", "s5", "--frameworks", "jax", "--profile", "small"]
    arguments += ["--seeds", "0", "1", "2", "3", "--hardware", "cpu", "--out", str(tmp_path), "--dry-run"]
    assert run.main([*arguments, "--jobs", str(jobs)]) == 0
    *_, one_cell, last = capsys.readouterr().out.splitlines()
    cores = max(1, 4 // jobs)
    alone = (operations.total_operations(one(profile="small")) or 0) / (cost.SUSTAINED_CORE * cores)
    assert f"  {cost.duration(alone)}  " in one_cell
    assert f"on {cores} core" in one_cell
    assert last == f"4 cells, estimated {cost.duration(alone * cores)} with {jobs} at a time"


def test_cells_that_share_a_device_are_not_counted_on_to_gain_by_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(planning, "known_records", lambda out: [measured(one(hardware="h200"), 4_000.0)])
    arguments = ["--tasks", "lra.listops", "--architectures", "s5", "--frameworks", "jax", "--hardware", "h200"]
    arguments += ["--seeds", "0", "1", "2", "--out", str(tmp_path), "--dry-run", "--jobs", "3"]
    assert run.main([*arguments, "--budget", "2.5h"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("2 cells, estimated 2.2 h with 3 at a time")
    assert last.endswith(", as if one after the other: they share a device")


def at(of: Record, cores: Any, **environment: Any) -> Record:
    """A record as of a machine of so many cores, with these variables."""
    return msgspec.structs.replace(of, provenance={"hardware": {"cores": cores}, "environment": environment})


def test_fewer_cores_than_a_record_had_take_longer():
    known, told = measured(one(), 100.0), f"measured, cell {one().id}"

    def priced(record: Record, cores: int) -> tuple[float | None, str]:
        found = Estimator([record], cores).estimate(one())
        return found.seconds, found.basis

    assert priced(at(known, 8), 8) == (100, told)
    assert priced(at(known, 8), 2) == (400, f"{told}, times 4 for 2 of its 8 cores")
    assert priced(at(known, 8, NPROC="2", OMP_NUM_THREADS="8"), 2) == (100, told)
    assert priced(at(known, 2), 8) == (100, told)
    for cores in (None, "8", -1, 10**400):
        assert priced(at(known, cores), 2) == (100, told)
    for threads in ("0", "-1", "9" * 5_000, 1.5, None, []):
        assert priced(at(known, 8, NPROC=threads), 2) == (400, f"{told}, times 4 for 2 of its 8 cores")
    assert priced(msgspec.structs.replace(known, provenance={"hardware": [], "environment": 1}), 2) == (100, told)
    longer = Estimator([at(known, 4)], 1).estimate(one(overrides=("epochs=60",)))
    alone = Estimator([known], 1).estimate(one(overrides=("epochs=60",)))
    assert longer.seconds == pytest.approx(4 * (alone.seconds or 0))


def test_one_device_takes_longer_than_the_two_of_a_record(tmp_path, capsys, monkeypatch):
    of = one(hardware="h200")
    known = measured(of, 100.0, devices=2, peak_memory_bytes=2**30, energy_joules=1e5)
    found = Estimator([known], 2).estimate(of)
    assert (found.seconds, found.memory, found.joules) == (200, 2**31, 1e5)
    assert found.basis == f"measured, cell {of.id}, times 2 for 1 of its 2 devices"
    two = Estimator([known], 2, devices={of.id: 2}).estimate(of)
    assert (two.seconds, two.memory, two.joules) == (100, 2**30, 1e5)
    four = Estimator([known], 2, devices={of.id: 4}).estimate(of)
    assert (four.seconds, four.memory) == (100, 2**29)
    monkeypatch.setattr(planning, "known_records", lambda out: [known])
    arguments = ["--tasks", "lra.listops", "--architectures", "s5", "--frameworks", "jax", "--hardware", "h200"]
    for asked, told in (("1", "3 min"), ("2", "2 min")):
        assert run.main([*arguments, "--devices", asked, "--out", str(tmp_path), "--dry-run"]) == 0
        assert f"1 cell, estimated {told} with 1 at a time" in capsys.readouterr().out
    (twin,) = cells(Selection(tasks=("lra.listops",), architectures=("s5",), frameworks=("torch",), hardware="h200"))
    assert Estimator([known, measured(twin, 50.0)], 2).estimate(twin).joules == 500 * 50  # of one board of its two
    assert (
        Estimator([], 2, devices={of.id: 2}).estimate(of).basis.endswith("at an assumed 1400 W, the power of 2 boards")
    )


def test_what_a_chip_has_too_little_memory_for_says_so():
    of, chip = one(hardware="h100"), PROFILES["h100"].memory or 0.0
    known = measured(one(hardware="h200"), 100.0, peak_memory_bytes=1.5 * chip)
    found = Estimator([known], 2).estimate(of)
    assert found.lacks == "does not fit: an estimated 111.8 GiB, and NVIDIA H100 80 GB SXM has 74.5 GiB"
    assert found.basis.startswith(f"{found.lacks}; 1 times the operations of cell ")
    shared = Estimator([known], 2, devices={of.id: 2}).estimate(of)
    assert (shared.lacks, shared.memory) == ("", 0.75 * chip)
    assert Estimator([known], 2).estimate(one(hardware="h200")).lacks == ""
    host = measured(one(), 100.0, process_peak_memory_bytes=detect.memory("cpu"))
    assert Estimator([host], 2).estimate(one()).lacks == ""
    larger = msgspec.structs.replace(host, timing={"total_seconds": 1, "process_peak_memory_bytes": 1e15})
    assert "does not fit" in Estimator([larger], 2).estimate(one()).basis


def test_the_command_says_what_a_budget_leaves_out(tmp_path, capsys):
    of = cell("jax")
    records.write(measured(of, 100.0, energy_joules=36_000.0, process_peak_memory_bytes=2**30), tmp_path / "runs")
    arguments = ["--tasks", "lra.listops", "--architectures", "s5", "--hardware", "cpu", "--jobs", "1", *OPTIONS]
    arguments += [
        "--seeds",
        "0",
        "1",
        "2",
        "--out",
        str(tmp_path / "runs"),
        "--data",
        str(tmp_path / "data"),
        "--dry-run",
    ]
    assert run.main([*arguments, "--budget", "310s"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["left out", "left out"]
    assert "lra.listops s5 jax seed 2" in lines[0]
    assert "would take 3 min more with its partners, 10 s are left" in lines[0]
    assert lines[2] == "budget of 5 min: 3 of 5 cells; 1 measured already"
    assert "measured already, will not run" in lines[4]
    (estimated,) = [line for line in lines if " 1     smoke" in line and " jax " in line]
    assert f"2 min  1.0 GiB  10 Wh   measured, cell {of.id}" in estimated
    assert lines[-1] == "4 cells, estimated 5 min with 1 at a time, 30 Wh in 3 of them"
    assert not (tmp_path / "data").exists()
    for text in ("soon", "0h"):
        with pytest.raises(SystemExit):
            run.main([*arguments, "--budget", text])
    capsys.readouterr()
    assert run.main([*arguments, "--budget", "1s"]) == 0
    shown = capsys.readouterr().out
    assert "budget of 1 s: nothing fits; 1 measured already" in shown
    assert shown.splitlines()[-1].startswith("0 cells, estimated 0 s")
    assert run.main([*(word for word in arguments if word != "--dry-run"), "--budget", "1s"]) == 2
    assert "nothing fits into --budget 1 s, so nothing was run" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_cells_without_data_are_listed_apart(tmp_path, capsys):
    of = cell("jax")
    records.write(measured(of, 100.0), tmp_path / "runs")
    tasks = ["--tasks", "lra.image", "lra.listops", "--architectures", "s5", "--frameworks", "jax"]
    arguments = [*tasks, "--hardware", "cpu", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    assert run.main([*arguments, "--dry-run", "--budget", "99h", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("budget of 99.0 h: 1 of 1 cell")
    assert lines[0].endswith("; 1 without data here")
    assert lines[1].startswith("without data here: lra.image; ")
    assert "no data here, will not run" in lines[-2]
    assert lines[-1].startswith("1 cell, estimated ")
    assert lines[-1].endswith("; 1 more without data here will not run")


def test_times_of_a_shared_device_price_nothing(monkeypatch):
    base, longer = one(hardware="h200"), one(hardware="h200", overrides=("epochs=60",))
    shared = measured(base, 9.0, peak_memory_bytes=2**30, energy_joules=900.0)
    assert Estimator([shared], 2).estimate(base).seconds == 9
    monkeypatch.setattr(contended, "why", lambda record: "shared" if record.timing["total_seconds"] == 9 else "")
    found = Estimator([shared], 2).estimate(base)
    assert not found.measured
    assert found.basis.startswith("no record is near")
    assert found.memory == 2**30
    assert found.basis.endswith(f"memory of cell {base.id}; energy at an assumed 700 W, the power of the board")
    own = measured(longer, 60.0)
    by_other = Estimator([shared, own], 2).estimate(base)
    assert longer.id in by_other.basis
    assert by_other.seconds is not None
    assert 1 < by_other.seconds < 60


@pytest.mark.parametrize(
    ("there", "here", "precision", "ratio", "of"),
    [
        ("h200", "h100", "float32", 4.8 / 3.35, "bandwidths"),
        ("a100", "h200", "float32", 2.039 / 4.8, "bandwidths"),
        ("h200", "a100", "float32", 67 / 19.5, "peak rates"),
        ("h200", "a100", "tf32", 494.7 / 156, "peak rates"),
    ],
)
def test_another_chip_is_priced_by_what_bounds_it_more(there: str, here: str, precision: str, ratio: float, of: str):
    overrides = (f"matmul_precision={precision}",)
    known = measured(one(hardware=there, overrides=overrides), 100.0, peak_memory_bytes=2**30, energy_joules=3e4)
    found = Estimator([known], 2).estimate(one(hardware=here, overrides=overrides))
    assert found.seconds == pytest.approx(100 * ratio)
    assert f" on {there}, times the ratio {ratio:.3g} of the {of} of {there} and {here}" in found.basis
    assert found.memory == pytest.approx(2**30)
    assert f"that of cell {known.cell.id} on {there}, by parameters and activations" in found.basis
    assert found.joules == pytest.approx((PROFILES[here].power or 0) * 100 * ratio)


def test_a_record_of_the_same_chip_goes_before_one_of_another():
    known = [measured(one(hardware="a100"), 100.0, peak_memory_bytes=2**30, energy_joules=3e4)]
    there = measured(one(hardware="h200", frameworks=("torch",), overrides=("batch_size=8",)), 50.0, energy_joules=1e4)
    own = Estimator([*known, there], 2).estimate(one(hardware="h200"))
    assert "times the ratio" not in own.basis
    assert own.joules == pytest.approx(1e4 / 50 * (own.seconds or 0))
    assert "energy at" not in own.basis  # scaled with the time of the nearest record, which has it
    (timed,) = cells(Selection(tasks=("lra.listops",), architectures=("s5",), frameworks=("jax",), hardware="h200"))
    powered = Estimator([measured(timed, 80.0), there], 2).estimate(timed)
    assert powered.joules == pytest.approx(1e4 / 50 * 80)
    assert "energy at 200 W, the median of the mean powers of 1 records" in powered.basis
    others = [measured(one(hardware="h200", seeds=(seed,)), 50.0, energy_joules=j) for seed, j in ((3, 5e3), (4, 4e4))]
    middle = Estimator([measured(timed, 80.0), there, *others], 2).estimate(timed)
    assert "energy at 200 W, the median of the mean powers of 3 records" in middle.basis


def test_memory_grows_with_the_batch_and_names_its_record():
    known = [measured(one(), 100.0, peak_memory_bytes=2**30)]
    found = Estimator(known, 2).estimate(one(overrides=("batch_size=8",)))
    own, theirs = (operations.footprint(of) for of in (one(overrides=("batch_size=8",)), one()))
    assert found.memory == pytest.approx(2**30 * (own or 0) / (theirs or 1))
    assert (found.memory or 0) < 2**30
    assert f"that of cell {one().id}, by parameters and activations" in found.basis
    base, recipe = cost.footprint(one()) or 0, one().recipe
    assert recipe is not None
    double, again, lower = (
        (cost.footprint(one(overrides=(change,))) or 0) - base
        for change in (f"batch_size={2 * recipe.batch_size}", "model.checkpoint=true", "model.compute_dtype=bfloat16")
    )
    assert (again, lower) == pytest.approx((double / recipe.model.depth - double, -double / 2))


def test_what_the_interpreter_takes_does_not_grow_with_the_recipe():
    known = [measured(one(), 100.0, peak_memory_bytes=None, process_peak_memory_bytes=cost.BARE_PROCESS["jax"] + 2**30)]
    small = one(overrides=("batch_size=8",))
    ratio = (operations.footprint(small) or 0) / (operations.footprint(one()) or 1)
    found = Estimator(known, 2).estimate(small)
    assert found.memory == pytest.approx(cost.BARE_PROCESS["jax"] + ratio * 2**30)
    assert found.basis.endswith("by parameters and activations, beside 0.5 GiB of the bare process")
    bare = [measured(one(), 100.0, process_peak_memory_bytes=2**20)]
    assert Estimator(bare, 2).estimate(small).memory == 2**20


def test_a_gpu_that_is_not_here_is_planned_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detect, "present", lambda: ["cpu"])
    arguments = ["--tasks", "lra.listops", "--architectures", "s5", "--frameworks", "jax", "--profile", "paper"]
    arguments += ["--hardware", "h200", "--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    assert run.main([*arguments, "--dry-run", "--seeds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  measured, cell " in lines[1]
    assert lines[2] == "NVIDIA H200 141 GB SXM is not on this machine: these are plans, and nothing of it runs here"
    assert run.main(arguments) == 2
    assert "--dry-run prices it from here" in capsys.readouterr().err


def test_cells_that_never_run_take_nothing_of_a_budget(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detect, "present", lambda: ["tpu-v4", "cpu"])
    open_dataset("book", tmp_path)
    arguments = ["--tasks", "lm.book", "--architectures", "s5", "--out", str(tmp_path), "--data", str(tmp_path)]
    assert run.main([*arguments, "--dry-run", "--budget", "1h"]) == 0
    first, _, *rows, last = capsys.readouterr().out.splitlines()
    assert first == "budget of 60 min: 1 of 1 cell; 1 priced by an assumed rate, not by a record"
    (torch,) = [row for row in rows if " torch " in row]
    assert "  0 s " in torch
    assert torch.endswith("this framework does not run on this hardware, will not run")
    assert last.startswith("2 cells, estimated ")


def test_costs_survive_hostile_records():
    of = dataclasses.replace(one(), hardware="cpu")
    for timing in ({"total_seconds": "long", "energy_joules": []}, {"total_seconds": 10**400}, {"total_seconds": True}):
        hostile = msgspec.structs.replace(measured(of, 1.0), timing=timing)
        assert not Estimator([hostile], 2).estimate(of).measured
    other = measured(one(overrides=("batch_size=8",)), 1.0, devices=10**400, peak_memory_bytes=2**30)
    assert other.recipe["data"]["settings"].pop("min_length")
    other.recipe["data"]["settings"]["shortest"] = 5
    assert not Estimator([other], 2).estimate(of).measured
    strange = measured(one(overrides=("batch_size=8",)), 1.0, devices=10**400, peak_memory_bytes=2**30)
    assert Estimator([strange], 2).estimate(of).measured


def test_words_of_a_record_reach_a_terminal_as_text(tmp_path, capsys):
    of = measured(one(overrides=("batch_size=8",)), 1.0)
    task = "lra.\x1b[31mRED\x1b]0;owned\x07\nlines"
    records.write(msgspec.structs.replace(of, cell=msgspec.structs.replace(of.cell, task=task)), tmp_path)
    arguments = ["--tasks", "lra.listops", "--architectures", "s5", "--frameworks", "jax", "--hardware", "cpu"]
    assert run.main([*arguments, "--out", str(tmp_path), "--data", str(tmp_path), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "(lra.\ufffd[31mRED\ufffd]0;owned\ufffd lines)" in shown
    assert len(shown.splitlines()) == 3
