import dataclasses
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import click
import psutil
import pytest
import trio

from benchmarks.cases.cost import FULL, compare
from benchmarks.cases.result import Setting
from benchmarks.load.description import Description, Source, Wish, make_sources
from benchmarks.load.traffic import Traffic
from benchmarks.peers import Bridge, Picture, mediasoup_build, mediasoup_process
from benchmarks.peers.debian_source import of_sources
from benchmarks.peers.mediasoup import Mediasoup
from benchmarks.peers.mediasoup_build import WORKER, build, sources
from benchmarks.peers.mediasoup_channel import Channel, Inbox, RefusedError, request
from benchmarks.peers.mediasoup_parameters import (
    Produced,
    consume,
    described,
    preferred,
    produce,
    received,
)
from relay.errors import RemoteProtocolError
from relay.ids import MediaKind
from relay.payload import HeaderExtension
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

CAMERA = Produced(id="c", media=MediaKind.VIDEO, ssrcs=(11, 12, 13))
MICROPHONE = Produced(id="m", media=MediaKind.AUDIO, ssrcs=(14,))
MADE = {
    "iceParameters": {"usernameFragment": "u", "password": "p", "iceLite": True},
    "iceCandidates": [
        {"foundation": "udpcandidate", "ip": "198.18.0.1", "port": 40_000, "protocol": "udp"}
    ],
}

MESON = """\
common_sources = [
  'src/lib.cpp',
  'src/RTC/Codecs/VP8.cpp',
]
executable(
  'mediasoup-worker',
  sources: common_sources + ['src/main.cpp'],
)
test_sources = [
    'test/src/tests.cpp',
]
"""
LIBWEBRTC = """\
libwebrtc_sources = [
  'libwebrtc/call/rtp_transport_controller_send.cc',
]
"""


def message(text: str) -> bytes:
    return struct.pack("=I", len(text.encode())) + text.encode()


# The channel


def test_a_request_says_its_length_and_whom_it_is_for() -> None:
    assert request(7, "router.dump", "r", {"a": 1}) == message('7:router.dump:r:{"a": 1}')
    assert request(8, "worker.dump", None, None) == message("8:worker.dump:undefined:undefined")


def test_messages_are_whole_however_they_are_split() -> None:
    said = ['{"id":1}', "Wwarning: ü", '{"targetId":"t","event":"score"}']
    stream = b"".join(map(message, said))
    for size in (1, 3, 4, 5, len(stream)):
        inbox = Inbox()
        parts = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [text for part in parts for text in inbox.receive(part)] == said


class Worker:
    """The other end of a channel, played by a test."""

    def __init__(self, end: socket.socket) -> None:
        self._end = trio.socket.from_stdlib_socket(end)
        self._inbox = Inbox()

    async def heard(self) -> str:
        for text in self._inbox.receive(await self._end.recv(4_096)):
            return text
        raise AssertionError("half a request")

    async def say(self, *texts: str) -> None:
        await self._end.send(b"".join(map(message, texts)))

    def end(self) -> None:
        self._end.close()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def ends(log: list[str]) -> Iterator[tuple[Channel, Worker]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours, log.append), Worker(theirs)


async def test_answers_find_who_asked_in_any_order_and_the_rest_is_for_the_log(
    ends: tuple[Channel, Worker], log: list[str], nursery: trio.Nursery
) -> None:
    channel, worker = ends
    answers: dict[str, dict[str, Any]] = {}

    async def ask(method: str) -> None:
        answers[method] = await channel.ask(method)

    nursery.start_soon(channel.listen)
    async with trio.open_nursery() as asking:
        asking.start_soon(ask, "first")
        numbers = {(await worker.heard()).split(":")[1]: 1}
        asking.start_soon(ask, "second")
        numbers[(await worker.heard()).split(":")[1]] = 2
        await worker.say(
            '{"id":2,"accepted":true,"data":{"n":2}}',
            '{"targetId":"x","event":"score","data":[]}',
            "Ewhat a pity",
            '{"id":1,"accepted":true}',
        )
    assert numbers == {"first": 1, "second": 2}
    assert answers == {"first": {}, "second": {"n": 2}}
    assert log == ["Ewhat a pity"]


async def test_what_the_worker_refuses_is_told_with_its_reason(
    ends: tuple[Channel, Worker], nursery: trio.Nursery
) -> None:
    channel, worker = ends
    nursery.start_soon(channel.listen)

    async def refuse() -> None:
        await worker.heard()
        await worker.say('{"id":1,"error":"TypeError","reason":"missing listenIps"}')

    nursery.start_soon(refuse)
    with pytest.raises(RefusedError, match=r"router\.dump: missing listenIps"):
        await channel.ask("router.dump", "r")


