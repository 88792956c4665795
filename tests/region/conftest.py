"""A running pump for whoever asks for one, and each way in which its media can be encrypted."""

from collections.abc import Iterator

import pytest

from tests.region.rig import WAYS, Rig, running


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    way: str = request.param
    return way
