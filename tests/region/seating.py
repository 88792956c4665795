"""Small conferences, seat by seat, and what a bridge's plan makes of them."""

from collections.abc import Mapping
from dataclasses import replace

from region.conference import (
    Knowledge,
    Layers,
    Local,
    Offered,
    Plan,
)
from region.demands import Demands
from relay.control import ConferenceState, Picture, Route, Seat, SourceState
from relay.ids import (
    TOP_LAYER,
    BridgeId,
    ConferenceId,
    Generation,
    Layer,
    MediaKind,
    ParticipantId,
    SourceId,
    SourceKind,
    VideoCodec,
    source_id,
)

A, B, C, D, E = (BridgeId(name) for name in "abcde")
ANNA, BRUNO, CAROL, DORA = (ParticipantId(number) for number in (1, 2, 3, 4))
MICROPHONE, CAMERA, SCREEN = SourceKind.MICROPHONE, SourceKind.CAMERA, SourceKind.SCREEN
BOTH = (MICROPHONE, CAMERA)


def unmuted(knows: Knowledge) -> set[SourceId]:
    return {
        source_id(seat.participant, source.kind)
        for seat in knows.state.seats
        for source in seat.sources
        if not source.muted
    }


def slots_of(planned: Plan, person: ParticipantId) -> dict[tuple[MediaKind, int], SourceId]:
    return {
        (key.media, key.number): source
        for key, source in planned.slots.items()
        if key.participant == person
    }


def seen_by(planned: Plan, person: ParticipantId) -> list[SourceId]:
    """What is in the viewer's video slots, first the most wanted."""
    return [picture.source for picture in planned.pictures.get(person, ())]


def all_shown(planned: Plan, layer: Layer = TOP_LAYER) -> list[tuple[SourceId, Layer]]:
    """Every receiver has all the bandwidth that it needs."""
    return [(source, layer) for source in planned.slots.values()]


def everything(demanded: Demands) -> list[tuple[SourceId, Layers]]:
    """From peers and from who is here."""
    return [
        pair
        for each in (*demanded.peers.values(), demanded.own)
        for pair in each.items()
        if pair[1]
    ]


def seat(
    person: ParticipantId,
    bridge: BridgeId,
    *kinds: SourceKind,
    muted: tuple[SourceKind, ...] = (),
) -> Seat:
    return Seat(
        participant=person,
        bridge=bridge,
        sources=tuple(SourceState(kind=kind, muted=kind in muted) for kind in kinds),
    )


def sources_of(person: ParticipantId, *kinds: SourceKind) -> frozenset[SourceId]:
    return frozenset(source_id(person, kind) for kind in kinds)


def here(
    seats: tuple[Seat, ...],
    *,
    routes: tuple[Route, ...] = (),
    audio_slots: int = 2,
    video_slots: int = 2,
    views: Mapping[ParticipantId, tuple[Picture, ...]] | None = None,
    last_n: int | None = None,
    offered: Mapping[BridgeId, Mapping[SourceId, Offered]] | None = None,
    demanded: Mapping[BridgeId, Mapping[SourceId, Layers]] | None = None,
    speakers: tuple[SourceId, ...] = (),
    voices: tuple[SourceId, ...] = (),
    codec: VideoCodec = VideoCodec.VP8,
) -> Knowledge:
    """What bridge A knows, where everybody on A has a transport."""
    return Knowledge(
        me=A,
        state=replace(state_of(seats, routes), codec=codec),
        locals={
            each.participant: Local(
                sources=sources_of(each.participant, *(source.kind for source in each.sources)),
                audio_slots=audio_slots,
                video_slots=video_slots,
                pictures=(views or {}).get(each.participant),
                last_n=last_n,
            )
            for each in seats
            if each.bridge == A
        },
        offered=offered or {},
        demanded=demanded or {},
        speakers=speakers,
        voices=voices,
    )


def view(
    *wanted: tuple[ParticipantId, SourceKind], stage: SourceId | None = None
) -> tuple[Picture, ...]:
    """These pictures, 180 pixels high, one of them on the stage."""
    sources = [source_id(person, kind) for person, kind in wanted]
    return tuple(Picture(source=source, height_px=180, stage=source == stage) for source in sources)


def state_of(seats: tuple[Seat, ...], routes: tuple[Route, ...]) -> ConferenceState:
    return ConferenceState(
        conference=ConferenceId("garden"), generation=Generation(1), seats=seats, routes=routes
    )
