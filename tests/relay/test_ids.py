import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ids import (
    MAX_PARTICIPANT_ID,
    Address,
    ConferenceId,
    MediaKind,
    ParticipantId,
    SourceId,
    SourceKind,
    conference_of,
    kind_of,
    participant_of,
    region_of,
    source_id,
)

participants = st.integers(1, MAX_PARTICIPANT_ID).map(ParticipantId)


@given(participant=participants, kind=st.sampled_from(SourceKind))
def test_a_source_id_tells_its_participant_and_kind(
    participant: ParticipantId, kind: SourceKind
) -> None:
    source = source_id(participant, kind)
    assert (participant_of(source), kind_of(source)) == (participant, kind)
    assert 0 < source <= 0xFFFFFFFF


def test_low_bits_of_zero_are_no_kind() -> None:
    with pytest.raises(ValueError, match="28"):
        kind_of(SourceId(7 << 2))


def test_only_the_microphone_is_heard() -> None:
    heard = [kind for kind in SourceKind if kind.media is MediaKind.AUDIO]
    assert heard == [SourceKind.MICROPHONE]


@pytest.mark.parametrize("text", ["sao-paulo", "a", "eu2", "a" * 32])
def test_region_names_are_taken_as_they_are(text: str) -> None:
    assert region_of(text) == text


@pytest.mark.parametrize(
    "text", ["", "São Paulo", "-x", "x-", "A", "a/b", "a" * 33, "frankfurt\n", "frank furt"]
)
def test_what_is_no_region_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="sao-paulo"):
        region_of(text)


@pytest.mark.parametrize(
    ("room", "conference"),
    [("Standup", "standup"), (" Garden ", "garden"), ("r.2_~@+-", "r.2_~@+-"), ("Größe", "grösse")],
)
def test_room_names_differ_by_more_than_case_and_outer_spaces(room: str, conference: str) -> None:
    assert conference_of(room) == ConferenceId(conference)


@pytest.mark.parametrize("room", ["", " ", "a b", "-a", "a/b", "a" * 129, "<script>"])
def test_what_is_no_room_name_is_refused(room: str) -> None:
    with pytest.raises(ValueError, match="room name"):
        conference_of(room)


@given(room=st.text(max_size=140))
def test_a_conference_name_names_itself(room: str) -> None:
    try:
        conference = conference_of(room)
    except ValueError:
        return
    assert conference_of(conference) == conference


def test_addresses_are_written_as_in_urls() -> None:
    assert str(Address(host="192.0.2.1", port=10_000)) == "192.0.2.1:10000"
    assert str(Address(host="2001:db8::1", port=10_000)) == "[2001:db8::1]:10000"
