"""What the meetings of a table of offices send where: the traffic model of `octomesh plan`.

Pure arithmetic, in means: it knows neither how much a stream carries (`benchmarks.rates`) nor
what a bridge does with it (`benchmarks.plan`).

- **Who meets.** An office calls so many meetings at once, of so many people; where these are more
  people than it has, there are fewer meetings. A share of a meeting's people, the *remote share*,
  sits in other regions, spread over them in proportion to their people. Where more are asked for
  than an office has left, the seats that stay empty are filled at home.
- **What people look at.** Everybody gets the pictures of those who spoke last, at most nine. A
  share of the people, *tiles*, sees all of them alike, at 360p (720p if there is one); all others
  see one at 720p on the stage, which is whoever speaks, or for the speaker who spoke before,
  and the rest at 180p. A shared screen counts like the picture whose stage it takes.
- **What people hear.** So many of a meeting speak at once; the microphones of others are silent
  and cost nothing.
- **What people send.** A voice while they speak; of the camera the layers that anybody in the
  meeting gets. Whom nobody looks at sends no picture.
- **What crosses trunks.** Each layer of each source once to each other bridge at which anybody
  gets it. Everybody of a meeting sits in each region with the same probability, and there on
  each of its bridges: the focus puts people where there are the fewest, not by meetings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor

from benchmarks.offices import Office
from benchmarks.rates import Stream
from relay.ids import Region

MAX_PICTURES = 9

Counts = dict[Stream, float]
"""How many streams of each kind, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How people meet."""

    remote_share: float = 0.25
    """Of offices that do not say theirs."""
    pictures: int = MAX_PICTURES
    """Of others that one gets at most, 1 to 9."""
    voices: int = 3
    """In a meeting at once."""
    tiles: float = 0.5
    """Share of people who see all alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meetings:
    """Those that one office calls."""

    office: Office
    count: float
    """At once: as many as there are people for."""
    wanted_share: float
    """The remote share, if there were people for it."""
    places: Mapping[Region, float]
    """The probability with which each of a meeting's people sits in a region; adds up to 1."""

    @property
    def remote_share(self) -> float:
        """What it is, as there are people for it."""
        return 1 - self.places[self.office.region]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Streams that flow at once."""

    attending: Mapping[Region, float]
    """People there who are in meetings."""
    sent: Mapping[Region, Counts]
    """From the people of a region to its bridges."""
    received: Mapping[Region, Counts]
    """From the bridges of a region to its people."""
    trunks: Mapping[tuple[Region, Region], Counts]
    """From the bridges of one region to those of another, or among those of one."""


def meetings_of(offices: Sequence[Office], habits: Habits) -> tuple[Meetings, ...]:
    """Who meets with whom: each office's meetings, and where their people sit."""
    shares = {
        office.region: habits.remote_share if office.remote_share is None else office.remote_share
        for office in offices
    }
    guests = _guests(offices, shares)
    made = []
    for office in offices:
        away = guests[office.region]
        places = {
            region: count / office.attending if office.attending else 0.0
            for region, count in away.items()
        }
        made.append(
            Meetings(
                office=office,
                count=office.attending / office.size,
                wanted_share=shares[office.region],
                places={**places, office.region: 1 - sum(places.values())},
            )
        )
    return tuple(made)


_ROUNDS = 1_000
_CLOSE = 1e-9


