"""Fixtures of the parity tests."""

from pathlib import Path

import pytest
from golden import FRAMEWORKS, Golden, read

IN_EVERY_RUN = ("test_ladder_rows.py", "test_ladder_s5.py")
"""The ladder's own tests and one whole ladder; those of the other architectures take a minute or two each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the ladders that have a nox session of their own."""
    for item in items:
        name = item.path.name
        if item.path.parent == Path(__file__).parent and name.startswith("test_ladder_") and name not in IN_EVERY_RUN:
            item.add_marker("ladder")


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework in turn."""
    return request.param


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden file that `files` parametrises over."""
    return read(request.param)
