"""What a bridge may know of a conference, sensible or not, as hypothesis makes it."""

from itertools import combinations, product

from hypothesis import strategies as st

from region.conference import Knowledge, Local, Offered
from relay.control import ConferenceState, Picture, Route, Seat, SourceState
from relay.ids import (
    BridgeId,
    ConferenceId,
    Generation,
    ParticipantId,
    SourceId,
    SourceKind,
    VideoCodec,
    source_id,
)
from tests.strategies.layers import wanted_layers

ME = BridgeId("b-me")
BRIDGES = (ME, BridgeId("a-other"), BridgeId("c-other"), BridgeId("d-other"))
PEERS = tuple(bridge for bridge in BRIDGES if bridge != ME)
PEOPLE = tuple(ParticipantId(number) for number in range(1, 8))
SOURCES = tuple(source_id(person, kind) for person in PEOPLE for kind in SourceKind)

# Everything is drawn in as few steps as can be: hypothesis bounds the steps of an example.
_source_states = st.sampled_from(
    [
        tuple(
            SourceState(kind=kind, muted=muted)
            for kind, muted in zip(SourceKind, states, strict=True)
            if muted is not None
        )
        for states in product((None, False, True), repeat=len(SourceKind))
    ]
)
_kinds = st.sampled_from([kinds for count in range(4) for kinds in combinations(SourceKind, count)])
_pictures = st.sampled_from(
    [
        Picture(source=source, height_px=height_px, stage=stage)
        for stage, height_px, source in product((False, True), (180, 360, 720), SOURCES)
    ]
)
_some_sources = st.frozensets(st.sampled_from(SOURCES), max_size=8)


@st.composite
def seats(draw: st.DrawFn) -> tuple[Seat, ...]:
    """Some of the people, in any order, on any bridges, with any sources."""
    people = draw(st.lists(st.sampled_from(PEOPLE), unique=True, max_size=len(PEOPLE)))
    return tuple(
        Seat(
            participant=person,
            bridge=draw(st.sampled_from(BRIDGES)),
            sources=draw(_source_states),
        )
        for person in people
    )


@st.composite
def routes(draw: st.DrawFn) -> tuple[Route, ...]:
    """At most one for each origin, as the focus makes them; where they lead is anybody's guess."""
    origins = draw(st.lists(st.sampled_from(BRIDGES), unique=True, max_size=len(BRIDGES)))
    return tuple(
        Route(
            origin=origin,
            upstream=draw(st.none() | st.sampled_from(PEERS)),
            downstream=tuple(draw(st.lists(st.sampled_from(PEERS), unique=True, max_size=3))),
        )
        for origin in origins
    )


@st.composite
def _locals(draw: st.DrawFn, seated: tuple[Seat, ...]) -> dict[ParticipantId, Local]:
    """Most of those who sit here, and sometimes somebody who does not."""
    here = {
        seat.participant: frozenset(
            source_id(seat.participant, source.kind) for source in seat.sources
        )
        for seat in seated
        if seat.bridge == ME
    }
    people = draw(st.frozensets(st.sampled_from(sorted(here)))) if here else frozenset()
    if draw(st.booleans()):
        people |= {draw(st.sampled_from(PEOPLE))}
    return {
        person: Local(
            sources=here.get(person) or frozenset(source_id(person, kind) for kind in draw(_kinds)),
            audio_slots=draw(st.integers(0, 4)),
            video_slots=draw(st.integers(0, 6)),
            pictures=draw(st.none() | st.lists(_pictures, max_size=8).map(tuple)),
            last_n=draw(st.none() | st.integers(0, 4)),
            height_px=draw(st.sampled_from([180, 360])),
        )
        for person in sorted(people)
    }


@st.composite
def _offered(draw: st.DrawFn, seated: tuple[Seat, ...]) -> dict[BridgeId, dict[SourceId, Offered]]:
    """Announcements: mostly of sources that are where they say, at times of anything."""
    true_origin = {seat.participant: seat.bridge for seat in seated}
    offered: dict[BridgeId, dict[SourceId, Offered]] = {}
    for peer in draw(st.sets(st.sampled_from(PEERS))):
        offered[peer] = {}
        for source in sorted(draw(_some_sources)):
            origin = true_origin.get(ParticipantId(source >> 2), ME)
            if draw(st.integers(0, 5)) == 0:
                origin = draw(st.sampled_from(BRIDGES))
            offered[peer][source] = Offered(origin=origin, hops=draw(st.integers(1, 5)))
    return offered


@st.composite
def knowledge(draw: st.DrawFn) -> Knowledge:
    """All of it; the parts may contradict each other, as they do while news travel."""
    seated = draw(seats())
    microphones = [source for source in SOURCES if source & 3 == SourceKind.MICROPHONE]
    return Knowledge(
        me=ME,
        state=ConferenceState(
            conference=ConferenceId("garden"),
            generation=Generation(1),
            seats=seated,
            routes=draw(routes()),
            codec=draw(st.sampled_from(VideoCodec)),
        ),
        locals=draw(_locals(seated)),
        offered=draw(_offered(seated)),
        demanded={
            peer: {source: draw(wanted_layers) for source in sorted(draw(_some_sources))}
            for peer in draw(st.sets(st.sampled_from(PEERS)))
        },
        speakers=tuple(draw(st.lists(st.sampled_from(microphones), unique=True, max_size=5))),
        voices=tuple(draw(st.lists(st.sampled_from(microphones), unique=True, max_size=5))),
    )
