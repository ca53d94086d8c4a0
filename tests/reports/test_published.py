"""Published numbers: complete, typed, versions kept apart, and errors that name their place."""

from collections import Counter
from pathlib import Path

import pytest

from reports import published
from reports.published import PublishedError

S5 = {"lra.listops": (62.15, 0.23), "lra.text": (89.31, 0.15), "lra.retrieval": (91.4, 0.05),
      "lra.image": (88.0, 0.22), "lra.pathfinder": (95.33, 0.26), "lra.pathx": (98.58, 0.17)}  # fmt: skip


def test_s5_references_are_the_final_table() -> None:
    shipped = published.shipped()
    for task, (value, std) in S5.items():
        found = shipped.reference(task, "s5")
        assert found is not None
        paper, number = found
        assert (number.value, number.std, number.version, number.transcription) == (
            value,
            std,
            "final",
            "cross-checked",
        )
        assert number.protocol == "lra-s4-line"
        assert paper.paper.url == "https://arxiv.org/abs/2208.04933"
    assert shipped.reference("lra.listops", "unknown") is None


def test_every_entry_is_there_and_the_versions_are_apart() -> None:
    (paper,) = published.shipped().papers
    assert len(paper.numbers) == 219
    assert Counter(number.transcription for number in paper.numbers) == {"cross-checked": 172, "read": 47}
    assert sum(number.value is None for number in paper.numbers) == 17
    assert sum(number.std is not None for number in paper.numbers) == 48
    averages = [n for n in paper.numbers if n.task == "lra.average" and n.name == "S5" and n.table != "abstract"]
    assert {number.version: number.value for number in averages} == {"v1": 82.46, "final": 87.46}


@pytest.mark.parametrize(("version", "average"), [("v1", 82.46), ("final", 87.46)])
def test_the_averages_are_those_of_their_own_table(version: str, average: float) -> None:
    (paper,) = published.shipped().papers
    own = [
        n for n in paper.numbers if n.name == "S5" and n.version == version and n.task in S5 and n.table != "abstract"
    ]
    assert len(own) == 6
    assert sum(number.value or 0 for number in own) / 6 == pytest.approx(average, abs=0.006)


def test_other_known_values() -> None:
    (paper,) = published.shipped().papers
    known = {(n.name, n.task, n.metric): n for n in paper.numbers}
    pendulum = known["S5", "pendulum.regression", "mse"]
    assert (pendulum.value, pendulum.std, pendulum.n, pendulum.unit) == (3.41, 0.27, 20, "1e-3")
    assert known["S5", "speech.sc35", "accuracy"].value == 96.52
    assert known["Transformer", "lra.pathx", "accuracy"].value is None


def _copy(tmp_path: Path, old: str = "", new: str = "") -> Path:
    text = (published.FOLDER / "s5.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "s5.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


SPOILED = {
    "unknown field": ("value = 62.15", "valeu = 62.15", r"at `\$\.numbers\[0\]`"),
    "wrong type": ("value = 62.15", 'value = "62.15"', r"at `\$\.numbers\[0\]\.value`"),
    "unknown transcription": ('"cross-checked"', '"remembered"', r"at `\$\.numbers\[0\]\.transcription`"),
    "other URL": ("https://arxiv.org", "javascript://arxiv.org", r"at `\$\.paper\.url`"),
    "unknown protocol": ('protocol = "lra-s4-line"', 'protocol = "mine"', r"at `\$\.numbers\[0\]`"),
    "reference without value": ("value = 62.15\n", "", r"at `\$\.numbers\[0\]`"),
    "there twice": ('task = "lra.text"', 'task = "lra.listops"', r"there twice - at `\$\.numbers\[1\]`"),
    "not TOML": ("[paper]", "[paper", "line"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_file_is_one_error_that_names_file_and_place(name: str, tmp_path: Path) -> None:
    old, new, message = SPOILED[name]
    path = _copy(tmp_path, old, new)
    with pytest.raises(PublishedError, match=message) as caught:
        published.load(tmp_path)
    assert str(path) in str(caught.value)


def test_two_references_of_one_task_are_an_error(tmp_path: Path) -> None:
    _copy(tmp_path)
    (tmp_path / "z.toml").write_text(_copy(tmp_path, 'id = "s5"', 'id = "other"').read_text(encoding="utf-8"))
    _copy(tmp_path)
    with pytest.raises(PublishedError, match="two reference numbers"):
        published.load(tmp_path)


def test_an_unchecked_number_carries_a_dagger(tmp_path: Path) -> None:
    _copy(tmp_path, '"cross-checked"', '"unverified"')
    found = published.load(tmp_path).reference("lra.listops", "s5")
    assert found is not None
    assert found[1].dagger == "†"
