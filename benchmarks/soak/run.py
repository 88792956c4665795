"""A soak: starts a mesh as `octomesh up` does, has people use it in rounds, and looks at it."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import trio
from trio_websocket import ConnectionClosed, HandshakeError

import octomesh_up
from benchmarks.load.counts import Totals
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.soak.books import received_by
from benchmarks.soak.look import Look, Observer, paths_lost, troubles
from benchmarks.soak.outcome import Outcome, Rest
from benchmarks.soak.people import AUDIO_SLOTS, ENCODINGS, VIDEO_SLOTS, Crowd, Person
from benchmarks.soak.sockets import drops_at
from octomesh_up import BRIDGE_PORT_STEP, UpSettings, wanted_ports
from relay.errors import MalformedError, RemoteProtocolError, SettingsError
from relay.ids import Region
from relay.ports import check_free

REGIONS = (Region("sao-paulo"), Region("frankfurt"), Region("singapore"))
LONG_MEETING = "long-meeting"
MIN_ROUNDS = 6
ROUNDS_A_MINUTE = 0.5
PEOPLE_A_ROOM = 7
REST_S = 5.0
"""What a rest takes, more or less."""
SETTLE_S = 30.0
"""At most so long after a round until everything is as before it; a busy machine needs some."""
SAMPLES = 600
"""About so many over the whole, for the plot."""
STAYS_A_ROUND = 3.0
"""Of one person, on average."""
MIN_STAY_S = 1.5
PAUSE_S = 0.5
"""Between two stays."""
JOINED_BY_LINUX = 64
"""Datagrams that a socket gets as one (UDP GRO), at most."""

SAME_AS_BEFORE = ("participants", "conferences", "transports", "streams")
EGRESSES_A_PERSON = VIDEO_SLOTS + AUDIO_SLOTS + (len(REGIONS) - 1) * ENCODINGS
"""Of one who is in a meeting with all regions: its slots, and a leg to each other bridge."""
SAME_OF_FOCUS = ("focus_participants", "focus_conferences")
_JOIN_FAILURES = (
    *(RemoteProtocolError, MalformedError, trio.TooSlowError),
    *(ConnectionClosed, HandshakeError, OSError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long, and how many."""

    minutes: float
    people: int
    """At the same time; one in each region stays for all of it."""
    seed: int = 1

    @property
    def rounds(self) -> int:
        """Each begins with almost nobody, and ends so."""
        return max(MIN_ROUNDS, round(self.minutes * ROUNDS_A_MINUTE))

    @property
    def round_s(self) -> float:
        """Without the rest behind it."""
        return max(2 * REST_S, self.minutes * 60 / self.rounds - REST_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """Where a soak tells how it goes."""

    line: Callable[[str], None]
    """What is to stay."""
    live: Callable[[float, str], None]
    """Which share of the time is over, and how things are at the moment."""


async def soak(terms: Terms, directory: Path, display: Display) -> Outcome:
    """Do all of it; the mesh's files are in `directory`, and no process is left behind.

    SettingsError, one line, when the mesh does not start.
    """
    settings = free_settings(directory)
    async with trio.open_nursery() as mesh:
        await mesh.start(octomesh_up.run, settings)
        # A connection that is kept may be closed at the moment when it is used again; and one that
        # only the client ends stays open at the server until it finds nobody asking there.
        once = {"Connection": "close"}
        async with httpx.AsyncClient(trust_env=False, headers=once) as client:
            it = _Soak(terms, settings, Observer(settings, client), display)
            await it.run()
        mesh.cancel_scope.cancel()
    return it.outcome(settings.logs)


class _Soak:
    """One that is going on."""

    def __init__(
        self, terms: Terms, settings: UpSettings, observer: Observer, display: Display
    ) -> None:
        self._terms = terms
        self._observer = observer
        self._display = display
        self._traffic = Traffic(Manners())
        self._chance = random.Random(terms.seed)
        self._crowd = Crowd(
            f"http://localhost:{settings.http_port}",
            self._traffic,
            regions=settings.regions,
            chance=self._chance,
        )
        self._media_ports = media_ports(settings)
        self._began: Look | None = None
        self._samples: list[Look] = []
        self._rests: list[Rest] = []
        self._began_s = trio.current_time()

    def outcome(self, logs: Path) -> Outcome:
        """Of what has been seen, and of what the processes' logs say."""
        assert self._began is not None
        return Outcome(
            people=self._terms.people,
            began=self._began,
            rests=self._rests,
            samples=self._samples,
            done=dict(self._crowd.done),
            faults=self._crowd.faults,
            troubles=troubles(logs),
            paths_lost=paths_lost(logs),
        )

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._traffic.run)
            self._began = await self._observer.look()
            self._began_s = trio.current_time()
            nursery.start_soon(self._sample)
            try:
                await self._all_rounds()
            except* _JOIN_FAILURES as failures:
                self._blame(failures)
            self._rests.append(await self._settle(self._began))
            self._display.line("everybody has left")
            nursery.cancel_scope.cancel()

    async def _all_rounds(self) -> None:
        async with self._standing() as standing:
            before = (await self._settle(None)).look
            self._display.line(f"{len(standing)} people stay for all of it; the others come")
            for number in range(self._terms.rounds):
                await self._round(standing)
                self._rests.append(await self._settle(before))
                self._tell(number + 1)

    # People

    @asynccontextmanager
    async def _standing(self) -> AsyncIterator[list[Person]]:
        """Somebody in each region, in the same meeting, who say nothing for the time being."""
        leaving = trio.Event()
        async with trio.open_nursery() as nursery:
            people: list[Person] = []
            for region in self._crowd.regions:
                attend = partial(self._crowd.attend, LONG_MEETING, region, leaving=leaving)
                people.append(await nursery.start(attend))
            for person in people:
                await person.rest()
            yield people
            leaving.set()

    async def _round(self, standing: Sequence[Person]) -> None:
        """Everybody comes and goes; at its end those are there who were before, and rest."""
        over = trio.Event()
        async with trio.open_nursery() as nursery:
            for person in standing:
                nursery.start_soon(person.act, over)
            for _ in range(self._terms.people - len(standing)):
                nursery.start_soon(self._come_and_go, over)
            await trio.sleep(self._terms.round_s)
            over.set()
        for person in standing:
            await person.rest()

    async def _come_and_go(self, over: trio.Event) -> None:
        rooms = max(1, self._terms.people // PEOPLE_A_ROOM)
        while not over.is_set():
            number = self._chance.randrange(rooms)
            try:
                await self._visit(f"room-{number}" if number else LONG_MEETING, over)
            except* _JOIN_FAILURES as failures:
                self._blame(failures)
            with trio.move_on_after(self._chance.expovariate(1 / PAUSE_S)):
                await over.wait()

    def _blame(self, failures: BaseExceptionGroup[BaseException]) -> None:
        at_s = trio.current_time() - self._began_s
        self._crowd.faults.extend(
            f"{at_s:.0f} s from the beginning somebody could not stay: "
            f"{type(each).__name__}: {each}"
            for each in _leaves(failures)
        )

    async def _visit(self, room: str, over: trio.Event) -> None:
        region = self._chance.choice(self._crowd.regions)
        stay_s = self._chance.expovariate(STAYS_A_ROUND / self._terms.round_s)
        leaving = trio.Event()
        async with trio.open_nursery() as nursery:
            attend = partial(self._crowd.attend, room, region, leaving=leaving)
            person: Person = await nursery.start(attend)
            nursery.start_soon(person.act, leaving)
            with trio.move_on_after(max(stay_s, MIN_STAY_S)):
                await over.wait()
            leaving.set()

    # Looking

    async def _sample(self) -> None:
        while True:
            look = await self._observer.look()
            self._samples.append(look)
            minutes = (look.at_s - self._began_s) / 60
            self._display.live(
                min(1.0, minutes / self._terms.minutes),
                f"{self._crowd.present} people, {self._crowd.done['joins']} joins",
            )
            await trio.sleep(max(1.0, self._terms.minutes * 60 / SAMPLES))

    async def _settle(self, before: Look | None) -> Rest:
        """Until nothing moves and everything is as `before`; it is a fault when that never is."""
        last: tuple[Look, Totals] | None = None
        missing = ["nothing has been seen"]
        with trio.move_on_after(SETTLE_S) as patience:
            while missing:
                await trio.sleep(1.0)
                look, load = await self._observer.look(), self._traffic.engine.totals()
                missing = _moving(last, (look, load)) + _differing(before, look)
                last = look, load
        assert last is not None
        self._crowd.forget()
        unread_by_load = JOINED_BY_LINUX * self._crowd.lost
        if patience.cancelled_caught:
            self._crowd.faults.append(
                f"{SETTLE_S:g} s after all had left, {last[0].at_s - self._began_s:.0f} s from the "
                f"beginning: {'; '.join(missing)}"
            )
        return Rest(
            joins=self._crowd.done["joins"],
            look=last[0],
            load=last[1],
            unread=drops_at(self._media_ports) + unread_by_load,
            unread_by_load=unread_by_load,
        )

    def _tell(self, number: int) -> None:
        rest = self._rests[-1]
        memory = ", ".join(
            f"{name} {usage.memory_bytes / 1e6:.1f}" for name, usage in rest.look.usage.items()
        )
        self._display.line(
            f"round {number} of {self._terms.rounds}: {rest.joins} joins, "
            f"{received_by(rest.load):,} packets received; MB: {memory}"
        )


def free_settings(directory: Path) -> UpSettings:
    """Of a mesh on ports that nobody has, with its files there."""
    while True:
        first = random.randrange(20_000, 30_000, 50)
        settings = UpSettings(
            https_port=first,
            http_port=first + 1,
            ops_port=first + 2,
            media_port=first + 10,
            regions=REGIONS,
            state_dir=directory.resolve() / "state",
        )
        try:
            check_free(wanted_ports(settings))
        except SettingsError:
            continue
        return settings


def media_ports(settings: UpSettings) -> range:
    """Of its bridges."""
    first = settings.media_port
    return range(first, first + len(settings.regions) * BRIDGE_PORT_STEP, BRIDGE_PORT_STEP)


def _moving(last: tuple[Look, Totals] | None, now: tuple[Look, Totals]) -> list[str]:
    """What media has moved since the last look."""
    if last is None:
        return ["there was one look only"]
    found = [
        f"{name} moves media"
        for name, told in now[0].told.items()
        for counter in ("packets_in", "packets_out")
        if told.get(counter) != last[0].told[name].get(counter)
    ]
    if (received_by(now[1]), now[1].sent_packets) != (received_by(last[1]), last[1].sent_packets):
        found.append("the load moves media")
    return found


def _differing(before: Look | None, now: Look) -> list[str]:
    """What is not as it was, though it has to be."""
    if before is None:
        return []
    found = []
    for name, told in now.told.items():
        for gauge in SAME_OF_FOCUS if name == "focus" else SAME_AS_BEFORE:
            then = before.told[name].get(gauge, 0)
            if told.get(gauge, 0) != then:
                found.append(f"{name} has {told.get(gauge, 0)} {gauge}, before {then}")
        # Slots and legs are made when they are first needed, and stay as long as their people.
        most = told.get("participants", 0) * EGRESSES_A_PERSON
        if (here := told.get("egresses", 0)) > most:
            found.append(f"{name} has {here} egresses, for its people {most} at most")
        then, here = before.usage[name].descriptors, now.usage[name].descriptors
        if here > then:
            found.append(f"{name} has {here} descriptors, before {then}")
    return found


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
