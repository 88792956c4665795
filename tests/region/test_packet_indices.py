"""SRTP's packet indices: sequence numbers and how often they have wrapped (RFC 3711 §3.3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibsrtp import Error as SrtpError

from region.kernel import reference
from tests.region.encrypted import (
    CYCLE,
    OTHER_SSRC,
    SLOT,
    SOURCE,
    SSRC,
    Call,
    forged,
    packet,
)
from tests.region.rig import (
    WINDOW,
    Rig,
    protect,
    running,
    unprotect,
)
from tests.strategies.rtp import near_wrap

SLOW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(slots=True)
class Window:
    """RFC 3711 §3.3.1 and §3.3.2: which packets of an SSRC a receiver takes."""

    newest: int | None = None
    taken: set[int] = field(default_factory=set)

    def takes(self, index: int) -> bool:
        if index in self.taken or (self.newest is not None and index <= self.newest - WINDOW):
            return False
        self.taken.add(index)
        self.newest = index if self.newest is None else max(index, self.newest)
        return True


@dataclass(frozen=True, slots=True)
class Forgery:
    sequence: int


Arrival = int | Forgery
LEAP = 10_000
"""At most. Who loses a packet of three in other order still sees less than half a cycle."""

_near = st.integers(1, 3) | st.integers(-5, 0) | st.sampled_from([1, 1, 5, -1_030, -1_024, -1_023])
_forgeries = st.builds(Forgery, st.integers(0, CYCLE - 1))


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Indices as they arrive, over two wrap-arounds or more, and forgeries between them."""
    first = newest = draw(near_wrap(CYCLE))
    order: list[Arrival] = [first]
    while newest < first + 2 * CYCLE + 100:
        newest += draw(st.integers(8_000, LEAP))
        order.append(newest)
        for step in draw(st.lists(_near | _forgeries, max_size=8)):
            if isinstance(step, Forgery):
                order.append(step)
            elif newest + step >= first:
                order.append(newest + step)
                newest = max(newest, newest + step)
    return order


@st.composite
def impairments(draw: st.DrawFn) -> list[tuple[bool, bool, bool]]:
    """Of each packet in turn: lost, doubled, overtaken by the next."""
    each = st.tuples(*[st.integers(0, 7).map(lambda n: n == 7)] * 3)
    return draw(st.lists(each, max_size=60))


def impaired(indices: Sequence[int], how: Sequence[tuple[bool, bool, bool]]) -> list[int]:
    """Never two in a row are lost, and never the first."""
    order = list(indices)
    for at, (_, _, overtaken) in enumerate(how[: len(order) - 1]):
        if overtaken and at:
            order[at], order[at + 1] = order[at + 1], order[at]
    arrived: list[int] = []
    lost_before = True
    for at, each in enumerate(order):
        lost, doubled, _ = how[at] if at < len(how) else (False, False, False)
        lost_before = lost and not lost_before
        if not lost_before:
            arrived += [each] * (1 + doubled)
    return arrived


@SLOW
@given(order=arrivals(), how=impairments())
def test_numbers_wrap_whatever_is_lost_late_doubled_or_forged(
    way: str, order: list[Arrival], how: list[tuple[bool, bool, bool]]
) -> None:
    indices = [each for each in order if not isinstance(each, Forgery)]
    with running() as rig:
        call = Call(rig, way)
        wires = {each: protect(call.sender.outbound, packet(each)) for each in sorted({*indices})}
        for each in order:
            call.sender.send_raw(
                forged(wires[indices[0]], each.sequence)
                if isinstance(each, Forgery)
                else wires[each]
            )
        window = Window()
        taken = [each for each in indices if window.takes(each)]
        left = {each: call.receiver.socket.recv(4_096) for each in taken}
        rig.wait_for_datagrams(len(order))
        assert call.receiver.has_nothing()
        dropped = rig.dropped()
        assert set(dropped) <= {"replay", "authentication"}
        assert sum(dropped.values()) == len(order) - len(taken)
        # And from there on to libsrtp.
        window = Window()
        for each in impaired(taken, how):
            if window.takes(each):
                data = unprotect(call.receiver.inbound, left[each])
                assert reference.parse_untrusted(data).payload == each.to_bytes(8)
            else:
                with pytest.raises(SrtpError, match="replay"):
                    unprotect(call.receiver.inbound, left[each])


