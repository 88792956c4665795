import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import psutil
import pytest
import trio

from benchmarks.load.description import Wish
from benchmarks.load.traffic import Traffic
from benchmarks.peers import LOOPBACK, Bridge, Member, Place
from benchmarks.peers.janus import PLUGIN, Janus
from benchmarks.peers.janus_api import RefusedError, open_session
from benchmarks.peers.janus_process import PORT, api_url
from benchmarks.peers.namespace import private_network
from relay.errors import RemoteProtocolError

WAIT_S = 20.0


@pytest.fixture
def place() -> Iterator[Place]:
    with private_network() as place:
        yield place


@pytest.fixture
def bridge(place: Place, tmp_path: Path) -> Iterator[Bridge]:
    with Janus().start(tmp_path, place) as bridge:
        yield bridge


def test_janus_is_not_put_on_loopback_which_it_ignores(tmp_path: Path) -> None:
    with (
        pytest.raises(click.ClickException, match="ignores loopback"),
        Janus().start(tmp_path, LOOPBACK),
    ):
        pass


def test_janus_that_cannot_start_is_quoted(place: Place, tmp_path: Path) -> None:
    with (
        socket.create_server((place.address, PORT)),
        pytest.raises(click.ClickException, match="Starting Meetecho Janus"),
        Janus().start(tmp_path, place),
    ):
        pass


@pytest.mark.parametrize("event_loops", [None, 2])
def test_janus_has_as_many_event_loops_as_it_shall_and_ends_with_the_context(
    event_loops: int | None, place: Place, tmp_path: Path
) -> None:
    with Janus(event_loops=event_loops).start(tmp_path, place) as bridge:
        [process] = [psutil.Process(pid) for pid in bridge.pids]
        assert process.name() == "janus"
        info = httpx.get(f"{api_url(place)}/info", trust_env=False).json()
        assert info["static-event-loops"] == (event_loops or 0)
    assert not process.is_running()


async def test_what_janus_refuses_is_told(bridge: Bridge, place: Place) -> None:
    async with open_session(api_url(place)) as session:
        with pytest.raises(RefusedError, match="No such plugin"):
            await session.attach("janus.plugin.nothing")
        handle = await session.attach(PLUGIN)
        with pytest.raises(RefusedError, match="No such room"):
            await handle.ask({"request": "join", "room": 1, "ptype": "publisher"})


async def test_a_member_is_told_when_janus_is_gone(bridge: Bridge) -> None:
    async def join(task_status: trio.TaskStatus[Member]) -> None:
        with pytest.raises(RemoteProtocolError):
            await bridge.join(Traffic(), "room", "watcher", Wish(), task_status=task_status)

    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(join)
            [pid] = bridge.pids
            os.kill(pid, signal.SIGKILL)
