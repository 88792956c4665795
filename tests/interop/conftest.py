from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.interop.mesh import FRANKFURT, LOOPBACK, SINGAPORE, Mesh, running
from tests.interop.stack import Loop, asyncio_loop
from tests.interop.standing import standing


@pytest.fixture(scope="package")
def loop() -> Iterator[Loop]:
    """aiortc's."""
    with pytest.MonkeyPatch.context() as monkeypatch, asyncio_loop() as loop:
        # aioice leaves out the loopback interface, which is the only one that every machine has.
        monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: list(LOOPBACK))
        yield loop


@pytest.fixture(scope="package")
def standing_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two bridges and the trunk between them, for all tests: each has a room of its own."""
    directory = tmp_path_factory.mktemp("mesh")
    with (directory / "log").open("w") as file:
        # It goes on between the tests, where pytest would not capture what it prints.
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file))
        try:
            with standing(lambda: running(directory, FRANKFURT, SINGAPORE)) as mesh:
                yield mesh
        finally:
            structlog.reset_defaults()


@pytest.fixture
async def mesh(standing_mesh: Mesh) -> AsyncIterator[Mesh]:
    """The standing mesh, to be spoken to from a test."""
    async with standing_mesh.seen_from_here() as mesh:
        yield mesh


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room of the test's own."""
    return str(request.node.name)[:100]
