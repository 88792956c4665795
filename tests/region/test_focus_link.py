"""The bridge's connection to the focus, against one that may say and do anything."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from structlog.typing import EventDict
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request

from region import focus_link
from region.enrolment import RENEW_BEFORE_S
from region.focus_link import OUTGOING_MESSAGES, FocusLink
from region.settings import RegionSettings
from relay.control import (
    CONTROL_VERSION,
    FROM_FOCUS,
    MAX_SDP_CHARS,
    Allocated,
    Challenge,
    ConferenceState,
    Denied,
    FromFocus,
    Gone,
    Heartbeat,
    Mesh,
    Renew,
    Renewed,
    Welcome,
)
from relay.errors import LocalProtocolError, RemoteProtocolError
from relay.ids import Address, ConferenceId, Generation, ParticipantId
from tests.region.fake_focus import (
    DEADLINE_S,
    FRANKFURT,
    HOST,
    NONCE,
    WEEK_S,
    Connection,
    ControlDoor,
    control_door,
    issue,
    settings_for,
    tls_of,
    until,
)
from tests.region.test_enrolment import BRIDGE, stored

MEDIA = (Address(host="192.0.2.1", port=10_000), Address(host="2001:db8::1", port=10_000))
RELAY = (Address(host="192.0.2.1", port=10_001),)
PING_PASSWORD = "p" * 32
CHALLENGE = Challenge(versions=(CONTROL_VERSION,), nonce=NONCE)
MESH_STATE = Mesh(generation=Generation(1), peers=())
GARDEN = ConferenceState(
    conference=ConferenceId("garden"), generation=Generation(2), seats=(), routes=()
)
LEFT = Gone(conference=ConferenceId("garden"), participant=ParticipantId(7), reason="closed")


@dataclass(slots=True, kw_only=True)
class Linked:
    """A bridge's link that runs, and the focus that it dials."""

    link: FocusLink
    door: ControlDoor
    logs: list[EventDict]
    heard: list[FromFocus] = field(default_factory=list)

    async def until_lost(self, reason: str) -> None:
        """Until the link has logged that it lost the focus, for a reason that has these words."""
        await until(
            lambda: any(
                each["event"] == "focus-lost" and reason in each["reason"] for each in self.logs
            )
        )

    async def welcomed(self) -> Connection:
        connection = await self.door.next()
        await connection.welcome()
        await until(lambda: self.link.connected)
        return connection


Handler = Callable[[FromFocus], None]


def link_to(
    settings: RegionSettings,
    directory: Path,
    *,
    lifetime_s: float = WEEK_S,
    on_message: Handler = lambda _: None,
) -> FocusLink:
    return FocusLink(
        settings,
        stored(directory, lifetime_s),
        media_addresses=MEDIA,
        relay_addresses=RELAY,
        ping_password=PING_PASSWORD,
        heartbeat=lambda: Heartbeat(participants=3, cpu=0.5, packets_per_s=1.0, trunks=()),
        on_message=on_message,
    )


