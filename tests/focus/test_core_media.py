"""The focus's rules about pictures and voices: codecs, views, layers, speakers, renewed offers."""

from typing import Any, TypeVar

from focus.core import step
from focus.events import (
    BridgeAnswered,
    BridgeLost,
    BridgeRefused,
    BridgeUp,
    DominantSpeakerReceived,
    Effect,
    Event,
    Join,
    LayersWantedReceived,
    Leave,
    MuteChanged,
    OfferReceived,
    ParticipantGone,
    ToBridge,
    ToParticipant,
    ViewChanged,
)
from focus.notices import (
    Answer,
    CodecChanged,
    Failed,
    FailureCode,
    Joined,
    LayersChanged,
    Moved,
    PersonChanged,
    SpeakerChanged,
)
from focus.placement import Wish
from focus.registry import Bridge, ConnectionId
from focus.state import State
from relay.control import (
    Allocate,
    ConferenceState,
    DominantSpeaker,
    LayersWanted,
    Picture,
    SourceState,
    View,
)
from relay.ids import (
    BridgeId,
    ConferenceId,
    Layer,
    ParticipantId,
    Region,
    SourceId,
    SourceKind,
    VideoCodec,
)

AV1, VP9, VP8, H264 = VideoCodec.AV1, VideoCodec.VP9, VideoCodec.VP8, VideoCodec.H264
ROOM = ConferenceId("standup")
EU, SG = BridgeId("frankfurt-1"), BridgeId("singapore-1")
ANA, BEN, CY = ParticipantId(1), ParticipantId(2), ParticipantId(3)
CAMERA, SCREEN = SourceKind.CAMERA, SourceKind.SCREEN
BASE, ALL = (Layer(0, 2),), (Layer(0, 2), Layer(1, 2), Layer(2, 2))

T = TypeVar("T")


class Meeting:
    """A focus with a bridge in Frankfurt and one in Singapore, and what it did last."""

    def __init__(self, **options: Any) -> None:
        self.state = State(**options)
        self.connections = {EU: 0, SG: 0}
        self.effects: tuple[Effect, ...] = ()
        for bridge in (EU, SG):
            self.connect(bridge)

    def feed(self, event: Event) -> None:
        self.state, self.effects = step(self.state, event)

    def connect(self, bridge: BridgeId) -> None:
        self.connections[bridge] += 1
        self.feed(
            BridgeUp(
                bridge=Bridge(
                    bridge=bridge,
                    region=self.region(bridge),
                    connection=self.connection(bridge),
                    media_addresses=(),
                    relay_addresses=(),
                    ping_password="p" * 22,
                    up_since_s=0.0,
                )
            )
        )

    def lose(self, bridge: BridgeId) -> None:
        self.feed(BridgeLost(bridge=bridge, connection=self.connection(bridge)))

    def join(self, participant: ParticipantId, bridge: BridgeId = EU) -> None:
        wish = Wish(region=self.region(bridge))
        self.feed(Join(conference=ROOM, participant=participant, name="Somebody", wish=wish))

    def leave(self, participant: ParticipantId) -> None:
        self.feed(Leave(conference=ROOM, participant=participant))

    def offer(
        self,
        participant: ParticipantId,
        *kinds: SourceKind,
        attempt: int = 0,
        renews: bool = False,
    ) -> None:
        self.feed(
            OfferReceived(
                conference=ROOM,
                participant=participant,
                attempt=attempt,
                sdp="v=0",
                sources={str(mid): kind for mid, kind in enumerate(kinds)},
                renews=renews,
                now=0.0,
            )
        )

    def answer(self, bridge: BridgeId = EU, decodes: set[VideoCodec] | None = None) -> None:
        """The bridge answers the last offer of all."""
        self.feed(
            BridgeAnswered(
                bridge=bridge,
                connection=self.connection(bridge),
                request=self.state.offers.requests,
                answer="v=0",
                decodes=None if decodes is None else frozenset(decodes),
            )
        )

    def refuse(self, bridge: BridgeId = EU) -> None:
        self.feed(
            BridgeRefused(
                bridge=bridge,
                connection=self.connection(bridge),
                request=self.state.offers.requests,
                reason="no",
            )
        )

    def seat(
        self,
        participant: ParticipantId,
        bridge: BridgeId = EU,
        decodes: set[VideoCodec] | None = None,
    ) -> None:
        """Joins and gets a transport with a camera."""
        self.join(participant, bridge)
        self.offer(participant, CAMERA)
        self.answer(bridge, decodes)

    def want(
        self, participant: ParticipantId, layers: tuple[Layer, ...], bridge: BridgeId = EU
    ) -> None:
        wanted = LayersWanted(conference=ROOM, participant=participant, kind=CAMERA, layers=layers)
        connection = self.connection(bridge)
        self.feed(LayersWantedReceived(bridge=bridge, connection=connection, wanted=wanted))

    def hear(self, speaker: ParticipantId | None, bridge: BridgeId = EU) -> None:
        said = DominantSpeaker(conference=ROOM, participant=speaker)
        connection = self.connection(bridge)
        self.feed(DominantSpeakerReceived(bridge=bridge, connection=connection, speaker=said))

    def connection(self, bridge: BridgeId) -> ConnectionId:
        return ConnectionId(self.connections[bridge] * 2 + (bridge == SG))

    @staticmethod
    def region(bridge: BridgeId) -> Region:
        return Region(bridge.rpartition("-")[0])

    def told(self, kind: type[T]) -> dict[ParticipantId, T]:
        """Who was told something of that kind by the last event."""
        return {
            effect.participant: effect.notice
            for effect in self.effects
            if isinstance(effect, ToParticipant) and isinstance(effect.notice, kind)
        }

    def sent(self, kind: type[T]) -> dict[BridgeId, T]:
        """Which bridges were sent something of that kind by the last event."""
        return {
            effect.bridge: effect.message
            for effect in self.effects
            if isinstance(effect, ToBridge) and isinstance(effect.message, kind)
        }


