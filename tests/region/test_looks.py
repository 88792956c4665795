"""How often a bridge looks at a conference: the less happens in it, the more seldom."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from region.forwarder import Forwarder
from region.kernel import ALIVE_S
from region.kernel.report import Usage
from region.keyframes import MIN_INTERVAL_S
from region.news import News
from region.pace import AWAKE_S, CALM_LOOK_S, FOLLOWED_S, LISTEN_S, LIVELY_S, LOOK_S, REST_LOOK_S
from region.participant import Slot
from relay.control import View
from relay.ids import MediaKind, Ssrc, source_id
from tests.region.forwarding import CONFERENCE, HEARD, SSRC, Onlooker, Relayed
from tests.region.rig import Rig, running
from tests.region.seating import ANNA, BRUNO, CAMERA

NOTHING = News()
SLOT = Ssrc(7)


@dataclass(slots=True)
class Meeting:
    """Anna's camera would come over a trunk; at `began_s`, long ago, that became known."""

    relayed: Relayed
    began_s: float

    @property
    def rig(self) -> Rig:
        return self.relayed.rig

    @property
    def forwarder(self) -> Forwarder:
        return self.relayed.forwarder

    def join(self) -> Onlooker:
        """Somebody who has been there since that began."""
        onlooker = Onlooker(self.rig.pump.add_transport())
        self.relayed.join(onlooker)
        self.forwarder.replan(self.began_s)
        return onlooker

    def send(self) -> frozenset[int]:
        """A packet of that camera; what the pump tells of it."""
        self.relayed.send()
        return self.rig.pump.news() or frozenset()

    def look(self, now: float) -> None:
        self.forwarder.look(now, News(reports=self.rig.pump.path_reports(now)))

    def is_due_after(self, seconds: float, now: float) -> bool:
        """When it has been looked at `now`."""
        self.look(now)
        return self.forwarder.is_due(now + seconds, NOTHING)


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    with running() as rig:
        relayed = Relayed.of(rig, CAMERA)
        began_s = time.monotonic() - 3 * AWAKE_S
        relayed.forwarder.replan(began_s)
        yield Meeting(relayed, began_s)


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
    meeting.send()
    meeting.look(meeting.began_s)  # it has begun, which is a change
    meeting.send()
    now = time.monotonic()
    assert meeting.is_due_after(CALM_LOOK_S, now)
    meeting.look(now + AWAKE_S)  # it has ended, which is another
    assert not meeting.is_due_after(CALM_LOOK_S, now + 2 * AWAKE_S)


def test_one_that_rests_is_due_at_once_when_one_of_its_streams_begins(meeting: Meeting) -> None:
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    begun = meeting.send()
    assert begun
    assert meeting.forwarder.is_due(rests_s + LOOK_S, News(changed=begun))
    others = frozenset(each + 1 for each in begun)
    assert not meeting.forwarder.is_due(rests_s + LOOK_S, News(changed=others))


def test_one_that_is_calm_is_due_at_once_when_one_of_its_streams_ends(meeting: Meeting) -> None:
    meeting.send()
    now = time.monotonic()
    meeting.rig.pump.changed_streams(now)
    meeting.look(now - 2 * LIVELY_S)  # it has begun, which is a change
    ends_s = now + ALIVE_S
    meeting.look(ends_s - CALM_LOOK_S + LOOK_S)
    assert not meeting.forwarder.is_due(ends_s, NOTHING)
    ended = meeting.rig.pump.changed_streams(ends_s)
    assert meeting.forwarder.is_due(ends_s, News(changed=ended))


def test_what_begins_between_two_looks_that_are_too_close_is_looked_at_with_the_next(
    meeting: Meeting,
) -> None:
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    meeting.send()
    assert meeting.is_due_after(LOOK_S, rests_s + LISTEN_S / 2)


