"""What a bridge tells Prometheus; read from the counters when it asks, kept nowhere else."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from region.kernel import Pump
from relay.control import Heartbeat, TrunkReport


class BridgeMetrics(Collector):
    """All metrics of one bridge process; register it with `registry_of`."""

    def __init__(
        self,
        pump: Pump,
        *,
        heartbeat: Callable[[], Heartbeat],
        conferences: Callable[[], int],
        drops: Callable[[], Iterable[tuple[str, int]]],
    ) -> None:
        """`drops` gives what Python dropped, by reason; the pump knows its own."""
        self._pump = pump
        self._heartbeat = heartbeat
        self._conferences = conferences
        self._drops = drops

    def collect(self) -> Iterator[Metric]:
        """The families that `/metrics` shows."""
        counters = self._pump.counters()
        for name, help_text in (
            ("packets_in", "Media packets that passed authentication"),
            ("packets_out", "Media packets sent, to clients and bridges"),
            ("datagrams_in", "Datagrams read from the media port"),
            ("consents", "Checks answered that only renewed consent"),
            ("handed_on", "Datagrams that are no media, given to who deals with them"),
            ("rtcp_taken", "Compounds of feedback and reports that concern the pump alone"),
            ("offered", "Packets times the egresses of their streams: sent or dropped"),
            ("retransmitted", "Packets sent again because receivers asked for them"),
            ("probed", "Packets sent to measure what receivers' paths carry"),
            ("tcp_frames_in", "Packets read from TCP connections to the media port"),
            ("tcp_connections", "TCP connections to the media port"),
        ):
            yield CounterMetricFamily(f"octomesh_{name}", help_text, value=counters[name])
        dropped = CounterMetricFamily(
            "octomesh_dropped", "What was dropped, by reason", labels=["reason"]
        )
        for name, count in counters.items():
            if name.startswith("dropped_"):
                dropped.add_metric([name.removeprefix("dropped_")], count)
        for reason, count in self._drops():
            dropped.add_metric([reason], count)
        yield dropped
        sizes = self._pump.sizes()
        for name, help_text, size in (
            ("transports", "Clients and bridges with media", sizes.transports),
            ("streams", "Incoming streams that are expected", sizes.streams),
            ("egresses", "Outgoing streams, to clients and bridges", sizes.egresses),
        ):
            yield GaugeMetricFamily(f"octomesh_{name}", help_text, value=size)
        yield GaugeMetricFamily(
            "octomesh_tcp_connections_open",
            "TCP connections to the media port that are open",
            value=self._pump.open_connections,
        )
        yield GaugeMetricFamily(
            "octomesh_conferences", "Conferences on this bridge", value=self._conferences()
        )
        yield from _of_heartbeat(self._heartbeat())


def _of_heartbeat(heartbeat: Heartbeat) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "octomesh_participants", "Client transports", value=heartbeat.participants
    )
    yield GaugeMetricFamily("octomesh_cpu_ratio", "Share of one core", value=heartbeat.cpu)
    gauges: dict[str, tuple[str, Callable[[TrunkReport], float | None]]] = {
        "rtt_seconds": ("Round trip on the media path", lambda t: _seconds(t.rtt_ms)),
        "jitter_seconds": ("Jitter on the media path", lambda t: _seconds(t.jitter_ms)),
        "loss_ratio": ("Share of probes unanswered", lambda t: t.loss),
        "up": ("Whether media can cross", lambda t: float(t.up)),
        "sources_out": ("Sources that cross to the peer", lambda t: t.sources_out),
        "sources_in": ("Sources that cross from the peer", lambda t: t.sources_in),
        "sent_bits_per_second": ("Media sent", lambda t: t.sent_bps),
        "received_bits_per_second": ("Media received", lambda t: t.received_bps),
    }
    for name, (help_text, value_of) in gauges.items():
        gauge = GaugeMetricFamily(f"octomesh_trunk_{name}", help_text, labels=["peer"])
        for trunk in heartbeat.trunks:
            value = value_of(trunk)
            if value is not None:
                gauge.add_metric([trunk.peer], value)
        yield gauge


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1_000


def registry_of(metrics: BridgeMetrics) -> CollectorRegistry:
    """A registry with these and nothing of the process's global one."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry
