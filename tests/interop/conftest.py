from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.interop.mesh import FRANKFURT, LOOPBACK, SINGAPORE, Mesh, running
from tests.interop.stack import Loop, asyncio_loop


@pytest.fixture(autouse=True)
def loopback_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves out the loopback interface, which is the only one that every machine has."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: list(LOOPBACK))


@pytest.fixture
def loop() -> Iterator[Loop]:
    with asyncio_loop() as loop:
        yield loop


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two bridges and the trunk between them."""
    async with running(tmp_path, FRANKFURT, SINGAPORE) as mesh:
        yield mesh
