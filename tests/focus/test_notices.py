"""What is left of notices that wait: whoever gets those knows the same as if they had got all."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from focus.notices import (
    Notice,
    Person,
    PersonChanged,
    PersonLeft,
    SpeakerChanged,
    newest,
)
from relay.ids import ParticipantId

numbers = st.integers(1, 4).map(ParticipantId)


def person(number: ParticipantId, name: str) -> Person:
    return Person(participant=number, name=name, region=None, bridge=None, sources=())


waiting = st.lists(
    st.one_of(
        st.builds(
            PersonChanged, person=st.builds(person, numbers, st.text("abc", min_size=1, max_size=2))
        ),
        st.builds(PersonLeft, participant=numbers),
        st.builds(SpeakerChanged, participant=numbers),
    )
)


def people(notices: Iterable[Notice]) -> dict[ParticipantId, Person]:
    """Who is there behind all of them."""
    known: dict[ParticipantId, Person] = {}
    for notice in notices:
        if isinstance(notice, PersonChanged):
            known[notice.person.participant] = notice.person
        elif isinstance(notice, PersonLeft):
            known.pop(notice.participant, None)
    return known


@given(waiting)
def test_the_same_people_are_there_behind_the_newest_as_behind_all(all_of: list[Notice]) -> None:
    assert people(newest(all_of)) == people(all_of)


@given(waiting)
def test_who_is_said_to_speak_has_been_told_of_if_they_stay(all_of: list[Notice]) -> None:
    stays = people(all_of).keys()
    gone = {each.participant for each in all_of if isinstance(each, PersonLeft)}
    told = newest(all_of)

    def unknown(notices: list[Notice]) -> list[ParticipantId | None]:
        return [
            notice.participant
            for at, notice in enumerate(notices)
            if isinstance(notice, SpeakerChanged)
            and notice.participant in stays - gone
            and notice.participant not in people(notices[:at])
        ]

    assert unknown(told) == unknown(all_of)


@given(waiting)
def test_nobody_is_told_of_twice_and_nothing_else_is_left_out(all_of: list[Notice]) -> None:
    left = newest(all_of)
    present: set[ParticipantId] = set()
    for each in left:
        if isinstance(each, PersonChanged):
            assert each.person.participant not in present
            present.add(each.person.participant)
        elif isinstance(each, PersonLeft):
            present.discard(each.participant)
    rest = [each for each in all_of if not isinstance(each, PersonChanged)]
    assert [each for each in left if not isinstance(each, PersonChanged)] == rest