def _guests(
    offices: Sequence[Office], shares: Mapping[Region, float]
) -> dict[Region, dict[Region, float]]:
    """How many people of each other region sit in the meetings that one calls.

    Seats that stay empty elsewhere are filled at home, which leaves fewer people there for
    others' meetings: it is done again until it fits.
    """
    everybody = sum(office.people for office in offices)
    asked = {
        office.region: {
            other.region: office.attending
            * shares[office.region]
            * other.people
            / (everybody - office.people)
            for other in offices
            if other is not office and other.people
        }
        for office in offices
    }
    come = dict.fromkeys(asked, 1.0)
    """Of those who are asked for in a region, the share that comes."""
    for _ in range(_ROUNDS):
        fewer = {}
        for office in offices:
            wanted = sum(away.get(office.region, 0.0) for away in asked.values())
            away = sum(count * come[other] for other, count in asked[office.region].items())
            free = office.people - office.attending + away
            fewer[office.region] = min(come[office.region], free / wanted) if wanted else 1.0
        settled = all(come[region] - share < _CLOSE for region, share in fewer.items())
        come = fewer
        if settled:
            break
    return {
        region: {other: count * come[other] for other, count in away.items()}
        for region, away in asked.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Sources of one meeting of which the same people may want the same stream."""

    stream: Stream
    sources: float
    viewers: int
    """How many others may want it."""
    wanted: float
    """The probability with which each of them does."""

    def anybody(self, share: float) -> float:
        """How probably anybody at a place wants it, where such a share of the people sits."""
        return float(1 - (1 - share * self.wanted) ** self.viewers)


def audiences(size: int, habits: Habits) -> list[Audience]:
    """Everything that the people of one meeting send to each other."""
    most, others = habits.pictures, size - 1
    made = [
        Audience(stream=Stream.VOICE, sources=min(size, habits.voices), viewers=others, wanted=1.0)
    ]

    def add(stream: Stream, sources: int, viewers: int, wanted: float) -> None:
        if sources > 0 and viewers > 0 and wanted > 0:
            made.append(Audience(stream=stream, sources=sources, viewers=viewers, wanted=wanted))

    # Who spoke last is seen by all others, and so on; the last of them by those before alone,
    # for whom it stands where everybody else has one of themselves.
    seen_by_all, last = min(size, most), int(size > most)
    if others == 1 or most == 1:
        add(Stream.P720, seen_by_all, others, 1.0)
        add(Stream.P720, last, most, 1.0)
        return made
    add(Stream.P360, seen_by_all, others, habits.tiles)
    add(Stream.P360, last, most, habits.tiles)
    stage = 1 - habits.tiles
    add(Stream.P720, 1, others, stage)
    add(Stream.P720, 1, 1, stage)
    add(Stream.P180, 1, others - 1, stage)
    add(Stream.P180, seen_by_all - 2, others, stage)
    add(Stream.P180, last, most, stage)
    return made


def traffic_of(
    meetings: Sequence[Meetings], bridges: Mapping[Region, int], habits: Habits
) -> Traffic:
    """What flows where each region has so many bridges, at least one."""
    attending = dict.fromkeys(bridges, 0.0)
    sent = {region: _none() for region in bridges}
    received = {region: _none() for region in bridges}
    trunks = {(start, end): _none() for start in bridges for end in bridges}
    for group in meetings:
        flows = _flows(group, bridges, habits)
        for region, share in group.places.items():
            attending[region] += group.office.attending * share
            for stream, crossing in flows.crossing.items():
                sent[region][stream] += flows.sent[stream] * share
                received[region][stream] += flows.received[stream] * share
                for other, copies in crossing.items():
                    bridges_there = bridges[other] - (other == region)
                    trunks[region, other][stream] += share * bridges_there * copies
    return Traffic(attending=attending, sent=sent, received=received, trunks=trunks)


def _none() -> Counts:
    return dict.fromkeys(Stream, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flows:
    """Of one office's meetings, wherever their people sit."""

    sent: Counts
    received: Counts
    crossing: Mapping[Stream, dict[Region, float]]
    """How many streams one bridge of a region gets, if all come from elsewhere."""


def _flows(group: Meetings, bridges: Mapping[Region, int], habits: Habits) -> _Flows:
    sent, received = _none(), _none()
    crossing = {stream: dict.fromkeys(group.places, 0.0) for stream in Stream}
    for size, count in _sizes(group):
        for audience in audiences(size, habits):
            stream, sources = audience.stream, count * audience.sources
            sent[stream] += sources * audience.anybody(1.0)
            received[stream] += sources * audience.viewers * audience.wanted
            for region, share in group.places.items():
                wanted = audience.anybody(share / bridges[region])
                crossing[stream][region] += sources * wanted
    return _Flows(sent=sent, received=received, crossing=crossing)


def _sizes(group: Meetings) -> Iterator[tuple[int, float]]:
    """Meetings by their size: of 4.2 people on average, four fifths have 4."""
    smaller = floor(group.office.size)
    larger = group.office.size - smaller
    yield smaller, group.count * (1 - larger)
    if larger:
        yield smaller + 1, group.count * larger
