"""The traffic model: who meets, and against meetings that are counted one by one what flows."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.offices import Office
from benchmarks.rates import Stream
from benchmarks.traffic import Counts, Habits, audiences, meetings_of, traffic_of
from relay.ids import Region
from tests.strategies.offices import office, offices

HABITS = Habits()


def views_of(size: int, habits: Habits, tiles: tuple[bool, ...]) -> Iterator[tuple[int, int, str]]:
    """Who gets whose picture and how high: viewer, source, stream. Number 0 spoke last."""
    for viewer in range(size):
        others = [person for person in range(size) if person != viewer][: habits.pictures]
        for place, source in enumerate(others):
            if len(others) == 1:
                yield viewer, source, Stream.P720
            elif tiles[viewer]:
                yield viewer, source, Stream.P360
            else:
                yield viewer, source, Stream.P180 if place else Stream.P720


def counted(
    size: int, habits: Habits, bridges: Mapping[str, float]
) -> tuple[Counts, Counts, dict[tuple[str, str], Counts]]:
    """Streams that are sent, received, and cross from bridge to bridge: the mean of all cases."""
    sent, received = dict.fromkeys(Stream, 0.0), dict.fromkeys(Stream, 0.0)
    trunks: dict[tuple[str, str], Counts] = defaultdict(lambda: dict.fromkeys(Stream, 0.0))
    for seats in product(bridges, repeat=size):
        for tiles in product((False, True), repeat=size):
            probability = 1.0
            for seat, alike in zip(seats, tiles, strict=True):
                probability *= bridges[seat] * (habits.tiles if alike else 1 - habits.tiles)
            views = set(views_of(size, habits, tiles)) | {
                (listener, speaker, Stream.VOICE)
                for speaker in range(min(size, habits.voices))
                for listener in range(size)
                if listener != speaker
            }
            for _, _, stream in views:
                received[Stream(stream)] += probability
            for _, stream in {(source, stream) for _, source, stream in views}:
                sent[Stream(stream)] += probability
            for source, there, stream in {
                (source, seats[viewer], stream) for viewer, source, stream in views
            }:
                if seats[source] != there:
                    trunks[seats[source], there][Stream(stream)] += probability
    return sent, received, trunks


@settings(max_examples=30)  # each of up to 1,296 cases
@given(
    size=st.integers(2, 4),
    pictures=st.integers(1, 4),
    voices=st.integers(1, 5),
    tiles=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_a_meetings_streams_are_those_that_one_counts(
    size: int, pictures: int, voices: int, tiles: float
) -> None:
    habits = Habits(pictures=pictures, voices=voices, tiles=tiles)
    here, there = Region("here"), Region("there")
    table = [office("here", 100, 1, size, 0.4), office("there", 100, 0, 2)]
    # One region has two bridges, so that copies cross among them, too.
    traffic = traffic_of(meetings_of(table, habits), {here: 2, there: 1}, habits)
    sent, received, trunks = counted(size, habits, {"a": 0.3, "b": 0.3, "there": 0.4})
    names = {"a": here, "b": here, "there": there}
    by_region: dict[tuple[Region, Region], Counts] = {
        pair: dict.fromkeys(Stream, 0.0) for pair in traffic.trunks
    }
    for (start, end), counts in trunks.items():
        for stream, count in counts.items():
            by_region[names[start], names[end]][stream] += count
    for stream in Stream:
        assert sum(each[stream] for each in traffic.sent.values()) == pytest.approx(sent[stream])
        for region, share in ((here, 0.6), (there, 0.4)):
            expected = received[stream] * share
            assert traffic.received[region][stream] == pytest.approx(expected)
        for pair, counts in by_region.items():
            assert traffic.trunks[pair][stream] == pytest.approx(counts[stream])


@given(size=st.integers(2, 60), pictures=st.integers(1, 9))
def test_everybody_gets_the_others_pictures_as_far_as_they_may(size: int, pictures: int) -> None:
    made = audiences(size, Habits(pictures=pictures))
    views = sum(
        each.sources * each.viewers * each.wanted for each in made if each.stream != Stream.VOICE
    )
    assert views == pytest.approx(size * min(size - 1, pictures))


def test_whom_nobody_looks_at_sends_no_picture() -> None:
    made = audiences(500, Habits(tiles=1.0))
    assert sum(each.sources for each in made if each.stream == Stream.P360) == 10
    assert not [each for each in made if each.stream in (Stream.P180, Stream.P720)]


@given(offices)
def test_nobody_is_in_two_meetings_and_no_seat_is_lost(table: list[Office]) -> None:
    made = meetings_of(table, HABITS)
    for group in made:
        assert sum(group.places.values()) == pytest.approx(1)
        assert all(share >= -1e-9 for share in group.places.values())
        assert group.remote_share <= group.wanted_share + 1e-9
        assert group.count * group.office.size <= group.office.people + 1e-6
    for each in table:
        there = sum(group.office.attending * group.places.get(each.region, 0.0) for group in made)
        assert there <= each.people * (1 + 1e-6) + 1e-6


def test_guests_come_from_other_regions_by_their_people() -> None:
    table = [office("a", 100, 10, 4, 0.3), office("b", 300, 0, 2), office("c", 100, 0, 2)]
    places = meetings_of(table, HABITS)[0].places
    assert places == pytest.approx({"a": 0.7, "b": 0.225, "c": 0.075})


def test_a_small_office_sends_no_more_guests_than_it_has() -> None:
    made = meetings_of([office("large", 1000, 200, 5, 0.5), office("small", 10, 0, 2)], HABITS)
    assert made[0].wanted_share == 0.5
    assert made[0].remote_share == pytest.approx(10 / 1000)
