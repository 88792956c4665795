from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from region.speakers import HYSTERESIS_DB, SILENT_DBOV, ranked
from relay.ids import ParticipantId, SourceId, SourceKind, source_id

SILENCE = 127


def microphone(number: int) -> SourceId:
    return source_id(ParticipantId(number), SourceKind.MICROPHONE)


ANNA, BRUNO, CAROL = (microphone(number) for number in (1, 2, 3))

microphones = st.sampled_from([microphone(number) for number in range(1, 9)])
levels = st.dictionaries(microphones, st.integers(0, SILENCE))
rankings = st.lists(microphones, unique=True).map(tuple)


@given(levels, rankings)
def test_everybody_who_is_ranked_has_a_level_and_one_place(
    heard: dict[SourceId, int], before: tuple[SourceId, ...]
) -> None:
    ranking = ranked(heard, before)
    assert len(set(ranking)) == len(ranking)
    assert set(ranking) <= set(heard)


@given(levels, rankings)
def test_whoever_was_ranked_and_whoever_speaks_is_in_the_ranking(
    heard: dict[SourceId, int], before: tuple[SourceId, ...]
) -> None:
    speaking = {source for source, level in heard.items() if level < SILENT_DBOV}
    assert set(ranked(heard, before)) == speaking | (set(before) & set(heard))


@given(levels, rankings)
def test_nobody_stands_right_behind_somebody_who_is_clearly_quieter(
    heard: dict[SourceId, int], before: tuple[SourceId, ...]
) -> None:
    ranking = ranked(heard, before)
    for ahead, behind in pairwise(ranking):
        louder_by_db = heard[ahead] - heard[behind]
        assert heard[behind] >= SILENT_DBOV or louder_by_db < HYSTERESIS_DB


@given(levels, rankings)
def test_the_order_of_two_turns_only_when_one_is_clearly_louder(
    heard: dict[SourceId, int], before: tuple[SourceId, ...]
) -> None:
    places = {source: place for place, source in enumerate(ranked(heard, before))}
    known = [source for source in before if source in heard]
    for at, first in enumerate(known):
        for second in known[at + 1 :]:
            if places[second] < places[first]:
                assert heard[first] - heard[second] >= HYSTERESIS_DB


@given(levels, rankings)
def test_equal_levels_change_nothing_the_second_time(
    heard: dict[SourceId, int], before: tuple[SourceId, ...]
) -> None:
    once = ranked(heard, before)
    assert ranked(heard, once) == once


def test_who_is_heard_for_the_first_time_together_is_ranked_by_loudness() -> None:
    assert ranked({ANNA: 33, BRUNO: 30, CAROL: 31}, ()) == (BRUNO, CAROL, ANNA)


def test_a_louder_newcomer_comes_before_who_spoke() -> None:
    assert ranked({ANNA: 30, BRUNO: 30 - HYSTERESIS_DB}, (ANNA,)) == (BRUNO, ANNA)


def test_a_slightly_louder_one_stays_behind() -> None:
    assert ranked({ANNA: 30, BRUNO: 31 - HYSTERESIS_DB}, (ANNA, BRUNO)) == (ANNA, BRUNO)


def test_who_falls_silent_is_passed_by_all_who_speak_but_stays() -> None:
    heard = {ANNA: SILENCE, BRUNO: 45, CAROL: 40}
    assert ranked(heard, (ANNA, BRUNO, CAROL)) == (BRUNO, CAROL, ANNA)


def test_the_silent_do_not_pass_each_other() -> None:
    heard = {ANNA: SILENCE, BRUNO: SILENT_DBOV}
    assert ranked(heard, (ANNA, BRUNO)) == (ANNA, BRUNO)


def test_who_has_never_spoken_is_not_ranked() -> None:
    assert ranked({ANNA: SILENT_DBOV, BRUNO: SILENCE, CAROL: SILENT_DBOV - 1}, ()) == (CAROL,)


def test_who_left_is_ranked_no_more() -> None:
    assert ranked({BRUNO: 30}, (ANNA, BRUNO)) == (BRUNO,)
