"""Fixtures of the report tests."""

from pathlib import Path

import pytest
from report_records import Factory, everything, make_record, store

from reports import build


@pytest.fixture
def make() -> Factory:
    """The record factory."""
    return make_record


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder with records of every status."""
    return store(everything(), tmp_path / "runs")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of hostile records."""
    from test_hostile import hostile_records

    folder = tmp_path_factory.mktemp("hostile")
    return build.build([store(hostile_records(), folder / "runs")], folder / "site").parent
