"""What of an overload counts as borne."""

from collections import Counter
from dataclasses import replace

from benchmarks.cases.excess import Found, Look, Voices, lines
from benchmarks.cases.stage import Drops

SECONDS = range(13)
"""Four before it, four of it, four after it, and pictures come as fast again in the sixth."""


def look(at_s: int) -> Look:
    slow_s = min(max(at_s - 4, 0), 5)
    return Look(
        at_s=float(at_s),
        audio=1_000 * at_s,
        audio_lost=0,
        video=10_000 * (at_s - slow_s) + 5_000 * slow_s,
        video_lost=0,
    )


BORNE = Found(
    work="many",
    looks=[look(at_s) for at_s in SECONDS],
    begins_s=4.0,
    ends_s=8.0,
    shed=Counter(dropped_layer=5, dropped_overload=2, dropped_awaiting_keyframe=9, packets_in=1),
    lost_by=Drops(load=0, others=0),
    voices=Voices(spoken=12_000, heard=12_000),
    round_trips_s=[0.01, 0.1],
    twice=True,
)


def verdicts(found: Found) -> list[bool | None]:
    """Of voices, layers, consent and recovery."""
    return [line.reached for line in lines(found)]


def test_an_overload_that_is_borne_reaches_all() -> None:
    assert verdicts(BORNE) == [True] * 4
    _, shed, consent, recovery = lines(BORNE)
    assert (shed.ours, consent.ours, recovery.ours) == (7, 100, 2.0)


def test_half_an_overload_reaches_nothing() -> None:
    assert verdicts(replace(BORNE, twice=False)) == [False] * 4


def test_what_is_dropped_wherever_somebody_begins_to_watch_is_not_shed() -> None:
    found = replace(BORNE, shed=Counter(dropped_awaiting_keyframe=9, dropped_before_switch=1))
    _, shed, _, _ = lines(found)
    assert (shed.ours, shed.reached) == (0, False)
    assert "dropped_awaiting_keyframe 9, dropped_before_switch 1" in shed.note


def test_voices_that_never_came_leave_no_gap_and_count_all_the_same() -> None:
    some = replace(BORNE, voices=Voices(spoken=12_000, heard=11_996))
    many = replace(BORNE, voices=Voices(spoken=12_000, heard=11_995))
    assert verdicts(some)[0] is True
    assert verdicts(many)[0] is False
    assert "11,995 heard of 12,000 spoken" in lines(many)[0].note


def test_a_gap_in_voices_is_a_loss() -> None:
    looks = [replace(each, audio_lost=int(each.at_s >= 6)) for each in BORNE.looks]
    voices, *_ = lines(replace(BORNE, looks=looks))
    assert (voices.ours, voices.reached) == (1, False)


def test_one_consent_check_without_an_answer_is_missed() -> None:
    _, _, consent, _ = lines(replace(BORNE, round_trips_s=[0.01, 1.0]))
    assert (consent.ours, consent.reached) == (50, False)


def test_pictures_that_do_not_come_back_are_missed() -> None:
    looks = [replace(each, video=min(each.video, 50_000)) for each in BORNE.looks]
    *_, recovery = lines(replace(BORNE, looks=looks))
    assert (recovery.reached, recovery.note) == (False, "never")