def test_what_begins_then_is_looked_at_though_its_conference_would_have_become_calm(
    meeting: Meeting,
) -> None:
    calm_s = meeting.began_s + LIVELY_S
    meeting.look(calm_s - LISTEN_S / 2)
    meeting.send()
    assert meeting.is_due_after(LOOK_S, calm_s - LISTEN_S / 4)


def test_one_that_rests_is_due_at_once_when_somebody_looks_at_something_else(
    meeting: Meeting,
) -> None:
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    meeting.forwarder.look_at(
        View(conference=CONFERENCE, participant=BRUNO, pictures=(), last_n=None)
    )
    assert meeting.forwarder.is_due(rests_s + LOOK_S, NOTHING)


def test_one_that_rests_is_due_at_once_when_a_path_of_its_people_has_reported(
    meeting: Meeting,
) -> None:
    onlooker = meeting.join()
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    assert meeting.forwarder.is_due(rests_s + LOOK_S, News(reports={onlooker.transport: HEARD}))
    assert not meeting.forwarder.is_due(
        rests_s + LOOK_S, News(reports={onlooker.transport + 1: HEARD})
    )


def test_while_a_path_reports_that_not_all_is_well_its_conference_is_due_at_each_beat(
    meeting: Meeting,
) -> None:
    onlooker = meeting.join()
    reported_s = meeting.began_s + AWAKE_S
    over_used = HEARD._replace(usage=Usage.OVER)
    meeting.forwarder.look(reported_s, News(reports={onlooker.transport: over_used}))
    assert meeting.is_due_after(LOOK_S, reported_s + 1.0)
    assert not meeting.is_due_after(LOOK_S, reported_s + FOLLOWED_S)


def test_while_paths_report_that_they_carry_all_that_is_wanted_it_stays_calm(
    meeting: Meeting,
) -> None:
    onlooker = meeting.join()
    reported_s = meeting.began_s + AWAKE_S
    meeting.forwarder.look(reported_s, News(reports={onlooker.transport: HEARD}))
    assert not meeting.forwarder.is_lively(reported_s)
    assert not meeting.is_due_after(LOOK_S, reported_s + 1.0)


def test_one_that_rests_is_due_at_once_when_one_of_its_slots_begins_to_wait_for_a_keyframe(
    meeting: Meeting,
) -> None:
    viewer = meeting.rig.peer()
    egress = meeting.rig.pump.add_egress(viewer.transport, SLOT, video=True, trunk=False)
    slot = Slot(media=MediaKind.VIDEO, index=0, ssrc=SLOT, egress=egress, numbered=False)
    meeting.relayed.join(Onlooker(viewer.transport, (slot,)))
    meeting.forwarder.replan(meeting.began_s)
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    assert meeting.forwarder.is_due(rests_s + LOOK_S, News(awaiting_anew=frozenset({egress})))
    assert not meeting.forwarder.is_due(
        rests_s + LOOK_S, News(awaiting_anew=frozenset({egress + 1}))
    )


def test_one_that_rests_is_lively_until_a_keyframe_is_asked_for_that_it_was_too_soon_to_ask(
    meeting: Meeting,
) -> None:
    source = source_id(ANNA, CAMERA)
    rests_s = meeting.began_s + AWAKE_S
    meeting.look(rests_s)
    for elapsed_s in (0.0, MIN_INTERVAL_S / 2):
        meeting.forwarder.rtcp.request_keyframe(source, 0, rests_s + elapsed_s)
    assert meeting.forwarder.is_lively(rests_s + MIN_INTERVAL_S / 2)
    assert meeting.forwarder.is_due(rests_s + MIN_INTERVAL_S / 2, NOTHING)
    meeting.relayed.trunks.asked.clear()
    asks_s = rests_s + 1.5 * MIN_INTERVAL_S
    meeting.look(asks_s)
    assert meeting.relayed.trunks.asked == {SSRC}
    assert not meeting.forwarder.is_lively(asks_s)
