"""`/healthz` and `/metrics`, as a monitor sees them."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Gauge

from relay.errors import SettingsError
from relay.ops import Health, serve_ops


class Process:
    """What is served: a state that a test changes, and a metric."""

    def __init__(self) -> None:
        self.health = Health(ok=True, detail={"bridge": "frankfurt-1"})
        self.registry = CollectorRegistry()
        Gauge("octomesh_test_trunks", "Trunks up.", registry=self.registry).set(3)

    def serve(self) -> Callable[..., Awaitable[None]]:
        return partial(
            serve_ops, "127.0.0.1", 0, health=lambda: self.health, registry=self.registry
        )


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
async def client(process: Process, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    port = await nursery.start(process.serve())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


async def test_a_healthy_process_answers_200_and_its_detail(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "bridge": "frankfurt-1"})


async def test_a_sick_process_answers_503(client: httpx.AsyncClient, process: Process) -> None:
    process.health = Health(ok=False, detail={"focus": "unreachable"})
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"ok": False, "focus": "unreachable"})


async def test_metrics_are_what_prometheus_reads(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "octomesh_test_trunks 3.0" in answer.text


async def test_there_is_nothing_else(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).status_code == 404
    assert (await client.post("/healthz")).status_code == 405


async def test_the_port_is_free_once_it_is_cancelled(process: Process) -> None:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(process.serve())
        nursery.cancel_scope.cancel()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
        again.listen()


async def test_a_port_in_use_is_one_line_that_names_the_option(process: Process) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"TCP port {port} is in use.*--ops-port"):
            await serve_ops(
                "127.0.0.1", port, health=lambda: process.health, registry=process.registry
            )
