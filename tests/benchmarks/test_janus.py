import dataclasses
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

from benchmarks.load.description import Wish, parse_untrusted
from benchmarks.load.traffic import Traffic
from benchmarks.peers import LOOPBACK, Bridge, Member, Picture, Place
from benchmarks.peers.janus import PLUGIN, Janus, plain_offer
from benchmarks.peers.janus_api import RefusedError, open_session
from benchmarks.peers.janus_process import PORT, api_url
from benchmarks.peers.namespace import private_network
from relay.errors import RemoteProtocolError
from tests.benchmarks.watching import (
    WAIT_S,
    Meeting,
    camera,
    do_not_miss_who_has_left,
    follow_what_is_watched,
)

EVERYTHING = Wish(microphone=True, camera=3, audio_slots=5, video_slots=9)
AS_BROWSERS = dataclasses.replace(EVERYTHING, as_browsers=True)
WITH_RIDS = dataclasses.replace(AS_BROWSERS, rids=True)
OFFER = """\
v=0
o=- 1796016061093944 1 IN IP4 127.0.0.1
s=VideoRoom 1
t=0 0
a=group:BUNDLE 0
a=fingerprint:sha-256 28:CB
a=extmap-allow-mixed
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 127.0.0.1
a=sendonly
a=mid:0
a=rtcp-mux
a=ice-ufrag:a7Cm
a=ice-pwd:czt/5xLf6sTAsEdcmEYIxc
a=setup:actpass
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 transport-cc
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=ssrc-group:FID 3125362519 692474181
a=msid:janus janus0
a=ssrc:3125362519 cname:janus
a=ssrc:692474181 cname:janus
a=candidate:1 1 udp 2015363327 198.18.0.1 54144 typ host
a=end-of-candidates
""".replace("\n", "\r\n")


@pytest.fixture
def place() -> Iterator[Place]:
    with private_network() as (place, *_):
        yield place


@pytest.fixture
def bridge(place: Place, tmp_path: Path) -> Iterator[Bridge]:
    with Janus().start(tmp_path, place) as bridge:
        yield bridge


@pytest.fixture
async def traffic(nursery: trio.Nursery) -> Traffic:
    traffic = Traffic()
    await nursery.start(traffic.run)
    return traffic


@pytest.fixture
def meeting(bridge: Bridge, traffic: Traffic, nursery: trio.Nursery) -> Meeting:
    return Meeting(bridge, traffic, nursery)


def test_a_plain_wish_takes_nothing_that_browsers_alone_have_from_an_offer() -> None:
    [whole] = parse_untrusted(OFFER).sections
    assert whole.rtx_payload == 97
    assert len(whole.ssrcs) == 2
    [section] = parse_untrusted(plain_offer(OFFER)).sections
    assert section.payload == 96
    assert section.rtx_payload is None
    assert section.ssrcs == (3125362519,)
    assert section.feedback == ("nack pli", "ccm fir")
    assert not section.extensions


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


@pytest.mark.parametrize("wish", [EVERYTHING, AS_BROWSERS, WITH_RIDS])
async def test_a_member_gets_the_pictures_that_it_watches_in_the_layers_it_asks_for(
    meeting: Meeting, wish: Wish
) -> None:
    await follow_what_is_watched(meeting, wish)


async def test_who_only_receives_is_connected_when_there_is_somebody_to_watch(
    meeting: Meeting,
) -> None:
    viewer, _ = await meeting.enter(Wish(video_slots=1))
    await viewer.watch([])
    assert not viewer.clients
    sender, _ = await meeting.enter(Wish(microphone=True, camera=1))
    await viewer.watch([Picture(member=sender.id, layer=0)])
    await meeting.receives(viewer, [camera(sender, 0)])
    assert len(viewer.clients) == 1


async def test_who_has_left_is_received_by_nobody_and_is_not_missed(meeting: Meeting) -> None:
    await do_not_miss_who_has_left(meeting, AS_BROWSERS)
