import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import MalformedError
from relay.probe import (
    MAX_MISSED_AT_FIRST,
    PROBE_INTERVAL_S,
    WINDOW_PROBES,
    Echo,
    PathMeter,
    Probe,
    decode_echo_untrusted,
    decode_probe_untrusted,
    encode_echo,
    encode_probe,
)

START_S = 1_000.0
RTT_S = 0.08
HOLD_S = 0.002

u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)


def answered(probe: Probe) -> bytes:
    echo = Echo(sequence=probe.sequence, sent_us=probe.sent_us, hold_us=int(HOLD_S * 1e6))
    return encode_echo(echo)


def probed(meter: PathMeter, count: int, *, at: float = START_S, rtt_s: float = RTT_S) -> float:
    """Probe `count` times with an echo each; the time when the next one is due."""
    for _ in range(count):
        echo = answered(meter.next_probe(at))
        meter.receive_echo_untrusted(echo, at + rtt_s + HOLD_S)
        at += PROBE_INTERVAL_S
    return at


@given(probe=st.builds(Probe, sequence=u32, sent_us=u64), more=st.binary(max_size=8))
def test_a_probe_arrives_as_it_was_whatever_a_newer_peer_appends(probe: Probe, more: bytes) -> None:
    assert decode_probe_untrusted(encode_probe(probe) + more) == probe


@given(echo=st.builds(Echo, sequence=u32, sent_us=u64, hold_us=u32), more=st.binary(max_size=8))
def test_an_echo_arrives_as_it_was_whatever_a_newer_peer_appends(echo: Echo, more: bytes) -> None:
    assert decode_echo_untrusted(encode_echo(echo) + more) == echo


@given(data=st.binary(max_size=15))
def test_what_is_too_short_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        PathMeter().receive_echo_untrusted(data, START_S)
    with pytest.raises(MalformedError):
        PathMeter().receive_probe_untrusted(data[:11], START_S)


@given(datas=st.lists(st.binary(min_size=16, max_size=20), max_size=20))
def test_a_lying_peer_cannot_break_the_meter(datas: list[bytes]) -> None:
    meter = PathMeter()
    meter.next_probe(START_S)
    for data in datas:
        meter.receive_echo_untrusted(data, START_S)
        meter.receive_probe_untrusted(data, START_S)
    summary = meter.summary(START_S)
    assert summary.rtt_ms is None
    assert summary.jitter_ms is None or summary.jitter_ms >= 0


def test_before_any_echo_nothing_is_claimed() -> None:
    meter = PathMeter()
    meter.next_probe(START_S)
    summary = meter.summary(START_S)
    assert {getattr(summary, name) for name in summary.__slots__} == {None}
    assert not meter.measured


def test_the_round_trip_is_without_the_time_that_the_peer_held_the_probe() -> None:
    meter = PathMeter()
    probed(meter, 50)
    summary = meter.summary(START_S + 5)
    for figure in (summary.rtt_ms, summary.rtt_min_ms, summary.rtt_p50_ms, summary.rtt_p95_ms):
        assert figure == pytest.approx(80.0, abs=0.01)
    assert summary.loss == 0.0


def test_percentiles_are_figures_that_were_measured() -> None:
    meter = PathMeter()
    at = START_S
    for rtt_ms in random.Random(7).sample(range(1, 101), 100):
        at = probed(meter, 1, at=at, rtt_s=rtt_ms / 1_000)
    summary = meter.summary(at)
    assert summary.rtt_min_ms == pytest.approx(1.0, abs=0.01)
    assert summary.rtt_p50_ms == pytest.approx(50.0, abs=0.01)
    assert summary.rtt_p95_ms == pytest.approx(95.0, abs=0.01)


def test_the_smoothed_round_trip_follows_a_change_within_seconds() -> None:
    meter = PathMeter()
    at = probed(meter, 100, rtt_s=0.02)
    at = probed(meter, 30, at=at, rtt_s=0.12)
    rtt_ms = meter.summary(at).rtt_ms
    assert rtt_ms is not None
    assert 115 < rtt_ms < 120


def test_figures_are_of_the_last_minute() -> None:
    meter = PathMeter()
    at = probed(meter, 10, rtt_s=0.001)
    at = probed(meter, WINDOW_PROBES, at=at)
    assert meter.summary(at).rtt_min_ms == pytest.approx(80.0, abs=0.01)


def test_every_fourth_lost_is_a_quarter() -> None:
    meter = PathMeter()
    at = START_S
    for index in range(120):
        probe = meter.next_probe(at)
        if index % 4:
            meter.receive_echo_untrusted(answered(probe), at + RTT_S + HOLD_S)
        at += PROBE_INTERVAL_S
    assert meter.summary(at).loss == pytest.approx(0.25, abs=0.01)


def test_echoes_under_way_are_not_loss() -> None:
    meter = PathMeter()
    at = probed(meter, 50)
    for _ in range(5):
        meter.next_probe(at)
        at += PROBE_INTERVAL_S
    assert meter.summary(at).loss == 0.0


def test_reordered_echoes_measure_as_well() -> None:
    meter = PathMeter()
    probes = [meter.next_probe(START_S + index * PROBE_INTERVAL_S) for index in range(5)]
    for index in (2, 0, 1, 4, 3):
        arrival_s = START_S + index * PROBE_INTERVAL_S + RTT_S + HOLD_S
        meter.receive_echo_untrusted(answered(probes[index]), arrival_s)
    summary = meter.summary(START_S + 2)
    assert summary.rtt_p95_ms == pytest.approx(80.0, abs=0.01)
    assert summary.loss == 0.0
    assert not meter.dropped


