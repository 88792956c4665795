"""People come one after the other; one's failure is nobody else's."""

from bisect import bisect_right
from collections.abc import Sequence
from statistics import mean

import pytest
import trio
import trio.testing

from benchmarks.load.description import Wish
from benchmarks.load.gathering import Gathering
from benchmarks.load.media import Script
from benchmarks.load.profiles import TALKERS, Meeting
from benchmarks.load.traffic import Traffic
from benchmarks.peers import Member, Picture
from relay.errors import RemoteProtocolError
from relay.ids import SourceKind

FULL = "The meeting is full."
GONE = "The focus has closed its connection."


class Guest:
    """A member who sends nothing and writes down what they watch."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.clients: tuple[int, ...] = ()
        self.senders: dict[SourceKind, Sequence[int]] = {}
        self.watching: list[tuple[int, int]] = []
        self.gone = False

    async def watch(self, pictures: Sequence[Picture]) -> None:
        if self.gone:
            raise RemoteProtocolError(GONE)
        self.watching = [(each.member, each.layer) for each in pictures]


class Heard(Traffic):
    """Writes down what is played and from where on, instead of sending it."""

    def __init__(self) -> None:
        super().__init__()
        self.played: list[tuple[Script, int]] = []

    def play_from(self, sender: int, script: Script, phase_us: int) -> None:
        self.played.append((script, phase_us))

    def talkers(self, at_us: int) -> int:
        """How many speak at that time."""
        return sum(
            speaks_at(script, (at_us + phase_us) % script.cycle_us)
            for script, phase_us in self.played
        )


def speaks_at(script: Script, at_us: int) -> bool:
    frame = script.frames[bisect_right(script.frames, at_us, key=lambda it: it.offset_us) - 1]
    return bool(frame.level & 0x80)


class Door:
    """A bridge without media, with so much room."""

    pids = ()

    def __init__(self, room: int = 100) -> None:
        self.guests: list[Guest] = []
        self.came_s: list[float] = []
        self.dismissed = trio.Event()
        self.last = 0
        """With whom the first two stop answering."""
        self._room = room
        self.microphones = False
        """Whether they have one."""

    async def join(
        self,
        traffic: Traffic,
        room: str,
        name: str,
        wish: Wish,
        *,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.came_s.append(trio.current_time())
        await trio.sleep(0.1)
        if len(self.guests) == self._room:
            raise RemoteProtocolError(FULL)
        guest = Guest(100 + len(self.guests))
        if self.microphones:
            guest.senders[SourceKind.MICROPHONE] = (guest.id,)
        self.guests.append(guest)
        task_status.started(guest)
        if len(self.guests) == self.last:
            for each in self.guests[:2]:
                each.gone = True
        await self.dismissed.wait()
        raise RemoteProtocolError(GONE)


async def gathered(
    nursery: trio.Nursery,
    door: Door,
    people: int,
    joins_per_s: float,
    traffic: Traffic | None = None,
) -> Gathering:
    profile = Meeting(people=people)
    made = Gathering(door, traffic or Traffic(), profile, room="garden", joins_per_s=joins_per_s)
    await nursery.start(made.run)
    return made


async def test_people_come_at_their_pace(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    door = Door()
    gathering = await gathered(nursery, door, 5, joins_per_s=2)
    begin = door.came_s[0]
    assert [round(each - begin, 6) for each in door.came_s] == [0, 0.5, 1, 1.5, 2]
    assert len(gathering.present) == 5
    assert not gathering.failed


async def test_once_all_are_there_everybody_watches_the_others(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    door = Door()
    gathering = await gathered(nursery, door, 4, joins_per_s=10)
    await trio.testing.wait_all_tasks_blocked()
    assert [guest.watching for guest in door.guests] == [
        [(103, 1), (102, 1), (101, 1)],
        [(100, 2), (103, 0), (102, 0)],
        [(101, 1), (100, 1), (103, 1)],
        [(102, 2), (101, 0), (100, 0)],
    ]
    assert [len(person.watching) for person in gathering.people] == [3] * 4


@pytest.mark.parametrize("people", [8, 60, 300])
async def test_however_many_there_are_one_or_two_speak_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, people: int
) -> None:
    door, traffic = Door(room=people), Heard()
    door.microphones = True
    await gathered(nursery, door, people, 50, traffic)
    await trio.testing.wait_all_tasks_blocked()
    cycle_us = traffic.played[0][0].cycle_us
    talkers = [traffic.talkers(number * cycle_us // 500) for number in range(500)]
    assert mean(talkers) == pytest.approx(TALKERS, rel=0.05)
    assert max(talkers) <= 3


async def test_who_is_not_let_in_says_why_and_the_others_stay(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    gathering = await gathered(nursery, Door(room=3), 5, joins_per_s=10)
    assert len(gathering.present) == 3
    assert [person.failure for person in gathering.failed] == [FULL] * 2
    assert all(person.connected_s is None for person in gathering.failed)


async def test_who_cannot_say_whom_they_watch_keeps_nobody_else_from_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    door = Door()
    door.last = 4
    gathering = await gathered(nursery, door, 4, joins_per_s=10)
    await trio.testing.wait_all_tasks_blocked()
    assert [person.failure for person in gathering.people] == [GONE, GONE, None, None]
    assert [len(guest.watching) for guest in door.guests[2:]] == [3, 3]


async def test_who_is_let_go_is_present_no_longer(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    door = Door()
    gathering = await gathered(nursery, door, 2, joins_per_s=10)
    door.dismissed.set()
    await trio.testing.wait_all_tasks_blocked()
    assert gathering.present == []
    assert {person.failure for person in gathering.failed} == {GONE}
