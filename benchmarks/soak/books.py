"""Where every packet went: what bridges and the load have counted, set against each other; pure.

A bridge's own books balance to the packet at any moment, for its kernel counts between two
packets. Those of the whole mesh balance once nothing is on its way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load.counts import Totals

Counters = Mapping[str, int]
"""A bridge's, as `/metrics` names them without prefix and suffix; drops as `dropped_…`."""

ROUTINE = {
    "awaiting_keyframe": "a picture begins, or is switched, at the next keyframe",
    "before_switch": "packets from before a switch, which came behind it",
    "no_path": "for somebody who joins, and is not connected yet",
    "layer": "temporal layers that a receiver does not want or its path does not carry",
    "unknown_address": "who leaves still sends for a moment",
    "unknown_ssrc": "of a source that has gone, or comes a moment before it is announced",
    "rtcp_unknown_ssrc": "reports on what has just gone",
    "rtcp_unknown_transport": "reports of somebody who has just left, queued until then",
    "dtls_unknown_address": "the goodbye of somebody who has just left",
    "stun_unknown": "a check of somebody who has just left, or an answer half a second late",
    "check_refused": "a trunk's check that was sent again: the first was not answered in 0.5 s",
    "echo_unknown": "a probe's answer that came when its path had been given up",
    "echo_late": "a probe's answer that took a second",
    "no_keys": "who has finished DTLS sends a moment before the bridge has taken the keys",
}
"""Drops that come of what people do, and why."""

HURRIED = {
    "overload": "pictures left out unread because the bridge was behind",
    "send": "the socket's buffer was full",
    "queue_full": "Python was behind the kernel",
    "duplicate": "a retransmission was faster than what it replaced",
    "rtx_unneeded": "what was asked for had come",
    "nack_repeated": "asked for twice within a round trip",
    "nack_limited": "more was asked for than may be sent again",
    "nack_forgotten": "asked for too late",
    "nack_unknown": "asked for too late",
    "replay": "a retransmission or a repeated report came twice",
}
"""Drops that come of a machine that was too busy, and of the repairs that follow."""

MOST_WAITING, MOST_WAITING_AT_ONCE = 0.05, 0.25
"""Share of the time that threads may have wanted a core and had none, on a calm machine; of all of
it, and of any second or so. On two cores that do nothing else it is 0.03, and 0.12."""

_OFFERED = ("offered", "retransmitted", "probed")
_NOT_SENT = (
    *("awaiting_keyframe", "before_switch", "layer", "no_payload_type", "no_path"),
    "protect",
)
_MEDIA_REFUSED = ("rtx_unneeded", "unknown_ssrc", "unknown_payload", "overload")
"""Before they count as packets in."""
_REFUSED = (
    *("unknown_address", "no_keys"),
    *("authentication", "replay", "unprotect", "malformed"),
)
"""Media or not."""
_DATAGRAMS_REFUSED = (
    *_MEDIA_REFUSED,
    *_REFUSED,
    *("oversize", "unknown_protocol", "queue_full", "rtcp_ssrcs"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Two sums that have to be the same."""

    name: str
    given: int
    accounted: int
    perhaps: int = 0
    """So many more, from none to all, may be accounted for: they were counted with other things."""

    @property
    def holds(self) -> bool:
        """Whether nothing is missing, and nothing came from nowhere."""
        return self.accounted <= self.given <= self.accounted + self.perhaps

    def __str__(self) -> str:
        more = f" and up to {self.perhaps:,} more" if self.perhaps else ""
        return (
            f"{self.name}: {self.given:,} in, {self.accounted:,}{more} accounted for: "
            f"{self.given - self.accounted:+,}"
        )


def bridge_balances(name: str, counted: Counters) -> list[Balance]:
    """A bridge's own books."""
    not_taken = _dropped(counted, ("send", "tcp_full"))
    return [
        Balance(
            name=f"{name}: datagrams",
            given=counted["datagrams_in"] + counted["tcp_frames_in"],
            accounted=sum(
                counted[each] for each in ("packets_in", "consents", "handed_on", "rtcp_taken")
            )
            + _dropped(counted, _DATAGRAMS_REFUSED),
        ),
        Balance(
            name=f"{name}: packets to egresses",
            given=sum(counted[each] for each in _OFFERED),
            accounted=counted["packets_out"]
            + _dropped(counted, _NOT_SENT)
            + (0 if counted["tcp_connections"] else not_taken),
            # TCP takes other things than media, too, or does not.
            perhaps=not_taken if counted["tcp_connections"] else 0,
        ),
    ]


def mesh_balance(bridges: Sequence[Counters], load: Totals, *, unread: int) -> Balance:
    """All media that anybody has sent, bridges or people, against what anybody has got.

    `unread`: at most so many datagrams came to sockets that had no room.
    """
    sent = load.sent_packets + load.retransmitted + sum(each["packets_out"] for each in bridges)
    received = received_by(load)
    received += sum(each["packets_in"] + _dropped(each, _MEDIA_REFUSED) for each in bridges)
    return Balance(
        name="all media of the mesh",
        given=sent,
        accounted=received,
        perhaps=unread + load.unsent + sum(_dropped(each, _REFUSED) for each in bridges),
    )


def received_by(load: Totals) -> int:
    """Media packets that reached the load, of whatever use they were."""
    return load.packets - load.recovered + load.duplicates + load.retransmissions + load.unexpected


def hurried(load: Totals, *, unread: int, waiting: float, waiting_at_once: float) -> bool:
    """Whether the machine was too busy for somebody at some time, as seen from outside of bridges.

    What these drop is no sign of it: one that is slow by its own fault drops the same.
    `unread`: datagrams that came to the load's sockets and found no room. `waiting`: the share of
    the time that a process's threads wanted a core and had none, and `waiting_at_once` the most of
    a moment.
    """
    return bool(
        waiting > MOST_WAITING
        or waiting_at_once > MOST_WAITING_AT_ONCE
        or unread
        or load.unsent
        or load.skipped
    )


def unexplained(counted: Counters, *, was_hurried: bool) -> dict[str, int]:
    """Drops of which no table says why there should be any."""
    known = {*ROUTINE, *(HURRIED if was_hurried else ())}
    return {
        reason: count
        for name, count in counted.items()
        if (reason := name.removeprefix("dropped_")) != name and count and reason not in known
    }


def _dropped(counted: Counters, reasons: Sequence[str]) -> int:
    return sum(counted.get(f"dropped_{each}", 0) for each in reasons)
