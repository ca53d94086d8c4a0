"""Fixtures of the report tests."""

from pathlib import Path

import pytest
from report_records import Factory, everything, make_record, store


@pytest.fixture
def make() -> Factory:
    """The record factory."""
    return make_record


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder with records of every status."""
    return store(everything(), tmp_path / "runs")
