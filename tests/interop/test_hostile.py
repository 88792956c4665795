"""Bad input at every door of a mesh, while two people on two bridges go on with their meeting."""

import json
import ssl
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import trio
from aioice import stun
from structlog.testing import capture_logs
from trio_websocket import ConnectionClosed

from focus.tokens import mint_token
from region import bridge
from region.enrolment import load_or_enrol
from relay.control import FROM_FOCUS, Challenge, Denied
from relay.errors import SettingsError
from relay.framing import FrameReader
from relay.identity import Identity, MeshAuthority, make_request, trunk_ssl_context
from relay.ids import BridgeId
from relay.trunk_messages import MAX_TRUNK_BYTES, TRUNK_MESSAGES, Bye
from tests.interop.mesh import (
    DEADLINE_S,
    FRANKFURT,
    SINGAPORE,
    Mesh,
    Metrics,
    Signalling,
    until,
    until_true,
)
from tests.interop.stack import BLUE, GREEN, RED, Loop, Participant, participant
from tests.interop.standing import standing
from tests.interop.tap import Protocol, Rtp, rtp_of
from web.messages import MAX_SIGNALLING_BYTES
from web.signalling import MAX_BAD_REQUESTS

SHORT_OF_A_TAG = 1
"""An SRTP packet with this much cut off cannot be authentic."""


ROOM = "meeting"
ALIVE_S = 3.0
TOO_BIG = (1009, 1006)
"""RFC 6455 §7.4.1; the second when the connection ends before we have sent all, and with it the
first on its way to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Anna in Frankfurt, Bruno in Singapore."""

    anna: Participant
    bruno: Participant

    async def until_meeting(self, *, within_s: float = DEADLINE_S) -> None:
        """Until both have new pictures and sounds of each other."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(self.anna.until_meets, BLUE, within_s=within_s))
            nursery.start_soon(partial(self.bruno.until_meets, RED, within_s=within_s))


class Meeting:
    """Their meeting as one test sees it; whatever is done is done to Anna's bridge."""

    def __init__(self, mesh: Mesh, pair: Pair, before: Metrics) -> None:
        self.mesh = mesh
        self.anna = pair.anna
        self._pair = pair
        self._before = before
        self._began = {tap: len(tap.received) for tap in (pair.anna.tap, pair.bruno.tap)}

    async def until_dropped(self, **reasons: int) -> None:
        """Until the bridge has counted at least so many drops more than before the test."""

        async def counted() -> bool:
            now = await self.mesh.metrics(FRANKFURT)
            return all(
                now("dropped_total", reason=reason) - self._before("dropped_total", reason=reason)
                >= count
                for reason, count in reasons.items()
            )

        await until(counted)

    async def goes_on(self) -> None:
        """Both go on getting new frames, and since the test began not one packet was missed."""
        await self._pair.until_meeting()
        for tap, began in self._began.items():
            assert gaps(tap.received_rtp(began)) == []
        for person in (self._pair.anna, self._pair.bruno):
            assert person.stack.strange == []


def gaps(packets: Iterable[Rtp]) -> list[tuple[int, int]]:
    """Where a stream's sequence numbers do not go up by one."""
    last: dict[int, int] = {}
    found = []
    for packet in packets:
        before = last.setdefault(packet.ssrc, packet.sequence - 1 & 0xFFFF)
        if packet.sequence != before + 1 & 0xFFFF:
            found.append((before, packet.sequence))
        last[packet.ssrc] = packet.sequence
    return found


@asynccontextmanager
async def meeting_of_two(mesh: Mesh, loop: Loop) -> AsyncIterator[Pair]:
    async with (
        participant(loop, mesh, FRANKFURT, RED, room=ROOM) as anna,
        participant(loop, mesh, SINGAPORE, BLUE, room=ROOM) as bruno,
    ):
        pair = Pair(anna=anna, bruno=bruno)
        await pair.until_meeting()
        yield pair


class Standing:
    """The meeting that no test may disturb; where one has, the next gets a new one."""

    def __init__(self, mesh: Mesh, loop: Loop) -> None:
        self._make = partial(meeting_of_two, mesh, loop)
        self._stack = ExitStack()
        self._pair: Pair | None = None

    async def pair(self) -> Pair:
        if self._pair is not None:
            try:
                await self._pair.until_meeting(within_s=ALIVE_S)
            except* AssertionError:
                self.close()
        if self._pair is None:
            self._pair = self._stack.enter_context(standing(self._make))
        return self._pair

    def close(self) -> None:
        self._pair = None
        self._stack.close()