async def test_another_one_listens_when_who_did_has_left(
    ends: tuple[Channel, Worker], nursery: trio.Nursery
) -> None:
    channel, worker = ends
    async with trio.open_nursery() as leaver:
        leaver.start_soon(channel.listen)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(channel.listen)
        await trio.testing.wait_all_tasks_blocked()
        leaver.cancel_scope.cancel()

    async def answer() -> None:
        await worker.heard()
        await worker.say('{"id":1,"accepted":true,"data":{"n":1}}')

    nursery.start_soon(answer)
    assert await channel.ask("worker.dump") == {"n": 1}


async def test_all_who_listen_or_ask_are_told_when_the_worker_has_ended(
    ends: tuple[Channel, Worker],
) -> None:
    channel, worker = ends

    async def listen() -> None:
        with pytest.raises(RemoteProtocolError, match="ended"):
            await channel.listen()

    async def ask() -> None:
        with pytest.raises(RemoteProtocolError, match="ended"):
            await channel.ask("worker.dump")

    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen)
            nursery.start_soon(ask)
            await worker.heard()
            worker.end()


# Parameters


def sent_camera(wish: Wish) -> tuple[Source, Any]:
    """A camera, and what the worker is told of it."""
    [source] = make_sources(wish)
    section = received(CAMERA, mid="0", ssrc=1, as_browsers=wish.as_browsers)
    return source, produce(CAMERA, source, section)


def test_encodings_are_named_by_ssrc_and_mapped_to_the_routers() -> None:
    source, told = sent_camera(Wish(camera=3, as_browsers=True))
    assert [each["ssrc"] for each in told["rtpParameters"]["encodings"]] == [
        each.ssrc for each in source.encodings
    ]
    assert [each["rtx"]["ssrc"] for each in told["rtpParameters"]["encodings"]] == [
        each.rtx_ssrc for each in source.encodings
    ]
    assert [each["mappedSsrc"] for each in told["rtpMapping"]["encodings"]] == [11, 12, 13]
    assert {each["scalabilityMode"] for each in told["rtpParameters"]["encodings"]} == {"L1T3"}


def test_encodings_with_rids_are_named_by_them_alone() -> None:
    _, told = sent_camera(Wish(camera=3, as_browsers=True, rids=True))
    for encodings in (told["rtpParameters"]["encodings"], told["rtpMapping"]["encodings"]):
        assert [each["rid"] for each in encodings] == ["q", "h", "f"]
        assert not any("ssrc" in each or "rtx" in each for each in encodings)


def test_browsers_get_retransmissions_and_transport_wide_feedback_and_others_neither() -> None:
    section = received(CAMERA, mid="3", ssrc=21, as_browsers=True)
    told = consume("consumer", CAMERA, section, 1)
    codecs = told["rtpParameters"]["codecs"]
    assert [codec["mimeType"] for codec in codecs] == ["video/VP8", "video/rtx"]
    assert codecs[1]["parameters"] == {"apt": codecs[0]["payloadType"]}
    assert {"type": "nack", "parameter": ""} in codecs[0]["rtcpFeedback"]
    assert {"type": "transport-cc", "parameter": ""} in codecs[0]["rtcpFeedback"]
    assert section.extensions[HeaderExtension.TRANSPORT_SEQUENCE] == 5
    assert told["rtpParameters"]["encodings"] == [
        {"ssrc": 21, "rtx": {"ssrc": 22}, "scalabilityMode": "L3T3"}
    ]
    plain = received(CAMERA, mid="3", ssrc=21, as_browsers=False)
    [codec] = consume("consumer", CAMERA, plain, 1)["rtpParameters"]["codecs"]
    assert [each["parameter"] for each in codec["rtcpFeedback"]] == ["pli", "fir"]
    assert plain.ssrcs == (21,)
    assert not plain.extensions


def test_of_several_encodings_one_is_preferred_and_of_a_single_one_nothing() -> None:
    section = received(CAMERA, mid="3", ssrc=21, as_browsers=True)
    told = consume("consumer", CAMERA, section, 1)
    assert told["type"] == "simulcast"
    assert told["preferredLayers"] == preferred(1)
    assert [each["ssrc"] for each in told["consumableRtpEncodings"]] == [11, 12, 13]
    voice_section = received(MICROPHONE, mid="4", ssrc=23, as_browsers=True)
    told = consume("consumer", MICROPHONE, voice_section, 0)
    assert told["type"] == "simple"
    assert "preferredLayers" not in told
    assert told["rtpParameters"]["codecs"][0]["channels"] == 2


def test_a_transport_is_described_as_lite_and_waits_for_our_handshake() -> None:
    section = received(CAMERA, mid="3", ssrc=21, as_browsers=True)
    description = described(MADE, [section])
    assert isinstance(description, Description)
    assert description.lite
    assert description.setup == "passive"
    assert description.candidates == (("198.18.0.1", 40_000),)
    assert description.slots == (section,)


# The build


def test_what_is_compiled_is_what_meson_would_compile() -> None:
    assert sources(MESON, LIBWEBRTC) == [
        "src/lib.cpp",
        "src/RTC/Codecs/VP8.cpp",
        "src/main.cpp",
        "deps/libwebrtc/libwebrtc/call/rtp_transport_controller_send.cc",
    ]


