"""What Prometheus reads from a bridge."""

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from region.metrics import BridgeMetrics, registry_of
from relay.control import Heartbeat, TrunkReport
from relay.ids import BridgeId
from relay.payload import HeaderExtension
from tests.region.rig import Rig
from tests.strategies.rtp import KEYFRAME, rtp

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

MEASURED = TrunkReport(
    peer=BridgeId("singapore-1"),
    up=True,
    rtt_ms=160.0,
    rtt_min_ms=155.0,
    rtt_p50_ms=159.0,
    rtt_p95_ms=170.0,
    jitter_ms=2.0,
    loss=0.01,
    sources_out=3,
    sources_in=4,
    sent_bps=1e6,
    received_bps=2e6,
)
UNMEASURED = TrunkReport(
    peer=BridgeId("sao-paulo-1"),
    up=False,
    rtt_ms=None,
    rtt_min_ms=None,
    rtt_p50_ms=None,
    rtt_p95_ms=None,
    jitter_ms=None,
    loss=None,
    sources_out=0,
    sources_in=0,
    sent_bps=0.0,
    received_bps=0.0,
)
HEARTBEAT = Heartbeat(participants=2, cpu=0.25, packets_per_s=900.0, trunks=(MEASURED, UNMEASURED))


class Scraped:
    """A bridge's metrics as text and back, as often as one looks."""

    def __init__(self, rig: Rig) -> None:
        self.heartbeat = Heartbeat(participants=0, cpu=0.0, packets_per_s=0.0, trunks=())
        self.conferences = 0
        self.drops: Counter[str] = Counter()
        self._registry = registry_of(
            BridgeMetrics(
                rig.pump,
                heartbeat=lambda: self.heartbeat,
                conferences=lambda: self.conferences,
                drops=lambda: self.drops.items(),
            )
        )

    def samples(self) -> Samples:
        text = generate_latest(self._registry).decode()
        found: Samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in found, f"{key} is there twice"
                found[key] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((f"octomesh_{name}", tuple(sorted(labels.items()))))


@pytest.fixture
def scraped(rig: Rig) -> Scraped:
    return Scraped(rig)


def of_peer(scraped: Scraped, peer: str) -> Mapping[str, float]:
    return {
        name.removeprefix("octomesh_trunk_"): value
        for (name, labels), value in scraped.samples().items()
        if labels == (("peer", peer),)
    }


def test_entries_of_the_tables_are_gauges(rig: Rig, scraped: Scraped) -> None:
    def sizes() -> tuple[float | None, ...]:
        return tuple(map(scraped.value, ("transports", "streams", "egresses")))

    assert sizes() == (0, 0, 0)
    sender, receiver = rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, 1, video=True, clock_rate=90_000, csrc=5)
    rig.pump.add_egress(receiver.transport, 2, video=True, trunk=False)
    assert sizes() == (2, 1, 1)
    rig.pump.remove_stream(stream)
    rig.pump.remove_transport(receiver.transport)
    assert sizes() == (1, 0, 0)


def test_an_offer_is_a_packet_for_each_egress_of_its_stream(rig: Rig, scraped: Scraped) -> None:
    sender, first, second = rig.peer(), rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, 1, video=True, clock_rate=90_000, csrc=5)
    for receiver in (first, second):
        slot = rig.pump.add_egress(receiver.transport, 2, video=True, trunk=False)
        rig.pump.set_source(slot, stream)
    sender.send(rtp(sequence=1, timestamp=1, ssrc=1, payload=b"no keyframe"))
    rig.wait_for_datagrams(1)
    assert scraped.value("offered_total") == 2
    assert scraped.value("dropped_total", reason="awaiting_keyframe") == 2
    sender.send(rtp(sequence=2, timestamp=2, ssrc=1, payload=KEYFRAME))
    first.receive(), second.receive()
    rig.wait_for_datagrams(2)
    assert scraped.value("offered_total") == 4


def test_what_is_no_media_is_handed_on_or_taken(rig: Rig, scraped: Scraped) -> None:
    peer = rig.peer(extensions={3: HeaderExtension.TRANSPORT_SEQUENCE})
    peer.send_raw(bytes(20))
    rig.wait_for_datagrams(1)
    assert scraped.value("handed_on_total") == 1
    feedback = struct.pack("!BBHIIHHIHH", 0x8F, 205, 5, 1, 2, 0, 1, 0, 0x2001, 0x0400)
    peer.send_raw(peer.outbound.protect_rtcp(feedback))
    rig.wait_for_datagrams(2)
    assert scraped.value("handed_on_total") == 1
    assert scraped.value("rtcp_taken_total") == 1


def test_forwarded_packets_are_counted_in_and_out(rig: Rig, scraped: Scraped) -> None:
    sender, first, second = rig.peer(), rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, 1, video=True, clock_rate=90_000, csrc=5)
    for receiver in (first, second):
        slot = rig.pump.add_egress(receiver.transport, 2, video=True, trunk=False)
        rig.pump.set_source(slot, stream)
    for sequence in range(3):
        sender.send(rtp(sequence=sequence, timestamp=sequence, ssrc=1, payload=KEYFRAME))
        first.receive(), second.receive()
    rig.wait_for_datagrams(3)
    assert scraped.value("packets_in_total") == 3
    assert scraped.value("packets_out_total") == 6
    assert scraped.value("datagrams_in_total") == 3


def test_drops_of_the_pump_and_of_python_stand_side_by_side(rig: Rig, scraped: Scraped) -> None:
    rig.peer().send_raw(b"\x70 neither STUN nor DTLS nor RTP")
    rig.wait_for_datagrams(1)
    scraped.drops = Counter(stun_malformed=4)
    assert scraped.value("dropped_total", reason="unknown_protocol") == 1
    assert scraped.value("dropped_total", reason="stun_malformed") == 4


def test_a_reason_that_never_happened_in_the_pump_is_there_as_zero(scraped: Scraped) -> None:
    assert scraped.value("dropped_total", reason="replay") == 0


def test_conferences_and_participants_are_gauges(scraped: Scraped) -> None:
    scraped.heartbeat, scraped.conferences = HEARTBEAT, 1
    assert scraped.value("conferences") == 1
    assert scraped.value("participants") == 2
    assert scraped.value("cpu_ratio") == 0.25


def test_a_measured_trunk_is_told_in_base_units(scraped: Scraped) -> None:
    scraped.heartbeat = HEARTBEAT
    assert of_peer(scraped, "singapore-1") == pytest.approx(
        {
            "rtt_seconds": 0.16,
            "jitter_seconds": 0.002,
            "loss_ratio": 0.01,
            "up": 1,
            "sources_out": 3,
            "sources_in": 4,
            "sent_bits_per_second": 1e6,
            "received_bits_per_second": 2e6,
        }
    )


def test_an_unmeasured_trunk_has_no_figures_but_is_there(scraped: Scraped) -> None:
    scraped.heartbeat = HEARTBEAT
    figures = of_peer(scraped, "sao-paulo-1")
    assert figures["up"] == 0
    assert not {"rtt_seconds", "jitter_seconds", "loss_ratio"} & figures.keys()


def test_each_look_tells_the_present(scraped: Scraped) -> None:
    scraped.heartbeat = HEARTBEAT
    assert scraped.value("participants") == 2
    scraped.heartbeat = replace(HEARTBEAT, participants=3)
    assert scraped.value("participants") == 3


def test_the_registry_has_nothing_of_the_process(scraped: Scraped) -> None:
    assert all(name.startswith("octomesh_") for name, _ in scraped.samples())
