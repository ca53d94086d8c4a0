"""Fixtures of the parity tests."""

import pytest
from golden import FRAMEWORKS, Golden, read


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework in turn."""
    return request.param


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden file that `files` parametrises over."""
    return read(request.param)
