"""Profiles: everybody has what they need to send and to see."""

from collections import Counter

import pytest

from benchmarks.load.profiles import Audio, Meeting, ProfileName, Webinar

SIZES = (2, 3, 9, 10, 11, 40)


@pytest.mark.parametrize("people", SIZES)
@pytest.mark.parametrize("name", ProfileName)
def test_nobody_watches_themselves_or_more_than_they_have_slots_for(
    name: ProfileName, people: int
) -> None:
    profile = name.of(people)
    for place in range(people):
        places = [each.place for each in profile.watched(place)]
        assert place not in places
        assert len(set(places)) == len(places) <= profile.wish(place).video_slots
        assert all(profile.wish(other).camera == 3 for other in places)


@pytest.mark.parametrize("people", SIZES)
def test_in_a_meeting_everybody_is_watched_by_as_many(people: int) -> None:
    profile = Meeting(people=people)
    watched = Counter(each.place for place in range(people) for each in profile.watched(place))
    assert set(watched) == set(range(people))
    assert set(watched.values()) == {min(9, people - 1)}


def test_in_a_meeting_half_have_somebody_on_the_stage() -> None:
    profile = Meeting(people=20)
    tiles, stage = ([each.layer for each in profile.watched(place)] for place in (0, 1))
    assert tiles == [1] * 9
    assert stage == [2] + [0] * 8


def test_who_comes_later_watches_those_who_are_there() -> None:
    profile = Meeting(people=20)
    assert [each.place for each in profile.watched(12)] == list(range(11, 2, -1))


def test_in_a_webinar_the_audience_sends_nothing_and_watches_the_presenters() -> None:
    profile = Webinar(people=50)
    audience = profile.wish(30)
    assert (audience.microphone, audience.camera, profile.talking(30)) == (False, 0, 0)
    assert [each.place for each in profile.watched(30)] == [0, 1]
    assert [each.place for each in profile.watched(0)] == [1]


def test_voices_alone_need_no_pictures() -> None:
    wish = Audio(people=5).wish(3)
    assert (wish.microphone, wish.camera, wish.video_slots) == (True, 0, 0)


def test_the_larger_the_meeting_the_less_each_one_speaks() -> None:
    shares = [Meeting(people=people).talking(0) for people in (2, 10, 100)]
    assert shares == sorted(shares, reverse=True)
    assert shares[1] * 10 == pytest.approx(1.3)
