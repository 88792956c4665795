"""What the pump keeps for Python, and who gets it."""

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

import pytest
import trio
from aioice import stun

from region.demux import Demux, StunArrival
from region.kernel import DTLS, NO_TRANSPORT, RTCP, Datagram
from tests.region.rig import DEADLINE_S, Peer, Rig
from tests.strategies.rtp import rtp

T = TypeVar("T")

DTLS_DATAGRAM = bytes([22, 0xFE, 0xFD]) + bytes(10)
RTCP_PACKET = struct.pack("!BBHII", 0x81, 206, 2, 9, 7)
"""A PLI, which should not wait."""
LOST, ALL_THERE = 40 << 24, 0


def report(fraction_lost: int) -> bytes:
    """Of what arrived of two streams, all of the first."""
    return struct.pack("!BBHI6I6I", 0x82, 201, 13, 9, 7, *(5 * [0]), 8, fraction_lost, *(4 * [0]))


REPORT = report(LOST)
PASSWORD = b"p" * 22


@pytest.fixture
async def demux(rig: Rig, nursery: trio.Nursery) -> AsyncIterator[Demux]:
    demux = Demux(rig.pump)
    nursery.start_soon(demux.run)
    yield demux
    nursery.cancel_scope.cancel()


@pytest.fixture
def stranger(rig: Rig) -> Iterator[Callable[[bytes], None]]:
    """Sends from an address that no transport owns."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.connect(rig.address)
        yield lambda data: plain.sendall(data)


def listened_to(demux: Demux, rig: Rig) -> tuple[Peer, list[Datagram]]:
    """A client, and what of its datagrams has come to whom they are for."""
    came: list[Datagram] = []
    peer = rig.peer()
    demux.claim_transport(peer.transport, came.append)
    return peer, came


async def until(holds: Callable[[], T]) -> T:
    with trio.fail_after(DEADLINE_S):
        while not (value := holds()):
            await trio.lowlevel.checkpoint()
    return value


def request(username: str | None) -> stun.Message:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    if username is not None:
        message.attributes["USERNAME"] = username
        message.add_message_integrity(PASSWORD)
    return message


def response() -> stun.Message:
    return stun.Message(stun.Method.BINDING, stun.Class.RESPONSE)


async def test_a_binding_request_goes_to_whom_its_username_names(
    demux: Demux, stranger: Callable[[bytes], None]
) -> None:
    anna: list[StunArrival] = []
    bruno: list[StunArrival] = []
    demux.claim_ufrag("anna", anna.append)
    demux.claim_ufrag("bruno", bruno.append)
    stranger(bytes(request("bruno:browser")))
    await until(lambda: bruno)
    assert bruno[0].message.attributes["USERNAME"] == "bruno:browser"
    assert bruno[0].datagram.transport == NO_TRANSPORT
    assert anna == []


async def test_while_more_and_more_comes_others_have_their_turn(
    demux: Demux, rig: Rig, stranger: Callable[[bytes], None]
) -> None:
    came: list[StunArrival] = []

    def have_another_come(arrival: StunArrival) -> None:
        came.append(arrival)
        if len(came) < 1_000:
            stranger(bytes(request("anna:browser")))
            rig.wait_for_datagrams(len(came) + 1)

    demux.claim_ufrag("anna", have_another_come)
    stranger(bytes(request("anna:browser")))
    await until(lambda: came)
    assert len(came) < 10


async def test_a_released_ufrag_gets_nothing_any_more(
    demux: Demux, stranger: Callable[[bytes], None]
) -> None:
    anna: list[StunArrival] = []
    demux.claim_ufrag("anna", anna.append)
    demux.release_ufrag("anna")
    demux.release_ufrag("nobody")
    stranger(bytes(request("anna:browser")))
    await until(lambda: demux.dropped == {"stun_unknown": 1})
    assert anna == []


async def test_a_response_goes_once_to_who_expects_its_transaction(
    demux: Demux, stranger: Callable[[bytes], None]
) -> None:
    came: list[StunArrival] = []
    expected = response()
    demux.expect_response(expected.transaction_id, came.append)
    stranger(bytes(expected))
    stranger(bytes(expected))
    await until(lambda: demux.dropped == {"stun_unknown": 1})
    assert [each.message.transaction_id for each in came] == [expected.transaction_id]


async def test_a_forgotten_or_foreign_response_is_dropped(
    demux: Demux, stranger: Callable[[bytes], None]
) -> None:
    came: list[StunArrival] = []
    expected = response()
    demux.expect_response(expected.transaction_id, came.append)
    demux.forget_response(expected.transaction_id)
    demux.forget_response(b"never expected")
    stranger(bytes(expected))
    stranger(bytes(response()))
    await until(lambda: demux.dropped == {"stun_unknown": 2})
    assert came == []


async def test_stun_from_a_known_address_still_goes_by_its_username(demux: Demux, rig: Rig) -> None:
    came: list[StunArrival] = []
    demux.claim_ufrag("anna", came.append)
    peer = rig.peer()
    peer.send_raw(bytes(request("anna:browser")))
    await until(lambda: came)
    assert came[0].datagram.transport == peer.transport
    assert came[0].datagram.address == peer.address


@pytest.mark.parametrize(
    "datagram",
    [
        bytes(request("anna:browser"))[:-4],
        bytes(request("anna")),
        bytes(request("anna:")),
        bytes(request("a b c d:browser")),
        bytes(request(None)),
        b"\x00" * 20,
        b"\x03" + bytes(range(40)),
    ],
)
async def test_what_only_begins_like_stun_is_dropped_and_counted(
    demux: Demux, stranger: Callable[[bytes], None], datagram: bytes
) -> None:
    came: list[StunArrival] = []
    demux.claim_ufrag("anna", came.append)
    stranger(datagram)
    await until(lambda: demux.dropped == {"stun_malformed": 1})
    assert came == []


async def test_dtls_and_decrypted_rtcp_go_to_the_transport_of_their_address(
    demux: Demux, rig: Rig
) -> None:
    anna: list[Datagram] = []
    bruno: list[Datagram] = []
    peers: list[tuple[Peer, list[Datagram]]] = [(rig.peer(), anna), (rig.peer(), bruno)]
    for peer, came in peers:
        demux.claim_transport(peer.transport, came.append)
    sender = peers[1][0]
    sender.send_raw(DTLS_DATAGRAM)
    sender.send_raw(sender.outbound.protect_rtcp(RTCP_PACKET))
    await until(lambda: len(bruno) == 2)
    assert [(each.kind, each.data) for each in bruno] == [
        (DTLS, DTLS_DATAGRAM),
        (RTCP, RTCP_PACKET),
    ]
    assert anna == []


async def test_reports_wake_nobody_and_come_with_the_next_look(demux: Demux, rig: Rig) -> None:
    peer, came = listened_to(demux, rig)
    peer.send_raw(peer.outbound.protect_rtcp(REPORT))
    rig.wait_for_datagrams(1)
    with trio.move_on_after(0.1):
        await until(lambda: came != [])
    assert came == []
    demux.dispatch()
    assert [each.data for each in came] == [REPORT]


async def test_a_report_of_no_loss_is_for_nobody_unless_there_was_one_not_long_ago(
    demux: Demux, rig: Rig
) -> None:
    peer, came = listened_to(demux, rig)
    nothing = struct.pack("!BBHI", 0x80, 201, 1, 9)
    said = (report(ALL_THERE), REPORT, nothing, report(ALL_THERE), report(ALL_THERE))
    for number, packet in enumerate(said, 1):
        peer.send_raw(peer.outbound.protect_rtcp(packet))
        rig.wait_for_datagrams(number)
    demux.dispatch()
    assert [each.data for each in came] == [REPORT, report(ALL_THERE), report(ALL_THERE)]


async def test_a_report_that_is_cut_off_is_left_to_who_counts_it(demux: Demux, rig: Rig) -> None:
    peer, came = listened_to(demux, rig)
    short = struct.pack("!BBHI6I", 0x82, 201, 7, 9, 7, *(5 * [0]))
    peer.send_raw(peer.outbound.protect_rtcp(short))
    rig.wait_for_datagrams(1)
    demux.dispatch()
    assert [each.data for each in came] == [short]


async def test_news_of_the_pump_is_told_without_any_datagram(demux: Demux, rig: Rig) -> None:
    told: list[frozenset[int]] = []
    demux.on_news = told.append
    peer = rig.peer()
    stream = rig.pump.add_stream(peer.transport, 9, video=False, clock_rate=48_000, csrc=4)
    for sequence in range(3):
        peer.send(rtp(sequence=sequence, timestamp=1, ssrc=9))
    await until(lambda: told != [])
    rig.wait_for_datagrams(3)
    await trio.testing.wait_all_tasks_blocked()
    assert told == [{stream}]


async def test_a_released_transports_datagrams_are_dropped_by_their_kind(
    demux: Demux, rig: Rig
) -> None:
    peer, came = listened_to(demux, rig)
    demux.release_transport(peer.transport)
    demux.release_transport(4_711)
    peer.send_raw(DTLS_DATAGRAM)
    peer.send_raw(peer.outbound.protect_rtcp(RTCP_PACKET))
    await until(lambda: demux.dropped == {"dtls_unknown_address": 1, "rtcp_unknown_transport": 1})
    assert came == []


async def test_more_than_one_drain_takes_arrives_in_order(demux: Demux, rig: Rig) -> None:
    peer, came = listened_to(demux, rig)
    sent = [DTLS_DATAGRAM + struct.pack("!H", number) for number in range(600)]
    for number, datagram in enumerate(sent, 1):
        peer.send_raw(datagram)
        await until(lambda number=number: len(came) > number - 200)  # no queue overflows
    await until(lambda: len(came) == len(sent))
    assert [each.data for each in came] == sent
