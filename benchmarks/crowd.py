"""People in conferences: they talk in turns, show themselves and look at each other.

Not a codec's work but its rates: small packets, RTCP as Chromium sends it (a report for each
stream by itself), and signalling as this project's own client does.
"""

import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any

import pylibsrtp
import trio

from benchmarks.client import AUDIO_LEVEL, OPUS, TRANSPORT_SEQUENCE, VP8, Client, Connection
from benchmarks.ears import Ears, Stream
from benchmarks.feedback import Feedback
from benchmarks.sending import Encoding, Outgoing, Voice
from region.rtcp import (
    Nack,
    Other,
    Pli,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    build_compound,
    parse_compound_untrusted,
)
from relay.errors import MalformedError
from relay.ids import ParticipantId, SourceKind, Ssrc, source_id

LOOK_S = 0.005
"""How often what is due is done."""
VOICE_S = 0.02
FEEDBACK_S = 0.075
VIDEO_REPORT_S, AUDIO_REPORT_S = 1.0, 5.0
NACK_S, PLI_S, LOOK_AROUND_S = 5.0, 20.0, 30.0
"""On average, of each person."""
SETTLE_S = 0.1
"""The client tells no layout that is still moving."""
THIN_SHARE = 0.1
THIN_BPS = 400_000
"""What a tenth of the people have for themselves: about half of what they want to see."""
PICTURE_BYTES = (250, 500, 900)
"""Of each encoding's pictures, one packet each: what counts is how many there are."""
TILE_PX, STAGE_PX, STRIP_PX = 360, 720, 180

Act = Callable[[float], float]
"""Does what is due at a time; in how many seconds the next is."""


class Agenda:
    """What is to be done when."""

    def __init__(self, counted: Counter[str]) -> None:
        self._due: list[tuple[float, int, Act]] = []
        self._numbers = count()
        self._counted = counted

    def add(self, at_s: float, act: Act) -> None:
        heappush(self._due, (at_s, next(self._numbers), act))

    def work(self, now: float) -> None:
        """Do all that is due; what comes late is not made up for."""
        while self._due and self._due[0][0] <= now:
            at_s, _, act = heappop(self._due)
            interval_s = act(now)
            skipped = max(0, int((now - at_s) / interval_s))
            self._counted["done"] += 1
            self._counted["skipped"] += skipped
            self.add(at_s + (1 + skipped) * interval_s, act)