def test_duplicate_echoes_count_once() -> None:
    meter = PathMeter()
    echo = answered(meter.next_probe(START_S))
    meter.receive_echo_untrusted(echo, START_S + 0.01)
    before = meter.summary(START_S)
    meter.receive_echo_untrusted(echo, START_S + 0.9)
    assert meter.summary(START_S) == before
    assert meter.dropped == {"echo_duplicate": 1}


def test_forged_echoes_are_counted_and_change_nothing() -> None:
    meter = PathMeter()
    probe = meter.next_probe(START_S)
    true = Echo(sequence=probe.sequence, sent_us=probe.sent_us, hold_us=0)
    forgeries = {
        "echo_unknown": [replace(true, sequence=99), replace(true, sent_us=true.sent_us + 1)],
        "echo_implausible": [replace(true, hold_us=50_000), replace(true, hold_us=0xFFFFFFFF)],
    }
    for counter, echoes in forgeries.items():
        for echo in echoes:
            meter.receive_echo_untrusted(encode_echo(echo), START_S + 0.02)
        assert meter.dropped[counter] == 2
    assert not meter.measured
    meter.receive_echo_untrusted(encode_echo(true), START_S + 0.02)
    assert meter.summary(START_S).rtt_ms == pytest.approx(20.0, abs=0.01)


def test_an_echo_that_comes_too_late_is_a_lost_one() -> None:
    meter = PathMeter()
    echo = answered(meter.next_probe(START_S))
    meter.receive_echo_untrusted(echo, START_S + 1.5)
    assert meter.dropped == {"echo_late": 1}
    assert meter.summary(START_S + 1.5).loss == 1.0


def test_six_missed_probes_mean_down_and_five_do_not() -> None:
    meter = PathMeter()
    at = probed(meter, 20)
    silent_since_s = at
    while meter.is_up(at):
        meter.next_probe(at)
        at += PROBE_INTERVAL_S
    assert at - silent_since_s == pytest.approx(0.6)


def test_a_long_round_trip_is_not_down() -> None:
    meter = PathMeter()
    under_way: list[tuple[float, bytes]] = []
    at = START_S
    for _ in range(100):
        while under_way and under_way[0][0] <= at:
            arrival_s, echo = under_way.pop(0)
            meter.receive_echo_untrusted(echo, arrival_s)
        assert meter.is_up(at)
        under_way.append((at + 0.7, answered(meter.next_probe(at))))
        at += PROBE_INTERVAL_S


def test_a_stall_of_our_own_is_not_the_paths_fault() -> None:
    meter = PathMeter()
    at = probed(meter, 20)
    meter.next_probe(at)
    assert meter.is_up(at + 30)


def test_a_new_path_that_never_answers_is_down_after_two_seconds() -> None:
    meter = PathMeter()
    at = START_S
    while meter.is_up(at):
        meter.next_probe(at)
        at += PROBE_INTERVAL_S
    assert at - START_S == pytest.approx(MAX_MISSED_AT_FIRST * PROBE_INTERVAL_S)


def test_a_path_that_returns_starts_afresh() -> None:
    meter = PathMeter()
    at = probed(meter, 20)
    for _ in range(8):
        late = meter.next_probe(at)
        at += PROBE_INTERVAL_S
    assert not meter.is_up(at)
    meter.path_changed()
    assert meter.is_up(at)
    assert not meter.measured
    meter.receive_echo_untrusted(answered(late), at)
    assert meter.dropped == {"echo_unknown": 1}
    probed(meter, 20, at=at, rtt_s=0.3)
    assert meter.summary(at).rtt_min_ms == pytest.approx(300.0, abs=0.01)


def arrivals(meter: PathMeter, delays_s: list[float], *, clock_offset_us: int = 0) -> None:
    for index, delay_s in enumerate(delays_s):
        sent_us = index * 100_000
        probe = Probe(sequence=index, sent_us=sent_us + clock_offset_us)
        arrival_s = START_S + sent_us / 1e6 + delay_s
        meter.receive_probe_untrusted(encode_probe(probe), arrival_s)


def test_jitter_is_one_way_and_blind_to_clock_offsets() -> None:
    steady, shaky = PathMeter(), PathMeter()
    arrivals(steady, [0.05] * 100, clock_offset_us=1 << 40)
    arrivals(shaky, [0.05, 0.06] * 50)
    assert steady.summary(START_S).jitter_ms == pytest.approx(0.0, abs=0.001)
    # RFC 3550 appendix A.8: every difference is 10 ms, so that is what it tends to.
    assert shaky.summary(START_S).jitter_ms == pytest.approx(10.0, abs=0.1)


def test_a_repeated_or_reordered_probe_adds_no_jitter() -> None:
    meter = PathMeter()
    arrivals(meter, [0.05] * 10)
    old = Probe(sequence=3, sent_us=300_000)
    meter.receive_probe_untrusted(encode_probe(old), START_S + 60)
    following = Probe(sequence=10, sent_us=1_000_000)
    meter.receive_probe_untrusted(encode_probe(following), START_S + 1.05)
    assert meter.summary(START_S).jitter_ms == pytest.approx(0.0, abs=0.001)
