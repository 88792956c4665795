"""Clients that are let in and then send what they should not, while others go on with a meeting."""

import json
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from benchmarks.client import VP8, VP8_RTX, Client, Connection, LoadCertificate, Wish
from region.rtcp import Fir, FirEntry, Pli, ReceiverReport, RtcpPacket, build_compound
from relay.ids import Region, Ssrc
from tests.interop.load import Load, load, until_asked_for_keyframe, until_shown
from tests.interop.mesh import DEADLINE_S, FRANKFURT, POLL_S, SINGAPORE, Mesh, Signalling
from tests.interop.stack import Loop
from tests.interop.tap import Protocol, protocol_of, rtp_of
from tests.interop.test_hostile import Meeting, Standing
from tests.region.answering import CHROMIUM, changed
from tests.region.test_hostile_packets import LIES, WRONG, WRONG_FEEDBACK, feedback
from tests.strategies.rtp import KEYFRAME, rtp

COUNT = 50
QUIET_S = 0.3
"""More than the interval at which a bridge asks again."""
STORM_S = 1.0
ASKED_EACH_S = 0.2
"""A sender is asked for a keyframe at most this often."""
SENDER = Wish(camera=1)
VIEWER = Wish(video_slots=2)
EVERYTHING = Wish(camera=3, video_slots=1, as_browsers=True)
NACKED = 10_000
NACKS_A_PACKET = 500
MOST_AT_ONCE = 128
"""So many packets, and half of those that were sent, are sent again at most."""
MICROPHONE_SSRC, CAMERA_SSRC, CAMERA_RTX_SSRC = 1248555525, 923817224, 612184367

_CERTIFICATE = LoadCertificate()


@pytest.fixture(scope="module")
def standing_meeting(standing_mesh: Mesh, loop: Loop) -> Iterator[Standing]:
    meeting = Standing(standing_mesh, loop)
    yield meeting
    meeting.close()


