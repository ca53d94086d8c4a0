"""The result record: what is written comes back, and nothing damaged comes in."""

import base64
import json
import os
import tracemalloc
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from report_records import Factory, everything, store

from reports import atomic, records
from reports.records import RecordError


def test_every_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store(everything(), tmp_path)
    expected = sorted(everything(), key=lambda record: record.cell.id)
    assert records.read_all(tmp_path) == expected
    assert [path.name for path in sorted((tmp_path / "records").iterdir())] == [f"{r.cell.id}.json" for r in expected]


def test_json_does_not_depend_on_the_order_of_keys(make: Factory) -> None:
    one = make(metrics={"a": 1.0, "b": 2.0}, provenance={"x": {"p": 1, "q": 2}})
    two = make(metrics={"b": 2.0, "a": 1.0}, provenance={"x": {"q": 2, "p": 1}})
    assert records.to_json(one) == records.to_json(two)


def test_numpy_values_and_not_finite_ones_are_plain_json(make: Factory, tmp_path: Path) -> None:
    curves = {"epoch": np.array([1, 2]), "train_loss": np.array([0.5, np.nan], dtype=np.float32)}
    path = records.write(make(metrics={"a": np.float32(0.5), "b": float("inf")}, curves=curves), tmp_path)
    record = records.read(path)
    assert record.metrics == {"a": 0.5, "b": None}
    assert record.curves["train_loss"] == [0.5, None]


def test_a_long_curve_is_one_line_and_text_is_untouched(make: Factory) -> None:
    record = make(reason="[\n1,  2\n]", curves={"step": list(range(500)), "step_loss": [1.0] * 500})
    text = records.to_json(record).decode()
    assert len(text.splitlines()) < 100
    assert json.loads(text)["reason"] == "[\n1,  2\n]"


