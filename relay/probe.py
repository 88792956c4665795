"""Probes that measure a trunk's path at 10 Hz, and what their echoes say about it.

Pure: payloads and times in, payloads and figures out. They travel as RTCP APP packets named
`OCTO` (RFC 3550 §6.7) inside SRTCP, so a forger cannot make one; a lying peer can, and gets
no further than being counted. Times are monotonic seconds of the end that is told them.
"""

import math
import struct
from collections import Counter, deque
from dataclasses import dataclass
from enum import IntEnum

from relay.errors import MalformedError

PROBE_NAME = "OCTO"
PROBE_INTERVAL_S = 0.1
MAX_MISSED = 6
"""As many probes in a row without an echo mean that the path is down."""
MAX_MISSED_AT_FIRST = 20
"""Before the first echo: a new path is given 2 s, whatever its round trip."""
ECHO_DEADLINE_S = 1.0
"""An unanswered probe counts as lost after this; an echo that comes later is too late."""
MAX_HOLD_S = 1.0
"""A peer that sat on a probe for longer says nothing about the path."""
_ANSWER_S = 0.9 * PROBE_INTERVAL_S
"""What a probe has for its echo until it is missed: timers are not exact."""
WINDOW_PROBES = 600
"""Figures are of the last minute: 600 probes."""
LOSS_PROBES = 100
"""Loss is that of the last 10 s, so that it is seen soon and forgotten soon."""

_PROBE = struct.Struct("!IQ")
_ECHO = struct.Struct("!IQI")
_EWMA_WEIGHT = 1 / 8  # RFC 6298 §2.3: alpha.
_JITTER_WEIGHT = 1 / 16  # RFC 3550 §6.4.1.
_US = 1_000_000


class ProbeKind(IntEnum):
    """The APP packet's subtype."""

    PROBE = 0
    ECHO = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """To be echoed at once."""

    sequence: int
    """Modulo 2^32."""
    sent_us: int
    """Of the sender's clock, which has no epoch that others know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """The answer to a probe, which it repeats."""

    sequence: int
    sent_us: int
    hold_us: int
    """From the probe's arrival to this answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSummary:
    """A path as measured of late; None where there is no measurement."""

    rtt_ms: float | None
    """Smoothed."""
    rtt_min_ms: float | None
    rtt_p50_ms: float | None
    rtt_p95_ms: float | None
    jitter_ms: float | None
    """One way, from the peer to us."""
    loss: float | None
    """Share of probes without an echo, 0 to 1: either way's loss."""


def encode_probe(probe: Probe) -> bytes:
    """12 bytes, for an APP packet of subtype PROBE."""
    return _PROBE.pack(probe.sequence, probe.sent_us)


def encode_echo(echo: Echo) -> bytes:
    """16 bytes, for an APP packet of subtype ECHO."""
    return _ECHO.pack(echo.sequence, echo.sent_us, echo.hold_us)


def decode_probe_untrusted(payload: bytes) -> Probe:
    """The probe in an APP packet's data; later versions may append to it."""
    if len(payload) < _PROBE.size:
        raise MalformedError(f"a probe of {len(payload)} bytes")
    sequence, sent_us = _PROBE.unpack_from(payload)
    return Probe(sequence=sequence, sent_us=sent_us)


def decode_echo_untrusted(payload: bytes) -> Echo:
    """The echo in an APP packet's data; later versions may append to it."""
    if len(payload) < _ECHO.size:
        raise MalformedError(f"an echo of {len(payload)} bytes")
    sequence, sent_us, hold_us = _ECHO.unpack_from(payload)
    return Echo(sequence=sequence, sent_us=sent_us, hold_us=hold_us)


@dataclass(slots=True)
class _Sent:
    sent_us: int
    sent_s: float
    answered: bool = False


