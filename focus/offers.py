"""Offers that wait for a bridge's answer; each participant has one at most."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relay.ids import BridgeId, ConferenceId, ParticipantId, SourceKind

OFFER_TIMEOUT_S = 8.0
"""A bridge answers in milliseconds; a person waits this long for an error at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingOffer:
    """An offer that a bridge has been handed and has not answered."""

    conference: ConferenceId
    participant: ParticipantId
    bridge: BridgeId
    attempt: int
    kinds: tuple[SourceKind, ...]
    deadline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The pending offers by request number; numbers are never used twice."""

    pending: Mapping[int, PendingOffer] = field(default_factory=dict)
    requests: int = 0

    def with_offer(self, offer: PendingOffer) -> tuple["Offers", int]:
        """With one more, and its request number; an older one of that participant is void."""
        rest = self.void_of(offer.conference, offer.participant)
        request = self.requests + 1
        return Offers(pending={**rest.pending, request: offer}, requests=request), request

    def without(self, request: int) -> "Offers":
        """Without the one of that number."""
        rest = {number: offer for number, offer in self.pending.items() if number != request}
        return replace(self, pending=rest)

    def of(self, conference: ConferenceId, participant: ParticipantId) -> PendingOffer | None:
        """What that participant waits for."""
        for offer in self.pending.values():
            if (offer.conference, offer.participant) == (conference, participant):
                return offer
        return None

    def void_of(self, conference: ConferenceId, participant: ParticipantId) -> "Offers":
        """Without what that participant waited for."""
        rest = {
            number: offer
            for number, offer in self.pending.items()
            if (offer.conference, offer.participant) != (conference, participant)
        }
        return replace(self, pending=rest)

    def void_at(self, bridge: BridgeId) -> "Offers":
        """Without what that bridge was to answer."""
        rest = {number: offer for number, offer in self.pending.items() if offer.bridge != bridge}
        return replace(self, pending=rest)

    def expired(self, now: float) -> tuple[int, ...]:
        """Those that have waited too long."""
        return tuple(number for number, offer in self.pending.items() if offer.deadline_s <= now)
