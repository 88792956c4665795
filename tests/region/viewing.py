"""Cameras whose packets come in batches, and viewers who see in what messages they leave."""

import itertools
from collections.abc import Iterable, Sequence
from random import Random

from region.kernel import reference, reference_egress
from tests.region.rig import BATCH, Peer, Rig, unprotect
from tests.region.tcp_rig import TcpPeer
from tests.region.together import MOST_BYTES, MOST_SEGMENTS, next_message, receive_whole
from tests.strategies import vp8
from tests.strategies.rtp import rtp

VP8, VP8_RTX = 96, 97
SSRC, SLOT, SLOT_RTX, SOURCE = 0x1100, 0x2200, 0x3300, 0x4400
"""Of the first camera; the next ones' follow."""
TYPES = {VP8: VP8, VP8_RTX: VP8_RTX}
HEADER_BYTES = 16
"""With the source's CSRC."""
TAG_BYTES = 16


class Camera:
    """A client that sends one stream of pictures."""

    def __init__(self, rig: Rig, index: int = 0, *, sequence: int = 0, picture_id: int = 0) -> None:
        self.peer = rig.peer(payload_types=TYPES)
        self.index = index
        self.stream = rig.pump.add_stream(
            self.peer.transport, SSRC + index, video=True, clock_rate=90_000, csrc=SOURCE + index
        )
        self.model = reference_egress.Stream()
        self._sequences = itertools.count(sequence)
        self._picture_ids = itertools.count(picture_id)
        self._random = Random(index)
        self._begun = False

    def frame(
        self, sizes: Sequence[int], paddings: Iterable[int] = (), keyframe: bool = False
    ) -> list[bytes]:
        """Packets with payloads of these sizes, with their padding; the first frame is key."""
        picture_id = next(self._picture_ids)
        keyframe, self._begun = keyframe or not self._begun, True
        made = []
        for at, (size, padding) in enumerate(
            itertools.zip_longest(sizes, paddings, fillvalue=0), 1
        ):
            head = vp8.descriptor(begins=at == 1, picture_id=picture_id) + bytes([not keyframe])
            filler = self._random.randbytes(max(size - padding - len(head), 0))
            made.append(
                rtp(
                    sequence=next(self._sequences),
                    timestamp=picture_id * 3_000,
                    ssrc=SSRC + self.index,
                    payload_type=VP8,
                    payload=head + filler,
                    marker=at == len(sizes),
                    padding=padding,
                )
            )
        return made


class Viewer:
    """Who gets the pictures of some cameras, and what the reference says that they are."""

    def __init__(
        self, rig: Rig, peer: Peer | TcpPeer, cameras: Iterable[Camera], trunk: bool = False
    ) -> None:
        self.peer = peer
        self.slots: list[int] = []
        self._trunk = trunk
        self._models: list[tuple[Camera, reference_egress.Egress]] = []
        for camera in cameras:
            slot = rig.pump.add_egress(
                peer.transport,
                SLOT + camera.index,
                video=True,
                trunk=trunk,
                rtx_ssrc=SLOT_RTX + camera.index,
                numbered=True,
            )
            rig.pump.set_source(slot, camera.stream)
            model = reference_egress.Egress(video=True)
            model.set_source(camera.model)
            self._models.append((camera, model))
            self.slots.append(slot)

    def expected(self, seen: Iterable[tuple[Camera, reference_egress.Seen]]) -> list[bytes]:
        """What leaves for these packets."""
        left = []
        for (camera, packet), (carried, model) in itertools.product(seen, self._models):
            if camera is not carried:
                continue
            passed = model.forward(camera.model, packet, joined_timestamp=lambda: 0)
            if passed is not None:
                left.append(
                    reference.build(
                        passed,
                        payload_type=passed.payload_type,
                        sequence=passed.sequence,
                        timestamp=passed.timestamp,
                        ssrc=SLOT + camera.index,
                        csrc=None if self._trunk else SOURCE + camera.index,
                        extension_ids={},
                    )
                )
        return left

    def received(self, packets: int) -> list[list[bytes]]:
        """So many, decrypted, in the messages in which they came."""
        if isinstance(self.peer, TcpPeer):
            return [[self.peer.receive_media()] for _ in range(packets)]
        messages: list[list[bytes]] = []
        while packets > 0:
            wires = next_message(self.peer.socket)
            assert_one_message(wires)
            messages.append([unprotect(self.peer.inbound, wire) for wire in wires])
            packets -= len(wires)
        assert packets == 0
        return messages


def assert_one_message(wires: Sequence[bytes]) -> None:
    *others, last = map(len, wires)
    assert all(size == others[0] >= last for size in others)
    assert sum(others) + last <= MOST_BYTES
    assert len(wires) <= MOST_SEGMENTS


def arrive(rig: Rig, packets: Iterable[tuple[Camera, bytes]]) -> None:
    """All at once, and no more than the pump can keep up with."""
    given = list(packets)
    assert len(given) <= 2 * BATCH
    with rig.holding():
        for camera, packet in given:
            camera.peer.send(packet)


def seen(batch: Iterable[tuple[Camera, bytes]]) -> list[tuple[Camera, reference_egress.Seen]]:
    """What the reference reads in them, in the order of arrival."""
    return [
        (camera, camera.model.observe(reference.parse_untrusted(packet)))
        for camera, packet in batch
    ]


def whole_viewer(rig: Rig, *cameras: Camera, extensions: dict[int, int] | None = None) -> Viewer:
    peer = rig.peer(payload_types=TYPES, extensions=extensions)
    receive_whole(peer)
    return Viewer(rig, peer, cameras)
