"""The focus's rules under any order of events, against what an outsider may observe."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from focus.conference import MAX_PARTICIPANTS
from focus.core import step
from focus.events import (
    BridgeAnswered,
    BridgeLost,
    BridgeRefused,
    BridgeUp,
    CloseBridge,
    DominantSpeakerReceived,
    Effect,
    Event,
    HeartbeatReceived,
    Join,
    LayersWantedReceived,
    Leave,
    MuteChanged,
    OfferReceived,
    ParticipantGone,
    Resume,
    Tick,
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
    Notice,
    Person,
    PersonChanged,
    PersonLeft,
    SpeakerChanged,
)
from focus.placement import SAME_RTT_MS, Wish
from focus.registry import Bridge, ConnectionId
from focus.state import State
from relay.control import (
    Allocate,
    ConferenceState,
    DominantSpeaker,
    Heartbeat,
    LayersWanted,
    Mesh,
    Picture,
    Release,
    Route,
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

REGIONS = [Region("frankfurt"), Region("singapore"), Region("sao-paulo")]
BRIDGES = [BridgeId(f"{region}-{n}") for region in REGIONS for n in (1, 2)]
ROOMS = [ConferenceId("standup"), ConferenceId("retro")]
BEAT = Heartbeat(participants=0, cpu=0.1, packets_per_s=0.0, trunks=())
KINDS = st.sampled_from(SourceKind)
DECODERS = st.none() | st.frozensets(st.sampled_from(VideoCodec))
LAYERS = st.lists(st.builds(Layer, st.integers(0, 2), st.integers(0, 2)), max_size=3).map(tuple)
PICTURES = (Picture(source=SourceId(6), height_px=720, stage=True),)
LAST_N = st.none() | st.integers(0, 4)


class OnePerson:
    """What one browser has heard."""

    def __init__(self, conference: ConferenceId) -> None:
        self.conference = conference
        self.bridge: BridgeId | None = None
        self.people: dict[ParticipantId, Person] = {}
        self.open_attempt: int | None = None
        self.attempts = 0
        self.kinds: tuple[SourceKind, ...] = ()
        self.muted = {SourceKind.SCREEN}
        self.view: View
        self.codec: VideoCodec
        self.decodes: frozenset[VideoCodec] | None = None
        self.layers: dict[SourceKind, tuple[Layer, ...]] = {}
        self.speaker: ParticipantId | None = None

    def hear(self, notice: Notice) -> None:
        match notice:
            case Joined(you=you, people=people, codec=codec):
                self.bridge = you.bridge
                self.codec = codec
                self.people = {one.participant: one for one in people}
            case PersonChanged(person=person):
                self.people[person.participant] = person
            case PersonLeft(participant=participant):
                del self.people[participant]
                self.speaker = None if self.speaker == participant else self.speaker
            case CodecChanged(codec=codec):
                assert codec is not self.codec, "the codec that it is already"
                self.codec = codec
            case LayersChanged(kind=kind, layers=layers):
                assert self.layers.get(kind) != layers, "nothing new"
                self.layers[kind] = layers
            case SpeakerChanged(participant=speaker):
                assert self.speaker != speaker, "nothing new"
                self.speaker = speaker
            case Moved(bridge=bridge):
                self.bridge = bridge
                self.has_no_transport()
            case Failed(code=FailureCode.NO_BRIDGE):
                self.bridge = None
                self.has_no_transport()
            case Failed(code=FailureCode.OFFER_REFUSED, attempt=attempt):
                assert attempt is not None
                assert attempt == self.open_attempt, "a refusal without an open offer"
                self.open_attempt = None
            case Failed():
                raise AssertionError(notice)
            case Answer(attempt=attempt):
                assert attempt == self.open_attempt, "an answer that nobody waits for"
                self.open_attempt = None

    def has_no_transport(self) -> None:
        self.open_attempt = self.speaker = None
        self.layers.clear()


class OneBridge:
    """What one control connection has been told."""

    def __init__(self, connection: ConnectionId) -> None:
        self.connection = connection
        self.generation = 0
        self.mesh: frozenset[BridgeId] | None = None
        self.conferences: dict[ConferenceId, ConferenceState] = {}
        self.asked: dict[int, Allocate] = {}
        self.views: dict[ParticipantId, View | None] = {}
        """Of those who have a transport here, or are about to."""
        self.speakers: dict[ConferenceId, ParticipantId | None] = {}
        """As it last said, to people that it has."""

    def hear(self, message: object) -> None:
        match message:
            case Mesh(generation=generation, peers=peers):
                assert generation > self.generation
                self.generation = generation
                self.mesh = frozenset(peer.bridge for peer in peers)
            case ConferenceState(conference=conference, generation=generation):
                assert generation > self.generation
                self.generation = generation
                self.conferences[conference] = message
            case Allocate(request=request, participant=participant, renews=renews):
                assert not renews or participant in self.views, "no transport to renew"
                self.asked[request] = message
                self.views.setdefault(participant, None)
            case View(participant=participant):
                assert participant in self.views, "a view before its transport"
                self.views[participant] = message
            case Release(participant=participant):
                self.views.pop(participant, None)
            case _:
                raise AssertionError(message)


class FocusMachine(RuleBasedStateMachine):
    people = Bundle("people")

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = 0.0
        self.connections = 0
        self.numbers = 0
        self.bridges: dict[BridgeId, OneBridge] = {}
        self.persons: dict[ParticipantId, OnePerson] = {}
        self.stale: list[tuple[BridgeId, ConnectionId, int]] = []

    @initialize(
        target=people,
        codecs=st.lists(st.sampled_from(VideoCodec), min_size=1, unique=True).map(tuple),
        last_n=LAST_N,
        bridges=st.sets(st.sampled_from(BRIDGES), min_size=1, max_size=3),
        first=st.lists(st.tuples(st.sampled_from(ROOMS), DECODERS), min_size=2, max_size=5),
    )
    def people_meet(
        self,
        codecs: tuple[VideoCodec, ...],
        last_n: int | None,
        bridges: set[BridgeId],
        first: list[tuple[ConferenceId, frozenset[VideoCodec] | None]],
    ) -> MultipleResults[ParticipantId]:
        """Left to chance alone they hardly ever would."""
        self.state = State(codecs=codecs, last_n=last_n)
        for name in sorted(bridges):
            self.bridge_connects(name)
        joined = []
        for room, decodes in first:
            joined.append(self.somebody_joins(room, None, {}))
            self.offers(joined[-1], set(SourceKind), again=False, renews=False)
            ((name, request),) = self.open_requests()
            self.decide(name, request, answers=True, decodes=decodes)
        return multiple(*joined)

    def feed(self, event: Event) -> list[Effect]:
        self.state, effects = step(self.state, event)
        self.hear(effects)
        return list(effects)

    def half_a_second_passes(self) -> list[BridgeId]:
        """The bridges that were cut off; they leave the model before anything else is heard."""
        self.now += 0.5
        self.state, effects = step(self.state, Tick(now=self.now))
        cut = [effect.bridge for effect in effects if isinstance(effect, CloseBridge)]
        self.lose(cut)
        self.hear(effects)
        return cut

    def hear(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case ToBridge(bridge=bridge, message=message):
                    self.bridges[bridge].hear(message)
                case ToParticipant(participant=participant, notice=notice):
                    self.persons[participant].hear(notice)
        for name, bridge in self.bridges.items():
            for room in [*bridge.speakers]:
                here = {p: one for p, one in self.persons.items() if one.conference == room}
                if all(one.bridge != name for one in here.values()):
                    del bridge.speakers[room]
                elif bridge.speakers[room] not in here:
                    bridge.speakers[room] = None

    def lose(self, names: list[BridgeId]) -> None:
        for name in names:
            gone = self.bridges.pop(name)
            self.stale += [(name, gone.connection, request) for request in gone.asked]

    # Bridges

    @rule(name=st.sampled_from(BRIDGES))
    def bridge_connects(self, name: BridgeId) -> None:
        replaced = self.bridges.get(name)
        if replaced is not None:
            self.lose([name])
        self.connections += 1
        connection = ConnectionId(self.connections)
        self.bridges[name] = OneBridge(connection)
        sitting = {p for p, one in self.persons.items() if one.bridge in (name, None)}
        effects = self.feed(
            BridgeUp(
                bridge=Bridge(
                    bridge=name,
                    region=self.region_of(name),
                    connection=connection,
                    media_addresses=(),
                    relay_addresses=(),
                    ping_password="p" * 22,
                    up_since_s=self.now,
                )
            )
        )
        assert self.moved_in(effects) == sitting
        cut = [effect.connection for effect in effects if isinstance(effect, CloseBridge)]
        assert cut == ([replaced.connection] if replaced else [])

    @precondition(lambda self: self.bridges)
    @rule(data=st.data())
    def bridge_vanishes(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.bridges)))
        sitting = {p for p, one in self.persons.items() if one.bridge == name}
        connection = self.bridges[name].connection
        self.lose([name])
        effects = self.feed(BridgeLost(bridge=name, connection=connection))
        if self.bridges:
            assert self.moved_in(effects) == sitting
        else:
            assert self.told_of_no_bridge(effects) == sitting

    @precondition(lambda self: self.bridges)
    @rule(data=st.data(), beats=st.integers(1, 8))
    def some_bridges_fall_silent(self, data: st.DataObject, beats: int) -> None:
        silent = data.draw(st.sets(st.sampled_from(sorted(self.bridges))))
        for _ in range(beats):
            for name, bridge in self.bridges.items():
                if name not in silent:
                    self.feed(
                        HeartbeatReceived(bridge=name, connection=bridge.connection, heartbeat=BEAT)
                    )
            assert set(self.half_a_second_passes()) <= silent

    @precondition(lambda self: self.bridges)
    @rule()
    def four_seconds_without_a_heartbeat_lose_every_bridge(self) -> None:
        for _ in range(8):
            self.half_a_second_passes()
        assert not self.bridges

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), answers=st.booleans())
    def a_lost_connection_still_says_something(self, data: st.DataObject, answers: bool) -> None:
        name, connection, request = data.draw(st.sampled_from(self.stale))
        events: list[Event] = [
            BridgeLost(bridge=name, connection=connection),
            HeartbeatReceived(bridge=name, connection=connection, heartbeat=BEAT),
            self.answered(name, connection, request, None)
            if answers
            else BridgeRefused(bridge=name, connection=connection, request=request, reason="late"),
        ]
        for participant, person in self.persons.items():
            room = person.conference
            said = LayersWanted(
                conference=room, participant=participant, kind=SourceKind.CAMERA, layers=()
            )
            speaks = DominantSpeaker(conference=room, participant=participant)
            events += [
                LayersWantedReceived(bridge=name, connection=connection, wanted=said),
                DominantSpeakerReceived(bridge=name, connection=connection, speaker=speaks),
            ]
        for event in events:
            before = self.state
            assert self.feed(event) == []
            assert self.state == before

    # Participants

    @rule(
        target=people,
        conference=st.sampled_from(ROOMS),
        region=st.none() | st.sampled_from([*REGIONS, Region("atlantis")]),
        rtts_ms=st.dictionaries(st.sampled_from(REGIONS), st.floats(0, 500)),
    )
    def somebody_joins(
        self, conference: ConferenceId, region: Region | None, rtts_ms: dict[Region, float]
    ) -> ParticipantId:
        self.numbers += 1
        participant = ParticipantId(self.numbers)
        join = Join(
            conference=conference,
            participant=participant,
            name=f"Person {participant}",
            wish=Wish(region=region, rtts_ms=rtts_ms),
        )
        possible = self.bridges and (region is None or region in self.state.registry.known_regions)
        if possible:
            taken = self.seats_taken()
            person = self.persons[participant] = OnePerson(conference)
            person.view = View(
                conference=conference,
                participant=participant,
                pictures=None,
                last_n=self.state.last_n,
            )
            self.feed(join)
            seated = self.persons[participant].bridge
            assert seated in self.bridges
            here = [name for name in self.bridges if self.region_of(name) == self.region_of(seated)]
            assert taken[seated] == min(taken[name] for name in here)
            live = {self.region_of(name) for name in self.bridges}
            measured = {name: rtt for name, rtt in rtts_ms.items() if name in live}
            if region in live:
                assert self.region_of(seated) == region
            elif measured:
                assert rtts_ms[self.region_of(seated)] <= min(measured.values()) + SAME_RTT_MS
            return participant
        before = self.state
        (effect,) = step(self.state, join)[1]
        assert isinstance(effect, ToParticipant)
        assert isinstance(effect.notice, Failed)
        assert step(self.state, join)[0] == before
        expected = FailureCode.UNKNOWN_REGION if self.bridges else FailureCode.NO_BRIDGE
        assert effect.notice.code is expected
        return participant  # Who was refused still talks, as browsers do.

    @rule(participant=people, kinds=st.sets(KINDS), again=st.booleans(), renews=st.booleans())
    def offers(
        self, participant: ParticipantId, kinds: set[SourceKind], again: bool, renews: bool
    ) -> None:
        person = self.persons.get(participant)
        possible = False
        if person is not None:
            person.attempts += 0 if again else 1
            person.open_attempt = person.attempts
            if not renews:
                person.layers.clear()
            if person.bridge is not None:
                possible = not renews or participant in self.bridges[person.bridge].views
        asked_before = self.requests()
        self.feed(
            OfferReceived(
                conference=person.conference if person else ROOMS[0],
                participant=participant,
                attempt=person.attempts if person else 0,
                sdp="v=0",
                sources={str(n): kind for n, kind in enumerate(sorted(kinds))},
                renews=renews,
                now=self.now,
            )
        )
        if possible:
            assert person is not None
            assert person.bridge is not None
            last = max(self.bridges[person.bridge].asked)
            asked = self.bridges[person.bridge].asked[last]
            assert (asked.participant, asked.renews) == (participant, renews)
        else:
            assert self.requests() == asked_before
            assert person is None or person.open_attempt is None, "nobody answers that"

    @precondition(lambda self: any(bridge.asked for bridge in self.bridges.values()))
    @rule(data=st.data(), answers=st.booleans(), decodes=DECODERS)
    def a_bridge_decides(
        self, data: st.DataObject, answers: bool, decodes: frozenset[VideoCodec] | None
    ) -> None:
        requests = [(n, r) for n, b in sorted(self.bridges.items()) for r in b.asked]
        if (awaited := self.open_requests()) and data.draw(st.booleans()):
            requests = awaited
        name, request = data.draw(st.sampled_from(requests))
        self.decide(name, request, answers=answers, decodes=decodes)

    def open_requests(self) -> list[tuple[BridgeId, int]]:
        """What bridges were asked, and people still wait for."""
        asked = sorted((r, n) for n, bridge in self.bridges.items() for r in bridge.asked)
        last = {self.bridges[n].asked[r].participant: (n, r) for r, n in asked}
        return [
            (name, request)
            for participant, (name, request) in sorted(last.items())
            if participant in self.persons
            and self.persons[participant].bridge == name
            and self.persons[participant].open_attempt is not None
        ]

    def decide(
        self,
        name: BridgeId,
        request: int,
        *,
        answers: bool,
        decodes: frozenset[VideoCodec] | None,
    ) -> None:
        bridge = self.bridges[name]
        asked = bridge.asked[request]  # It may decide twice: the second time means nothing.
        person = self.persons.get(asked.participant)
        awaited = (name, request) in self.open_requests()
        if awaited and answers:
            assert person is not None
            person.kinds = tuple(sorted(source.kind for source in asked.sources))
            person.decodes = decodes
        connection = bridge.connection
        effects = self.feed(
            self.answered(name, connection, request, decodes)
            if answers
            else BridgeRefused(bridge=name, connection=connection, request=request, reason="no")
        )
        if awaited:
            assert person is not None
            assert person.open_attempt is None
        else:
            assert effects == []

    @precondition(lambda self: len(self.bridges) > 1)
    @rule(data=st.data())
    def a_bridge_answers_what_another_was_asked(self, data: st.DataObject) -> None:
        one, other = data.draw(
            st.lists(st.sampled_from(sorted(self.bridges)), min_size=2, max_size=2, unique=True)
        )
        for request in self.bridges[other].asked:
            event = self.answered(one, self.bridges[one].connection, request, None)
            assert self.feed(event) == []

    @precondition(lambda self: self.bridges and self.persons)
    @rule(data=st.data(), kind=KINDS, layers=LAYERS)
    def a_bridge_says_which_layers_are_wanted(
        self, data: st.DataObject, kind: SourceKind, layers: tuple[Layer, ...]
    ) -> None:
        participant = data.draw(st.sampled_from(sorted(self.persons)))
        person = self.persons[participant]
        name = data.draw(self.bridge_of(person) | st.sampled_from(sorted(self.bridges)))
        here = person.bridge == name and participant in self.bridges[name].views
        wanted = LayersWanted(
            conference=person.conference, participant=participant, kind=kind, layers=layers
        )
        known = person.layers.get(kind)
        effects = self.feed(
            LayersWantedReceived(
                bridge=name, connection=self.bridges[name].connection, wanted=wanted
            )
        )
        if here:
            assert person.layers[kind] == layers
            assert self.told_in(effects) == (set() if known == layers else {participant})
        else:
            assert effects == []

    @precondition(lambda self: self.bridges and self.persons)
    @rule(data=st.data())
    def a_bridge_says_who_speaks(self, data: st.DataObject) -> None:
        person = self.persons[data.draw(st.sampled_from(sorted(self.persons)))]
        room = person.conference
        name = data.draw(self.bridge_of(person) | st.sampled_from(sorted(self.bridges)))
        somebody = st.sampled_from([*sorted(self.persons), ParticipantId(9_999)])
        speaker = data.draw(somebody | st.none())
        inside = {p: one for p, one in self.persons.items() if one.conference == room}
        here = {participant for participant, one in inside.items() if one.bridge == name}
        bridge = self.bridges[name]
        if here and (speaker is None or speaker in inside):
            listeners = here if speaker != bridge.speakers.get(room) else set()
            bridge.speakers[room] = speaker
        else:
            listeners = set()
        said = DominantSpeaker(conference=room, participant=speaker)
        effects = self.feed(
            DominantSpeakerReceived(bridge=name, connection=bridge.connection, speaker=said)
        )
        assert self.told_in(effects) == listeners
        assert len(effects) == len(listeners)

    @rule(participant=people, kind=KINDS, muted=st.booleans())
    def mutes(self, participant: ParticipantId, kind: SourceKind, muted: bool) -> None:
        person = self.persons.get(participant)
        if person is not None:
            (person.muted.add if muted else person.muted.discard)(kind)
        self.feed(
            MuteChanged(
                conference=person.conference if person else ROOMS[0],
                participant=participant,
                kind=kind,
                muted=muted,
            )
        )

    @rule(
        participant=people,
        pictures=st.none() | st.just(()) | st.just(PICTURES),
        last_n=LAST_N,
        height_px=st.sampled_from([180, 360]),
    )
    def wants_to_see(
        self,
        participant: ParticipantId,
        pictures: tuple[Picture, ...] | None,
        last_n: int | None,
        height_px: int,
    ) -> None:
        person = self.persons.get(participant)
        view = View(
            conference=person.conference if person else ROOMS[0],
            participant=participant,
            pictures=pictures,
            last_n=last_n,
            height_px=height_px,
        )
        if person is not None:
            limit = self.state.last_n
            if limit is not None and (last_n is None or last_n > limit):
                person.view = replace(view, last_n=limit)
            else:
                person.view = view
        self.feed(ViewChanged(view=view))

    @rule(participant=people)
    def its_transport_ends(self, participant: ParticipantId) -> None:
        person = self.persons.get(participant)
        if person is None or person.bridge is None:
            return
        bridge = self.bridges[person.bridge]
        has_transport = participant in bridge.views and person.open_attempt is None
        bridge.views.pop(participant, None) if has_transport else None
        effects = self.feed(
            ParticipantGone(
                bridge=person.bridge,
                connection=bridge.connection,
                conference=person.conference,
                participant=participant,
            )
        )
        assert self.moved_in(effects) == ({participant} if has_transport else set())

    @rule(participant=people)
    def comes_back_by_another_socket_and_has_missed_everything(
        self, participant: ParticipantId
    ) -> None:
        before = self.persons.get(participant)
        state = self.state
        if before is not None:
            person = self.persons[participant] = OnePerson(before.conference)
            # What it knows by itself.
            person.kinds, person.muted, person.view = before.kinds, before.muted, before.view
            person.attempts, person.open_attempt = before.attempts, before.open_attempt
            person.decodes = before.decodes
        conference = before.conference if before else ROOMS[0]
        effects = self.feed(Resume(conference=conference, participant=participant))
        assert self.state == state
        if before is None:
            assert effects == []
        else:
            assert self.told_in(effects) == {participant}
            assert not any(isinstance(effect, ToBridge) for effect in effects)
            assert vars(person) == vars(before)

    @rule(participant=consumes(people))
    def leaves(self, participant: ParticipantId) -> None:
        person = self.persons.pop(participant, None)
        self.feed(
            Leave(
                conference=person.conference if person else ROOMS[0],
                participant=participant,
            )
        )
        for bridge in self.bridges.values():
            assert participant not in bridge.views

    @precondition(lambda self: self.bridges)
    @rule()
    def nine_seconds_pass(self) -> None:
        for _ in range(18):
            for name, bridge in self.bridges.items():
                self.feed(
                    HeartbeatReceived(bridge=name, connection=bridge.connection, heartbeat=BEAT)
                )
            assert self.half_a_second_passes() == []
        assert all(one.open_attempt is None for one in self.persons.values()), "an offer hangs"

    # What must hold at any time

    @invariant()
    def everybody_sits_on_one_live_bridge_or_was_told_that_there_is_none(self) -> None:
        for person in self.persons.values():
            if self.bridges:
                assert person.bridge in self.bridges
            else:
                assert person.bridge is None

    @invariant()
    def every_bridge_with_seats_was_told_exactly_them_and_the_routes_in_the_latest_state(
        self,
    ) -> None:
        for conference in ROOMS:
            seats = {
                participant: (person.bridge, self.sources_of(person))
                for participant, person in self.persons.items()
                if person.conference == conference and person.bridge is not None
            }
            seated = {bridge for bridge, _ in seats.values()}
            generations = set()
            for name, bridge in self.bridges.items():
                told = bridge.conferences.get(conference)
                assert told is None or name not in seated or told.codec is self.codec_of(conference)
                if name not in seated:
                    assert told is None or (told.seats, told.routes) == ((), ())
                    continue
                assert told is not None
                generations.add(told.generation)
                told_seats = {one.participant: (one.bridge, one.sources) for one in told.seats}
                assert len(told_seats) == len(told.seats)
                assert told_seats == seats
                assert {route.origin for route in told.routes} == seated
                for route in told.routes:
                    assert route == self.one_hop(route.origin, name, seated)
            assert len(generations) <= 1

    @invariant()
    def every_bridge_knows_what_the_people_it_was_asked_to_serve_want_to_see(self) -> None:
        for participant, person in self.persons.items():
            if person.bridge is not None:
                views = self.bridges[person.bridge].views
                assert views.get(participant, person.view) == person.view

    @invariant()
    def everybody_encodes_what_everybody_decodes(self) -> None:
        for person in self.persons.values():
            assert person.codec is self.codec_of(person.conference)

    @invariant()
    def everybody_sees_the_speaker_that_their_bridge_named(self) -> None:
        for person in self.persons.values():
            if person.bridge is None:
                assert person.speaker is None
            else:
                named = self.bridges[person.bridge].speakers.get(person.conference)
                assert person.speaker == named

    @invariant()
    def every_bridge_knows_all_others_and_nobody_else(self) -> None:
        for name, bridge in self.bridges.items():
            assert bridge.mesh is not None
            assert set(bridge.mesh) == set(self.bridges) - {name}

    @invariant()
    def everybody_sees_everybody_else_as_they_are(self) -> None:
        rooms: dict[ConferenceId, dict[ParticipantId, OnePerson]] = defaultdict(dict)
        for participant, person in self.persons.items():
            rooms[person.conference][participant] = person
        for room in rooms.values():
            for participant, person in room.items():
                assert set(person.people) == set(room) - {participant}
                for other, seen in person.people.items():
                    assert seen.bridge == room[other].bridge
                    assert seen.sources == self.sources_of(room[other])
                    assert seen.name == f"Person {other}"

    @invariant()
    def nothing_is_kept_of_conferences_without_people(self) -> None:
        assert set(self.state.conferences) == {one.conference for one in self.persons.values()}

    def seats_taken(self) -> Counter[BridgeId]:
        return Counter(one.bridge for one in self.persons.values() if one.bridge is not None)

    def bridge_of(self, person: OnePerson) -> st.SearchStrategy[BridgeId]:
        return st.nothing() if person.bridge is None else st.just(person.bridge)

    def requests(self) -> set[int]:
        return {request for bridge in self.bridges.values() for request in bridge.asked}

    def codec_of(self, room: ConferenceId) -> VideoCodec:
        usable = set(VideoCodec)
        for one in self.persons.values():
            if one.conference == room and one.decodes is not None:
                usable &= one.decodes
        return next((codec for codec in self.state.codecs if codec in usable), VideoCodec.VP8)

    @staticmethod
    def answered(
        bridge: BridgeId,
        connection: ConnectionId,
        request: int,
        decodes: frozenset[VideoCodec] | None,
    ) -> BridgeAnswered:
        return BridgeAnswered(
            bridge=bridge, connection=connection, request=request, answer="v=0", decodes=decodes
        )

    @staticmethod
    def told_in(effects: list[Effect]) -> set[ParticipantId]:
        return {effect.participant for effect in effects if isinstance(effect, ToParticipant)}

    @staticmethod
    def region_of(bridge: BridgeId) -> Region:
        return Region(bridge.rpartition("-")[0])

    @staticmethod
    def sources_of(person: OnePerson) -> tuple[SourceState, ...]:
        return tuple(SourceState(kind=k, muted=k in person.muted) for k in person.kinds)

    @staticmethod
    def one_hop(origin: BridgeId, at: BridgeId, seated: set[BridgeId]) -> Route:
        if origin == at:
            others = tuple(sorted(seated - {at}))
            return Route(origin=origin, upstream=None, downstream=others)
        return Route(origin=origin, upstream=origin, downstream=())

    @staticmethod
    def moved_in(effects: list[Effect]) -> set[ParticipantId]:
        return {
            effect.participant
            for effect in effects
            if isinstance(effect, ToParticipant) and isinstance(effect.notice, Moved)
        }

    @staticmethod
    def told_of_no_bridge(effects: list[Effect]) -> set[ParticipantId]:
        return {
            effect.participant
            for effect in effects
            if isinstance(effect, ToParticipant)
            and isinstance(effect.notice, Failed)
            and effect.notice.code is FailureCode.NO_BRIDGE
        }


TestFocus = FocusMachine.TestCase
TestFocus.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def up(name: str, connection: int) -> BridgeUp:
    return BridgeUp(
        bridge=Bridge(
            bridge=BridgeId(name),
            region=Region(name.rpartition("-")[0]),
            connection=ConnectionId(connection),
            media_addresses=(),
            relay_addresses=(),
            ping_password="p" * 22,
            up_since_s=0.0,
        )
    )


def test_the_people_of_a_lost_bridge_spread_over_the_others_of_the_region() -> None:
    state = State()
    for connection, name in enumerate(["frankfurt-1", "singapore-1"]):
        state, _ = step(state, up(name, connection))
    for number in range(1, 13):
        join = Join(
            conference=ROOMS[number % 2],
            participant=ParticipantId(number),
            name="Somebody",
            wish=Wish(rtts_ms={Region("frankfurt"): 1.0, Region("singapore"): 200.0}),
        )
        state, _ = step(state, join)
    state, _ = step(state, up("frankfurt-2", 2))
    state, _ = step(state, up("frankfurt-3", 3))
    assert state.seats_taken() == {"frankfurt-1": 12}
    lost = BridgeLost(bridge=BridgeId("frankfurt-1"), connection=ConnectionId(0))
    state, _ = step(state, lost)
    assert state.seats_taken() == {"frankfurt-2": 6, "frankfurt-3": 6}


def test_a_full_room_says_so_and_others_stay_open() -> None:
    state, _ = step(State(), up("frankfurt-1", 1))
    for number in range(1, MAX_PARTICIPANTS + 2):
        join = Join(
            conference=ROOMS[0], participant=ParticipantId(number), name="Somebody", wish=Wish()
        )
        state, effects = step(state, join)
    (effect,) = effects
    assert isinstance(effect, ToParticipant)
    assert isinstance(effect.notice, Failed)
    assert effect.notice.code is FailureCode.ROOM_FULL
    elsewhere = Join(
        conference=ROOMS[1], participant=ParticipantId(9_999), name="Somebody", wish=Wish()
    )
    state, _ = step(state, elsewhere)
    assert ParticipantId(9_999) in state.conferences[ROOMS[1]].members


def offer(attempt: int, sources: dict[str, SourceKind]) -> OfferReceived:
    return OfferReceived(
        conference=ROOMS[0],
        participant=ParticipantId(1),
        attempt=attempt,
        sdp="v=0",
        sources=sources,
        now=0.0,
    )


def one_in_a_room() -> State:
    state, _ = step(State(), up("frankfurt-1", 1))
    join = Join(conference=ROOMS[0], participant=ParticipantId(1), name="Somebody", wish=Wish())
    return step(state, join)[0]


def test_an_offer_to_a_connection_that_was_replaced_is_void_and_fails_no_more() -> None:
    state, _ = step(one_in_a_room(), offer(0, {"0": SourceKind.CAMERA}))
    state, effects = step(state, up("frankfurt-1", 2))
    assert [effect.notice for effect in effects if isinstance(effect, ToParticipant)] == [
        Moved(region=Region("frankfurt"), bridge=BridgeId("frankfurt-1"))
    ]
    answered = FocusMachine.answered(BridgeId("frankfurt-1"), ConnectionId(2), 1, None)
    assert step(state, answered)[1] == ()
    assert step(state, Tick(now=100.0))[1] == ()


def test_an_offer_with_two_sources_of_a_kind_is_refused_and_the_one_before_it_still_counts() -> (
    None
):
    state, _ = step(one_in_a_room(), offer(0, {"0": SourceKind.CAMERA}))
    state, (refusal,) = step(state, offer(1, {"0": SourceKind.CAMERA, "1": SourceKind.CAMERA}))
    assert isinstance(refusal, ToParticipant)
    assert isinstance(refusal.notice, Failed)
    assert refusal.notice.code is FailureCode.BAD_REQUEST
    answered = FocusMachine.answered(BridgeId("frankfurt-1"), ConnectionId(1), 1, None)
    _, effects = step(state, answered)
    assert any(
        isinstance(one, ToParticipant) and one.notice == Answer(attempt=0, sdp="v=0")
        for one in effects
    )