@asynccontextmanager
async def linked(
    directory: Path, *, lifetime_s: float = WEEK_S, on_message: Handler | None = None
) -> AsyncIterator[Linked]:
    async with control_door(directory) as (door, port, certificate), trio.open_nursery() as nursery:
        heard: list[FromFocus] = []
        link = link_to(
            settings_for(port, directory / "bridge", focus_ca=certificate),
            directory,
            lifetime_s=lifetime_s,
            on_message=on_message or heard.append,
        )
        with capture_logs() as logs:
            nursery.start_soon(link.run)
            yield Linked(link=link, door=door, logs=logs, heard=heard)
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that dialling again takes no test's time."""
    monkeypatch.setattr(focus_link, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(focus_link, "HEARTBEAT_S", 0.02)


async def test_it_says_who_it_is_and_where_and_proves_it(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.door.next()
        assert not bridge.link.connected
        hello = await connection.welcome()  # checks the signature
        assert hello.version == CONTROL_VERSION
        assert hello.software.startswith("octomesh ")
        assert (hello.media_addresses, hello.relay_addresses) == (MEDIA, RELAY)
        assert hello.ping_password == PING_PASSWORD
        await until(lambda: bridge.link.connected)
        assert bridge.door.paths == ["/api/bridges/control"]


async def test_the_welcome_is_passed_on_before_all_else(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        await connection.say(MESH_STATE)
        await connection.say(GARDEN)
        await until(lambda: len(bridge.heard) == 3)
        welcome = Welcome(version=CONTROL_VERSION, bridge=BRIDGE, region=FRANKFURT)
        assert bridge.heard == [welcome, MESH_STATE, GARDEN]


async def test_heartbeats_go_on_by_themselves(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        for _ in range(3):
            assert (await connection.expect(Heartbeat)).participants == 3


async def test_what_is_sent_arrives_in_order(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        answers = [Allocated(request=number, answer="v=0", decodes=None) for number in range(10)]
        for answer in answers:
            bridge.link.send(answer)
        assert [await connection.expect(Allocated) for _ in answers] == answers


async def test_without_a_focus_messages_are_dropped_and_counted(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        bridge.link.send(LEFT)
        assert bridge.link.dropped == {"no_focus": 1}
        connection = await bridge.welcomed()
        allocated = Allocated(request=1, answer="v=0", decodes=None)
        bridge.link.send(allocated)
        assert await connection.expect(Allocated | Gone) == allocated


async def test_a_closed_connection_is_dialled_again(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        await connection.socket.aclose()
        again = await bridge.door.next()
        assert not bridge.link.connected
        await again.welcome()
        await until(lambda: bridge.link.connected)
        await again.expect(Heartbeat)


async def test_a_denial_is_logged_in_the_words_of_the_focus_and_tried_again(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.door.next()
        await connection.say(CHALLENGE)
        await connection.say(Denied(reason="the clock is wrong"))
        await bridge.until_lost("the clock is wrong")
        assert not bridge.link.connected
        await bridge.welcomed()


async def test_a_later_denial_is_logged_in_the_words_of_the_focus(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        await connection.say(Denied(reason="another connection replaced this one"))
        await bridge.until_lost("the focus denied us: another connection replaced this one")
        await bridge.welcomed()


async def test_a_closed_connection_is_told_in_words(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        await connection.socket.aclose()
        await bridge.until_lost("the focus closed the connection")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "like one (HTTP 502)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the focus does not answer like one"),
    ],
)
async def test_what_is_no_focus_is_told_in_words_and_dialled_again(
    tmp_path: Path, nursery: trio.Nursery, answer: bytes, reason: str
) -> None:
    dialled = 0

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        nonlocal dialled
        dialled += 1
        await stream.receive_some()
        await stream.send_all(answer)

    context, certificate = tls_of(tmp_path)
    (listener,) = await nursery.start(
        partial(trio.serve_ssl_over_tcp, host=HOST), serve, 0, context
    )
    port = listener.transport_listener.socket.getsockname()[1]
    link = link_to(settings_for(port, tmp_path / "bridge", focus_ca=certificate), tmp_path)
    with capture_logs() as logs:
        nursery.start_soon(link.run)
        await until(lambda: dialled > 2)
    assert {each["event"] for each in logs} == {"focus-lost"}
    assert all(each["reason"].endswith(reason) for each in logs), logs
    nursery.cancel_scope.cancel()


async def test_nobody_there_is_told_in_words(tmp_path: Path, nursery: trio.Nursery) -> None:
    link = link_to(settings_for(1, tmp_path / "bridge", focus_ca=None), tmp_path)
    with capture_logs() as logs:
        nursery.start_soon(link.run)
        await until(lambda: logs)
    assert logs[0]["reason"] == "connection refused"
    nursery.cancel_scope.cancel()


async def test_a_focus_of_other_versions_is_told_from_a_broken_one(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.door.next()
        await connection.say(Challenge(versions=(CONTROL_VERSION + 1,), nonce=NONCE))
        await bridge.until_lost(f"speaks control versions ({CONTROL_VERSION + 1},), we")
        await bridge.welcomed()


@pytest.mark.parametrize("message", [MESH_STATE, Denied(reason="no")])
async def test_what_does_not_begin_with_a_challenge_is_no_focus(
    tmp_path: Path, message: FromFocus
) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.door.next()
        await connection.say(message)
        await bridge.until_lost("did not begin with a challenge")
        await bridge.welcomed()


async def test_what_does_not_welcome_is_no_focus(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.door.next()
        await connection.say(CHALLENGE)
        await connection.say(MESH_STATE)
        await bridge.until_lost("did not welcome us")
        await bridge.welcomed()


@pytest.mark.parametrize("frame", ["text", b"", b"\xc1", b"\x81\xa4type\xa4Mesh", b"\x91" * 5_000])
async def test_a_frame_that_is_no_message_ends_the_connection_and_not_the_bridge(
    tmp_path: Path, frame: str | bytes
) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        await connection.socket.send_message(frame)
        await bridge.door.next()
        assert not bridge.link.connected
        assert [type(each) for each in bridge.heard] == [Welcome]


async def test_a_message_that_the_bridge_cannot_take_ends_the_connection_alone(
    tmp_path: Path,
) -> None:
    def refuse(message: FromFocus) -> None:
        if isinstance(message, Mesh):
            raise RemoteProtocolError("not now")

    async with linked(tmp_path, on_message=refuse) as bridge:
        connection = await bridge.welcomed()
        await connection.say(MESH_STATE)
        await bridge.until_lost("not now")
        await bridge.welcomed()


async def test_a_fault_of_our_own_is_not_taken_for_the_focuss(tmp_path: Path) -> None:
    def fail(message: FromFocus) -> None:
        if isinstance(message, Mesh):
            raise LocalProtocolError("there is no such egress")

    async def serve() -> None:
        async with linked(tmp_path, on_message=fail) as bridge:
            connection = await bridge.welcomed()
            await connection.say(MESH_STATE)
            await bridge.door.next()  # the bridge does not dial again

    with pytest.raises(BaseExceptionGroup) as failure:
        await serve()
    assert failure.value.split(LocalProtocolError)[0] is not None


@pytest.mark.parametrize("answer", [b"\x89\x00", b""], ids=["ping", "silence"])
async def test_a_focus_that_does_not_answer_the_bridges_goodbye_is_dialled_again(
    tmp_path: Path, nursery: trio.Nursery, answer: bytes
) -> None:
    # Another server than trio-websocket's, which would answer the goodbye at once.
    goodbyes: list[CloseConnection] = []

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        focus = WSConnection(ConnectionType.SERVER)
        while True:
            data = await stream.receive_some()
            focus.receive_data(data or None)
            for event in focus.events():
                match event:
                    case Request():
                        await stream.send_all(focus.send(AcceptConnection()))
                        challenge = BytesMessage(data=FROM_FOCUS.encode(CHALLENGE))
                        await stream.send_all(focus.send(challenge))
                    case BytesMessage():
                        await stream.send_all(focus.send(BytesMessage(data=b"no message")))
                    case CloseConnection():
                        goodbyes.append(event)
                        await stream.send_all(answer)  # a ping: RFC 6455 §5.5.2
                        await trio.sleep_forever()

    context, certificate = tls_of(tmp_path)
    (listener,) = await nursery.start(
        partial(trio.serve_ssl_over_tcp, host=HOST), serve, 0, context
    )
    port = listener.transport_listener.socket.getsockname()[1]
    link = link_to(settings_for(port, tmp_path / "bridge", focus_ca=certificate), tmp_path)
    nursery.start_soon(link.run)
    await until(lambda: len(goodbyes) == 2)
    nursery.cancel_scope.cancel()


async def test_more_than_the_backlog_ends_the_connection_and_is_counted(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        await bridge.welcomed()
        # One more than fit, and one that the sender may have in hand already.
        for _ in range(OUTGOING_MESSAGES + 2):
            bridge.link.send(LEFT)
        assert not bridge.link.connected
        assert bridge.link.dropped["focus_too_slow"] == 1
        await bridge.until_lost("did not take our messages")
        await bridge.welcomed()


async def test_a_focus_that_does_not_read_at_all_is_dialled_anew(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        await bridge.welcomed()
        answer = Allocated(request=1, answer="x" * MAX_SDP_CHARS, decodes=None)
        with trio.fail_after(DEADLINE_S):
            while bridge.link.connected:
                bridge.link.send(answer)
                await trio.lowlevel.checkpoint()
        await bridge.welcomed()


async def test_a_certificate_that_ends_soon_is_renewed_once(tmp_path: Path) -> None:
    async with linked(tmp_path, lifetime_s=RENEW_BEFORE_S / 2) as bridge:
        connection = await bridge.welcomed()
        renew = await connection.expect(Renew)
        assert b"PRIVATE" not in renew.csr_pem
        assert isinstance(await connection.expect(Heartbeat | Renew), Heartbeat)
        await connection.say(Renewed(certificate_pem=issue(renew.csr_pem)))
        await until(lambda: any(each["event"] == "certificate-renewed" for each in bridge.logs))
        assert Renewed not in map(type, bridge.heard)
        await connection.socket.aclose()
        hello = await (await bridge.door.next()).welcome()  # signed with the new key
        assert hello.certificate_pem.startswith(b"-----BEGIN CERTIFICATE")


async def test_a_renewal_that_went_down_with_the_connection_is_asked_again(tmp_path: Path) -> None:
    async with linked(tmp_path, lifetime_s=RENEW_BEFORE_S / 2) as bridge:
        connection = await bridge.welcomed()
        first = await connection.expect(Renew)
        await connection.socket.aclose()
        second = await (await bridge.welcomed()).expect(Renew)
        assert first.csr_pem != second.csr_pem


async def test_a_certificate_that_nobody_asked_for_ends_the_connection(tmp_path: Path) -> None:
    async with linked(tmp_path) as bridge:
        connection = await bridge.welcomed()
        await connection.say(Renewed(certificate_pem=b"take this"))
        await bridge.until_lost("nobody asked for")
        await bridge.welcomed()


async def test_a_renewed_certificate_that_is_none_ends_the_connection_alone(tmp_path: Path) -> None:
    async with linked(tmp_path, lifetime_s=RENEW_BEFORE_S / 2) as bridge:
        connection = await bridge.welcomed()
        await connection.expect(Renew)
        await connection.say(Renewed(certificate_pem=b"take this"))
        await bridge.until_lost("not a PEM certificate")
        await bridge.welcomed()


async def test_a_focus_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focus_link, "CONNECT_TIMEOUT_S", 0.1)
    async with linked(tmp_path) as bridge:
        await bridge.door.next()
        await bridge.until_lost("no welcome within")


async def test_a_focus_that_nobody_vouches_for_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(focus_link, "CONNECT_TIMEOUT_S", 0.1)
    async with control_door(tmp_path) as (door, port, _), trio.open_nursery() as nursery:
        link = link_to(settings_for(port, tmp_path / "bridge", focus_ca=None), tmp_path)
        with capture_logs() as logs:
            nursery.start_soon(link.run)
            await until(lambda: len(logs) >= 2)
            nursery.cancel_scope.cancel()
    assert {each["event"] for each in logs} == {"focus-lost"}
    assert "certificate cannot be verified (self-signed certificate)" in logs[0]["reason"]
    assert door.paths == []