@pytest.mark.parametrize("first", [0, 40_000, 65_535])
def test_numbers_may_jump_by_half_of_them_less_one(rig: Rig, way: str, first: int) -> None:
    call = Call(rig, way)
    for index in range(first, first + 6 * CYCLE, CYCLE // 2 - 1):
        call.sender.send(packet(index))
        assert call.received().payload == index.to_bytes(8)
    assert rig.dropped() == {}


def test_a_packet_is_too_old_when_it_is_a_window_behind_the_newest(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    wires = [protect(call.sender.outbound, packet(index)) for index in range(WINDOW + 3)]
    call.sender.send_raw(wires[0])
    assert call.received().sequence == 0
    call.sender.send_raw(wires[WINDOW + 2])
    assert call.received().sequence == WINDOW + 2
    call.sender.send_raw(wires[2])
    call.sender.send_raw(wires[3])
    assert call.received().sequence == 3
    assert call.passes(WINDOW + 3)
    assert rig.dropped() == {"replay": 1}


@pytest.mark.parametrize("ahead", [1, 2_000, CYCLE // 2 - 1])
def test_a_forged_number_far_ahead_does_not_move_the_window(rig: Rig, way: str, ahead: int) -> None:
    call = Call(rig, way)
    assert call.passes(1)
    wire = protect(call.sender.outbound, packet(2))
    assert call.passes(3)
    for _ in range(3):
        call.sender.send_raw(forged(wire, 3 + ahead))
    assert call.passes(4)
    call.sender.send_raw(wire)
    assert call.received().sequence == 2
    assert rig.dropped() == {"authentication": 3}


def test_a_forged_first_packet_leaves_no_trace(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    wire = protect(call.sender.outbound, packet(5))
    for sequence in (5, 40_000, 65_535):
        call.sender.send_raw(forged(wire, sequence))
    call.sender.send_raw(wire)
    assert call.received().sequence == 5
    assert call.passes(6)
    assert rig.dropped() == {"authentication": 3}


def test_a_slot_that_comes_again_goes_on_with_the_index_of_its_ssrc(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    for index in (65_534, 65_535, CYCLE, CYCLE + 1):
        assert call.passes(index)
    rig.pump.remove_egress(call.slots[0])
    call.add_slot(SLOT, 0)
    # The receiver is in the second cycle, and a slot that began anew would not be.
    for index in (CYCLE + 2, CYCLE + 3):
        assert call.passes(index)
    assert rig.dropped() == {}


def test_a_slot_that_comes_again_sends_no_number_that_was_sent(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    for index in (1, 2, 3):
        assert call.passes(index)
    rig.pump.remove_egress(call.slots[0])
    rig.pump.remove_stream(call.streams[0])
    call.streams[0] = rig.pump.add_stream(
        call.sender.transport, 7, video=False, clock_rate=48_000, csrc=SOURCE
    )
    call.add_slot(SLOT, 0)
    for index in (2, 3, 4):
        call.sender.send(packet(index, ssrc=7, payload=b"other"))
    got = call.received()
    assert (got.ssrc, got.sequence, got.payload) == (SLOT, 4, b"other")
    assert rig.dropped() == {"protect": 2}


_changes = st.sampled_from(["remove first", "remove second", "add first", "add second", "stream"])
_sends = st.tuples(st.integers(0, 1), st.integers(-3, 3) | st.integers(-1_100, 1_100))


@SLOW
@given(
    steps=st.lists(_changes | _sends | _sends, max_size=60),
    firsts=st.tuples(near_wrap(CYCLE), near_wrap(CYCLE)),
)
def test_whatever_comes_and_goes_no_number_of_an_ssrc_is_sent_twice(
    way: str, steps: list[str | tuple[int, int]], firsts: tuple[int, int]
) -> None:
    """Or libsrtp, which has seen all of them, would take one for a replay."""
    newest = [first + CYCLE for first in firsts]
    with running() as rig:
        call, sent = Call(rig, way), 0
        for slot in call.slots:
            rig.pump.remove_egress(slot)
        slots = [call.add_slot(SLOT, 0), call.add_slot(SLOT, 1)]
        present = [True, True]
        for step in steps:
            rig.wait_for_datagrams(sent)
            match step:
                case "stream":
                    rig.pump.remove_stream(call.streams[0])
                    call.streams[0] = rig.pump.add_stream(
                        call.sender.transport, SSRC, video=False, clock_rate=48_000, csrc=SOURCE
                    )
                    if present[0]:
                        rig.pump.set_source(slots[0], call.streams[0])
                case str():
                    which = int(step.endswith("second"))
                    if step.startswith("remove") and present[which]:
                        rig.pump.remove_egress(slots[which])
                    elif step.startswith("add") and not present[which]:
                        slots[which] = call.add_slot(SLOT, which)
                    present[which] = step.startswith("add")
                case which, ahead:
                    index = newest[which] + ahead
                    newest[which] = max(newest[which], index)
                    ssrc = (SSRC, OTHER_SSRC)[which]
                    try:
                        wire = protect(call.sender.outbound, packet(index, ssrc=ssrc))
                    except SrtpError:  # it was sent before
                        continue
                    call.sender.send_raw(wire)
                    sent += 1
        rig.wait_for_datagrams(sent)
        left = rig.pump.transport_stats(call.receiver.transport).packets_out
        for _ in range(left):
            call.received()
        assert call.receiver.has_nothing()