# Codecs


def test_a_room_takes_the_first_preference_until_somebody_cannot_decode_it_and_again_after() -> (
    None
):
    meeting = Meeting(codecs=(VP9, VP8))
    meeting.seat(ANA, decodes={VP8, VP9, AV1})
    meeting.join(BEN, SG)
    assert meeting.told(Joined)[BEN].codec is VP9
    assert {told.codec for told in meeting.sent(ConferenceState).values()} == {VP9}
    meeting.offer(BEN, CAMERA)
    meeting.answer(SG, {VP8, H264})
    assert meeting.told(CodecChanged) == dict.fromkeys([ANA, BEN], CodecChanged(codec=VP8))
    assert {name: told.codec for name, told in meeting.sent(ConferenceState).items()} == {
        EU: VP8,
        SG: VP8,
    }
    meeting.join(CY)
    assert meeting.told(Joined)[CY].codec is VP8
    meeting.leave(BEN)
    assert meeting.told(CodecChanged) == dict.fromkeys([ANA, CY], CodecChanged(codec=VP9))
    assert meeting.sent(ConferenceState)[EU].codec is VP9


def test_the_codec_is_told_before_the_answer_that_changed_it() -> None:
    meeting = Meeting(codecs=(VP9, VP8))
    meeting.join(ANA)
    meeting.offer(ANA, CAMERA)
    meeting.answer(EU, {VP8})
    notices = [it.notice for it in meeting.effects if isinstance(it, ToParticipant)]
    assert notices == [CodecChanged(codec=VP8), Answer(attempt=0, sdp="v=0")]


def test_who_sees_no_pictures_has_no_say_in_the_codec() -> None:
    meeting = Meeting(codecs=(VP9, VP8))
    meeting.seat(ANA, decodes={VP9})
    meeting.seat(BEN, decodes=None)
    assert meeting.told(CodecChanged) == {}


def test_a_move_does_not_change_the_codec_for_as_long_as_it_lasts() -> None:
    meeting = Meeting(codecs=(VP9, VP8))
    meeting.seat(ANA, decodes={VP8, VP9})
    meeting.seat(BEN, SG, decodes={VP8})
    meeting.lose(SG)
    assert BEN in meeting.told(Moved)
    assert meeting.told(CodecChanged) == {}
    assert meeting.sent(ConferenceState)[EU].codec is VP8


def test_a_renewed_transport_that_decodes_less_changes_the_codec_at_every_bridge() -> None:
    meeting = Meeting(codecs=(VP9, VP8))
    meeting.seat(ANA, decodes={VP8, VP9})
    meeting.seat(BEN, SG, decodes={VP8, VP9})
    meeting.offer(ANA, CAMERA, attempt=1, renews=True)
    meeting.answer(EU, {VP8})
    codecs = {name: told.codec for name, told in meeting.sent(ConferenceState).items()}
    assert codecs == {EU: VP8, SG: VP8}


