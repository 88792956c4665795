"""Bridges, hosts and bandwidth for a table of offices: sums agree, and more never needs less."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.offices import Office
from benchmarks.plan import Plan, Processing, Spare, Terms, make_plan
from benchmarks.rates import STATED, Rate, Stream, total
from benchmarks.traffic import Habits
from relay.ids import Region
from tests.strategies.offices import CAPACITY, office, offices

HABITS = Habits()
TERMS = Terms()


def processing(plan: Plan) -> dict[Region, Processing]:
    return {each.region: each.processing for each in plan.regions if each.processing}


@given(offices, st.sampled_from([1e3, 1e5]), st.sampled_from(Spare))
def test_what_regions_send_on_trunks_is_what_others_get(
    table: list[Office], packets_s: float, spare: Spare
) -> None:
    capacity = CAPACITY.model_copy(update={"packets_out_per_core_s": packets_s})
    plan = make_plan(table, HABITS, Terms(spare=spare), capacity)
    for each in plan.regions:
        to = [rate for (start, _), rate in plan.trunks.items() if start == each.region]
        from_others = [rate for (_, end), rate in plan.trunks.items() if end == each.region]
        assert each.to_regions.bps == pytest.approx(total(to).bps)
        assert each.from_regions.packets_s == pytest.approx(total(from_others).packets_s)
    sent = total(each.to_regions for each in plan.regions)
    received = total(each.from_regions for each in plan.regions)
    assert sent.bps == pytest.approx(received.bps)
    assert sent.packets_s == pytest.approx(received.packets_s)


@given(offices, st.floats(0, 0.9), st.sampled_from([1e3, 2e4, 1e6]), st.integers(1, 8))
def test_each_bridge_keeps_its_headroom_and_none_is_too_many(
    table: list[Office], headroom: float, packets_s: float, host_cores: int
) -> None:
    capacity = CAPACITY.model_copy(update={"packets_out_per_core_s": packets_s})
    terms = Terms(headroom=headroom, host_cores=host_cores)
    for needed in processing(make_plan(table, HABITS, terms, capacity)).values():
        assert needed.cores / needed.bridges <= 1 - headroom + 1e-6
        assert needed.bridges == 1 or needed.cores / (needed.bridges - 1) > 1 - headroom - 1e-6
        assert needed.workers <= host_cores
        assert needed.hosts * needed.workers >= needed.bridges


@given(offices, st.sampled_from([1e3, 2e4]), st.integers(1, 8))
def test_a_spare_may_be_lost(table: list[Office], packets_s: float, host_cores: int) -> None:
    capacity = CAPACITY.model_copy(update={"packets_out_per_core_s": packets_s})
    for spare in (Spare.BRIDGE, Spare.HOST):
        terms = Terms(spare=spare, host_cores=host_cores)
        for needed in processing(make_plan(table, HABITS, terms, capacity)).values():
            lost = 1 if spare is Spare.BRIDGE else needed.workers
            assert needed.cores / (needed.bridges - lost) <= 1 - terms.headroom + 1e-6


def least(plan: Plan) -> list[float]:
    """Figures that do not fall when there is more to do."""
    figures = []
    for each in plan.regions:
        assert each.processing
        figures += [each.attending, each.processing.cores, each.processing.bridges]
        figures += [each.processing.hosts, each.from_people.bps, each.to_people.bps]
    return figures + [rate.packets_s for rate in plan.trunks.values()]


def assert_no_less(more: Plan, less: Plan) -> None:
    for larger, smaller in zip(least(more), least(less), strict=True):
        assert larger >= smaller * (1 - 1e-9)


@given(offices, st.integers(2, 5))
def test_more_people_who_meet_more_never_need_less(table: list[Office], times: int) -> None:
    grown = [
        replace(each, people=each.people * times, meetings=each.meetings * times) for each in table
    ]
    assert_no_less(
        make_plan(grown, HABITS, TERMS, CAPACITY), make_plan(table, HABITS, TERMS, CAPACITY)
    )


@given(offices, st.integers(0, 5), st.integers(1, 100))
def test_more_meetings_never_need_less_where_there_are_people_for_them(
    table: list[Office], which: int, more: int
) -> None:
    roomy = [replace(each, people=100_000) for each in table]
    place = which % len(table)
    grown = [*roomy]
    grown[place] = replace(roomy[place], meetings=roomy[place].meetings + more)
    assert_no_less(
        make_plan(grown, HABITS, TERMS, CAPACITY), make_plan(roomy, HABITS, TERMS, CAPACITY)
    )


@given(st.integers(2, 100), st.integers(0, 400))
def test_a_larger_size_never_needs_less(size: int, hundredths: int) -> None:
    smaller = office("a", 100_000, 40, size)
    larger = replace(smaller, size=size + hundredths / 100)
    other = office("b", 100_000, 0, 2)
    assert_no_less(
        make_plan([larger, other], HABITS, TERMS, CAPACITY),
        make_plan([smaller, other], HABITS, TERMS, CAPACITY),
    )


def test_an_office_alone_sends_nothing_elsewhere() -> None:
    plan = make_plan([office("a", 100, 5, 4, 0.5)], HABITS, TERMS, CAPACITY)
    (region,) = plan.regions
    assert (plan.trunks, region.to_regions.bps, region.attending) == ({}, 0, 20)


def test_measured_rates_come_before_the_stated_ones() -> None:
    table, habits = [office("a", 10, 1, 2)], Habits(voices=1)
    rate = Rate(packets_s=100.0, bps=1e6)
    capacity = CAPACITY.model_copy(update={"received": {Stream.P720: rate}})
    plan = make_plan(table, habits, TERMS, capacity)
    (region,) = plan.regions
    assert region.to_people.bps == pytest.approx(2e6 + STATED[Stream.VOICE].bps)
    assert region.from_people.bps == pytest.approx(
        2 * STATED[Stream.P720].bps + STATED[Stream.VOICE].bps
    )
