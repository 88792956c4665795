"""Plays what happens to a slot against a running pump and against the oracle, and compares."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

from region.kernel import NO_STREAM, reference, reference_egress
from relay.payload import HeaderExtension, PayloadType
from tests.region.rig import BATCH, Peer, Rig
from tests.region.together import padding_added
from tests.strategies.calls import SENDER_IDS, SSRC, Arrives, Limit, Source, Step

SLOT, SLOT_RTX = 0x2222, 0x2223
RECEIVER_IDS = {
    HeaderExtension.DEPENDENCY_DESCRIPTOR: 20,
    HeaderExtension.VIDEO_ORIENTATION: 4,
}
NUMBER_ID = 12
"""The receiver's, of transport-wide sequence numbers."""
CLOCK_RATE = 90_000
_ASKED = 40
"""Packets that a receiver asks for again, at most."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A packet that the receiver got."""

    stream: int
    packet: bytes
    """As it was sent."""
    came: reference.Packet
    left: reference.Packet
    switched: bool
    """It is the first of its stream since another, or since none."""

    @property
    def descriptor(self) -> bytes:
        """The dependency descriptor with which it left."""
        return dict(self.left.extensions)[HeaderExtension.DEPENDENCY_DESCRIPTOR]


@dataclass(slots=True)
class Call:
    """Senders of one stream each, and a receiver with one slot."""

    rig: Rig
    streams: int
    together: bool = False
    """What arrives between two changes the pump reads at once."""
    senders: list[Peer] = field(init=False)
    receiver: Peer = field(init=False)
    handles: list[int] = field(init=False)
    slot: int = field(init=False)
    sent: int = field(init=False)
    passed: list[Passed] = field(init=False, default_factory=list)
    _left: int = field(init=False, default=0)
    """Packets, so the next one's transport-wide number."""
    _inputs: list[reference_egress.Stream] = field(init=False)
    _output: reference_egress.Egress = field(init=False)
    _wires: dict[bytes, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        pump = self.rig.pump
        types = {each.value: each.value for each in PayloadType}
        self.senders = [
            self.rig.peer(payload_types=types, extensions=_wire(SENDER_IDS))
            for _ in range(self.streams)
        ]
        numbered = {NUMBER_ID: HeaderExtension.TRANSPORT_SEQUENCE.value}
        self.receiver = self.rig.peer(
            payload_types=types, extensions=_wire(RECEIVER_IDS) | numbered
        )
        self.handles = [
            pump.add_stream(
                peer.transport, SSRC, video=True, clock_rate=CLOCK_RATE, csrc=_csrc(index)
            )
            for index, peer in enumerate(self.senders)
        ]
        self.slot = pump.add_egress(
            self.receiver.transport,
            SLOT,
            video=True,
            trunk=False,
            rtx_ssrc=SLOT_RTX,
            numbered=True,
        )
        self.sent = pump.counters()["datagrams_in"]
        self._inputs = [reference_egress.Stream() for _ in self.senders]
        self._output = reference_egress.Egress(video=True)

    def play(self, steps: Iterable[Step]) -> list[Passed]:
        """All that has passed so far; AssertionError where pump and oracle differ."""
        for _, group in groupby(steps, lambda step: isinstance(step, Arrives)):
            batch = list(group)
            arrivals = [step for step in batch if isinstance(step, Arrives)]
            if self.together:
                self._arrive_together(arrivals)
            else:
                for step in arrivals:
                    self._send(step)
                    self._expect(step)
            for change in batch:
                if not isinstance(change, Arrives):
                    self._settle()
                    self._change(change)
        self._settle()
        assert self.receiver.has_nothing()
        return self.passed

    def _arrive_together(self, arrivals: Sequence[Arrives]) -> None:
        for first in range(0, len(arrivals), BATCH):
            batch = arrivals[first : first + BATCH]
            self._settle()
            with self.rig.holding():
                for step in batch:
                    self._send(step)
            for step in batch:
                self._expect(step)

    def _change(self, step: Source | Limit) -> None:
        if isinstance(step, Limit):
            self.rig.pump.set_layer(self.slot, step.spatial, step.temporal)
            self._output.set_layer(step.spatial, step.temporal)
            return
        given = step.stream
        self.rig.pump.set_source(self.slot, NO_STREAM if given is None else self.handles[given])
        self._output.set_source(None if given is None else self._inputs[given])

    def _send(self, step: Arrives) -> None:
        self.sent += 1
        sender = self.senders[step.stream]
        if step.again:
            sender.send_raw(self._wires[step.packet])
        else:
            self._wires[step.packet] = sender.send(step.packet)

    def _expect(self, step: Arrives) -> None:
        if not step.again:
            self._arrives(step.stream, step.packet)

    def _arrives(self, index: int, packet: bytes) -> None:
        came = _canonical(reference.parse_untrusted(packet))
        stream = self._inputs[index]
        seen = stream.observe(came)
        switched = self._output.joins(stream, seen)
        came_out: list[bytes] = []

        def joined_timestamp() -> int:
            came_out.append(self.receiver.receive())
            after = reference.parse_untrusted(came_out[0]).timestamp
            elapsed_ticks = (after - _newest(self.passed).timestamp) % 2**32
            assert 1 <= elapsed_ticks < CLOCK_RATE * 60
            return after

        expected = self._output.forward(stream, seen, joined_timestamp=joined_timestamp)
        if expected is None:
            return
        data = came_out[0] if came_out else self.receiver.receive()
        left = replace(expected, ssrc=SLOT)
        padding = padding_added(data, self._built(left, csrc=_csrc(index)))
        assert padding is not None, f"{reference.parse_untrusted(data)} and not {left}"
        assert self.together or not padding
        self.passed.append(Passed(index, packet, came, left, switched))

    def _built(self, packet: reference.Packet, *, csrc: int) -> bytes:
        number, self._left = self._left % 2**16, self._left + 1
        return reference.build(
            packet,
            payload_type=packet.payload_type,
            sequence=packet.sequence,
            timestamp=packet.timestamp,
            ssrc=packet.ssrc,
            csrc=csrc,
            extension_ids=RECEIVER_IDS,
            transport_sequence=(NUMBER_ID, number),
        )

    def repeat(self) -> int:
        """Have the newest packets sent again, each as it left; how many were."""
        asked = self.passed[-_ASKED:]
        sent = self.rig.pump.retransmit(self.slot, [each.left.sequence for each in asked]).sent
        by_number = {each.left.sequence: each for each in asked}
        for rtx_sequence in range(sent):
            data = self.receiver.receive()
            number = int.from_bytes(reference.parse_untrusted(data).payload[:2])
            original = by_number.pop(number)
            # RFC 4588 §4: the original's number, then its payload.
            again = replace(
                original.left,
                ssrc=SLOT_RTX,
                sequence=rtx_sequence,
                payload_type=_retransmissions(original.left.payload_type),
                payload=number.to_bytes(2) + original.left.payload,
            )
            assert data == self._built(again, csrc=_csrc(original.stream))
        assert self.receiver.has_nothing()
        return sent

    def awaits_a_keyframe(self) -> bool:
        return self.slot in self.rig.pump.awaiting()

    def close(self) -> None:
        for peer in (*self.senders, self.receiver):
            self.rig.pump.remove_transport(peer.transport)
            peer.socket.close()

    def _settle(self) -> None:
        """Until all that was sent has been dealt with."""
        self.rig.wait_for_datagrams(self.sent)


def assert_one_stream(passed: Sequence[Passed]) -> None:
    """No two packets have one number, and in their numbers' order they are as they were sent."""
    by_number: dict[int, Passed] = {}
    newest = passed[0].left.sequence if passed else 0
    for each in passed:
        number = newest + _ahead(each.left.sequence, newest)
        newest = max(newest, number)
        assert number not in by_number
        by_number[number] = each
    for before, after in pairwise(by_number[number] for number in sorted(by_number)):
        if not after.switched:
            assert before.stream == after.stream
            assert _ahead(after.came.sequence, before.came.sequence) > 0


def assert_decodable(
    passed: Sequence[Passed], references: Callable[[Passed], tuple[int, Iterable[int]]]
) -> None:
    """Of each frame the receiver has all that it needs; `references`: its number, and theirs."""
    got: set[int] = set()
    for each in passed:
        number, needed = references(each)
        if each.switched:
            got = set()
        assert got.issuperset(needed), f"{number} without {set(needed) - got}"
        got.add(number)


def _ahead(a: int, b: int) -> int:
    return (a - b + 0x8000) % 0x10000 - 0x8000


def _retransmissions(payload_type: int) -> int:
    carrier = PayloadType(payload_type).retransmissions
    assert carrier is not None
    return carrier


def _csrc(index: int) -> int:
    return 4 * index + 4


def _wire(ids: Mapping[HeaderExtension, int]) -> dict[int, int]:
    return {number: extension.value for extension, number in ids.items()}


def _canonical(packet: reference.Packet) -> reference.Packet:
    names = {number: extension for extension, number in SENDER_IDS.items()}
    known = [(names[number], data) for number, data in packet.extensions if number in names]
    return replace(packet, extensions=tuple(known))


def _newest(passed: Sequence[Passed]) -> reference.Packet:
    newest = passed[0].left
    for each in passed:
        if _ahead(each.left.sequence, newest.sequence) > 0:
            newest = each.left
    return newest
