from hypothesis import given
from hypothesis import strategies as st

from region.keyframes import MIN_INTERVAL_S, KeyframeRequests
from relay.ids import ParticipantId, SourceId, SourceKind, source_id

ANNA = source_id(ParticipantId(1), SourceKind.CAMERA)
BRUNO = source_id(ParticipantId(2), SourceKind.CAMERA)
SOON_S, LATER_S = MIN_INTERVAL_S / 2, 1.25 * MIN_INTERVAL_S


def test_the_first_request_is_sent_at_once() -> None:
    assert KeyframeRequests().request(ANNA, 0.0)


def test_a_second_request_waits_and_is_given_once_when_its_interval_is_over() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0.0)
    assert not requests.request(ANNA, SOON_S)
    assert requests.due(SOON_S) == []
    assert requests.due(LATER_S) == [ANNA]
    assert requests.due(2 * LATER_S) == []


def test_one_that_was_given_begins_an_interval_as_well() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0.0)
    requests.request(ANNA, SOON_S)
    requests.due(LATER_S)
    assert not requests.request(ANNA, LATER_S + SOON_S)


def test_many_requests_while_waiting_are_one() -> None:
    requests = KeyframeRequests()
    sent = [requests.request(ANNA, each * SOON_S / 10) for each in range(10)]
    assert sent == [True] + 9 * [False]
    assert requests.due(LATER_S) == [ANNA]


def test_sources_do_not_wait_for_each_other() -> None:
    requests = KeyframeRequests()
    assert requests.request(ANNA, 0.0)
    assert requests.request(BRUNO, 0.0)


def test_a_request_that_is_sent_takes_along_the_one_that_waited() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0.0)
    requests.request(ANNA, SOON_S)
    assert requests.request(ANNA, LATER_S)
    assert requests.due(3 * LATER_S) == []


def test_a_source_that_comes_again_is_asked_at_once() -> None:
    requests = KeyframeRequests()
    requests.request(ANNA, 0.0)
    requests.request(ANNA, SOON_S)
    requests.retain({BRUNO})
    assert requests.due(LATER_S) == []
    assert requests.request(ANNA, SOON_S)


@given(st.lists(st.tuples(st.floats(0, 0.3), st.sampled_from([ANNA, BRUNO, None]))))
def test_a_source_is_never_asked_twice_within_the_interval(
    steps: list[tuple[float, SourceId | None]],
) -> None:
    requests, now = KeyframeRequests(), 0.0
    asked: dict[SourceId, float] = {}
    for elapsed_s, source in steps:
        now += elapsed_s
        if source is None:
            sent = requests.due(now)
        else:
            sent = [source] if requests.request(source, now) else []
        for each in sent:
            assert each not in asked or now - asked[each] >= MIN_INTERVAL_S
            asked[each] = now


@given(st.lists(st.floats(0, 0.3), min_size=1))
def test_a_request_is_either_sent_or_given_later_and_nothing_else_is(pauses: list[float]) -> None:
    requests, now, sent = KeyframeRequests(), 0.0, False
    for pause_s in pauses:
        now += pause_s
        sent = requests.request(ANNA, now)
    assert requests.due(now + LATER_S) == ([] if sent else [ANNA])
    assert requests.due(now + 3 * LATER_S) == []
