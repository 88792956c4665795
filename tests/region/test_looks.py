"""How often a bridge looks at a conference: the less happens in it, the more seldom."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from region.forwarder import (
    AWAKE_S,
    CALM_LOOK_S,
    LISTEN_S,
    LIVELY_S,
    LOOK_S,
    REST_LOOK_S,
    Forwarder,
)
from region.legs import LinkSsrcs, TrunkSide
from relay.control import Route, View
from relay.ids import ConferenceId, ParticipantId, Ssrc, source_id
from relay.trunk_messages import RelayedEncoding, RelayedSource
from tests.region.rig import Peer, Rig, running
from tests.region.seating import ANNA, BRUNO, CAMERA, A, B, seat, state_of
from tests.strategies.rtp import rtp

SSRC, VP8 = 0x1111, 96
NOBODY: frozenset[int] = frozenset()


class NoTrunks:
    """Trunks on which nothing is said."""

    def announce(self, *_: object) -> None: ...

    def demand(self, *_: object) -> None: ...

    def send_rtcp(self, *_: object) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Onlooker:
    """A participant who has neither sources nor slots."""

    transport: int
    id: ParticipantId = BRUNO
    sources: tuple[()] = ()
    slots: tuple[()] = ()


@dataclass(slots=True)
class Meeting:
    """Anna's camera would come over a trunk; at `began_s`, long ago, that became known."""

    rig: Rig
    trunk: Peer
    forwarder: Forwarder
    began_s: float

    def send(self, number: int) -> frozenset[int]:
        """A packet of that camera; what the pump tells of it."""
        self.trunk.send(rtp(sequence=number, timestamp=number, ssrc=SSRC, payload_type=VP8))
        self.rig.wait_for_datagrams(number)
        return self.rig.pump.news() or NOBODY

    def look(self, now: float) -> None:
        self.forwarder.look(now, self.rig.pump.path_reports(now), NOBODY)

    def is_due_after(self, seconds: float, now: float) -> bool:
        """When it has been looked at `now`."""
        self.look(now)
        return self.forwarder.is_due(now + seconds, NOBODY, NOBODY)


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    with running() as rig:
        trunk = rig.peer()
        sides = {B: TrunkSide(transport=trunk.transport, ssrcs=LinkSsrcs(Ssrc(2)))}
        trunks: Any = NoTrunks()
        forwarder = Forwarder(
            ConferenceId("garden"),
            A,
            pump=rig.pump,
            trunks=trunks,
            sides=sides,
            tell_focus=lambda message: None,
            small=False,
        )
        forwarder.state = state_of(
            (seat(ANNA, B, CAMERA),), (Route(origin=B, upstream=B, downstream=()),)
        )
        camera = RelayedSource(
            source=source_id(ANNA, CAMERA),
            encodings=(RelayedEncoding(ssrc=Ssrc(SSRC), rtx_ssrc=Ssrc(SSRC + 1)),),
            origin=B,
            hops=1,
        )
        forwarder.offered(B, [camera])
        began_s = time.monotonic() - 3 * AWAKE_S
        forwarder.replan(began_s)
        yield Meeting(rig, trunk, forwarder, began_s)


def test_a_conference_in_which_something_has_changed_is_due_at_each_beat(meeting: Meeting) -> None:
    assert meeting.is_due_after(LOOK_S, meeting.began_s)
    assert meeting.is_due_after(LOOK_S, meeting.began_s + LIVELY_S - 2 * LOOK_S)


def test_then_it_is_due_less_often_and_at_last_hardly_ever(meeting: Meeting) -> None:
    calm_s, rests_s = meeting.began_s + LIVELY_S, meeting.began_s + AWAKE_S
    assert not meeting.is_due_after(LOOK_S, calm_s)
    assert meeting.is_due_after(CALM_LOOK_S, calm_s + LOOK_S)
    assert not meeting.is_due_after(CALM_LOOK_S, rests_s)
    assert not meeting.is_due_after(REST_LOOK_S - LOOK_S, rests_s + LOOK_S)
    assert meeting.is_due_after(REST_LOOK_S, rests_s + 2 * LOOK_S)


def test_while_anything_arrives_it_does_not_rest(meeting: Meeting) -> None:
    meeting.send(1)
    meeting.look(meeting.began_s)  # it has begun, which is a change
    meeting.send(2)
    now = time.monotonic()
    assert meeting.is_due_after(CALM_LOOK_S, now)
    meeting.look(now + AWAKE_S)  # it has ended, which is another
    assert not meeting.is_due_after(CALM_LOOK_S, now + 2 * AWAKE_S)


def test_one_that_rests_is_due_at_once_when_one_of_its_streams_begins(meeting: Meeting) -> None:
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    begun = meeting.send(1)
    assert begun
    assert meeting.forwarder.is_due(rests_s + LOOK_S, begun, NOBODY)
    others = frozenset(each + 1 for each in begun)
    assert not meeting.forwarder.is_due(rests_s + LOOK_S, others, NOBODY)


def test_what_begins_between_two_looks_that_are_too_close_is_looked_at_with_the_next(
    meeting: Meeting,
) -> None:
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    meeting.send(1)
    assert meeting.is_due_after(LOOK_S, rests_s + LISTEN_S / 2)


def test_one_that_rests_is_due_at_once_when_somebody_looks_at_something_else(
    meeting: Meeting,
) -> None:
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    meeting.forwarder.look_at(
        View(conference=ConferenceId("garden"), participant=BRUNO, pictures=(), last_n=None)
    )
    assert meeting.forwarder.is_due(rests_s + LOOK_S, NOBODY, NOBODY)


def test_one_that_rests_is_due_at_once_when_a_path_of_its_people_has_reported(
    meeting: Meeting,
) -> None:
    onlooker: Any = Onlooker(meeting.rig.pump.add_transport())
    meeting.forwarder.join(onlooker)
    meeting.forwarder.replan(meeting.began_s)
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    assert meeting.forwarder.is_due(rests_s + LOOK_S, NOBODY, {onlooker.transport})
    assert not meeting.forwarder.is_due(rests_s + LOOK_S, NOBODY, {onlooker.transport + 1})
