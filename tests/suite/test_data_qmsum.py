"""QMSum from small files of its layout, and summaries that need no training."""

import json
from pathlib import Path

import numpy as np
import pytest

from suite.data import DataError, prepare_dataset
from suite.rouge import rouge
from suite.tasks.summaries import baselines, main, pairs

COUNTS = {"train": 3, "validation": 1, "test": 2}


def meeting(turns: list[tuple[str, str]], general: list[tuple[str, str]], specific: list[tuple[str, str]]) -> str:
    return json.dumps({
        "topic_list": [],
        "general_query_list": [{"query": q, "answer": a} for q, a in general],
        "specific_query_list": [{"query": q, "answer": a, "relevant_text_span": [["0", "1"]]} for q, a in specific],
        "meeting_transcripts": [{"speaker": speaker, "content": content} for speaker, content in turns],
    })  # fmt: skip


@pytest.fixture
def files(tmp_path) -> Path:
    turns = [("Ann", "Shall we start ?"), ("Bö", "Yes {vocalsound} .")]
    for folder in ("train", "val", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "b.json").write_text(meeting(turns, [("All?", "They start now.")], [("Who?", "Ann.")]))
        (tmp_path / folder / "a.json").write_text(meeting(turns[:1], [], [("What?", "Shall they.")]))
    return tmp_path


def prepared(files: Path, **counts):
    return prepare_dataset("qmsum", files / "data", released=files, source="local", **(COUNTS | counts))


def test_questions_with_transcripts_and_their_answers(files):
    data = prepared(files)
    assert pairs(data.train) == [
        ("What?", "Ann: Shall we start ?", "Shall they."),
        ("All?", "Ann: Shall we start ?\nBö: Yes {vocalsound} .", "They start now."),
        ("Who?", "Ann: Shall we start ?\nBö: Yes {vocalsound} .", "Ann."),
    ]
    assert [split.count for split in (data.validation, data.test)] == [1, 2]
    batch = data.test.batch(np.array([1]), pad_to=64)
    assert batch.inputs.shape == (2, 64)  # the pair is two sequences
    assert batch.lengths.tolist() == [len("All?") + 1 + len("Ann: Shall we start ?\nB..: Yes {vocalsound} .") + 1, 16]


def test_too_few_questions_and_malformed_files(files):
    with pytest.raises(DataError, match="has 3 questions for test, 4 are wanted"):
        prepared(files, test=4)
    (files / "val" / "a.json").write_text('{"meeting_transcripts": []}')
    with pytest.raises(DataError, match=r"val/a\.json is no meeting of QMSum: KeyError"):
        prepared(files)
    (files / "val" / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"val/a\.json is no meeting of QMSum: JSONDecodeError"):
        prepared(files)


def test_baselines_are_as_long_as_answers(files, capsys):
    found = baselines(prepared(files), "test")  # answers have 2 words on average
    first = [rouge("ann shall", "Shall they."), rouge("ann shall", "They start now.")]
    last = [rouge("we start", "Shall they."), rouge("yes vocalsound", "They start now.")]
    asked = [rouge("What?", "Shall they."), rouge("All?", "They start now.")]
    for name, scores in (("first", first), ("last", last), ("question", asked)):
        assert found[name] == {key: (scores[0][key] + scores[1][key]) / 2 for key in scores[0]}
    assert found["first"]["rouge1"] == 0.25
    assert found["random"].keys() == found["first"].keys()
    assert main(["--data", str(files / "nothing")]) == 1
    assert "error: qmsum is not prepared" in capsys.readouterr().err