DAMAGE = {
    "truncated": (lambda text: text[: len(text) // 2], "Input data was truncated|malformed"),
    "empty": (lambda text: "", "Input data was truncated"),
    "not utf-8": (lambda text: text.replace("lra", "\udcff"), "not valid"),
    "unknown field": (lambda text: text.replace('"seed":', '"sede":'), r"`sede` - at `\$\.cell`"),
    "wrong type": (lambda text: text.replace('"seed": 0', '"seed": "0"'), r"at `\$\.cell\.seed`"),
    "wrong schema": (lambda text: text.replace("record/1", "record/9"), r"at `\$\.schema`"),
    "wrong status": (lambda text: text.replace('"measured"', '"best"'), r"at `\$\.status`"),
    "path as id": (lambda text: text.replace('"id": "', '"id": "../'), r"at `\$\.cell\.id`"),
    "another cell": (lambda text: text.replace('"id": "', '"id": "x'), r"at `\$\.cell\.id`"),
    "short curve": (lambda text: text.replace('"step": [1.0, ', '"step": ['), r"at `\$\.curves\.step_loss`"),
    "deep nesting": (lambda text: text.replace('"dirty": false', '"dirty": ' + "[" * 9999 + "]" * 9999), "not valid"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_record_is_one_error_that_names_file_and_place(name: str, make: Factory, tmp_path: Path) -> None:
    path = records.write(make(), tmp_path)
    spoil, message = DAMAGE[name]
    spoiled = spoil(path.read_text())
    assert spoiled != path.read_text()
    path.write_bytes(spoiled.encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError, match=message) as caught:
        records.read_all(tmp_path)
    assert str(path) in str(caught.value)


def test_an_invalid_record_is_not_written(make: Factory, tmp_path: Path) -> None:
    for changes in ({"status": "best"}, {"id": "../escape"}, {"curves": {"step": [1.0], "step_loss": []}}):
        with pytest.raises(RecordError):
            records.write(make(**changes), tmp_path)
    with pytest.raises(RecordError, match="of type object"):
        records.write(make(provenance={"a": object()}), tmp_path)
    assert not list(tmp_path.rglob("*"))


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    make: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = records.write(make(), tmp_path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match="No space left on device"):
        records.write(make(accuracy=0.5), tmp_path)
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_an_interrupted_write_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(source: str, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(tmp_path / "a.json", b"1")
    assert not list(tmp_path.iterdir())


def test_folders_are_joined_and_contradictions_are_errors(make: Factory, tmp_path: Path) -> None:
    store([make()], tmp_path / "a")
    store([make(), make(seed=1)], tmp_path / "b")
    assert len(records.read_all([tmp_path / "a", tmp_path / "b"])) == 2
    store([make(accuracy=0.9)], tmp_path / "c")
    with pytest.raises(RecordError, match="two different records"):
        records.read_all([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(RecordError, match="does not exist"):
        records.read_all(tmp_path / "nowhere")
    with pytest.raises(RecordError, match="is no folder"):
        records.read_all(next((tmp_path / "a" / "records").iterdir()))


@pytest.mark.parametrize(("classes", "encoding"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16")])
def test_predictions_come_back(classes: int, encoding: str) -> None:
    generator = np.random.default_rng(classes)
    predicted, labels = generator.integers(0, classes, (2, 1001))
    stored = records.encode_predictions(predicted, labels, "test", classes)
    assert stored.encoding == f"zlib+base64:{encoding}"
    np.testing.assert_array_equal(records.decode_predictions(stored), predicted)
    again = records.encode_predictions(predicted.astype(np.uint32), labels.astype(np.int32), "test", classes)
    assert again == stored
    right = records.decode_correct(stored)
    assert right is not None
    np.testing.assert_array_equal(right, predicted == labels)


def test_records_from_before_the_correct_examples_were_kept_stay_as_they_are(make: Factory, tmp_path: Path) -> None:
    new = make()
    assert new.predictions is not None
    old = msgspec.structs.replace(new, predictions=msgspec.structs.replace(new.predictions, correct=""))
    path = records.write(old, tmp_path)
    assert b'"correct"' not in path.read_bytes()
    assert records.read(path) == old
    assert records.decode_correct(records.read(path).predictions) is None  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("correct", ["!!!!", "AAAA", "eJwDAAAAAAE="])
def test_damaged_correct_examples_are_an_error_that_names_the_file(correct: str, make: Factory, tmp_path: Path) -> None:
    record = make()
    assert record.predictions is not None
    spoiled = msgspec.structs.replace(record, predictions=msgspec.structs.replace(record.predictions, correct=correct))
    path = records.write(spoiled, tmp_path)
    with pytest.raises(RecordError, match=rf"{path.name} is not valid: .* split 'test'"):
        records.read(path)


def test_predictions_refuse_what_they_cannot_hold() -> None:
    labels = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match="from 0 to 9"):
        records.encode_predictions(np.array([0, 1, 10]), labels, "test", 10)
    with pytest.raises(ValueError, match="from 0 to 9"):
        records.encode_predictions(np.array([0.0, 1.0, 2.0]), labels, "test", 10)  # pyright: ignore
    with pytest.raises(ValueError, match="equally long"):
        records.encode_predictions(np.array([0, 1]), labels, "test", 10)


@pytest.mark.parametrize("data", ["!!!!", "AAAA", ""])
def test_damaged_predictions_are_errors(data: str) -> None:
    stored = records.encode_predictions(np.arange(4), np.arange(4), "test", 10)
    spoiled = records.Predictions(**{name: getattr(stored, name) for name in stored.__struct_fields__} | {"data": data})
    with pytest.raises(RecordError, match="split 'test'"):
        records.decode_predictions(spoiled)


def test_predictions_of_more_than_their_count_are_not_unpacked() -> None:
    stored = records.encode_predictions(np.arange(10), np.arange(10), "test", 10)
    fields = {name: getattr(stored, name) for name in stored.__struct_fields__}
    bomb = base64.b64encode(zlib.compress(bytes(2**26))).decode()
    tracemalloc.start()
    with pytest.raises(RecordError, match="do not match"):
        records.decode_predictions(records.Predictions(**fields | {"data": bomb}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_which_predictions_are_right_comes_back() -> None:
    labels = np.array([0, 1, 2, 1, 0, 2, 1, 1, 0])
    predicted = np.array([0, 1, 1, 1, 0, 2, 0, 1, 0])
    found = records.encode_predictions(predicted, labels, "test", 3)
    np.testing.assert_array_equal(records.decode_correct(found), predicted == labels)
    names = (name for name in found.__struct_fields__ if name != "correct")
    assert records.decode_correct(type(found)(**{name: getattr(found, name) for name in names})) is None


@pytest.mark.parametrize("damage", ["x", base64.b64encode(b"no zlib").decode(),
                                    base64.b64encode(zlib.compress(bytes(100))).decode()])  # fmt: skip
def test_damaged_bits_are_errors(make: Factory, damage: str) -> None:
    found = make().predictions
    assert found
    values = {name: getattr(found, name) for name in found.__struct_fields__}
    with pytest.raises(RecordError, match="predictions of split 'test'"):
        records.decode_correct(type(found)(**(values | {"correct": damage})))


def test_only_records_of_ablations_name_a_factor(make: Factory, tmp_path: Path) -> None:
    assert '"factor"' not in records.to_json(make()).decode()
    made = make(factor="s5.blocks", level="2", base="0123456789ab")
    assert records.read(records.write(made, tmp_path)).cell == made.cell
    with pytest.raises(RecordError, match=r"\$\.cell\.base"):
        records.write(make(base="../x"), tmp_path)
