"""The listener for clients' TCP connections, before a pump that really serves them."""

import errno
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from region import tcp
from region.kernel import is_tcp, unpack_address
from region.tcp import MAX_UNPROVED_PER_HOST, UNSENT_BYTES, MediaListener
from tests.region.rig import Rig
from tests.region.tcp_rig import CHECK, framed

LIMIT_S = 20.0


@asynccontextmanager
async def listening(rig: Rig) -> AsyncIterator[tuple[MediaListener, tuple[str, int]]]:
    """A running listener and where it listens."""
    with socket.create_server(("127.0.0.1", 0)) as bound, trio.fail_after(LIMIT_S):
        listener = MediaListener(bound, rig.pump)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run)
            await trio.testing.wait_all_tasks_blocked()
            yield listener, bound.getsockname()[:2]
            nursery.cancel_scope.cancel()


async def frames(rig: Rig, count: int) -> None:
    while rig.pump.counters()["tcp_frames_in"] < count:
        await trio.lowlevel.checkpoint()


async def has_ended(stream: trio.SocketStream) -> bool:
    try:
        return await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        return True


async def test_a_client_that_connects_is_served_by_the_pump_under_its_own_address(
    rig: Rig,
) -> None:
    async with listening(rig) as (_, where), await trio.open_tcp_stream(*where) as client:
        await client.send_all(framed(CHECK))
        await frames(rig, 1)
        (datagram,) = rig.pump.drain()
        assert datagram.data == CHECK
        assert is_tcp(datagram.address)
        assert unpack_address(datagram.address) == client.socket.getsockname()
        rig.pump.send(datagram.address, b"answer")
        assert await client.receive_some(100) == framed(b"answer")


async def test_a_host_may_have_so_many_unproved_connections_and_any_number_of_proved_ones(
    rig: Rig,
) -> None:
    async with listening(rig) as (listener, where):
        clients = [await trio.open_tcp_stream(*where) for _ in range(MAX_UNPROVED_PER_HOST)]
        for number, client in enumerate(clients):
            await client.send_all(framed(CHECK))
            await frames(rig, number + 1)
        refused = await trio.open_tcp_stream(*where)
        assert await has_ended(refused)
        assert listener.dropped == {"tcp_host_limit": 1}
        addresses = [datagram.address for datagram in rig.pump.drain()]
        rig.pump.bind_address(rig.pump.add_transport(), addresses[0])
        late = await trio.open_tcp_stream(*where)
        await late.send_all(framed(CHECK))
        await frames(rig, MAX_UNPROVED_PER_HOST + 1)
        for stream in (*clients, refused, late):
            await stream.aclose()


@pytest.fixture
def file_limits() -> Iterator[tuple[int, int]]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_it_asks_for_more_files_than_a_process_usually_has(
    rig: Rig, file_limits: tuple[int, int]
) -> None:
    _, hard = file_limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    async with listening(rig):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == (tcp.MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, tcp.MAX_FILES))


async def test_half_of_the_files_are_not_for_connections(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "MAX_FILES", 8)
    async with listening(rig) as (listener, where):
        clients = [await trio.open_tcp_stream(*where) for _ in range(5)]
        assert await has_ended(clients[4])
        assert listener.dropped == {"tcp_full": 1}
        assert rig.pump.open_connections == 4
        for client in clients:
            await client.aclose()


async def test_it_outlives_a_want_of_files(rig: Rig, file_limits: tuple[int, int]) -> None:
    _, hard = file_limits
    async with listening(rig) as (listener, where):
        client = trio.socket.socket()
        with client:
            # No file more than now.
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                await client.connect(where)
                await client.send(framed(CHECK))
                while not listener.dropped["tcp_no_files"]:
                    await trio.lowlevel.checkpoint()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            await frames(rig, 1)
    assert [datagram.data for datagram in rig.pump.drain()] == [CHECK]


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM, errno.EPROTO])
async def test_a_connection_that_is_gone_before_it_is_accepted_is_no_failure(
    rig: Rig, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.socket.socket() as any_socket:
        kind = type(any_socket)
    accept, failures = kind.accept, [OSError(number, os.strerror(number))]

    async def fails_once(self: trio.socket.SocketType) -> object:
        if failures:
            raise failures.pop()
        return await accept(self)

    monkeypatch.setattr(kind, "accept", fails_once)
    async with listening(rig) as (listener, where), await trio.open_tcp_stream(*where) as client:
        await client.send_all(framed(CHECK))
        await frames(rig, 1)
        assert listener.dropped == {"tcp_gone": 1}


async def test_a_client_that_resets_at_once_leaves_nothing(rig: Rig) -> None:
    async with listening(rig) as (_, where):
        for _ in range(20):
            client = await trio.open_tcp_stream(*where)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await client.aclose()
        async with await trio.open_tcp_stream(*where) as last:
            await last.send_all(framed(CHECK))
            await frames(rig, 1)
            while rig.pump.open_connections > 1:
                await trio.lowlevel.checkpoint()


async def test_little_waits_in_the_system_for_who_does_not_read(rig: Rig) -> None:
    async with listening(rig) as (_, where):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(where)
            client.sendall(framed(CHECK))
            await frames(rig, 1)
            (datagram,) = rig.pump.drain()
            sent = 0
            while rig.pump.send(datagram.address, bytes(1_000)):
                sent += 1
            # Ours to keep, what is unsent, what is on its way, and the reader's own.
            assert sent * 1_000 < (1 << 16) + UNSENT_BYTES + 100_000