def test_an_answer_that_changes_nothing_tells_bridges_and_people_nothing() -> None:
    meeting = Meeting(codecs=(VP9, VP8))
    meeting.seat(ANA, decodes={VP8, VP9})
    meeting.offer(ANA, CAMERA, attempt=1, renews=True)
    meeting.answer(EU, {VP9})
    assert meeting.effects == (
        ToParticipant(conference=ROOM, participant=ANA, notice=Answer(attempt=1, sdp="v=0")),
    )


# Views


def view(participant: ParticipantId, **changes: Any) -> View:
    return View(**{"conference": ROOM, "participant": participant, "pictures": None, **changes})


STAGE = (Picture(source=SourceId(10), height_px=720, stage=True),)


def test_a_view_goes_to_the_bridge_and_after_a_move_to_the_other_one() -> None:
    meeting = Meeting()
    meeting.seat(ANA, SG)
    wanted = view(ANA, pictures=STAGE, last_n=3, height_px=180)
    meeting.feed(ViewChanged(view=wanted))
    assert meeting.sent(View) == {SG: wanted}
    meeting.feed(ViewChanged(view=wanted))
    assert meeting.effects == ()
    meeting.lose(SG)
    assert meeting.sent(View) == {}
    meeting.offer(ANA, CAMERA, attempt=1)
    assert meeting.sent(View) == {EU: wanted}


def test_nobody_gets_more_cameras_than_the_operator_allows() -> None:
    meeting = Meeting(last_n=4)
    meeting.join(ANA)
    meeting.offer(ANA)
    assert meeting.sent(View)[EU].last_n == 4
    for wanted, told in ((9, None), (None, None), (0, 0), (4, 4), (3, 3), (5, 4)):
        meeting.feed(ViewChanged(view=view(ANA, last_n=wanted)))
        sent = meeting.sent(View).get(EU)
        assert (sent.last_n if sent else None) == told, wanted


# Layers


def test_layers_are_told_to_whose_source_it_is_and_once() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.seat(BEN)
    meeting.want(ANA, BASE)
    assert meeting.effects == (
        ToParticipant(
            conference=ROOM, participant=ANA, notice=LayersChanged(kind=CAMERA, layers=BASE)
        ),
    )
    meeting.want(ANA, BASE)
    assert meeting.effects == ()
    meeting.want(ANA, ())
    assert meeting.told(LayersChanged) == {ANA: LayersChanged(kind=CAMERA, layers=())}


def test_a_bridge_has_no_say_in_the_layers_of_people_elsewhere() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.seat(BEN, SG)
    for participant, bridge in ((ANA, SG), (BEN, EU), (CY, EU)):
        before = meeting.state
        meeting.want(participant, BASE, bridge)
        assert (meeting.state, meeting.effects) == (before, ())


def test_layers_of_an_older_transport_are_forgotten() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.want(ANA, BASE)
    meeting.offer(ANA, CAMERA, attempt=1, renews=True)
    meeting.want(ANA, BASE)
    assert meeting.effects == ()  # The transport is the same, and so is what is wanted of it.
    meeting.offer(ANA, CAMERA, attempt=2)
    meeting.want(ANA, BASE)
    assert ANA in meeting.told(LayersChanged)
    meeting.answer()
    gone = ParticipantGone(
        bridge=EU, connection=meeting.connection(EU), conference=ROOM, participant=ANA
    )
    meeting.feed(gone)
    assert ANA in meeting.told(Moved)
    assert meeting.state.conferences[ROOM].members[ANA].layers == {}
    meeting.want(ANA, ALL)
    assert meeting.effects == ()
    meeting.offer(ANA, CAMERA, attempt=3)
    meeting.want(ANA, BASE)
    assert ANA in meeting.told(LayersChanged)


# Speakers


def test_a_speaker_is_told_to_the_people_of_that_bridge_and_to_who_sits_down_there() -> None:
    meeting = Meeting()
    for participant, bridge in ((ANA, EU), (BEN, SG)):
        meeting.seat(participant, bridge)
    meeting.hear(BEN)
    assert meeting.told(SpeakerChanged) == {ANA: SpeakerChanged(participant=BEN)}
    meeting.hear(BEN)
    assert meeting.effects == ()
    meeting.join(CY)
    assert meeting.told(SpeakerChanged) == {CY: SpeakerChanged(participant=BEN)}
    meeting.lose(SG)
    assert meeting.told(SpeakerChanged) == {BEN: SpeakerChanged(participant=BEN)}
    meeting.hear(None)
    assert meeting.told(SpeakerChanged) == dict.fromkeys(
        [ANA, BEN, CY], SpeakerChanged(participant=None)
    )