def test_a_meson_build_of_another_kind_is_told() -> None:
    with pytest.raises(click.ClickException, match="no common_sources"):
        sources("project('other')", LIBWEBRTC)


def test_apts_lists_are_made_lists_of_sources_in_both_formats() -> None:
    lines = "# deb of old\ndeb [arch=amd64] mirror bookworm main\ndeb-src mirror bookworm main\n"
    assert of_sources(lines) == lines.replace("\ndeb [", "\ndeb-src [")
    stanza = "Types: deb\nURIs: mirror\nSuites: bookworm\n"
    assert of_sources(stanza) == stanza.replace("Types: deb", "Types: deb-src")


def test_the_debian_packages_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mediasoup_build, "WORKER", tmp_path / "worker")
    monkeypatch.setattr(mediasoup_build, "LIBRARIES", {"nothing": "libnothing-dev"})
    monkeypatch.setattr("shutil.which", lambda name: None if name == "npm" else f"/usr/bin/{name}")
    monkeypatch.setattr("subprocess.run", lambda command, **_: CompletedProcess(command, 1))
    with pytest.raises(click.ClickException) as told:
        build()
    assert "apt-get install npm libnothing-dev" in told.value.message
    assert "--without mediasoup" in told.value.message


def test_nothing_is_done_where_the_worker_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mediasoup_build, "WORKER", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: None)
    build()


# The process


def test_a_worker_that_is_not_built_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mediasoup_process, "WORKER", tmp_path / "worker")
    with (
        pytest.raises(click.ClickException, match="not built"),
        Mediasoup().start(tmp_path),
    ):
        pass


def test_a_worker_that_does_not_start_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\necho no real father >&2\nexit 41\n")
    worker.chmod(0o755)
    monkeypatch.setattr(mediasoup_process, "WORKER", worker)
    with (
        pytest.raises(click.ClickException, match="no real father"),
        Mediasoup().start(tmp_path),
    ):
        pass


# All of it


def built(test: Callable[..., Any]) -> Callable[..., Any]:
    """Has it compiled first where it is not, which takes minutes: `make demanding` does that."""
    return pytest.mark.demanding(pytest.mark.usefixtures("worker")(test))


@pytest.fixture(scope="module")
def worker() -> None:
    build()


@pytest.fixture
def bridge(worker: None, tmp_path: Path) -> Iterator[Bridge]:
    with Mediasoup().start(tmp_path) as bridge:
        yield bridge


@pytest.fixture
async def traffic(nursery: trio.Nursery) -> Traffic:
    traffic = Traffic()
    await nursery.start(traffic.run)
    return traffic


@pytest.fixture
def meeting(bridge: Bridge, traffic: Traffic, nursery: trio.Nursery) -> Meeting:
    return Meeting(bridge, traffic, nursery)


@built
def test_it_ends_with_the_context(tmp_path: Path) -> None:
    with Mediasoup().start(tmp_path) as bridge:
        [process] = [psutil.Process(pid) for pid in bridge.pids]
        assert process.name() == WORKER.name
    assert not process.is_running()


@built
async def test_a_member_is_told_when_it_is_gone(bridge: Bridge) -> None:
    async def join(task_status: trio.TaskStatus[Any]) -> None:
        with pytest.raises(RemoteProtocolError, match="ended"):
            await bridge.join(Traffic(), "room", "watcher", Wish(), task_status=task_status)

    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(join)
            [pid] = bridge.pids
            os.kill(pid, signal.SIGKILL)


@built
@pytest.mark.parametrize("wish", [EVERYTHING, AS_BROWSERS, WITH_RIDS])
async def test_a_member_gets_the_pictures_that_it_watches_in_the_layers_it_asks_for(
    meeting: Meeting, wish: Wish
) -> None:
    await follow_what_is_watched(meeting, wish)


@built
async def test_who_has_left_is_received_by_nobody_and_is_not_missed(meeting: Meeting) -> None:
    await do_not_miss_who_has_left(meeting, AS_BROWSERS)


@built
async def test_browsers_feedback_goes_both_ways(meeting: Meeting, traffic: Traffic) -> None:
    sender, _ = await meeting.enter(Wish(camera=1, as_browsers=True))
    viewer, _ = await meeting.enter(Wish(video_slots=1, as_browsers=True))
    await viewer.watch([Picture(member=sender.id, layer=0)])
    await meeting.receives(viewer, [camera(sender, 0)])
    [client] = sender.clients
    assert traffic.engine.client_stats(client).feedbacks > 0


@built
async def test_every_packet_of_what_is_compared_comes() -> None:
    shortest = Setting(rounds=1, seconds=0.3, small=True)
    [cost] = await compare(FULL, [Mediasoup()], shortest, lambda line: None)
    [turn] = cost.turns
    assert turn.expected == turn.got > 0
    assert not turn.load_limited
