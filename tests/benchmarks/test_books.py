"""What balances and what does not."""

from collections import Counter

import pytest

from benchmarks.load.counts import Totals
from benchmarks.soak.books import (
    HURRIED,
    ROUTINE,
    bridge_balances,
    hurried,
    mesh_balance,
    unexplained,
)

NOTHING = Totals(*(0 for _ in Totals._fields))


def totals(**counted: int) -> Totals:
    return NOTHING._replace(**counted)


def test_a_bridges_datagrams_balance_by_what_became_of_each() -> None:
    counted = Counter(
        datagrams_in=100,
        packets_in=70,
        consents=3,
        handed_on=10,
        rtcp_taken=9,
        dropped_unknown_address=5,
        dropped_replay=2,
        dropped_oversize=1,
    )
    datagrams, _ = bridge_balances("b", counted)
    assert datagrams.holds
    counted["datagrams_in"] += 1
    datagrams, _ = bridge_balances("b", counted)
    assert not datagrams.holds
    assert str(datagrams) == "b: datagrams: 101 in, 100 accounted for: +1"


def test_what_is_offered_to_egresses_balances_by_what_was_sent_or_dropped() -> None:
    counted = Counter(
        offered=50,
        retransmitted=3,
        probed=2,
        packets_out=40,
        dropped_layer=9,
        dropped_awaiting_keyframe=5,
        dropped_send=1,
    )
    assert bridge_balances("b", counted)[1].holds
    counted["packets_out"] -= 1
    assert not bridge_balances("b", counted)[1].holds


def test_drops_on_the_way_in_are_none_on_the_way_out() -> None:
    incoming = Counter(datagrams_in=1, dropped_unknown_ssrc=1)
    outgoing = Counter(offered=1, dropped_layer=1)
    for counted in (incoming, outgoing):
        assert all(balance.holds for balance in bridge_balances("b", counted))


def test_the_meshs_media_balances_from_sender_to_receiver_over_two_bridges() -> None:
    near = Counter(packets_in=100, packets_out=150, dropped_unknown_ssrc=1)
    far = Counter(packets_in=100, packets_out=100)
    load = totals(sent_packets=100, retransmitted=1, packets=147, recovered=1, retransmissions=4)
    assert mesh_balance([near, far], load, unread=0).holds
    assert not mesh_balance([near, far], load._replace(packets=146), unread=0).holds
    assert mesh_balance([near, far], load._replace(packets=146), unread=1).holds


def test_nothing_may_come_from_nowhere() -> None:
    bridge = Counter(packets_in=2, packets_out=2, dropped_unknown_address=5)
    assert not mesh_balance([bridge], totals(sent_packets=2, packets=3), unread=5).holds


def test_what_was_refused_unread_may_have_been_media_or_not() -> None:
    bridge = Counter(packets_in=2, packets_out=2, dropped_unknown_address=1, dropped_no_keys=1)
    for sent in (2, 3, 4):
        assert mesh_balance([bridge], totals(sent_packets=sent, packets=2), unread=0).holds
    assert not mesh_balance([bridge], totals(sent_packets=5, packets=2), unread=0).holds


def test_only_drops_that_somebody_has_explained_are_explained() -> None:
    counted = {"dropped_layer": 5, "dropped_protect": 2, "packets_in": 9, "dropped_malformed": 0}
    assert unexplained(counted, was_hurried=True) == {"protect": 2}


@pytest.mark.parametrize("reason", HURRIED)
def test_what_comes_of_a_busy_machine_is_explained_on_a_busy_one_only(reason: str) -> None:
    assert unexplained({f"dropped_{reason}": 1}, was_hurried=False) == {reason: 1}
    assert not unexplained({f"dropped_{reason}": 1}, was_hurried=True)


def test_no_drop_is_explained_in_two_ways() -> None:
    assert not ROUTINE.keys() & HURRIED.keys()


def busy(
    load: Totals = NOTHING, *, unread: int = 0, waiting: float = 0.0, waiting_at_once: float = 0.0
) -> bool:
    return hurried(load, unread=unread, waiting=waiting, waiting_at_once=waiting_at_once)


def test_a_machine_was_busy_where_it_kept_the_load_from_its_work_or_threads_from_a_core() -> None:
    assert busy(unread=1)
    assert busy(totals(unsent=1))
    assert busy(totals(skipped=1))
    assert busy(waiting=0.2)
    assert busy(waiting_at_once=0.3)


def test_threads_wait_for_a_core_now_and_then_on_a_calm_machine_too() -> None:
    assert not busy(waiting=0.03, waiting_at_once=0.12)
