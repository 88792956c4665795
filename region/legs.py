"""What crosses one trunk to its peer: an egress for each encoding that is demanded.

An encoding keeps its link-local SSRC and its egress while its source is announced, demanded or
not, so its sequence numbers go on where they stopped and both ends agree on the rollover counter
(RFC 3711 §3.3.1).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from region.encodings import carried
from region.feed import Feed
from region.kernel import NO_STREAM, Pump
from relay.errors import CapacityError
from relay.ids import BridgeId, Layer, MediaKind, SourceId, Ssrc, kind_of
from relay.trunk_messages import RelayedEncoding


class LinkSsrcs:
    """Hands out the SSRCs of one trunk, each once; all conferences of the trunk share it."""

    def __init__(self, first: Ssrc) -> None:
        self._next = int(first)

    def take(self) -> Ssrc:
        """A number that this end of the trunk has not used before (2^32 of them suffice)."""
        self._next += 1
        return Ssrc(self._next - 1)

    def take_pair(self) -> RelayedEncoding:
        """For a stream and its retransmissions."""
        return RelayedEncoding(ssrc=self.take(), rtx_ssrc=self.take())


@dataclass(slots=True, kw_only=True)
class TrunkSide:
    """What the bridge holds of one live trunk."""

    transport: int
    ssrcs: LinkSsrcs


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One encoding of a source on its way to the peer."""

    source: SourceId
    encoding: int
    ssrc: Ssrc
    egress: int


class Legs:
    """To one peer, of one conference."""

    def __init__(self, peer: BridgeId, side: TrunkSide, pump: Pump, dropped: Counter[str]) -> None:
        self.peer = peer
        self._dropped = dropped
        self._side = side
        self._pump = pump
        self._names: dict[SourceId, tuple[RelayedEncoding, ...]] = {}
        self._legs: dict[SourceId, list[Leg]] = {}
        self._carried: dict[int, tuple[Feed, int, Layer]] = {}
        """By egress: what the kernel was told last."""

    @property
    def empty(self) -> bool:
        """Whether nothing is announced."""
        return not self._names

    def names(self, source: SourceId, encodings: int) -> tuple[RelayedEncoding, ...]:
        """How a source of so many encodings is announced."""
        names = self._names.get(source, ())
        if len(names) != encodings:
            self._forget(source)
            names = tuple(self._side.ssrcs.take_pair() for _ in range(encodings))
            self._names[source] = names
        return names

    def retain(self, announced: Collection[SourceId]) -> None:
        """Only these are announced any more."""
        for source in self._names.keys() - set(announced):
            self._forget(source)

    def carry(
        self, demanded: Mapping[SourceId, tuple[Layer, ...]], feeds: Mapping[SourceId, Feed]
    ) -> None:
        """Send what is demanded, and nothing else."""
        for source in self._names:
            feed = feeds.get(source)
            limits = {}
            if feed is not None and source in demanded:
                limits = carried(feed.encodings, demanded[source])
            if limits:
                self._add_missing(source)
            for leg in self._legs.get(source, ()):
                limit = limits.get(leg.encoding)
                wanted = None if feed is None or limit is None else (feed, leg.encoding, limit)
                self._set(leg.egress, wanted)

    def of_ssrc(self, ssrc: Ssrc) -> Leg | None:
        """The leg of that link-local SSRC."""
        return next((leg for leg in self._all if leg.ssrc == ssrc), None)

    def awaited(self, awaiting: Collection[int]) -> Iterator[tuple[SourceId, int]]:
        """The encodings of which these egresses need a keyframe."""
        for leg in self._all:
            if leg.egress in awaiting:
                yield leg.source, leg.encoding

    @property
    def _all(self) -> Iterator[Leg]:
        return (leg for legs in self._legs.values() for leg in legs)

    def _add_missing(self, source: SourceId) -> None:
        """A leg for each encoding; for fewer, the lowest, while the pump's tables are full."""
        legs = self._legs.setdefault(source, [])
        try:
            for index, name in enumerate(self._names[source][len(legs) :], len(legs)):
                legs.append(self._add(source, index, name))
        except CapacityError:
            self._dropped["legs_refused"] += 1

    def _add(self, source: SourceId, encoding: int, name: RelayedEncoding) -> Leg:
        egress = self._pump.add_egress(
            self._side.transport,
            name.ssrc,
            video=kind_of(source).media is MediaKind.VIDEO,
            trunk=True,
            rtx_ssrc=name.rtx_ssrc,
        )
        return Leg(source=source, encoding=encoding, ssrc=name.ssrc, egress=egress)

    def _set(self, egress: int, wanted: tuple[Feed, int, Layer] | None) -> None:
        if self._carried.get(egress) == wanted:
            return
        if wanted is None:
            self._pump.set_source(egress, NO_STREAM)
            del self._carried[egress]
            return
        feed, encoding, limit = wanted
        self._pump.set_layer(egress, limit.spatial, limit.temporal)
        self._pump.set_source(egress, feed.streams[encoding])
        self._carried[egress] = wanted

    def _forget(self, source: SourceId) -> None:
        self._names.pop(source, None)
        for leg in self._legs.pop(source, ()):
            self._pump.remove_egress(leg.egress)
            self._carried.pop(leg.egress, None)

    def close(self) -> None:
        """Free the egresses; while the trunk's transport still exists."""
        self.retain(())