def test_who_is_not_in_the_conference_is_no_speaker_there() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.hear(CY)
    assert meeting.effects == ()
    meeting.hear(ANA, SG)  # which has nobody in it
    assert meeting.effects == ()
    meeting.seat(BEN)
    meeting.hear(BEN)
    meeting.leave(BEN)
    meeting.join(CY)
    assert meeting.told(SpeakerChanged) == {}


def test_what_a_lost_bridge_said_of_speakers_does_not_outlive_it() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.seat(BEN, SG)
    meeting.hear(BEN)
    meeting.connect(EU)
    assert ANA in meeting.told(Moved)
    assert meeting.told(SpeakerChanged) == {}
    meeting.hear(BEN)
    meeting.lose(EU)
    meeting.connect(EU)
    meeting.join(CY)
    assert meeting.told(SpeakerChanged) == {}


def test_a_connection_that_was_replaced_has_no_say_any_more() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    stale = meeting.connection(EU)
    meeting.connect(EU)
    meeting.offer(ANA, CAMERA, attempt=1)
    said = DominantSpeaker(conference=ROOM, participant=ANA)
    wanted = LayersWanted(conference=ROOM, participant=ANA, kind=CAMERA, layers=BASE)
    for event in (
        DominantSpeakerReceived(bridge=EU, connection=stale, speaker=said),
        LayersWantedReceived(bridge=EU, connection=stale, wanted=wanted),
    ):
        before = meeting.state
        meeting.feed(event)
        assert (meeting.state, meeting.effects) == (before, ())


# Offers that renew


def test_a_renewing_offer_goes_to_the_bridge_as_such_and_is_answered_by_its_own_attempt() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.offer(ANA, CAMERA, SCREEN, attempt=1, renews=True)
    assert meeting.sent(Allocate)[EU].renews
    meeting.answer()
    assert meeting.told(Answer)[ANA].attempt == 1
    meeting.offer(ANA, CAMERA, attempt=2)
    assert not meeting.sent(Allocate)[EU].renews


def test_a_renewing_offer_where_there_is_no_transport_is_refused_at_once() -> None:
    meeting = Meeting()
    meeting.join(ANA)
    meeting.offer(ANA, CAMERA, attempt=3, renews=True)
    (failed,) = meeting.told(Failed).values()
    assert (failed.code, failed.attempt) == (FailureCode.OFFER_REFUSED, 3)
    assert meeting.sent(Allocate) == {}
    meeting.offer(ANA, CAMERA, attempt=4)
    meeting.answer()
    meeting.lose(EU)
    meeting.offer(ANA, CAMERA, attempt=5, renews=True)
    assert meeting.told(Failed)[ANA].code is FailureCode.OFFER_REFUSED
    assert meeting.sent(Allocate) == {}


def test_a_bridge_that_refuses_to_renew_leaves_the_sources_as_they_were() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.offer(ANA, CAMERA, SCREEN, attempt=1, renews=True)
    meeting.refuse()
    failed = meeting.told(Failed)[ANA]
    assert (failed.code, failed.attempt) == (FailureCode.OFFER_REFUSED, 1)
    assert [it.kind for it in meeting.state.conferences[ROOM].members[ANA].sources] == [CAMERA]


# Screens


def test_a_screen_is_muted_until_its_owner_says_otherwise_and_everybody_is_told() -> None:
    meeting = Meeting()
    meeting.seat(ANA)
    meeting.seat(BEN)
    meeting.offer(ANA, CAMERA, SCREEN, attempt=1, renews=True)
    meeting.answer()
    camera, screen = (SourceState(kind=kind, muted=False) for kind in (CAMERA, SCREEN))
    dark = SourceState(kind=SCREEN, muted=True)
    assert meeting.told(PersonChanged)[BEN].person.sources == (camera, dark)
    for muted, shown in ((False, screen), (True, dark)):
        mute = MuteChanged(conference=ROOM, participant=ANA, kind=SCREEN, muted=muted)
        meeting.feed(mute)
        assert meeting.told(PersonChanged)[BEN].person.sources == (camera, shown)
        seats = {seat.participant: seat for seat in meeting.sent(ConferenceState)[EU].seats}
        assert seats[ANA].sources == (camera, shown)
    meeting.offer(ANA, CAMERA, attempt=2, renews=True)
    meeting.answer()
    assert meeting.told(PersonChanged)[BEN].person.sources == (camera,)
