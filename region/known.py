"""What focus, trunks and clients have said of one conference, made into `Knowledge` for its plan.

Pure; it keeps the same objects for what has not changed, by which a plan sees that.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from region.conference import Knowledge, Layers, Local, Offered
from region.floor import Floor
from region.participant import Participant
from relay.control import ConferenceState, View
from relay.ids import BridgeId, ConferenceId, Generation, MediaKind, ParticipantId, SourceId
from relay.trunk_messages import RelayedSource, Wanted


class Known:
    """The forwarder's memory."""

    def __init__(self, me: BridgeId, conference: ConferenceId) -> None:
        self.state = ConferenceState(
            conference=conference, generation=Generation(0), seats=(), routes=()
        )
        self.sources: dict[BridgeId, dict[SourceId, RelayedSource]] = {}
        """What each trunk's peer announces, if it does."""
        self._me = me
        self._offered: dict[BridgeId, dict[SourceId, Offered]] = {}
        """The same for the plan."""
        self._demanded: dict[BridgeId, dict[SourceId, Layers]] = {}
        self._views: dict[ParticipantId, View] = {}
        self._locals: dict[ParticipantId, tuple[object, Local]] = {}
        """With what each was made of."""

    @property
    def nothing(self) -> bool:
        """Whether nobody elsewhere has anything to do with the conference."""
        return not (self.state.seats or self.sources or self._demanded)

    def forget_all(self) -> None:
        """But its generation, lest an older state is taken for news."""
        self.state = replace(self.state, seats=(), routes=())
        self.sources.clear()
        self._offered.clear()
        self._demanded.clear()

    def look_at(self, view: View) -> None:
        """A participant chooses its pictures."""
        self._views[view.participant] = view

    def forget_view(self, participant: ParticipantId) -> None:
        """It has left for good."""
        self._views.pop(participant, None)

    def offered(self, peer: BridgeId, sources: Iterable[RelayedSource]) -> None:
        """All that a trunk's peer announces now."""
        self.sources[peer] = {each.source: each for each in sources}
        self._offered[peer] = {
            each.source: Offered(origin=each.origin, hops=each.hops)
            for each in self.sources[peer].values()
        }
        if not self.sources[peer]:
            del self.sources[peer], self._offered[peer]

    def demanded(self, peer: BridgeId, wanted: Iterable[Wanted]) -> None:
        """All that a trunk's peer demands now."""
        self._demanded[peer] = {each.source: each.layers for each in wanted}
        if not self._demanded[peer]:
            del self._demanded[peer]

    def trunk_lost(self, peer: BridgeId) -> None:
        """What it has said does not hold any more."""
        for said in (self.sources, self._offered, self._demanded):
            said.pop(peer, None)

    def knowledge(
        self,
        participants: Mapping[ParticipantId, Participant],
        trunks: Collection[BridgeId],
        floor: Floor,
    ) -> Knowledge:
        """With the participants that are here, and the trunks that are up."""
        self._locals = {each: self._local(participants[each]) for each in participants}
        return Knowledge(
            me=self._me,
            state=self.state,
            locals={each: local for each, (_, local) in self._locals.items()},
            offered={peer: each for peer, each in self._offered.items() if peer in trunks},
            demanded={peer: each for peer, each in self._demanded.items() if peer in trunks},
            speakers=floor.ranking,
            voices=floor.voices,
        )

    def audio_slots(self) -> set[int]:
        """How many slots for voices anybody here has."""
        return {local.audio_slots for _, local in self._locals.values()}

    def _local(self, participant: Participant) -> tuple[object, Local]:
        view = self._views.get(participant.id)
        of = participant, view, len(participant.sources), len(participant.slots)
        known = self._locals.get(participant.id)
        return known if known is not None and known[0] == of else (of, _local(participant, view))


def _local(participant: Participant, view: View | None) -> Local:
    count = {media: sum(slot.media is media for slot in participant.slots) for media in MediaKind}
    local = Local(
        sources=frozenset(source.id for source in participant.sources),
        audio_slots=count[MediaKind.AUDIO],
        video_slots=count[MediaKind.VIDEO],
    )
    if view is None:
        return local
    return replace(local, pictures=view.pictures, last_n=view.last_n, height_px=view.height_px)
