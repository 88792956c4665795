import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import LocalProtocolError, MalformedError
from tests.region.twcc import Arrival, Feedback, build_feedback, parse_feedback_untrusted
from tests.strategies.twcc import ARRIVED, MALFORMED, fci, feedbacks

FEEDBACK = Feedback(
    base_sequence=0xFFFE,
    statuses=6,
    reference_ticks=5 * 256,
    count=9,
    arrivals=(Arrival(0, 4), Arrival(1, 8), Arrival(4, 300), Arrival(5, 290)),
)


def test_feedback_is_on_the_wire_as_the_draft_draws_it() -> None:
    wire = bytes.fromhex(
        "fffe 0006 000005 09"  # base, statuses, reference time in 64 ms, count
        "d428"  # a vector of two-bit statuses: small, small, lost, lost, large, large
        "04 04 0124 fff6"  # 1 ms, 1 ms, 73 ms, and 2.5 ms back
    )
    assert build_feedback(FEEDBACK) == wire
    assert parse_feedback_untrusted(wire) == FEEDBACK


@given(feedbacks())
def test_what_is_built_is_parsed_again(feedback: Feedback) -> None:
    wire = build_feedback(feedback)
    assert len(wire) % 4 == 0
    assert parse_feedback_untrusted(wire) == feedback


@given(st.binary(max_size=200))
def test_bytes_are_feedback_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        feedback = parse_feedback_untrusted(data)
        assert len(feedback.arrivals) <= len(data)
        assert all(arrival.offset < feedback.statuses for arrival in feedback.arrivals)


@given(feedbacks(), st.integers(0, 2_000), st.binary(min_size=1, max_size=3))
def test_bent_feedback_is_feedback_or_malformed(
    feedback: Feedback, position: int, patch: bytes
) -> None:
    wire = bytearray(build_feedback(feedback))
    position %= len(wire)
    wire[position : position + len(patch)] = patch
    with contextlib.suppress(MalformedError):
        parse_feedback_untrusted(bytes(wire))


def test_a_run_of_arrivals_is_understood() -> None:
    feedback = parse_feedback_untrusted(fci(3, 0x2003, deltas=b"\x01\x02\x03"))
    assert feedback.arrivals == (Arrival(0, 1), Arrival(1, 3), Arrival(2, 6))


@pytest.mark.parametrize("form", ARRIVED)
def test_every_form_of_feedback_is_understood(form: str) -> None:
    wire, arrived = ARRIVED[form]
    assert len(parse_feedback_untrusted(wire).arrivals) == arrived


def test_many_losses_cost_no_memory() -> None:
    chunks = [0x1FFF] * 8 + [0x0007]
    assert parse_feedback_untrusted(fci(0xFFFF, *chunks)).arrivals == ()


@pytest.mark.parametrize("what", MALFORMED)
def test_feedback_that_breaks_its_format_is_malformed(what: str) -> None:
    with pytest.raises(MalformedError):
        parse_feedback_untrusted(MALFORMED[what])


@pytest.mark.parametrize(
    "feedback",
    [
        replace(FEEDBACK, statuses=0, arrivals=()),
        replace(FEEDBACK, statuses=5),
        replace(FEEDBACK, statuses=65_536),
        replace(FEEDBACK, base_sequence=65_536),
        replace(FEEDBACK, count=256),
        replace(FEEDBACK, reference_ticks=255),
        replace(FEEDBACK, reference_ticks=256 << 24),
        replace(FEEDBACK, arrivals=(Arrival(0, 0x8000),)),
        replace(FEEDBACK, arrivals=(Arrival(1, 0), Arrival(0, 0))),
    ],
)
def test_feedback_that_has_no_wire_form_is_our_own_fault(feedback: Feedback) -> None:
    with pytest.raises(LocalProtocolError):
        build_feedback(feedback)


def test_many_equal_statuses_are_one_chunk() -> None:
    arrivals = tuple(Arrival(offset, offset) for offset in range(100))
    wire = build_feedback(replace(FEEDBACK, statuses=100, arrivals=arrivals))
    assert len(wire) == 8 + 2 + 100 + 2
