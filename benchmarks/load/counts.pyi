"""The counts' types; the code is `counts.pyx`."""

from typing import NamedTuple

from benchmarks.load.roster import Roster

BUCKET_BOUNDS_NS: tuple[int, ...]
"""Where each bucket of delays begins; none is wider than a 32nd of that."""

class StreamStats(NamedTuple):
    """What has arrived of one stream so far."""

    ssrc: int
    kind: int
    packets: int
    """New ones, those included that were restored from retransmissions."""
    bytes: int
    missing: int
    """Numbers that have not come, of the last 1,024."""
    given_up: int
    """Numbers that have not come and are older."""
    reordered: int
    """Packets that came by themselves behind a later one."""
    recovered: int
    """Packets that were missing and came by retransmission (RFC 4588)."""
    duplicates: int
    undecryptable: int
    malformed: int
    unmarked: int
    """Decrypted, and not of this load."""
    padding: int
    """Packets of nothing but padding."""
    picture_jumps: int
    """VP8 picture ids that do not go on from the packet before, of those that follow each other."""
    base_jumps: int
    """TL0PICIDX likewise."""
    keyframes: int
    layer_packets: tuple[int, ...]
    """Of those decrypted, by the layer that their sender marked: three."""
    layer_bytes: tuple[int, ...]
    csrc: int
    """Of the packet that came last; 0 where there is none."""
    sender: int
    """Its sender's handle, by the mark of what was decrypted last."""
    layer: int
    jitter_ticks: int

class ClientStats(NamedTuple):
    """Of one client: what came that is of no stream, and what it said."""

    datagrams: int
    bytes: int
    first_media_ns: int
    """CLOCK_REALTIME; 0 until there was something."""
    overflowed: int
    """Datagrams that came and found no room in its socket: the load's own loss, as of the last."""
    unexpected: int
    """Media of payload types that nobody has agreed on."""
    malformed: int
    retransmissions: int
    retransmission_bytes: int
    padding: int
    unneeded: int
    """Retransmissions of what was not missing: padding that measures a path looks so, too."""
    feedbacks: int
    """Transport-wide feedback that it was sent."""
    nacks_sent: int
    """Packets asked for."""
    plis_sent: int
    consents: int
    """Answers to its checks."""
    rtcp_failed: int
    refused: int
    """ICMP has said that nobody listens there."""
    unsent: int
    """Packets that its socket did not take."""
    round_trip_ns: int

class SenderStats(NamedTuple):
    """Of one stream that is sent."""

    packets: int
    bytes: int
    frames: int
    keyframes: int
    keyframes_asked: int
    nacked: int
    retransmitted: int
    skipped: int
    """Frames that were half a second late and left out: the machine is overloaded."""

class Totals(NamedTuple):
    """Sums of all that, over all clients and those that are gone."""

    packets: int
    bytes: int
    missing: int
    given_up: int
    reordered: int
    recovered: int
    duplicates: int
    undecryptable: int
    malformed: int
    unmarked: int
    padding: int
    picture_jumps: int
    base_jumps: int
    retransmissions: int
    unneeded: int
    unexpected: int
    overflowed: int
    sent_packets: int
    sent_bytes: int
    unsent: int
    skipped: int
    retransmitted: int
    keyframes_asked: int

class Counts(Roster):
    """What was counted so far; from any thread. LocalProtocolError for unknown handles."""

    def streams(self, client: int) -> list[StreamStats]:
        """What it has received so far, by stream."""

    def client_stats(self, client: int) -> ClientStats: ...
    def sender_stats(self, sender: int) -> SenderStats: ...
    def totals(self) -> Totals: ...
    def delays(self) -> tuple[list[int], list[int]]:
        """How many packets of sound, and of pictures, came with which delay, by bucket.

        From the mark's writing, just before encryption, to the receiving system's own timestamp.
        """