class Person:
    """One client's media and reports; `client` has to be connected."""

    def __init__(
        self,
        client: Client,
        conference: "Conference",
        chance: random.Random,
        counted: Counter[str],
    ) -> None:
        assert client.connection is not None
        assert client.participant is not None
        self.client = client
        self.camera = source_id(ParticipantId(client.participant), SourceKind.CAMERA)
        self._connection: Connection = client.connection
        self._conference = conference
        self._chance = chance
        self._counted = counted
        self._numbers = count(1)
        self.voice = Voice(self._connection.source_ssrcs["microphone"], chance)
        self.encodings = {
            ssrc: Encoding(ssrc, size_bytes, chance)
            for ssrc, size_bytes in zip(self._connection.camera_ssrcs, PICTURE_BYTES, strict=True)
        }
        self._feedback = Feedback(THIN_BPS if chance.random() < THIN_SHARE else None)
        self._streams: list[Stream] = []
        self._reported = count()
        self._stage = chance.random() < 0.5
        """Whether whoever speaks is on its stage, or in one of its tiles."""
        self._page = 0 if chance.random() < 0.7 else chance.randrange(100)
        self._speaker: int | None = None
        self._seats: list[int] = []

    def plan(self, agenda: Agenda, ears: Ears, ear: int, pictures_per_s: float) -> None:
        """Everything that it does, at moments of its own."""

        def regularly(interval_s: float, act: Callable[[float], None]) -> None:
            def again(now: float) -> float:
                act(now)
                return interval_s

            agenda.add(time.monotonic() + self._chance.uniform(0, interval_s), again)

        def at_random(mean_s: float, act: Callable[[float], None]) -> None:
            def again(now: float) -> float:
                act(now)
                return self._chance.uniform(0.2, 1.8) * mean_s

            agenda.add(time.monotonic() + self._chance.uniform(0, 2 * mean_s), again)

        def report_arrivals(now: float) -> None:
            self._streams = ears.streams(ear)
            arrivals = ears.arrivals(ear)
            self._counted["packets heard"] += len(arrivals)
            fci = self._feedback.fci(arrivals, time.time_ns() // 1000)
            if fci is not None:
                body = struct.pack("!II", self.voice.ssrc, 0) + fci
                self._send_rtcp("feedback", Other(packet_type=205, count=15, body=body))

        regularly(VOICE_S, self._talk)
        for encoding in self.encodings.values():
            regularly(1 / pictures_per_s, partial(self._show, encoding))
            regularly(VIDEO_REPORT_S, partial(self._tell, encoding))
        regularly(AUDIO_REPORT_S, partial(self._tell, self.voice))
        regularly(FEEDBACK_S, report_arrivals)
        slots = self.client.wish
        if slots.video_slots:
            regularly(VIDEO_REPORT_S / slots.video_slots, lambda now: self._report(VP8))
        if slots.audio_slots:
            regularly(AUDIO_REPORT_S / slots.audio_slots, lambda now: self._report(OPUS))
        at_random(NACK_S, self._miss)
        at_random(PLI_S, self._lose)
        at_random(LOOK_AROUND_S, lambda now: self._look_around())

    # Media

    def _talk(self, now: float) -> None:
        level = self.voice.due(now)
        if level is not None:
            extension = bytes([AUDIO_LEVEL << 4, (level < 60) << 7 | level])
            self._send(self.voice, now, extension, bytes(80 if self.voice.speaks(now) else 8))

    def _show(self, encoding: Encoding, now: float) -> None:
        self._send(encoding, now, b"", encoding.payload())

    def _send(self, stream: Outgoing, now: float, extension: bytes, payload: bytes) -> None:
        number = next(self._numbers) & 0xFFFF
        extension += struct.pack("!BH", TRANSPORT_SEQUENCE << 4 | 1, number)
        packet = self._connection.outbound.protect(stream.packet(now, extension, payload))
        self._connection.socket.sendto(packet, self._connection.bridge)
        self._counted["packets sent"] += 1

    # RTCP

    def hear_rtcp(self, packet: bytes) -> None:
        """What the bridge says: keyframes that are wanted come with the next pictures."""
        try:
            packets = parse_compound_untrusted(self._connection.inbound.unprotect_rtcp(packet))
        except (pylibsrtp.Error, MalformedError):
            self._counted["not understood"] += 1
            return
        for each in packets:
            if isinstance(each, Pli) and each.media_ssrc in self.encodings:
                self.encodings[each.media_ssrc].keyframe = True
                self._counted["keyframes asked for"] += 1

    def _tell(self, stream: Outgoing, now: float) -> None:
        if stream.packets:
            self._send_rtcp("sender reports", stream.report(now))

    def _of_type(self, payload_type: int) -> list[Stream]:
        return [each for each in self._streams if each.payload_type == payload_type]

    def _report(self, payload_type: int) -> None:
        """Each stream by itself, in turn."""
        streams = self._of_type(payload_type)
        if streams:
            stream = streams[next(self._reported) % len(streams)]
            block = ReportBlock(
                ssrc=Ssrc(stream.ssrc),
                fraction_lost=0,
                packets_lost=0,
                highest_sequence=stream.sequence,
                jitter_ticks=100,
                last_sr=0,
                delay_since_last_sr=0,
            )
            report = ReceiverReport(ssrc=Ssrc(self.voice.ssrc), reports=(block,))
            self._send_rtcp("receiver reports", report)

    def _miss(self, now: float) -> None:
        streams = self._of_type(VP8)
        if streams:
            stream = self._chance.choice(streams)
            missing = (stream.sequence - 3 & 0xFFFF, stream.sequence - 1 & 0xFFFF)
            self._send_rtcp(
                "NACKs",
                Nack(
                    sender_ssrc=Ssrc(self.voice.ssrc),
                    media_ssrc=Ssrc(stream.ssrc),
                    sequences=missing,
                ),
            )

    def _lose(self, now: float) -> None:
        streams = self._of_type(VP8)
        if streams:
            stream = self._chance.choice(streams)
            pli = Pli(sender_ssrc=Ssrc(self.voice.ssrc), media_ssrc=Ssrc(stream.ssrc))
            self._send_rtcp("PLIs", pli)

    def _send_rtcp(self, name: str, packet: RtcpPacket) -> None:
        protected = self._connection.outbound.protect_rtcp(build_compound(packet))
        self._connection.socket.sendto(protected, self._connection.bridge)
        self._counted[name] += 1

    # Signalling

    def hear(self, message: dict[str, Any]) -> None:
        """What the focus says while it is in the conference."""
        if message["type"] == "layers":
            self._counted["layers told"] += 1
        elif message["type"] == "speaker" and message["id"] is not None:
            self._counted["speakers told"] += 1
            self._speaker = source_id(ParticipantId(message["id"]), SourceKind.CAMERA)
            self._conference.later(SETTLE_S, self._follow)

    def _look_around(self) -> None:
        self._page = self._chance.randrange(100)
        self._seats = []
        self._follow()

    def _follow(self) -> None:
        """Say the view, with whoever speaks on the stage or among the tiles."""
        seats = self._seats or self._page_of_others()
        speaker = self._speaker if self._speaker != self.camera else None
        if speaker is not None and speaker not in seats and (self._stage or self._page % 10 == 0):
            seats = [speaker, *seats[:-1]]
        if self._stage and speaker in seats:
            pictures = [{"source": speaker, "height_px": STAGE_PX, "stage": True}]
            pictures += [
                {"source": each, "height_px": STRIP_PX, "stage": False}
                for each in seats
                if each != speaker
            ]
        else:
            pictures = [{"source": each, "height_px": TILE_PX, "stage": False} for each in seats]
        if self._conference.say(self.client, pictures):
            self._counted["views"] += 1
        self._seats = seats

    def _page_of_others(self) -> list[int]:
        others: list[int] = [each.camera for each in self._conference.people if each is not self]
        room = self.client.wish.video_slots
        pages = max(1, -(-len(others) // room))
        first = self._page % pages * room
        return others[first : first + room]


class Conference:
    """People who take turns; `floor` of them speak at a time, and others put in a word."""

    def __init__(self, floor: int, chance: random.Random, nursery: trio.Nursery) -> None:
        self.people: list[Person] = []
        self._floor = floor
        self._chance = chance
        self._nursery = nursery
        self._agenda: Agenda | None = None
        self._said: dict[Client, list[dict[str, Any]]] = {}

    def begin(self, agenda: Agenda) -> None:
        """When all are there."""
        self._agenda = agenda
        now = time.monotonic()
        for number in range(self._floor):
            agenda.add(now + number, self._take_turn)
        agenda.add(now, self._put_in_a_word)
        for person in self.people:
            self.later(self._chance.uniform(0, 2), person._follow)

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        async def run() -> None:
            await trio.sleep(delay_s)
            act()

        self._nursery.start_soon(run)

    def say(self, client: Client, pictures: list[dict[str, Any]]) -> bool:
        """Tell the focus, unless it is what was said before."""
        if self._said.get(client) == pictures:
            return False
        self._said[client] = pictures
        message = {"type": "view", "pictures": pictures, "last_n": None}
        self._nursery.start_soon(client.say, message)
        return True

    def _take_turn(self, now: float) -> float:
        silent = [each for each in self.people if not each.voice.speaks(now)]
        duration_s = self._chance.uniform(2, 12)
        if silent:
            self._chance.choice(silent).voice.speak(now, duration_s)
        return duration_s + self._chance.uniform(-0.3, 0.8)

    def _put_in_a_word(self, now: float) -> float:
        silent = [each for each in self.people if not each.voice.speaks(now)]
        if silent:
            self._chance.choice(silent).voice.speak(now, self._chance.uniform(0.3, 0.9))
        return self._chance.uniform(0.5, 1.5) * 100 / len(self.people)


async def carry_on(
    conferences: Sequence[Conference], pictures_per_s: float, counted: Counter[str]
) -> None:
    """Everybody does what they do, until cancelled."""
    people = [person for conference in conferences for person in conference.people]
    ears = Ears(len(people))
    agenda = Agenda(counted)
    sockets = []
    for ear, person in enumerate(people):
        person.plan(agenda, ears, ear, pictures_per_s)
        assert person.client.connection is not None
        sockets.append(person.client.connection.socket)
    for conference in conferences:
        conference.begin(agenda)
    with ears.listening(sockets):
        while True:
            await trio.sleep(LOOK_S)
            agenda.work(time.monotonic())
            for ear, packet in ears.rtcp():
                people[ear].hear_rtcp(packet)
