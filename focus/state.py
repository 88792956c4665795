"""All that the focus knows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from focus.codecs import DEFAULT_CODECS
from focus.conference import Conference
from focus.offers import Offers
from focus.registry import Registry
from relay.ids import BridgeId, ConferenceId, Generation, VideoCodec

_NOTHING_TOLD = Generation(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The live bridges, the conferences that have people, the offers that wait."""

    codecs: tuple[VideoCodec, ...] = DEFAULT_CODECS
    """What the operator prefers, in that order; fixed, as `last_n` is."""
    last_n: int | None = None
    """So many cameras anybody gets at most; None for no limit."""
    registry: Registry = field(default_factory=Registry)
    conferences: Mapping[ConferenceId, Conference] = field(default_factory=dict)
    offers: Offers = field(default_factory=Offers)
    generation: Generation = _NOTHING_TOLD
    """Of the last full state told to any bridge, about any conference or the mesh."""

    def seats_taken(self) -> Counter[BridgeId]:
        """How many seats have been granted on each bridge."""
        return Counter(
            member.seat.bridge
            for conference in self.conferences.values()
            for member in conference.members.values()
            if member.seat
        )