@pytest.fixture(scope="module")
def standing_meeting(standing_mesh: Mesh, loop: Loop) -> Iterator[Standing]:
    meeting = Standing(standing_mesh, loop)
    yield meeting
    meeting.close()


@pytest.fixture
async def meeting(mesh: Mesh, standing_meeting: Standing) -> Meeting:
    pair = await standing_meeting.pair()
    return Meeting(mesh, pair, await mesh.metrics(FRANKFURT))


def flipped(data: bytes) -> bytes:
    """The same with its last bit turned."""
    return data[:-1] + bytes([data[-1] ^ 1])


# The media port


async def test_datagrams_of_strangers_are_dropped_and_counted(meeting: Meeting) -> None:
    tap = meeting.anna.tap
    await until_true(lambda: all(tap.sent_of(each) for each in Protocol))
    (check, *_), (hello, *_), (media, *_), (report, *_) = (tap.sent_of(each) for each in Protocol)
    truncated = [check[:cut] for cut in range(8, len(check), 4)]
    for data in (
        *truncated,
        b"",
        b"short",
        b"\x00\x01\x00\x00" + bytes(16),  # STUN without its cookie
        bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST)),  # of nobody's ufrag
        bytes(stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)),  # to no question
        hello,
        media,
        report,
        b"\x50 neither the one nor the other",
        b"\xff" * 1_200,
        media + bytes(60_000),
    ):
        await tap.inject_as_stranger(data)
    await meeting.until_dropped(
        malformed=2,
        stun_malformed=len(truncated) + 2,
        stun_unknown=1,
        unknown_address=3,
        unknown_protocol=2,
        oversize=1,
    )
    await meeting.goes_on()


async def test_a_check_with_a_wrong_password_is_refused_with_an_error(meeting: Meeting) -> None:
    tap = meeting.anna.tap
    check = stun.parse_message(tap.sent_of(Protocol.STUN)[0])
    forged = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    forged.attributes.update(USERNAME=check.attributes["USERNAME"], PRIORITY=1)
    forged.attributes["USE-CANDIDATE"] = None
    forged.attributes["ICE-CONTROLLING"] = 1
    forged.add_message_integrity(b"guessed")
    await tap.inject_as_stranger(bytes(forged))
    with trio.fail_after(DEADLINE_S):
        refusal = stun.parse_message(await tap.hear_as_stranger())
    assert refusal.message_class is stun.Class.ERROR
    assert refusal.attributes["ERROR-CODE"][0] == 401
    await meeting.goes_on()


async def test_a_replayed_check_draws_no_media_to_who_replays_it(meeting: Meeting) -> None:
    tap = meeting.anna.tap
    for check in tap.sent_of(Protocol.STUN):
        await tap.inject_as_stranger(check)
    with trio.fail_after(DEADLINE_S):
        answer = stun.parse_message(await tap.hear_as_stranger())
    assert answer.message_class is stun.Class.RESPONSE
    await meeting.goes_on()
    # Had the address been taken, media would have gone there and Anna's have stopped.
    await tap.inject_as_stranger(tap.sent_of(Protocol.RTP)[-1])
    await meeting.until_dropped(unknown_address=1)


async def test_bad_media_from_a_clients_own_address_is_dropped_and_counted(
    meeting: Meeting,
) -> None:
    tap = meeting.anna.tap
    await until_true(lambda: len(tap.sent_of(Protocol.RTP)) > 20)
    for media in tap.sent_of(Protocol.RTP)[-20:]:
        await tap.inject(media)
    fresh = tap.sent_of(Protocol.RTP)[-1]
    sequence = rtp_of(fresh).sequence + 5_000 & 0xFFFF
    forged = fresh[:2] + struct.pack("!H", sequence) + fresh[4:]
    await tap.inject(forged)
    for cut in range(8, 12):
        await tap.inject(fresh[:cut])
    for cut in range(12, len(forged), 7):
        await tap.inject(forged[:cut])
    await tap.inject(fresh[:8] + b"\x12\x34\x56\x78" + fresh[12:])
    await meeting.until_dropped(
        replay=20,
        malformed=4,
        authentication=1,
        unknown_ssrc=1,
    )
    await meeting.goes_on()


