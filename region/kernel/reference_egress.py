"""The oracle of what an egress passes on, and with what numbers: all that has been, kept for ever.

Where the kernel keeps a few offsets this keeps sets of everything, and counts: slow, unbounded,
and hard to get wrong. Packets are in the trunk's numbering (`relay.payload`).
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from region.kernel.reference import Packet
from region.kernel.reference_codecs import (
    Picture,
    begins_keyframe,
    parse_picture_untrusted,
    with_numbers,
)
from region.kernel.reference_descriptor import (
    Descriptor,
    Indication,
    Structure,
    parse_untrusted,
    with_number,
)
from relay.errors import MalformedError
from relay.payload import HeaderExtension, PayloadType

_DESCRIPTOR = HeaderExtension.DEPENDENCY_DESCRIPTOR
MEMORY_PACKETS = 1024
"""What is farther behind the newest packet than that does not pass."""
MEMORY_FRAMES = 128
"""Of a frame farther back nobody knows whether it passed."""
MAX_REFERENCES = 8
"""Of a frame that needs more nobody knows whether it can be decoded."""
NO_LIMIT = 2
"""A limit of layers that is none, as are all above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A packet of a stream, and what can be read from it."""

    packet: Packet
    keyframe: bool
    """Whether a decoder can begin here."""
    picture: Picture | None
    descriptor: Descriptor | None
    """None too where it cannot be understood."""
    structure: Structure | None
    active: int
    """The decode targets that are sent, a bit each."""


class Stream:
    """An incoming stream, which knows the dependency structure that its packets are of."""

    def __init__(self) -> None:
        self._structure: Structure | None = None
        self._active = 0
        self._sequences: _Numbers | None = None
        self._told: int | None = None
        """The sequence number of the newest packet with a structure or active targets."""

    def observe(self, packet: Packet) -> Seen:
        """Read a packet, in the order of arrival."""
        if self._sequences is None:
            self._sequences = _Numbers(packet.sequence)
        sequence = self._sequences.extended(packet.sequence, 16)
        self._sequences.newest = max(sequence, self._sequences.newest)
        data = next((data for each, data in packet.extensions if each == _DESCRIPTOR), None)
        descriptor = None
        if data is not None:
            with contextlib.suppress(MalformedError):
                descriptor = parse_untrusted(data, self._structure)
        if (
            descriptor is not None
            and descriptor.active is not None
            and (self._told is None or sequence > self._told)
        ):
            self._told = sequence
            self._active = descriptor.active
            self._structure = descriptor.attached or self._structure
        payload = packet.payload[: -packet.payload[-1]] if packet.padding else packet.payload
        picture = None
        if packet.payload_type == PayloadType.VP8:
            with contextlib.suppress(MalformedError):
                picture = parse_picture_untrusted(payload)
        keyframe = begins_keyframe(packet.payload_type, payload)
        if descriptor is not None:
            keyframe = descriptor.begins and descriptor.attached is not None
        return Seen(
            packet=packet,
            keyframe=keyframe,
            picture=picture,
            descriptor=descriptor,
            structure=self._structure,
            active=self._active,
        )


def _ahead(a: int, b: int, bits: int) -> int:
    """How far `a` is ahead of `b`, of numbers that wrap after so many bits."""
    half = 1 << bits - 1
    return (a - b + half) % (2 * half) - half


@dataclass(slots=True)
class _Numbers:
    """Numbers that go on where others ended, extended beyond their bits."""

    newest: int
    """That came; at first the one with which they were joined."""
    offset: int = 0

    @classmethod
    def after(cls, last: int | None, first: int) -> "_Numbers":
        """So that `first` leaves as the one after `last`, or as it is."""
        return cls(first, 0 if last is None else last + 1 - first)

    def extended(self, number: int, bits: int) -> int:
        return self.newest + _ahead(number, self.newest, bits)


@dataclass(slots=True, kw_only=True)
class _Sent:
    """The newest that has left, of each number; None before any."""

    sequence: int | None = None
    timestamp: int = 0
    picture_id: int | None = None
    tl0picidx: int | None = None
    frame_number: int | None = None


class Egress:
    """One outgoing stream: which packets of which streams pass, and what becomes of them."""

    def __init__(self, *, video: bool) -> None:
        self._video = video
        self._wanted: Stream | None = None
        self._carried: tuple[Stream, _Passage] | None = None
        self._limits = (NO_LIMIT, NO_LIMIT)
        self._sent = _Sent()

    def set_source(self, stream: Stream | None) -> None:
        """As `Pump.set_source`, None for none."""
        self._wanted = stream
        if stream is None:
            self._carried = None

    def set_layer(self, spatial: int, temporal: int) -> None:
        """As `Pump.set_layer`."""
        self._limits = (spatial, temporal)

    def joins(self, stream: Stream, seen: Seen) -> bool:
        """Whether this packet makes the egress go over to `stream`."""
        carried = self._carried[0] if self._carried else None
        return self._wanted is stream is not carried and (not self._video or seen.keyframe)

    def forward(
        self, stream: Stream, seen: Seen, *, joined_timestamp: Callable[[], int]
    ) -> Packet | None:
        """The packet as it leaves, in the trunk's numbering, or None where it does not.

        Where a switch joins two streams the clock decides on the first packet's timestamp;
        `joined_timestamp` is asked for it.
        """
        if self.joins(stream, seen):
            self._carried = stream, _Passage(seen.packet, self._sent, self._limits)
        if self._carried is None or self._carried[0] is not stream:
            return None
        return self._carried[1].forward(seen, self._limits, joined_timestamp)


class _Passage:
    """An egress while it carries one stream, from a join on."""

    def __init__(self, first: Packet, sent: _Sent, limits: tuple[int, int]) -> None:
        self._sent = sent
        self._first = first.sequence
        self._begun = False
        self._sequences = _Numbers.after(sent.sequence, first.sequence)
        self._timestamp_offset = 0 if sent.sequence is None else None
        # What had none of these numbers counts as having had 0.
        nothing = None if sent.sequence is None else 0
        self._picture_before = nothing if sent.picture_id is None else sent.picture_id
        self._tl0_before = nothing if sent.tl0picidx is None else sent.tl0picidx
        self._left_out: list[int] = []
        """Sequence numbers of packets."""
        self._left_out_pictures: dict[int, int] = {}
        """Of each picture the first packet that was."""
        self._pictures: _Numbers | None = None
        self._tl0: _Numbers | None = None
        self._temporal = limits[1]
        """VP8's limit in force."""
        self._frames: _Numbers | None = None
        self._fates: dict[int, bool] = {}
        """By frame number."""
        self._target: int | None = None
        self._top = 0
        """The highest spatial layer that the target shows."""

    def forward(
        self, seen: Seen, limits: tuple[int, int], joined_timestamp: Callable[[], int]
    ) -> Packet | None:
        sequence = self._sequences.extended(seen.packet.sequence, 16)
        newest = sequence > self._sequences.newest or not self._begun
        self._begun = True
        if not self._first <= sequence > self._sequences.newest - MEMORY_PACKETS:
            return None
        self._sequences.newest = max(sequence, self._sequences.newest)
        passes = self._passes(seen, limits, newest)
        picture_id = None
        if seen.picture is not None and seen.picture.picture_id is not None:
            if self._pictures is None:
                self._pictures = _Numbers.after(self._picture_before, seen.picture.picture_id)
            picture_id = self._pictures.extended(seen.picture.picture_id, seen.picture.bits)
            self._pictures.newest = max(picture_id, self._pictures.newest)
        if newest and not passes:
            self._left_out.append(sequence)
            if picture_id is not None:
                self._left_out_pictures.setdefault(picture_id, sequence)
        if not passes:
            return None
        if self._timestamp_offset is None:
            self._timestamp_offset = joined_timestamp() - seen.packet.timestamp
        timestamp = (seen.packet.timestamp + self._timestamp_offset) % (1 << 32)
        return self._rewritten(seen, sequence, picture_id, timestamp)

    # ---- which packets pass

    def _passes(self, seen: Seen, limits: tuple[int, int], newest: bool) -> bool:
        if seen.descriptor is not None and seen.structure is not None:
            return self._frame_passes(seen.descriptor, seen.structure, seen.active, limits)
        picture = seen.picture
        if picture is None or picture.temporal is None:
            return True
        # RFC 7741 §4.2: without Y a frame may need any frame of its layer and those below, so at
        # one of the base layer nobody knows whether those above it will be decodable.
        may_change = limits[1] < self._temporal or picture.sync or picture.keyframe
        if newest and picture.begins and may_change:
            self._temporal = limits[1]
        return self._temporal >= NO_LIMIT or picture.temporal <= self._temporal

    def _frame_passes(
        self, descriptor: Descriptor, structure: Structure, active: int, limits: tuple[int, int]
    ) -> bool:
        """The first packet of a frame that comes decides."""
        newest = self._frames is None
        if self._frames is None:
            self._frames = _Numbers.after(self._sent.frame_number, descriptor.number)
        number = self._frames.extended(descriptor.number, 16)
        if number in self._fates:
            return self._fates[number]
        if newest or number > self._frames.newest:
            self._frames.newest = number
            if descriptor.attached is not None:
                self._target = None
            wanted = _wanted_target(structure, active, limits)
            if wanted is not None and self._may_turn(descriptor, structure, number, wanted):
                self._target, self._top = wanted, structure.targets[wanted][0]
        indications = descriptor.frame.indications
        self._fates[number] = (
            self._target is not None
            and self._target < len(structure.targets)
            and indications[self._target] != Indication.NOT_PRESENT
        )
        return self._fates[number]

    def _may_turn(
        self, descriptor: Descriptor, structure: Structure, number: int, wanted: int
    ) -> bool:
        frame, present = descriptor.frame, self._target
        if frame.indications[wanted] == Indication.NOT_PRESENT:
            return False
        if present is None:
            return True
        if all(
            each.indications[present] or not each.indications[wanted]
            for each in structure.templates
        ):
            return True  # it needs nothing that the present one does not
        # A.7: "beginning with a decodable frame containing a Switch indication".
        return (
            frame.indications[wanted] == Indication.SWITCH
            and len(frame.references) <= MAX_REFERENCES
            and all(
                back < MEMORY_FRAMES and self._fates.get(number - back, False)
                for back in frame.references
            )
        )

    # ---- with what numbers

    def _rewritten(
        self, seen: Seen, sequence: int, picture_id: int | None, timestamp: int
    ) -> Packet:
        packet, sent = seen.packet, self._sent
        new_sequence = sequence + self._sequences.offset
        new_sequence -= sum(each < sequence for each in self._left_out)
        newest = sent.sequence is None or new_sequence > sent.sequence
        if newest:
            sent.sequence, sent.timestamp = new_sequence, timestamp
        extensions, marker = self._described(seen)
        return replace(
            packet,
            sequence=new_sequence % (1 << 16),
            timestamp=timestamp,
            payload=self._renumbered(seen, sequence, picture_id, newest),
            extensions=extensions,
            marker=marker,
        )

    def _renumbered(self, seen: Seen, sequence: int, picture_id: int | None, newest: bool) -> bytes:
        """The payload with VP8's numbers as they go on."""
        picture, sent = seen.picture, self._sent
        if picture is None:
            return seen.packet.payload
        if picture_id is not None and self._pictures is not None:
            picture_id += self._pictures.offset
            picture_id -= sum(first < sequence for first in self._left_out_pictures.values())
            if newest:
                sent.picture_id = picture_id
        tl0 = None
        if picture.tl0picidx is not None:
            if self._tl0 is None:
                self._tl0 = _Numbers.after(self._tl0_before, picture.tl0picidx)
            tl0 = picture.tl0picidx + self._tl0.offset
            if newest:
                sent.tl0picidx = tl0
        return with_numbers(seen.packet.payload, picture, picture_id=picture_id, tl0picidx=tl0)

    def _described(self, seen: Seen) -> tuple[tuple[tuple[int, bytes], ...], bool]:
        """The extensions, and the marker: where the highest layer ends the picture does."""
        descriptor, sent = seen.descriptor, self._sent
        extensions, marker = seen.packet.extensions, seen.packet.marker
        if descriptor is None or seen.structure is None or self._frames is None:
            # A receiver drops what has a descriptor that it does not understand.
            return _with_descriptor(extensions, None), marker
        number = self._frames.extended(descriptor.number, 16) + self._frames.offset
        if sent.frame_number is None or number > sent.frame_number:
            sent.frame_number = number
        ends = descriptor.ends and descriptor.frame.spatial == self._top
        return _with_descriptor(extensions, number), marker or ends


def _wanted_target(structure: Structure, active: int, limits: tuple[int, int]) -> int | None:
    """What shows most within the limits, or else the least of all; None if nothing is sent."""
    spatial, temporal = (limit if limit < NO_LIMIT else 64 for limit in limits)
    sent = [target for target in range(len(structure.targets)) if active >> target & 1]
    within = [
        target
        for target in sent
        if structure.targets[target][0] <= spatial and structure.targets[target][1] <= temporal
    ]
    if within:
        return max(within, key=lambda target: structure.targets[target])
    return min(sent, key=lambda target: structure.targets[target], default=None)


def _with_descriptor(
    extensions: tuple[tuple[int, bytes], ...], number: int | None
) -> tuple[tuple[int, bytes], ...]:
    """With another frame number in the first dependency descriptor, and without any other.

    Without any at all where the number is None.
    """
    others = [each for each in extensions if each[0] != _DESCRIPTOR]
    if number is None or len(others) == len(extensions):
        return tuple(others)
    at = next(at for at, (each, _) in enumerate(extensions) if each == _DESCRIPTOR)
    return (*others[:at], (_DESCRIPTOR, with_number(extensions[at][1], number)), *others[at:])
