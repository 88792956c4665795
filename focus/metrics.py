"""What the focus counts, for Prometheus."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from focus.state import State


class FocusMetrics:
    """The focus's counters, registered in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.denied = Counter(
            "octomesh_focus_bridges_denied",
            "Bridges that were not let in, or sent away for breaking the protocol.",
            registry=registry,
        )
        self.lost = Counter(
            "octomesh_focus_bridges_lost", "Bridges that vanished.", registry=registry
        )
        self.enrolled = Counter(
            "octomesh_focus_bridges_enrolled", "Certificates for new bridges.", registry=registry
        )
        self.moved = Counter(
            "octomesh_focus_participants_moved",
            "Participants who were told to offer to a bridge anew.",
            registry=registry,
        )
        self.slow = Counter(
            "octomesh_focus_slow_readers",
            "Peers cut off because they did not read what they were sent, by kind.",
            ["peer"],
            registry=registry,
        )


class StateCollector(Collector):
    """Gauges read from the focus's state when somebody asks for them."""

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """The gauges, now."""
        state = self._state()
        participants = GaugeMetricFamily(
            "octomesh_focus_participants",
            "Participants that sit on a bridge.",
            labels=["bridge", "region"],
        )
        taken = state.seats_taken()
        for name, bridge in state.registry.bridges.items():
            participants.add_metric([name, bridge.region], taken[name])
        yield participants
        yield GaugeMetricFamily(
            "octomesh_focus_bridges", "Live bridges.", value=len(state.registry.bridges)
        )
        yield GaugeMetricFamily(
            "octomesh_focus_conferences",
            "Conferences that have participants.",
            value=len(state.conferences),
        )