async def test_bad_rtcp_from_a_clients_own_address_is_dropped_and_counted(
    meeting: Meeting,
) -> None:
    tap = meeting.anna.tap
    await until_true(lambda: len(tap.sent_of(Protocol.RTCP)) >= 2)
    reports = tap.sent_of(Protocol.RTCP)
    for report in reports:
        await tap.inject(report)
        await tap.inject(flipped(report))
        await tap.inject(report[:-SHORT_OF_A_TAG])
    foreign = [report[:4] + struct.pack("!I", ssrc) + report[8:] for ssrc in range(64)]
    for report in foreign:
        await tap.inject(report)
    for length in range(8, 20):
        await tap.inject(reports[0][:length])
    await meeting.until_dropped(replay=len(reports), authentication=len(reports) + len(foreign))
    await meeting.goes_on()


async def test_dtls_that_is_replayed_or_forged_does_not_end_the_association(
    meeting: Meeting,
) -> None:
    tap = meeting.anna.tap
    flights = tap.sent_of(Protocol.DTLS)
    for flight in flights:
        await tap.inject(flight)
        await tap.inject(flipped(flight))
        for cut in range(8, len(flight), 50):
            await tap.inject(flight[:cut])
    header = b"\xfe\xfd" + bytes(8)  # DTLS 1.2, epoch 0
    await tap.inject(b"\x15" + header + b"\x00\x02\x02\x28")  # fatal: handshake_failure
    await tap.inject(b"\x15" + header + b"\x00\x02\x01\x00")  # close_notify
    await tap.inject(b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x20" + bytes(32))
    await tap.inject(b"\x16" + bytes(200))
    await tap.inject(b"\x16" + bytes([0xFF]) * 1_300)
    # What comes after all that, from the same address, is read after it.
    await tap.inject(b"\x50 the end")
    await meeting.until_dropped(unknown_protocol=1)
    await meeting.goes_on()


async def test_all_of_it_at_once_costs_the_meeting_nothing(meeting: Meeting) -> None:
    tap = meeting.anna.tap
    recorded = list(tap.sent)
    for round_ in range(10):
        for data in recorded:
            await tap.inject(flipped(data))
            await tap.inject_as_stranger(data)
            await tap.inject_as_stranger(data[: 8 + round_])
    await meeting.goes_on()


# Joining


async def test_who_shows_another_certificate_than_the_offer_names_gets_nothing(
    meeting: Meeting, loop: Loop
) -> None:
    def tamper(offer: str) -> str:
        lines = offer.split("\r\n")
        return "\r\n".join(
            line[:-5] + "00:00" if line.startswith("a=fingerprint:") else line for line in lines
        )

    with capture_logs() as logs:
        async with participant(
            loop, meeting.mesh, FRANKFURT, GREEN, room=ROOM, tamper=tamper, connects=False
        ) as mallory:
            await until_true(lambda: [each for each in logs if each["event"] == "participant-gone"])
            await until_true(lambda: mallory.stack.state in ("failed", "closed"))
            await meeting.goes_on()
            assert mallory.tap.received_rtp() == []
    (gone,) = (each for each in logs if each["event"] == "participant-gone")
    assert gone["participant"] == mallory.id
    assert "fingerprint" in gone["reason"]
    assert GREEN not in meeting.anna.stack.sees
    assert GREEN not in meeting.anna.stack.hears


async def test_bad_signalling_is_answered_in_words_counted_and_then_cut_off(
    meeting: Meeting,
) -> None:
    async def bad_requests() -> float:
        return (await meeting.mesh.metrics())("web_bad_requests_total", door="signal")

    for message in (
        "{",
        "[]",
        '"join"',
        '{"type": "sudo"}',
        '{"type": "join"}',
        "[" * 100_000,
        json.dumps({"type": "join", "room": "x" * 1_000, "name": "Mallory"}),
        json.dumps({"type": "offer", "attempt": -1, "sdp": "v=0", "sources": {}}),
        json.dumps({"type": "view", "sources": None}),  # before any join
        b"\x00\x01binary",
    ):
        before = await bad_requests()
        async with meeting.mesh.websocket("/api/signal") as socket:
            await socket.send_message(message)
            with trio.fail_after(DEADLINE_S):
                refusal = json.loads(await socket.get_message())
        assert (refusal["type"], refusal["code"]) == ("error", "bad-request")
        assert refusal["message"]
        assert await bad_requests() == before + 1
    # No more than are read: what stays unread resets the connection, and 1008 may get lost.
    assert await closed_after(meeting.mesh, "/api/signal", ["{"] * MAX_BAD_REQUESTS) == 1008
    for oversized in (MAX_SIGNALLING_BYTES + 1, 2 << 20):
        assert await closed_after(meeting.mesh, "/api/signal", ["x" * oversized]) in TOO_BIG
    await meeting.goes_on()


async def test_an_offer_that_is_no_sdp_is_refused_in_words(meeting: Meeting) -> None:
    async with meeting.mesh.websocket("/api/signal") as socket:
        signalling = Signalling(socket)
        await signalling.say(type="join", room=ROOM, name="Mallory", region="frankfurt")
        await signalling.hear("joined")
        await signalling.say(type="offer", attempt=0, sdp="\x00" * 1_000, sources={})
        with trio.fail_after(DEADLINE_S):
            while (message := json.loads(await socket.get_message()))["type"] != "error":
                pass
    assert message["code"] == "offer-refused"
    await meeting.until_dropped(offers_refused=1)
    await meeting.goes_on()


# Bridges


async def test_tokens_that_are_wrong_used_or_expired_enrol_nobody(meeting: Meeting) -> None:
    mesh = meeting.mesh
    _, csr_pem = make_request()

    async def refused(token: str) -> str:
        body = {"token": token, "csr": csr_pem.decode(), "region": FRANKFURT}
        response = await mesh.http.post(f"{mesh.url}/api/bridges/enrol", json=body)
        assert response.status_code in (400, 403), response.text
        return str(response.json()["error"])

    used = mesh.token(FRANKFURT)
    await load_or_enrol(mesh.region_settings(FRANKFURT, "third", used))
    expired = mesh.token(FRANKFURT, ttl_s=0.001)
    good = mesh.token(FRANKFURT)
    foreign = mint_token(mesh.directory / "other-focus", FRANKFURT, 60.0)
    assert "used" in await refused(used)
    assert "expired" in await refused(expired)
    assert "not minted by this mesh" in await refused(foreign)
    assert "not an enrolment token" in await refused("no token")
    with pytest.raises(SettingsError, match=r"refused to enrol this bridge: .*used"):
        await bridge.run(mesh.region_settings(FRANKFURT, "fourth", used))
    await load_or_enrol(mesh.region_settings(FRANKFURT, "fifth", good))  # it is still good
    await meeting.goes_on()


async def test_bad_msgpack_on_the_control_socket_is_denied_and_counted(meeting: Meeting) -> None:
    mesh = meeting.mesh

    async def denied() -> float:
        return (await mesh.metrics())("focus_bridges_denied_total")

    for message in (
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\x81\xa4type\xa5Hello",
        b"",
        b"\x91" * 5_000,
    ):
        before = await denied()
        async with mesh.websocket("/api/bridges/control") as socket:
            with trio.fail_after(DEADLINE_S):
                assert isinstance(
                    FROM_FOCUS.decode_untrusted(await socket.get_message()), Challenge
                )
                await socket.send_message(message)
                refusal = FROM_FOCUS.decode_untrusted(await socket.get_message())
                assert isinstance(refusal, Denied)
                assert refusal.reason
                with pytest.raises(ConnectionClosed):
                    await socket.get_message()
        assert await denied() == before + 1
    assert await closed_after(mesh, "/api/bridges/control", [bytes(2 << 20)]) in TOO_BIG
    await closed_after(mesh, "/api/bridges/control", ["text"])
    assert len((await mesh.state())["bridges"]) == 2
    await meeting.goes_on()


async def closed_after(mesh: Mesh, path: str, messages: list[str] | list[bytes]) -> int:
    """With which code the focus closes after these messages."""

    async def speak() -> None:
        for message in messages:
            await socket.send_message(message)
        while True:
            await socket.get_message()

    async with mesh.websocket(path) as socket:
        with trio.fail_after(DEADLINE_S), pytest.raises(ConnectionClosed) as closed:
            await speak()
    assert closed.value.reason is not None
    return int(closed.value.reason.code)


# Trunks


def dialler(identity: Identity | None, authority_pem: bytes) -> ssl.SSLContext:
    """How somebody dials a trunk with that identity, or without any certificate."""
    if identity is not None:
        return trunk_ssl_context(identity, server_side=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authority_pem.decode())
    return context


@asynccontextmanager
async def trunk_port(mesh: Mesh) -> AsyncIterator[trio.SocketStream]:
    port = mesh.bridges[FRANKFURT].relay_port
    with trio.fail_after(DEADLINE_S):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            yield stream


async def until_closed(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes before the other end closes, kindly or not."""
    data = b""
    try:
        while more := await stream.receive_some():
            data += more
    except trio.BrokenResourceError:
        pass
    return data


async def test_garbage_on_the_trunk_port_is_no_trunk(meeting: Meeting) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\xff" * 70_000):
        async with trunk_port(meeting.mesh) as stream:
            try:
                await stream.send_all(garbage)
            except trio.BrokenResourceError:
                continue
            await until_closed(stream)
    await meeting.until_dropped(handshake_failed=3)
    await meeting.goes_on()


async def test_a_dialler_without_a_certificate_of_this_mesh_gets_no_trunk(
    meeting: Meeting,
) -> None:
    mesh = meeting.mesh
    mesh_ca = (mesh.bridges[FRANKFURT].state_dir / "mesh-ca.pem").read_bytes()
    foreign = MeshAuthority.create(1_700_000_000.0)
    key_pem, csr_pem = make_request()
    forged = Identity(
        certificate_pem=foreign.issue(
            csr_pem, BridgeId("singapore-1"), SINGAPORE, 1_700_000_000.0, 10 * 365 * 86_400
        ),
        key_pem=key_pem,
        mesh_ca_pem=mesh_ca,
    )
    for identity in (None, forged):
        async with trunk_port(mesh) as tcp:
            stream = trio.SSLStream(tcp, dialler(identity, mesh_ca))
            # In TLS 1.3 the dialler is done before its certificate is looked at.
            await stream.do_handshake()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
    await meeting.until_dropped(handshake_failed=2)
    await meeting.goes_on()


async def test_an_enrolled_bridge_that_the_focus_did_not_announce_gets_no_trunk(
    meeting: Meeting,
) -> None:
    mesh = meeting.mesh
    store = await load_or_enrol(
        mesh.region_settings(SINGAPORE, "unannounced", mesh.token(SINGAPORE))
    )
    async with trunk_port(mesh) as tcp:
        stream = trio.SSLStream(tcp, dialler(store.identity, store.identity.mesh_ca_pem))
        await stream.do_handshake()
        said = await until_closed(stream)
    (goodbye,) = FrameReader(MAX_TRUNK_BYTES).receive_untrusted(said)
    assert TRUNK_MESSAGES.decode_untrusted(goodbye) == Bye(
        reason="you are not in the mesh that the focus told"
    )
    await meeting.until_dropped(not_in_mesh=1)
    await meeting.goes_on()


async def test_an_announced_bridge_that_talks_nonsense_is_told_so_and_the_trunk_stays(
    meeting: Meeting,
) -> None:
    # Singapore's own certificate, as if its disk had been stolen.
    directory = meeting.mesh.bridges[SINGAPORE].state_dir
    stolen = Identity(
        certificate_pem=(directory / "bridge-cert.pem").read_bytes(),
        key_pem=(directory / "bridge-key.pem").read_bytes(),
        mesh_ca_pem=(directory / "mesh-ca.pem").read_bytes(),
    )
    for nonsense in (b"\xff" * 4, struct.pack("!I", 3) + b"\xc1\xc1\xc1", struct.pack("!I", 0)):
        async with trunk_port(meeting.mesh) as tcp:
            stream = trio.SSLStream(tcp, dialler(stolen, stolen.mesh_ca_pem))
            await stream.do_handshake()
            await stream.send_all(nonsense)
            _, goodbye = FrameReader(MAX_TRUNK_BYTES).receive_untrusted(await until_closed(stream))
        assert isinstance(TRUNK_MESSAGES.decode_untrusted(goodbye), Bye)
    await meeting.goes_on()