@pytest.fixture
async def meeting(mesh: Mesh, standing_meeting: Standing) -> Meeting:
    pair = await standing_meeting.pair()
    return Meeting(mesh, pair, await mesh.metrics(FRANKFURT))


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room of the test's own; parameters stand in brackets, which no room's name has."""
    return str(request.node.name).replace("[", "-").rstrip("]")[:100]


class Mallory(Load):
    """Sends whatever passes for authentic."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.camera_ssrcs = connection.camera_ssrcs
        self.slot_ssrcs = connection.slot_ssrcs

    def send_packet(self, packet: bytes) -> None:
        self._send(self._connection.outbound.protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        self._send(self._connection.outbound.protect_rtcp(packet))

    def received(self, payload_type: int) -> int:
        """How many packets of that type wait; they and all others are gone then."""
        found = 0
        while True:
            try:
                data = self._connection.socket.recv(4_096)
            except BlockingIOError:
                return found
            found += protocol_of(data) is Protocol.RTP and rtp_of(data).payload_type == payload_type

    def _send(self, data: bytes) -> None:
        self._connection.socket.sendto(data, self._connection.bridge)


@asynccontextmanager
async def mallory(
    mesh: Mesh, room: str, wish: Wish, region: Region = FRANKFURT
) -> AsyncIterator[Mallory]:
    """Joins, and leaves in the end."""
    async with trio.open_nursery() as nursery:
        client = Client(_CERTIFICATE, wish)
        run = partial(client.run, mesh.plain_url, room, "Mallory", region=region)
        yield Mallory(await nursery.start(run))
        nursery.cancel_scope.cancel()


async def assert_flows(sender: Load, viewer: Load) -> int:
    """All that is sent arrives, and nothing else; the last number."""
    numbers = [sender.send() for _ in range(COUNT)]
    assert await viewer.next(COUNT) == numbers
    return numbers[-1]


def of(ssrc: int, sequence: int, packet: bytes) -> bytes:
    """The same packet with another SSRC and number."""
    return (
        packet[:2]
        + struct.pack("!H", sequence)
        + packet[4:8]
        + struct.pack("!I", ssrc)
        + packet[12:]
    )


# Media


async def test_packets_that_are_wrong_inside_are_dropped_and_nobody_misses_anything(
    meeting: Meeting, room: str
) -> None:
    mesh = meeting.mesh
    async with (
        load(mesh, FRANKFURT, room, SENDER) as carol,
        load(mesh, FRANKFURT, room, VIEWER) as viewer,
        mallory(mesh, room, EVERYTHING) as liar,
    ):
        await until_shown(carol, viewer)
        for sequence, wrong in enumerate(list(WRONG.values()) * 10):
            for ssrc in liar.camera_ssrcs:
                liar.send_packet(of(ssrc, sequence, wrong))
        await meeting.until_dropped(malformed=30 * len(WRONG))
        await assert_flows(carol, viewer)
        await meeting.goes_on()


async def test_what_a_client_did_not_announce_is_dropped_whosever_it_is(
    meeting: Meeting, room: str
) -> None:
    mesh = meeting.mesh
    async with (
        load(mesh, FRANKFURT, room, SENDER) as carol,
        load(mesh, FRANKFURT, room, VIEWER) as viewer,
        mallory(mesh, room, EVERYTHING) as liar,
    ):
        await until_shown(carol, viewer)
        theirs = {each.ssrc for each in meeting.anna.tap.received_rtp()}
        theirs |= {rtp_of(each).ssrc for each in meeting.anna.tap.sent_of(Protocol.RTP)}
        strange = [*sorted(theirs - {*liar.camera_ssrcs})[:20], 0, 1, 2**32 - 1]
        for sequence in range(20):
            for ssrc in strange:
                liar.send_packet(rtp(sequence=sequence, timestamp=1, ssrc=ssrc, payload=KEYFRAME))
        types = [each for each in range(128) if each not in (VP8, VP8_RTX) and not 64 <= each < 96]
        for sequence, payload_type in enumerate(types):
            liar.send_packet(
                rtp(
                    sequence=sequence,
                    timestamp=1,
                    ssrc=liar.camera_ssrcs[0],
                    payload_type=payload_type,
                    payload=KEYFRAME,
                )
            )
        await meeting.until_dropped(unknown_ssrc=20 * len(strange), unknown_payload=len(types))
        await assert_flows(carol, viewer)
        await meeting.goes_on()


# RTCP


async def test_feedback_that_lies_or_makes_no_sense_is_the_liars_matter_alone(
    meeting: Meeting, room: str
) -> None:
    mesh = meeting.mesh
    async with (
        load(mesh, FRANKFURT, room, SENDER) as carol,
        load(mesh, FRANKFURT, room, VIEWER) as viewer,
        mallory(mesh, room, EVERYTHING) as liar,
    ):
        await until_shown(carol, viewer, liar)
        for _ in range(5):
            for each in WRONG_FEEDBACK:
                liar.send_rtcp(feedback(each))
            for each in LIES.values():
                liar.send_rtcp(feedback(each))
            await assert_flows(carol, viewer)
        await meeting.until_dropped(feedback_malformed=5 * len(WRONG_FEEDBACK))
        await assert_flows(carol, viewer)
        await meeting.goes_on()


def nacks(ssrc: int) -> Iterator[bytes]:
    """Requests for `NACKED` packets, 17 an entry (RFC 4585 §6.2.1)."""
    for first in range(0, NACKED, NACKS_A_PACKET):
        entries = b"".join(
            struct.pack("!HH", number, (1 << min(16, first + NACKS_A_PACKET - number - 1)) - 1)
            for number in range(first, first + NACKS_A_PACKET, 17)
        )
        yield struct.pack("!BBHII", 0x81, 205, 2 + len(entries) // 4, 1, ssrc) + entries


async def test_a_storm_of_nacks_is_answered_within_bounds(meeting: Meeting, room: str) -> None:
    mesh = meeting.mesh
    async with (
        load(mesh, FRANKFURT, room, SENDER) as carol,
        load(mesh, FRANKFURT, room, VIEWER) as viewer,
        mallory(mesh, room, EVERYTHING) as stormer,
    ):
        await until_shown(carol, viewer, stormer)
        sent = await assert_flows(carol, viewer)
        while sent not in await stormer.next(1):  # what measures its path comes between
            pass
        before = (await mesh.metrics(FRANKFURT))("retransmitted_total")
        for _ in range(3):
            for ssrc in stormer.slot_ssrcs:
                for request in nacks(ssrc):
                    stormer.send_rtcp(request)
            await assert_flows(carol, viewer)
        # The last that is asked for was never sent: all before it has been dealt with then.
        most_sent = sent + 3 * COUNT
        await meeting.until_dropped(nack_unknown=3 * (NACKED - most_sent), nack_repeated=1)
        again = (await mesh.metrics(FRANKFURT))("retransmitted_total") - before
        # Padding that measures the path looks the same to who receives it.
        assert 0 < again <= stormer.received(VP8_RTX)
        assert again <= MOST_AT_ONCE + most_sent // 2
        await assert_flows(carol, viewer)
        await meeting.goes_on()


def keyframe_requests(ssrcs: Iterable[int], number: int) -> bytes:
    """RFC 4585 §6.3.1 and RFC 5104 §4.3.1."""
    own = Ssrc(1)
    packets: list[RtcpPacket] = [ReceiverReport(ssrc=own)]
    for ssrc in map(Ssrc, ssrcs):
        packets.append(Pli(sender_ssrc=own, media_ssrc=ssrc))
        packets.append(
            Fir(sender_ssrc=own, entries=(FirEntry(ssrc=ssrc, sequence=number % 256),) * 5)
        )
    return build_compound(*packets)


async def until_nobody_asks(sender: Load) -> None:
    while await until_asked_for_keyframe(sender, within_s=QUIET_S):
        sender.send(keyframe=True)


@pytest.mark.parametrize("region", [FRANKFURT, SINGAPORE])
async def test_however_many_keyframes_are_asked_for_the_sender_is_asked_rarely(
    meeting: Meeting, room: str, region: Region
) -> None:
    mesh = meeting.mesh
    async with (
        load(mesh, FRANKFURT, room, SENDER) as carol,
        load(mesh, FRANKFURT, room, VIEWER) as viewer,
        mallory(mesh, room, Wish(video_slots=1), region) as stormer,
    ):
        await until_shown(carol, viewer, stormer)
        await until_nobody_asks(carol)
        viewer.arrived()
        before, began_s = carol.keyframe_requests, trio.current_time()
        requests = 0
        while trio.current_time() < began_s + STORM_S:
            for _ in range(5):
                stormer.send_rtcp(keyframe_requests(stormer.slot_ssrcs, requests))
                requests += 1
            await trio.sleep(POLL_S)
            carol.arrived()
        asked = carol.keyframe_requests - before
        took_s = trio.current_time() - began_s
        assert requests >= 100
        assert 2 <= asked <= 1 + took_s / ASKED_EACH_S
        await assert_flows(carol, viewer)
        await meeting.goes_on()


async def test_nobody_asks_for_what_others_get(meeting: Meeting, room: str) -> None:
    mesh = meeting.mesh
    async with (
        load(mesh, FRANKFURT, room, SENDER) as carol,
        mallory(mesh, room, EVERYTHING) as viewer,
        mallory(mesh, f"{room}-other", EVERYTHING) as stranger,
    ):
        await until_shown(carol, viewer)
        await until_nobody_asks(carol)
        viewer.arrived()
        before = await mesh.metrics(FRANKFURT)
        for number in range(20):
            stranger.send_rtcp(keyframe_requests(viewer.slot_ssrcs, number))
            stranger.send_rtcp(keyframe_requests([0, 1, 2**32 - 1], number))
            for ssrc in viewer.slot_ssrcs:
                stranger.send_rtcp(next(nacks(ssrc)))
        assert not await until_asked_for_keyframe(carol, within_s=QUIET_S)
        assert viewer.arrived() == []
        after = await mesh.metrics(FRANKFURT)
        for reason in ("nack_unknown", "nack_repeated", "nack_limited", "nack_forgotten"):
            assert after("dropped_total", reason=reason) == before("dropped_total", reason=reason)
        await meeting.goes_on()


# Offers


async def refusal(signalling: Signalling) -> str:
    """The words in which the next offer is refused."""
    with trio.fail_after(DEADLINE_S):
        while True:
            message = json.loads(await signalling.socket.get_message())
            assert message["type"] != "answer", "it was not refused"
            if message["type"] == "error":
                assert message["code"] == "offer-refused"
                return str(message["message"])


@pytest.mark.parametrize("taken", [CAMERA_SSRC, CAMERA_RTX_SSRC], ids=["camera", "retransmissions"])
async def test_one_ssrc_for_two_sections_is_refused_in_words(
    meeting: Meeting, room: str, taken: int
) -> None:
    offer = changed(CHROMIUM, (f"a=ssrc:{MICROPHONE_SSRC}", f"a=ssrc:{taken}"))
    async with meeting.mesh.websocket("/api/signal") as socket:
        signalling = Signalling(socket)
        await signalling.say(type="join", room=room, name="Mallory", region=FRANKFURT)
        kinds = {"0": "microphone", "1": "camera"}
        await signalling.say(type="offer", attempt=0, sdp=offer, sources=kinds)
        assert "SSRC of its camera twice" in await refusal(signalling)
        await meeting.until_dropped(offers_refused=1)
        await signalling.say(type="offer", attempt=1, sdp=CHROMIUM, sources=kinds)
        assert (await signalling.hear("answer"))["attempt"] == 1
    await meeting.goes_on()


async def test_a_renewed_offer_with_an_ssrc_in_use_is_refused_and_the_next_is_not(
    meeting: Meeting, room: str
) -> None:
    # What was the camera's SSRC is now the microphone's, while the bridge has the camera's stream.
    swapped = changed(
        CHROMIUM,
        (f"(FID|ssrc:){CAMERA_SSRC}", r"\g<1>77"),
        (f"FID {CAMERA_SSRC}", "FID 77"),
        (f"a=ssrc:{MICROPHONE_SSRC}", f"a=ssrc:{CAMERA_SSRC}"),
    )
    async with meeting.mesh.websocket("/api/signal") as socket:
        signalling = Signalling(socket)
        await signalling.say(type="join", room=room, name="Mallory", region=FRANKFURT)
        camera, both = {"1": "camera"}, {"0": "microphone", "1": "camera"}
        await signalling.say(type="offer", attempt=0, sdp=CHROMIUM, sources=camera)
        await signalling.hear("answer")
        await signalling.say(type="offer", attempt=1, renews=True, sdp=swapped, sources=both)
        assert "one SSRC for two streams" in await refusal(signalling)
        await meeting.until_dropped(offers_refused=1)
        await signalling.say(type="offer", attempt=2, renews=True, sdp=CHROMIUM, sources=both)
        assert (await signalling.hear("answer"))["attempt"] == 2
    await meeting.goes_on()