class PathMeter:
    """One end of a path: it probes, and measures by echoes and by the peer's probes."""

    def __init__(self, *, dropped: Counter[str] | None = None) -> None:
        """Echoes that are not taken are counted in `dropped`, by reason."""
        self._next_sequence = 0
        self._sent: dict[int, _Sent] = {}
        self._missed = 0
        self._last_sent_s: float | None = None
        self._rtts_s: deque[float] = deque(maxlen=WINDOW_PROBES)
        self._rtt_s: float | None = None
        self._arrival: _Arrival | None = None
        self._jitter_s: float | None = None
        self.dropped: Counter[str] = Counter() if dropped is None else dropped

    def next_probe(self, now: float) -> Probe:
        """The probe to send at `now`; call it each PROBE_INTERVAL_S while there is a path."""
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) & 0xFFFFFFFF
        probe = Probe(sequence=sequence, sent_us=int(now * _US))
        self._sent[sequence] = _Sent(sent_us=probe.sent_us, sent_s=now)
        if len(self._sent) > LOSS_PROBES:
            del self._sent[next(iter(self._sent))]
        self._missed += 1
        self._last_sent_s = now
        return probe

    def receive_probe_untrusted(self, payload: bytes, received_s: float) -> None:
        """Take a probe of the peer that arrived at `received_s`: it tells the jitter."""
        self._note_arrival(decode_probe_untrusted(payload), received_s)

    def receive_echo_untrusted(self, payload: bytes, received_s: float) -> None:
        """Take an echo that arrived at `received_s`; what cannot be true is counted, no more."""
        echo = decode_echo_untrusted(payload)
        sent = self._sent.get(echo.sequence)
        if sent is None or sent.sent_us != echo.sent_us:
            self.dropped["echo_unknown"] += 1
            return
        if sent.answered:
            self.dropped["echo_duplicate"] += 1
            return
        hold_s = echo.hold_us / _US
        rtt_s = received_s - sent.sent_s - hold_s
        if rtt_s < 0 or hold_s > MAX_HOLD_S:
            self.dropped["echo_implausible"] += 1
            return
        if received_s - sent.sent_s > ECHO_DEADLINE_S:
            self.dropped["echo_late"] += 1
            return
        sent.answered = True
        self._missed = 0
        self._rtts_s.append(rtt_s)
        before = rtt_s if self._rtt_s is None else self._rtt_s
        self._rtt_s = before + (rtt_s - before) * _EWMA_WEIGHT

    @property
    def measured(self) -> bool:
        """Whether any echo has come since the path is what it is."""
        return bool(self._rtts_s)

    def is_up(self, now: float) -> bool:
        """False once MAX_MISSED probes in a row had _ANSWER_S each and no echo came.

        It counts probes and not time: when our own side stalls, the path is not to blame.
        """
        limit = MAX_MISSED if self._rtts_s else MAX_MISSED_AT_FIRST
        if self._missed > limit:
            return False
        due = self._last_sent_s is not None and now - self._last_sent_s >= _ANSWER_S
        return self._missed < limit or not due

    @property
    def rtt_s(self) -> float | None:
        """The smoothed round trip, or None before the first echo."""
        return self._rtt_s

    def summary(self, now: float) -> PathSummary:
        """The figures as they are at `now`."""
        ordered = sorted(self._rtts_s)
        return PathSummary(
            rtt_ms=_ms(self._rtt_s),
            rtt_min_ms=_ms(ordered[0] if ordered else None),
            rtt_p50_ms=_ms(_quantile(ordered, 0.50)),
            rtt_p95_ms=_ms(_quantile(ordered, 0.95)),
            jitter_ms=_ms(self._jitter_s),
            loss=self._loss(now),
        )

    def path_changed(self) -> None:
        """The path went down and may come back as another: its figures start afresh."""
        self._sent.clear()
        self._missed = 0
        self._last_sent_s = None
        self._rtts_s.clear()
        self._rtt_s = None
        self._arrival = None
        self._jitter_s = None

    def _loss(self, now: float) -> float | None:
        # Younger ones are left out, answered or not: those would weigh the answered ones twice.
        settled = [
            sent.answered for sent in self._sent.values() if now - sent.sent_s > ECHO_DEADLINE_S
        ]
        return settled.count(False) / len(settled) if settled else None

    def _note_arrival(self, probe: Probe, received_s: float) -> None:
        before, self._arrival = self._arrival, _Arrival(probe, received_s)
        if before is None:
            return
        if (probe.sequence - before.probe.sequence - 1) & 0xFFFFFFFF >= 1 << 31:
            self._arrival = before  # Reordered or repeated: the difference would count twice.
            return
        # RFC 3550 §6.4.1: difference of relative transit times.
        sent_apart_s = (probe.sent_us - before.probe.sent_us) / _US
        transit_s = abs((received_s - before.received_s) - sent_apart_s)
        jitter_s = 0.0 if self._jitter_s is None else self._jitter_s
        self._jitter_s = jitter_s + (transit_s - jitter_s) * _JITTER_WEIGHT


@dataclass(frozen=True, slots=True)
class _Arrival:
    probe: Probe
    received_s: float


def _quantile(ordered: list[float], share: float) -> float | None:
    """Nearest rank, so that the figure is one that was measured."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1_000
