"""What one receiver's slots carry while not all of a picture's encodings come."""

import time
from typing import Any

import pytest

from region.feed import Feed
from region.participant import Slot
from region.viewer import Viewer
from relay.control import Picture
from relay.ids import MediaKind, SourceId, Ssrc, VideoCodec, source_id
from tests.region.forwarding import HEARD, Onlooker
from tests.region.rig import Rig, running
from tests.region.seating import ANNA, CAMERA
from tests.region.test_feed import NOTHING, counted

SLOT = Ssrc(7)
VP8_BPS, THUMBNAIL_PX = 1_500_000, 180


class Room:
    """Bruno looks at Anna in a small tile; of her three encodings only the largest comes."""

    def __init__(self, rig: Rig, *, largest_bps: int) -> None:
        browser, anna = rig.peer(), rig.peer()
        streams = [
            rig.pump.add_stream(anna.transport, ssrc, video=True, clock_rate=90_000, csrc=4)
            for ssrc in (11, 12, 13)
        ]
        egress = rig.pump.add_egress(browser.transport, SLOT, video=True, trunk=False)
        self.slot = Slot(media=MediaKind.VIDEO, index=0, ssrc=SLOT, egress=egress, numbered=True)
        bruno: Any = Onlooker(browser.transport, (self.slot,))
        self.viewer = Viewer(bruno, rig.pump)
        self.now_s = time.monotonic()
        source = source_id(ANNA, CAMERA)
        self.feeds = {source: Feed(source, streams)}
        self.viewer.see({self.slot: source}, (Picture(source=source, height_px=THUMBNAIL_PX),))
        for elapsed_s in (0, 1):
            self.now_s += elapsed_s
            third = 100 + elapsed_s * largest_bps // 8 // 3
            largest = counted(third, third, third, last_packet_s=self.now_s)
            self.feeds[source].look([NOTHING, NOTHING, largest], self.now_s)

    def shown(self) -> tuple[SourceId, int] | None:
        """The encoding that its slot shall carry."""
        self.viewer.share_out(self.feeds, VideoCodec.VP8, 0, self.now_s, small=False)
        self.viewer.carry_pictures(self.feeds)
        return self.viewer.in_slot(self.slot)


@pytest.mark.parametrize(
    ("largest_bps", "is_heard", "encoding"),
    [(VP8_BPS, True, 0), (VP8_BPS, False, 2), (VP8_BPS // 4, True, 2)],
    ids=["a path that cannot carry it", "a path of which nothing is known", "a path that can"],
)
def test_a_larger_picture_stands_in_unless_the_path_is_known_not_to_carry_it(
    largest_bps: int, is_heard: bool, encoding: int
) -> None:
    with running() as rig:
        room = Room(rig, largest_bps=largest_bps)
        if is_heard:
            room.viewer.downlink.on_report(HEARD, room.now_s)
        assert room.shown() == (source_id(ANNA, CAMERA), encoding)
