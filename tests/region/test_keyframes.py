from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from region.keyframes import MIN_INTERVAL_S, KeyframeRequests
from relay.ids import ParticipantId, SourceId, SourceKind, source_id

ANNA = source_id(ParticipantId(1), SourceKind.CAMERA)
BRUNO = source_id(ParticipantId(2), SourceKind.CAMERA)
SOON_S, LATER_S = MIN_INTERVAL_S / 2, 1.25 * MIN_INTERVAL_S


def test_the_first_request_is_sent_at_once() -> None:
    assert KeyframeRequests().request(ANNA, 2, 0.0) == [2]


def test_a_second_request_waits_and_is_given_once_when_its_interval_is_over() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0, 0.0)
    assert requests.request(ANNA, 0, SOON_S) == []
    assert requests.due(SOON_S) == {}
    assert requests.due(LATER_S) == {ANNA: [0]}
    assert requests.due(2 * LATER_S) == {}


def test_encodings_that_wait_together_are_asked_for_together() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 2, 0.0)
    for encoding in (2, 0, 2):
        assert requests.request(ANNA, encoding, SOON_S) == []
    assert requests.due(LATER_S) == {ANNA: [0, 2]}


def test_one_that_was_given_begins_an_interval_as_well() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0, 0.0)
    requests.request(ANNA, 0, SOON_S)
    requests.due(LATER_S)
    assert not requests.request(ANNA, 0, LATER_S + SOON_S)


def test_sources_do_not_wait_for_each_other() -> None:
    requests = KeyframeRequests()
    assert requests.request(ANNA, 0, 0.0)
    assert requests.request(BRUNO, 0, 0.0)


def test_a_request_that_is_sent_takes_along_the_one_that_waited() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0, 0.0)
    requests.request(ANNA, 1, SOON_S)
    assert requests.request(ANNA, 2, LATER_S) == [1, 2]
    assert requests.due(3 * LATER_S) == {}


def test_a_source_that_comes_again_is_asked_at_once() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0, 0.0)
    requests.request(ANNA, 0, SOON_S)
    requests.retain({BRUNO})
    assert requests.due(LATER_S) == {}
    assert requests.request(ANNA, 0, SOON_S)


@given(
    asked=st.lists(
        st.tuples(st.sampled_from([ANNA, BRUNO]), st.integers(0, 2), st.floats(0, 0.3)),
        max_size=60,
    )
)
def test_no_source_is_asked_twice_within_the_interval_and_nothing_is_forgotten(
    asked: list[tuple[SourceId, int, float]],
) -> None:
    requests = KeyframeRequests()
    now = 0.0
    sent: dict[SourceId, list[float]] = {ANNA: [], BRUNO: []}
    open_: dict[SourceId, set[int]] = {ANNA: set(), BRUNO: set()}

    def note(source: SourceId, encodings: list[int]) -> None:
        if encodings:
            sent[source].append(now)
            open_[source] -= set(encodings)

    for source, encoding, step_s in asked:
        now += step_s
        open_[source].add(encoding)
        note(source, requests.request(source, encoding, now))
    now += 2 * MIN_INTERVAL_S
    for source, encodings in requests.due(now).items():
        note(source, encodings)
    assert not open_[ANNA] | open_[BRUNO]
    for times in sent.values():
        assert all(b - a >= MIN_INTERVAL_S - 1e-9 for a, b in pairwise(times))
