from collections.abc import Callable, Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from region.speakers import (
    LOUDER_DB,
    RANK_STEP_DB,
    SILENCE_DBOV,
    SILENT_DBOV,
    STEADY_S,
    Speakers,
)
from relay.ids import ParticipantId, SourceId, SourceKind, source_id

STEP_S = 0.2
CLEAR = 30
QUIET = 45


def microphone(number: int) -> SourceId:
    return source_id(ParticipantId(number), SourceKind.MICROPHONE)


ANNA, BRUNO, CAROL, DORA = (microphone(number) for number in (1, 2, 3, 4))
EVERYBODY = (ANNA, BRUNO, CAROL, DORA)

Speech = Callable[[float], int]
"""A microphone's level at a time."""


def steady(level: int) -> Speech:
    return lambda _: level


def between(from_s: float, to_s: float, level: int = CLEAR) -> Speech:
    return lambda now: level if from_s <= now < to_s else SILENCE_DBOV


def fluent(level: int = CLEAR, *, seed: int = 1) -> Speech:
    """As people talk: four fifths of the time, in words and pauses of some tenths of a second."""
    random = Random(seed)
    spoken: list[int] = []
    while len(spoken) < 10_000:
        spoken += [level + random.randint(-4, 4)] * random.randint(2, 12)
        spoken += [70] * random.randint(1, 2)
    return lambda now: spoken[int(now * 5)]


class Meeting:
    """Microphones that are measured every 0.2 s."""

    def __init__(self, *here: SourceId, step_s: float = STEP_S) -> None:
        self.speakers = Speakers()
        self.now = 0.0
        self.changes: list[SourceId | None] = []
        """Everybody who became dominant, in turn."""
        self._here = here or EVERYBODY
        self._step_s = step_s

    def goes_on(self, for_s: float, spoken: Mapping[SourceId, Speech] | None = None) -> None:
        """Who says nothing is silent."""
        until_s = self.now + for_s
        while self.now < until_s - 0.01:
            levels = dict.fromkeys(self._here, SILENCE_DBOV)
            levels |= {source: speech(self.now) for source, speech in (spoken or {}).items()}
            before = self.speakers.dominant
            self.speakers.update(levels, self.now)
            if self.speakers.dominant != before:
                self.changes.append(self.speakers.dominant)
            self.now += self._step_s


def spoken_by(*sources: SourceId, level: int = CLEAR) -> dict[SourceId, Speech]:
    return dict.fromkeys(sources, steady(level))


microphones = st.sampled_from([microphone(number) for number in range(1, 9)])
measurements = st.lists(
    st.tuples(
        st.floats(0, 1), st.dictionaries(microphones, st.integers(0, SILENCE_DBOV), max_size=8)
    ),
    max_size=40,
)


# Whatever is measured


@given(measurements)
def test_everybody_has_one_place_and_whoever_left_has_none(
    measured: list[tuple[float, dict[SourceId, int]]],
) -> None:
    speakers, now = Speakers(), 0.0
    for later_s, levels in measured:
        now += later_s
        speakers.update(levels, now)
        for order in (speakers.ranking, speakers.voices):
            assert len(set(order)) == len(order)
            assert set(order) <= levels.keys()


@given(measurements)
def test_the_dominant_speaker_is_first_and_whoever_was_dominant_comes_before_the_others(
    measured: list[tuple[float, dict[SourceId, int]]],
) -> None:
    speakers, now = Speakers(), 0.0
    dominant_s: dict[SourceId, float] = {}
    for later_s, levels in measured:
        now += later_s
        before = speakers.dominant
        speakers.update(levels, now)
        dominant_s = {source: at for source, at in dominant_s.items() if source in levels}
        if speakers.dominant is not None:
            assert speakers.ranking[0] == speakers.dominant
            if speakers.dominant != before:
                dominant_s[speakers.dominant] = now
        were = sorted(dominant_s, key=lambda source: -dominant_s[source])
        assert set(speakers.ranking[: len(were)]) == set(were)


@given(
    measurements,
    st.dictionaries(microphones, st.integers(0, QUIET) | st.just(SILENCE_DBOV), max_size=8),
)
def test_nobody_is_heard_behind_who_is_clearly_quieter_but_behind_the_dominant_speaker(
    measured: list[tuple[float, dict[SourceId, int]]], levels: dict[SourceId, int]
) -> None:
    speakers, now = Speakers(), 0.0
    for later_s, before in measured:
        now += later_s
        speakers.update(before, now)
    for step in range(1, 36):
        speakers.update(levels, now + step * STEP_S)
    heard = [source for source in speakers.voices if source != speakers.dominant]
    for place, ahead in enumerate(heard):
        for behind in heard[place:]:
            assert levels[ahead] - levels[behind] < 2 * RANK_STEP_DB
    assert {source for source, level in levels.items() if level <= QUIET} <= {*speakers.voices}


