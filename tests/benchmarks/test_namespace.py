import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import trio

from benchmarks.peers import Place
from benchmarks.peers.namespace import private_network

WAIT_S = 5.0
HERE = "/proc/thread-self/ns/net"


@pytest.fixture
def place() -> Iterator[Place]:
    with private_network() as (place, *_):
        yield place


def udp(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(WAIT_S)
    made.bind((address, 0))
    return made


def test_what_is_in_a_private_network_reaches_each_other(place: Place) -> None:
    with udp(place.address) as there, udp(place.local_address) as here:
        here.sendto(b"hello", there.getsockname())
        assert there.recv(100) == b"hello"


def test_what_is_in_a_private_network_reaches_nothing_else(place: Place) -> None:
    with udp(place.address) as here, pytest.raises(OSError, match="unreachable"):
        here.sendto(b"hello", ("192.0.2.1", 9))


def test_a_program_that_is_started_in_a_private_network_is_in_it(place: Place) -> None:
    said = subprocess.check_output(
        [*place.prefix, sys.executable, "-c", f"import os; print(os.readlink('{HERE}'))"], text=True
    )
    assert said.strip() == os.readlink(HERE)


def test_threads_that_trio_keeps_for_later_come_along_and_come_home_again() -> None:
    async def networks() -> set[str]:
        """Of several threads at once."""
        found: set[str] = set()
        together = threading.Barrier(3)

        def look() -> None:
            together.wait(WAIT_S)
            found.add(os.readlink(HERE))

        async with trio.open_nursery() as nursery:
            for _ in range(together.parties):
                nursery.start_soon(trio.to_thread.run_sync, look)
        return found

    home = os.readlink(HERE)
    assert trio.run(networks) == {home}
    with private_network():
        assert trio.run(networks) == {os.readlink(HERE)} != {home}
    assert trio.run(networks) == {home}


def test_a_thread_is_back_at_home_when_the_context_ends_and_its_sockets_are_not() -> None:
    home = os.readlink(HERE)
    with private_network() as (place, *_):
        assert os.readlink(HERE) != home
        there, here = udp(place.address), udp(place.local_address)
    assert os.readlink(HERE) == home
    with there, here:
        here.sendto(b"hello", there.getsockname())
        assert there.recv(100) == b"hello"
        with pytest.raises(OSError, match="assign"):
            udp(place.address)
