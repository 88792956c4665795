"""The focus's rules: a state and an event in, the next state and what is to be done out.

Sans-IO. A participant with a seat sits on a live bridge; one without was told so and gets a
seat when a bridge appears. An offer has one outcome: an answer, a failure, or the `Moved` (or
the newer offer) that makes it void.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from focus.conference import MAX_PARTICIPANTS, Member
from focus.events import (
    BridgeAnswered,
    BridgeLost,
    BridgeRefused,
    BridgeUp,
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
    ViewChanged,
)
from focus.notices import (
    Answer,
    FailureCode,
    Joined,
    LayersChanged,
    Moved,
    PersonChanged,
    PersonLeft,
    SpeakerChanged,
)
from focus.offers import OFFER_TIMEOUT_S, PendingOffer
from focus.placement import (
    NoLiveBridge,
    Placed,
    UnknownRegion,
)
from focus.registry import Bridge
from focus.state import State
from focus.turn import Turn
from relay.control import Allocate, LayersWanted, MidKind, Release, View
from relay.errors import LocalProtocolError


def step(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """What `event` makes of `state`, and what has to be done for it, in that order."""
    turn = Turn(state)
    _take(turn, event)
    return turn.end()


def _take(turn: Turn, event: Event) -> None:
    match event:
        case BridgeUp():
            _bridge_up(turn, event.bridge)
        case BridgeLost():
            if turn.registry.is_current(event.bridge, event.connection):
                _lose(turn, [turn.registry.bridges[event.bridge]])
        case HeartbeatReceived():
            if turn.registry.is_current(event.bridge, event.connection):
                turn.registry = turn.registry.with_heartbeat(event.bridge, event.heartbeat)
        case BridgeAnswered() | BridgeRefused():
            _bridge_decided(turn, event)
        case ParticipantGone():
            _transport_ended(turn, event)
        case LayersWantedReceived():
            _layers(turn, event)
        case DominantSpeakerReceived():
            _speaker(turn, event)
        case Join():
            _join(turn, event)
        case OfferReceived():
            _offer(turn, event)
        case MuteChanged():
            _mute(turn, event)
        case ViewChanged():
            _view(turn, event)
        case Leave():
            _leave(turn, event)
        case Resume():
            _resume(turn, event)
        case Tick():
            _tick(turn, event.now)
        case _:
            assert_never(event)


# Bridges


def _bridge_up(turn: Turn, bridge: Bridge) -> None:
    replaced = turn.registry.bridges.get(bridge.bridge)
    turn.registry = turn.registry.with_bridge(bridge)
    stranded = [
        (conference.conference, member.participant)
        for conference in turn.conferences.values()
        for member in conference.members.values()
        if member.seat is None or member.sits_on(bridge.bridge)
    ]
    if replaced is not None:
        # It may be a new process, without the transports that the old one had.
        turn.close(replaced, "another connection of this bridge replaced this one")
        turn.offers = turn.offers.void_at(bridge.bridge)
        turn.forget_speakers(bridge.bridge)
    turn.tell_mesh()
    turn.reseat(stranded)


def _lose(turn: Turn, lost: Iterable[Bridge]) -> None:
    stranded = []
    for bridge in lost:
        turn.registry = turn.registry.without(bridge.bridge)
        turn.offers = turn.offers.void_at(bridge.bridge)
        turn.forget_speakers(bridge.bridge)
        stranded += [
            (conference.conference, member.participant)
            for conference in turn.conferences.values()
            for member in conference.members.values()
            if member.sits_on(bridge.bridge)
        ]
    turn.tell_mesh()
    turn.reseat(stranded)


def _tick(turn: Turn, now: float) -> None:
    turn.registry = turn.registry.aged(now)
    silent = turn.registry.silent()
    for bridge in silent:
        turn.close(bridge, "heartbeats are missing")
    if silent:
        _lose(turn, silent)
    for request in turn.offers.expired(now):
        offer = turn.offers.pending[request]
        turn.offers = turn.offers.without(request)
        turn.refuse(offer, "the bridge did not answer in time; try again")


# Participants


def _join(turn: Turn, event: Join) -> None:
    conference = turn.conferences.get(event.conference)
    members = conference.members if conference else {}
    if event.participant in members:
        raise LocalProtocolError(f"participant {event.participant} has joined already")
    if len(members) >= MAX_PARTICIPANTS:
        full = f"this room is full: it has {MAX_PARTICIPANTS} people"
        turn.fail(event.conference, event.participant, FailureCode.ROOM_FULL, full)
        return
    match turn.place(event.wish):
        case Placed() as seat:
            view = View(
                conference=event.conference,
                participant=event.participant,
                pictures=None,
                last_n=turn.before.last_n,
            )
            member = Member(
                participant=event.participant,
                name=event.name,
                wish=event.wish,
                view=view,
                seat=seat,
            )
        case NoLiveBridge():
            why = "no bridge is up at the moment; try again in a few seconds"
            turn.fail(event.conference, event.participant, FailureCode.NO_BRIDGE, why)
            return
        case UnknownRegion(regions=regions):
            why = f"there is no region {event.wish.region}; there are {', '.join(regions)}"
            turn.fail(event.conference, event.participant, FailureCode.UNKNOWN_REGION, why)
            return
    people = tuple(other.person for other in members.values())
    turn.put(event.conference, member)
    joined = Joined(
        conference=event.conference,
        you=member.person,
        people=people,
        codec=turn.codec(turn.conferences[event.conference]),
    )
    turn.tell(event.conference, event.participant, joined)
    turn.tell_speaker(event.conference, event.participant, seat.bridge)
    turn.tell_others(event.conference, event.participant, PersonChanged(person=member.person))


def _resume(turn: Turn, event: Resume) -> None:
    member = _member(turn, event)
    if member is None:
        return
    name, participant = event.conference, event.participant
    conference = turn.conferences[name]
    others = (it.person for it in conference.members.values() if it.participant != participant)
    joined = Joined(
        conference=name,
        you=member.person,
        people=tuple(others),
        codec=turn.codec(conference),
        resumed=True,
    )
    turn.tell(name, participant, joined)
    if member.seat is None:
        turn.no_bridge(name, participant)
        return
    if not member.offered:
        # What it had is gone, and the word of that may be, too.
        seat = member.seat
        turn.tell(name, participant, Moved(region=seat.region, bridge=seat.bridge))
    for kind, layers in member.layers.items():
        turn.tell(name, participant, LayersChanged(kind=kind, layers=layers))
    turn.tell_speaker(name, participant, member.seat.bridge)


def _leave(turn: Turn, event: Leave) -> None:
    member = _member(turn, event)
    if member is None:
        return
    conference = turn.conferences[event.conference]
    turn.touch(event.conference)
    turn.offers = turn.offers.void_of(event.conference, event.participant)
    if member.seat is not None:
        release = Release(conference=event.conference, participant=event.participant)
        turn.effects.append(ToBridge(bridge=member.seat.bridge, message=release))
    turn.tell_others(event.conference, event.participant, PersonLeft(participant=event.participant))
    rest = conference.without(event.participant)
    if rest.members:
        turn.conferences[event.conference] = rest
        turn.settle_codec(event.conference, conference)
    else:
        del turn.conferences[event.conference]


def _mute(turn: Turn, event: MuteChanged) -> None:
    member = _member(turn, event)
    if member is None:
        return
    kind = frozenset({event.kind})
    changed = replace(member, muted=member.muted | kind if event.muted else member.muted - kind)
    turn.change(event.conference, member, changed)


def _view(turn: Turn, event: ViewChanged) -> None:
    member = _member(turn, event)
    if member is None:
        return
    limits = [each for each in (event.view.last_n, turn.before.last_n) if each is not None]
    view = replace(event.view, last_n=min(limits, default=None))
    if member.view == view:
        return
    turn.note(event.conference, replace(member, view=view))
    if member.seat is not None and member.offered:
        turn.effects.append(ToBridge(bridge=member.seat.bridge, message=view))


# Offers


def _offer(turn: Turn, event: OfferReceived) -> None:
    member = _member(turn, event)
    if member is None:
        return
    kinds = tuple(sorted(event.sources.values()))
    if len(set(kinds)) != len(kinds):
        why = "an offer has one source of each kind at most"
        code = FailureCode.BAD_REQUEST
        turn.fail(event.conference, event.participant, code, why, event.attempt)
        return
    if member.seat is None:
        turn.no_bridge(event.conference, event.participant, event.attempt)
        return
    if event.renews and not member.offered:
        why = "your bridge has no transport of yours to renew; offer another one"
        code = FailureCode.OFFER_REFUSED
        turn.fail(event.conference, event.participant, code, why, event.attempt)
        return
    offer = PendingOffer(
        conference=event.conference,
        participant=event.participant,
        bridge=member.seat.bridge,
        attempt=event.attempt,
        kinds=kinds,
        deadline_s=event.now + OFFER_TIMEOUT_S,
    )
    turn.offers, request = turn.offers.with_offer(offer)
    allocate = Allocate(
        request=request,
        conference=event.conference,
        participant=event.participant,
        offer=event.sdp,
        sources=tuple(MidKind(mid=mid, kind=kind) for mid, kind in event.sources.items()),
        renews=event.renews,
    )
    for message in (allocate, member.view):
        turn.effects.append(ToBridge(bridge=member.seat.bridge, message=message))
    layers = member.layers if event.renews else {}
    turn.note(event.conference, replace(member, offered=True, layers=layers))


def _bridge_decided(turn: Turn, event: BridgeAnswered | BridgeRefused) -> None:
    offer = turn.offers.pending.get(event.request)
    if (
        offer is None
        or offer.bridge != event.bridge
        or not turn.registry.is_current(event.bridge, event.connection)
    ):
        return  # superseded, timed out, or not that bridge's to answer
    turn.offers = turn.offers.without(event.request)
    if isinstance(event, BridgeRefused):
        turn.refuse(offer, event.reason)
        return
    conference = turn.conferences[offer.conference]
    member = conference.members[offer.participant]
    answered = replace(member, kinds=offer.kinds, decodes=event.decodes)
    turn.change(offer.conference, member, answered)
    turn.settle_codec(offer.conference, conference)
    answer = Answer(attempt=offer.attempt, sdp=event.answer)
    turn.tell(offer.conference, offer.participant, answer)


def _transport_ended(turn: Turn, event: ParticipantGone) -> None:
    member = _member(turn, event)
    if (
        member is None
        or not member.sits_on(event.bridge)
        or not member.offered
        or not turn.registry.is_current(event.bridge, event.connection)
        or turn.offers.of(event.conference, event.participant)
    ):
        return  # of an older transport than the one it has or is about to have
    turn.reseat([(event.conference, event.participant)])


def _member(
    turn: Turn,
    event: OfferReceived
    | MuteChanged
    | ViewChanged
    | Leave
    | Resume
    | ParticipantGone
    | LayersWanted,
) -> Member | None:
    conference = turn.conferences.get(event.conference)
    return conference.members.get(event.participant) if conference else None


# What bridges say to the people who sit on them


def _layers(turn: Turn, event: LayersWantedReceived) -> None:
    wanted = event.wanted
    member = _member(turn, wanted)
    if (
        member is None
        or not member.sits_on(event.bridge)
        or not member.offered
        or not turn.registry.is_current(event.bridge, event.connection)
        or member.layers.get(wanted.kind) == wanted.layers
    ):
        return  # of an older transport than the one it has or is about to have, or nothing new
    layers = {**member.layers, wanted.kind: wanted.layers}
    turn.note(wanted.conference, replace(member, layers=layers))
    told = LayersChanged(kind=wanted.kind, layers=wanted.layers)
    turn.tell(wanted.conference, wanted.participant, told)


def _speaker(turn: Turn, event: DominantSpeakerReceived) -> None:
    name, speaker = event.speaker.conference, event.speaker.participant
    conference = turn.conferences.get(name)
    if (
        conference is None
        or event.bridge not in conference.bridges
        or not turn.registry.is_current(event.bridge, event.connection)
        or (speaker is not None and speaker not in conference.members)
        or conference.speakers.get(event.bridge) == speaker
    ):
        return  # of people who have gone by now, or nothing new
    turn.conferences[name] = conference.with_speaker(event.bridge, speaker)
    for member in conference.members.values():
        if member.sits_on(event.bridge):
            turn.tell(name, member.participant, SpeakerChanged(participant=speaker))
