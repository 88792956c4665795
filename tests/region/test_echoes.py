"""Probes of a trunk's peer: the pump echoes them, and Python reads the times when it looks."""

import select
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import pack_address
from region.rtcp import App, ReceiverReport, build_compound, parse_compound_untrusted
from relay.errors import LocalProtocolError
from relay.ids import Ssrc
from relay.probe import (
    PROBE_NAME,
    Echo,
    Probe,
    ProbeKind,
    decode_echo_untrusted,
    encode_echo,
    encode_probe,
)
from tests.region.rig import DEADLINE_S, Peer, Rig, give_keys, running

PEER = Ssrc(1)
PROBE = Probe(sequence=0xFFFFFFFE, sent_us=0x0123_4567_89AB_CDEF)


@pytest.fixture
def peer(rig: Rig) -> Peer:
    peer = rig.peer()
    rig.pump.echo_probes(peer.transport)
    return peer


def app(kind: int, data: bytes, name: str = PROBE_NAME) -> App:
    return App(subtype=kind, ssrc=PEER, name=name, data=data)


def tell(rig: Rig, peer: Peer, *packets: App | ReceiverReport) -> None:
    """Send it, and wait until the pump has dealt with it."""
    before = rig.pump.counters()["datagrams_in"]
    peer.send_raw(peer.outbound.protect_rtcp(build_compound(*packets)))
    rig.wait_for_datagrams(before + 1)


def echo(peer: Peer) -> Echo:
    (packet,) = parse_compound_untrusted(peer.inbound.unprotect_rtcp(peer.socket.recv(4096)))
    assert isinstance(packet, App)
    assert (packet.subtype, packet.ssrc, packet.name) == (ProbeKind.ECHO, PEER, PROBE_NAME)
    return decode_echo_untrusted(packet.data)


def wakes(rig: Rig, *, within_s: float = DEADLINE_S) -> bool:
    """Whether Python would wake up."""
    return bool(select.select([rig.pump.wake_fd], [], [], within_s)[0])


@pytest.mark.parametrize("more", [b"", b"from a later version"])
def test_a_probe_is_echoed_with_how_long_that_took_whatever_stands_behind_it(
    rig: Rig, peer: Peer, more: bytes
) -> None:
    began_s = time.monotonic()
    tell(rig, peer, app(ProbeKind.PROBE, encode_probe(PROBE) + more))
    answer = echo(peer)
    assert (answer.sequence, answer.sent_us) == (PROBE.sequence, PROBE.sent_us)
    assert answer.hold_us <= (time.monotonic() - began_s) * 1e6
    assert peer.has_nothing()


def test_python_gets_the_peers_probes_and_echoes_when_it_looks_and_is_not_woken(
    rig: Rig, peer: Peer
) -> None:
    echoed = encode_echo(Echo(sequence=7, sent_us=8, hold_us=9))
    sent = [app(ProbeKind.PROBE, encode_probe(PROBE)), app(ProbeKind.ECHO, echoed)]
    for each in sent:
        tell(rig, peer, each)
    tell(rig, peer, ReceiverReport(ssrc=PEER))  # when that is counted the others have been settled
    assert not wakes(rig, within_s=0)
    handed_on = rig.pump.drain()
    assert [parse_compound_untrusted(each.data) for each in handed_on] == [(each,) for each in sent]
    echo(peer)
    assert peer.has_nothing()


def test_a_stream_of_probes_with_something_urgent_in_it_wakes(rig: Rig, peer: Peer) -> None:
    tell(rig, peer, app(ProbeKind.PROBE, encode_probe(PROBE)), app(0, bytes(12), name="ELSE"))
    assert wakes(rig)
    echo(peer)


@pytest.mark.parametrize(
    "packet",
    [
        app(ProbeKind.PROBE, encode_probe(PROBE)[:8]),
        app(ProbeKind.PROBE, encode_probe(PROBE), name="ELSE"),
        app(2, encode_probe(PROBE)),
        ReceiverReport(ssrc=PEER),
    ],
    ids=["short", "another's", "of no kind", "no app"],
)
def test_nothing_else_is_echoed(rig: Rig, peer: Peer, packet: App | ReceiverReport) -> None:
    tell(rig, peer, packet)
    assert peer.has_nothing()


def test_who_is_no_trunk_gets_no_echo(rig: Rig) -> None:
    client = rig.peer()
    tell(rig, client, app(ProbeKind.PROBE, encode_probe(PROBE)))
    assert client.has_nothing()
    assert wakes(rig)


def test_a_probe_before_there_is_a_path_to_answer_by_is_no_harm(rig: Rig) -> None:
    transport = rig.pump.add_transport()
    rig.pump.echo_probes(transport)
    outbound, _ = give_keys(rig.pump, transport)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        rig.pump.bind_address(transport, pack_address(*peer.getsockname()))
        packet = build_compound(app(ProbeKind.PROBE, encode_probe(PROBE)))
        peer.sendto(outbound.protect_rtcp(packet), rig.address)
        rig.wait_for_datagrams(1)
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(4096)


def test_a_transport_that_is_gone_cannot_echo(rig: Rig, peer: Peer) -> None:
    rig.pump.remove_transport(peer.transport)
    with pytest.raises(LocalProtocolError):
        rig.pump.echo_probes(peer.transport)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    kind=st.integers(0, 31),
    name=st.sampled_from([PROBE_NAME, "ELSE"]),
    data=st.lists(st.binary(min_size=4, max_size=4), max_size=12).map(b"".join),
)
def test_each_probe_that_is_whole_has_one_echo_and_all_else_has_none(
    kind: int, name: str, data: bytes
) -> None:
    with running() as rig:
        peer = rig.peer()
        rig.pump.echo_probes(peer.transport)
        tell(rig, peer, app(kind, data, name=name))
        if kind == ProbeKind.PROBE and name == PROBE_NAME and len(data) >= 12:
            answer = echo(peer)
            assert encode_echo(answer)[:12] == data[:12]
        assert peer.has_nothing()
        assert rig.pump.counters()["rtcp_taken"] + len(rig.pump.drain()) == 1