@given(st.dictionaries(microphones, st.integers(0, SILENCE_DBOV), max_size=8))
def test_levels_that_do_not_change_do_not_change_the_order_of_voices(
    levels: dict[SourceId, int],
) -> None:
    speakers = Speakers()
    for step in range(20):
        speakers.update(levels, step * STEP_S)
    settled = speakers.voices
    for step in range(20, 35):
        speakers.update(levels, step * STEP_S)
        assert speakers.voices == settled


# Dominance


def test_nobody_is_dominant_while_nobody_has_spoken() -> None:
    meeting = Meeting()
    meeting.goes_on(5)
    assert meeting.speakers.dominant is None
    assert meeting.speakers.ranking == meeting.speakers.voices == ()


@pytest.mark.parametrize("step_s", [0.05, 0.1, 0.2])
def test_whoever_speaks_first_is_dominant_within_a_second(step_s: float) -> None:
    meeting = Meeting(step_s=step_s)
    meeting.goes_on(1, spoken_by(ANNA))
    assert meeting.speakers.dominant == ANNA


@pytest.mark.parametrize("step_s", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("level", [CLEAR, QUIET])
def test_a_talker_takes_over_within_a_second_from_who_fell_silent(
    step_s: float, level: int
) -> None:
    meeting = Meeting(step_s=step_s)
    meeting.goes_on(30, spoken_by(ANNA))
    meeting.goes_on(1, spoken_by(BRUNO, level=level))
    assert meeting.speakers.dominant == BRUNO
    assert meeting.speakers.ranking == (BRUNO, ANNA)


@pytest.mark.parametrize("step_s", [0.05, 0.2])
@pytest.mark.parametrize("before_s", [0.0, 20.0])
def test_a_cough_does_not_take_over_however_loud(step_s: float, before_s: float) -> None:
    meeting = Meeting(step_s=step_s)
    meeting.goes_on(5, spoken_by(ANNA))
    meeting.goes_on(before_s)
    for _ in range(5):
        meeting.goes_on(0.4, spoken_by(BRUNO, level=5))
        meeting.goes_on(2)
    assert meeting.changes == [ANNA]
    assert meeting.speakers.ranking == (ANNA,)


def test_a_click_makes_nobody_dominant_even_when_it_is_measured_late() -> None:
    speakers = Speakers()
    speakers.update({ANNA: SILENCE_DBOV}, 0.0)
    speakers.update({ANNA: 5}, 60.0)
    speakers.update({ANNA: SILENCE_DBOV}, 60.2)
    assert speakers.dominant is None


def test_a_word_thrown_in_does_not_interrupt_who_speaks() -> None:
    meeting = Meeting()
    meeting.goes_on(5, {ANNA: fluent()})
    for _ in range(5):
        meeting.goes_on(1, {ANNA: fluent(), BRUNO: steady(CLEAR)})
        meeting.goes_on(4, {ANNA: fluent()})
    assert meeting.changes == [ANNA]
    assert meeting.speakers.ranking == (ANNA, BRUNO)


def test_pauses_between_words_end_no_ones_turn() -> None:
    meeting = Meeting()
    meeting.goes_on(60, {ANNA: fluent(), BRUNO: between(20, 20.5), CAROL: between(40, 40.5)})
    assert meeting.changes == [ANNA]


@pytest.mark.parametrize("seed", range(5))
def test_two_who_talk_at_once_do_not_flicker(seed: int) -> None:
    meeting = Meeting()
    both = {ANNA: fluent(seed=seed), BRUNO: fluent(CLEAR - 3, seed=seed + 100)}
    meeting.goes_on(3, {ANNA: both[ANNA]})
    meeting.goes_on(60, both)
    assert meeting.changes == [ANNA]


def test_who_talks_far_louder_takes_over_though_the_other_goes_on() -> None:
    meeting = Meeting()
    murmur = {ANNA: fluent(QUIET)}
    meeting.goes_on(5, murmur)
    meeting.goes_on(10, murmur | {BRUNO: fluent(QUIET - 2 * LOUDER_DB, seed=2)})
    assert meeting.speakers.dominant == BRUNO
    meeting.goes_on(60, murmur | {BRUNO: fluent(QUIET - 2 * LOUDER_DB, seed=2)})
    assert meeting.changes == [ANNA, BRUNO]


def test_of_a_talker_and_an_echo_the_talker_is_dominant() -> None:
    meeting = Meeting()
    speech = fluent()
    meeting.goes_on(20, {ANNA: lambda now: speech(now) + 12, BRUNO: speech})
    assert meeting.changes == [BRUNO]


def test_a_conversation_is_followed_turn_by_turn() -> None:
    meeting = Meeting()
    turns = [ANNA, BRUNO, ANNA, CAROL, BRUNO, DORA]
    for each in turns:
        meeting.goes_on(4, {each: fluent()})
    assert meeting.changes == turns
    assert meeting.speakers.ranking == (DORA, BRUNO, CAROL, ANNA)


def test_steady_noise_is_no_speech() -> None:
    meeting = Meeting()
    fan = spoken_by(ANNA, level=52)
    meeting.goes_on(2 * STEADY_S, fan)
    meeting.goes_on(20, fan | {BRUNO: between(20, 24), CAROL: between(28, 32)})
    assert meeting.changes == [ANNA, BRUNO, CAROL]


def test_a_loud_voice_is_speech_however_long_it_goes_on() -> None:
    meeting = Meeting()
    meeting.goes_on(60, spoken_by(ANNA, level=QUIET))
    meeting.goes_on(2, spoken_by(ANNA, BRUNO, level=QUIET))
    assert meeting.changes == [ANNA]


def test_the_dominant_speaker_stays_so_in_silence_and_goes_on_leaving() -> None:
    meeting = Meeting()
    meeting.goes_on(3, spoken_by(BRUNO))
    meeting.goes_on(3, spoken_by(ANNA))
    meeting.goes_on(60)
    assert meeting.speakers.dominant == ANNA
    meeting.speakers.update(dict.fromkeys((BRUNO, CAROL), SILENCE_DBOV), meeting.now)
    assert meeting.speakers.dominant is None
    assert meeting.speakers.ranking == (BRUNO,)


def test_who_came_back_begins_anew() -> None:
    meeting = Meeting()
    meeting.goes_on(3, spoken_by(ANNA))
    meeting.speakers.update({}, meeting.now)
    meeting.goes_on(3)
    assert meeting.speakers.ranking == meeting.speakers.voices == ()


# Voices


def test_a_first_syllable_is_heard_at_once() -> None:
    meeting = Meeting()
    meeting.goes_on(5, spoken_by(ANNA))
    meeting.goes_on(STEP_S, spoken_by(BRUNO, level=QUIET))
    assert BRUNO in meeting.speakers.voices[:2]
    assert meeting.speakers.dominant == ANNA


def test_the_loudest_come_first_though_each_is_little_louder_than_the_next() -> None:
    meeting = Meeting()
    levels = {ANNA: 40, BRUNO: 36, CAROL: 32, DORA: 28}
    meeting.goes_on(STEP_S, {each: steady(level) for each, level in levels.items()})
    assert meeting.speakers.voices == (DORA, CAROL, BRUNO, ANNA)


def test_voices_that_waver_a_little_keep_their_order() -> None:
    meeting = Meeting()
    meeting.goes_on(2, spoken_by(ANNA, BRUNO, CAROL))
    settled = meeting.speakers.voices
    random = Random(7)
    for _ in range(100):
        meeting.goes_on(STEP_S, {each: steady(CLEAR + random.randint(-2, 2)) for each in settled})
        assert meeting.speakers.voices == settled


def test_nobody_loses_their_place_between_two_words() -> None:
    meeting = Meeting()
    crowd = spoken_by(BRUNO, CAROL, level=QUIET)
    meeting.goes_on(2, spoken_by(ANNA))
    meeting.goes_on(0.4, crowd)
    assert meeting.speakers.voices[0] == ANNA
    meeting.goes_on(5, crowd)
    assert set(meeting.speakers.voices[:2]) == {BRUNO, CAROL}


def test_who_fell_silent_comes_behind_all_who_speak_but_before_who_never_did() -> None:
    meeting = Meeting()
    meeting.goes_on(2, spoken_by(ANNA))
    meeting.goes_on(10, spoken_by(BRUNO))
    assert meeting.speakers.voices == (BRUNO, ANNA)


def test_the_dominant_speaker_is_heard_before_louder_noises() -> None:
    meeting = Meeting()
    meeting.goes_on(5, {ANNA: fluent()})
    meeting.goes_on(0.4, {ANNA: fluent()} | spoken_by(BRUNO, CAROL, DORA, level=5))
    assert meeting.speakers.voices[0] == ANNA


def test_what_is_at_the_threshold_is_silence() -> None:
    meeting = Meeting()
    meeting.goes_on(3, spoken_by(ANNA, level=SILENT_DBOV))
    assert not meeting.speakers.voices
    meeting.goes_on(3, spoken_by(ANNA, level=SILENT_DBOV - 1))
    assert meeting.speakers.voices == (ANNA,)
