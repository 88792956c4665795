"""What several processes are worth beside one."""

import pytest

from benchmarks.cases.audience import Dose
from benchmarks.cases.stage import Span
from benchmarks.cases.workers import Form, lines, seatings


def dose(*used_ms: float, got: int = 1_000) -> Dose:
    """A thousand packets, and what each process used for them."""
    used_ns = tuple(round(each * 1e6) for each in used_ms)
    span = Span(
        seconds=1.0, cpu_ns=sum(used_ns), by_process_ns=used_ns, packets=got, given_up=1_000 - got
    )
    return Dose(span=span, expected=1_000, got=got, load_lost=0, bridge_lost=0, load_late=0)


def form(name: str, *turns: list[Dose]) -> Form:
    processes = len(turns[0][0].span.by_process_ns)
    return Form(name=name, pids=range(processes), rooms=[], turns=list(turns))


ONE_FLOOR = form("1 floor", *[[dose(6), dose(4)]] * 3)
TWO_FLOORS = form("2 floors", [dose(2.5, 2.5)], [dose(2.2, 2.3)], [dose(1.9, 2.1)])


def test_one_process_sits_on_each_core_in_turn_and_two_on_both_at_once() -> None:
    assert seatings(1, [0, 1]) == [[0], [1]]
    assert seatings(2, [0, 1]) == [[0, 1]]


def test_two_bridges_are_set_against_one_and_beside_what_floors_lose_nothing_of() -> None:
    one = form("1 bridge", *[[dose(12), dose(8)]] * 3)
    two = form("2 bridges", *[[dose(5.5, 5.5)]] * 3)
    ours, floors, beside = lines(one, two, ONE_FLOOR, TWO_FLOORS)
    assert ours.ratio == pytest.approx(2 * 10 / 11)
    assert ours.reached
    assert ours.note.endswith("; 2 floors had 2.22 × (2.00 to 2.50)")
    assert floors.ratio == pytest.approx(2 * 5 / 4.5)
    assert beside.ratio == pytest.approx(4.5 / 5 * 10 / 11)
    assert beside.target is None


def test_bridges_that_lose_packets_or_leave_the_work_to_one_reach_nothing() -> None:
    one = form("1 bridge", [dose(10)])
    for several in (dose(4, 4, got=998), dose(7, 2)):
        ours, *_ = lines(one, form("2 bridges", [several]), *_floors())
        assert not ours.reached


def _floors() -> tuple[Form, Form]:
    return form("1 floor", [dose(5)]), form("2 floors", [dose(2.5, 2.5)])
