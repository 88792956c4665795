"""What flows in one conference, as handles of the pump: what comes in, and to whom it goes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from region.feed import Feed
from region.legs import Legs
from region.viewer import Viewer
from relay.ids import BridgeId, ParticipantId, SourceId, Ssrc
from relay.trunk_messages import RelayedEncoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A source that comes over a trunk."""

    peer: BridgeId
    encodings: tuple[RelayedEncoding, ...]
    feed: Feed


@dataclass(slots=True)
class Flows:
    """Kept by the conference's forwarder, read by all that deals with its streams."""

    viewers: dict[ParticipantId, Viewer] = field(default_factory=dict)
    """Participants whose transports are here."""
    own: dict[SourceId, Feed] = field(default_factory=dict)
    """What they send."""
    own_ssrcs: dict[SourceId, dict[int, Ssrc]] = field(default_factory=dict)
    """Of that, by encoding, as far as they are known."""
    incoming: dict[SourceId, Incoming] = field(default_factory=dict)
    """What trunks could bring; what nobody demands is silent."""
    legs: dict[BridgeId, Legs] = field(default_factory=dict)
    feeds: dict[SourceId, Feed] = field(default_factory=dict)
    """Each source that arrives here, or could: all of `own` and `incoming`."""

    def awaited(self, awaiting: frozenset[int]) -> Iterator[tuple[SourceId, int]]:
        """The sources and encodings of which these egresses need a keyframe."""
        if not awaiting:  # mostly: it is asked at each look
            return
        wanting: chain[Viewer | Legs] = chain(self.viewers.values(), self.legs.values())
        for each in wanting:
            yield from each.awaited(awaiting)

    def arrange(self) -> None:
        """To be called when `own` or `incoming` has changed."""
        self.feeds = self.own | {source: each.feed for source, each in self.incoming.items()}
