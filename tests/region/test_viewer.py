"""What one receiver's slots carry while not all of a picture's encodings come."""

import time
from typing import Any

import pytest

from region.feed import Feed
from region.participant import Slot
from region.viewer import Viewer
from relay.control import Picture
from relay.ids import MediaKind, ParticipantId, Ssrc, VideoCodec, source_id
from tests.region.forwarding import HEARD, Onlooker
from tests.region.rig import Rig, running
from tests.region.seating import ANNA, CAMERA, CAROL, DORA
from tests.region.test_feed import NOTHING, counted

SLOT = Ssrc(7)
VP8_BPS, THUMBNAIL_PX = 1_500_000, 180


class Room:
    """Bruno looks at others in small tiles; of their three encodings only the largest come."""

    def __init__(self, rig: Rig, *, largest_bps: int, seen: tuple[ParticipantId, ...]) -> None:
        browser = rig.peer()
        self.slots = {
            source_id(person, CAMERA): Slot(
                media=MediaKind.VIDEO,
                index=index,
                ssrc=Ssrc(SLOT + index),
                egress=rig.pump.add_egress(
                    browser.transport, SLOT + index, video=True, trunk=False
                ),
                numbered=True,
            )
            for index, person in enumerate(seen)
        }
        bruno: Any = Onlooker(browser.transport, tuple(self.slots.values()))
        self.viewer = Viewer(bruno, rig.pump)
        self.now_s = time.monotonic()
        self.feeds = {source: Feed(source, self.new_streams(rig)) for source in self.slots}
        self.viewer.see(
            {slot: source for source, slot in self.slots.items()},
            tuple(Picture(source=source, height_px=THUMBNAIL_PX) for source in self.slots),
        )
        for elapsed_s in (0, 1):
            self.now_s += elapsed_s
            third = 100 + elapsed_s * largest_bps // 8 // 3
            largest = counted(third, third, third, last_packet_s=self.now_s)
            for feed in self.feeds.values():
                feed.look([NOTHING, NOTHING, largest], self.now_s)

    @staticmethod
    def new_streams(rig: Rig) -> list[int]:
        sender = rig.peer()
        return [
            rig.pump.add_stream(sender.transport, ssrc, video=True, clock_rate=90_000, csrc=4)
            for ssrc in (11, 12, 13)
        ]

    def shown(self) -> list[int]:
        """The encodings that its slots shall carry."""
        self.viewer.share_out(self.feeds, VideoCodec.VP8, 0, self.now_s, small=False)
        self.viewer.carry_pictures(self.feeds)
        carried = [self.viewer.in_slot(slot) for slot in self.slots.values()]
        assert [each and each[0] for each in carried] == list(self.slots)
        return [each[1] for each in carried if each]


@pytest.mark.parametrize(
    ("largest_bps", "is_heard", "encoding"),
    [(VP8_BPS, True, 0), (VP8_BPS, False, 2), (VP8_BPS // 4, True, 2)],
    ids=["a path that cannot carry it", "a path of which nothing is known", "a path that can"],
)
def test_a_larger_picture_stands_in_unless_the_path_is_known_not_to_carry_it(
    largest_bps: int, is_heard: bool, encoding: int
) -> None:
    with running() as rig:
        room = Room(rig, largest_bps=largest_bps, seen=(ANNA,))
        if is_heard:
            room.viewer.downlink.on_report(HEARD, room.now_s)
        assert room.shown() == [encoding]


@pytest.mark.parametrize(
    ("largest_bps", "encodings"), [(VP8_BPS // 4, [2, 2]), (VP8_BPS // 2, [2, 0])]
)
def test_of_two_larger_pictures_that_would_stand_in_as_many_do_as_the_path_carries_together(
    largest_bps: int, encodings: list[int]
) -> None:
    with running() as rig:
        room = Room(rig, largest_bps=largest_bps, seen=(ANNA, CAROL))
        room.viewer.downlink.on_report(HEARD, room.now_s)
        assert room.shown() == encodings
        assert room.shown() == encodings


def test_until_the_last_of_several_pictures_has_come_all_before_it_are_wanted() -> None:
    """Whichever of them it is that the slot shows."""
    with running() as rig:
        room = Room(rig, largest_bps=VP8_BPS // 4, seen=(ANNA,))
        (slot,) = room.slots.values()
        others = [source_id(person, CAMERA) for person in (CAROL, DORA)]
        room.feeds |= {each: Feed(each, room.new_streams(rig)) for each in others}
        for source in (*room.slots, *others):
            room.viewer.see({slot: source}, (Picture(source=source, height_px=THUMBNAIL_PX),))
            room.viewer.share_out(room.feeds, VideoCodec.VP8, 0, room.now_s, small=False)
            room.viewer.carry_pictures(room.feeds)
        awaited = {source for source, _ in room.viewer.targets({slot.egress})}
        assert awaited == {*room.slots, *others}
        assert {source for source, _ in room.viewer.targets(set())} == {others[-1]}
        assert {source for source, _ in room.viewer.targets({slot.egress})} == {others[-1]}
