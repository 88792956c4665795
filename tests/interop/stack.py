"""A participant on aiortc, a WebRTC stack that shares no line with ours but libsrtp's and aioice's.

aiortc is asyncio's: it lives on a loop in a thread of its own, which `Loop` has; signalling
and everything else is on trio. Each participant shows one colour and sounds one tone.
"""

import asyncio
import math
import threading
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import trio
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import SRTP_PROFILES
from av import AudioFrame, VideoFrame

from relay.ids import Region
from tests.interop.mesh import DEADLINE_S, Mesh, Signalling, until_true
from tests.interop.tap import Tap, tapping

T = TypeVar("T")

SAMPLE_RATE = 48_000
FRAME_SAMPLES = 960
FRAMES_PER_S = 25
VIDEO_TICKS_PER_S = 90_000
WIDTH, HEIGHT = 160, 120
STRANGE_KEPT = 4
CHROMA_TOLERANCE = 12
TONE_TOLERANCE_HZ = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """By what a participant is known: U and V of its picture, and its tone."""

    u: int
    v: int
    tone_hz: int


RED = Looks(u=90, v=220, tone_hz=400)
BLUE = Looks(u=220, v=90, tone_hz=1_000)
GREEN = Looks(u=60, v=60, tone_hz=2_000)


class _Picture(MediaStreamTrack):  # type: ignore[misc]  # aiortc has no types
    kind = "video"

    def __init__(self, looks: Looks) -> None:
        super().__init__()
        self._looks = looks
        self._pacing = _Pacing(1 / FRAMES_PER_S)

    async def recv(self) -> VideoFrame:
        number = await self._pacing.next()
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane, value in zip(frame.planes, (120, self._looks.u, self._looks.v), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts = number * (VIDEO_TICKS_PER_S // FRAMES_PER_S)
        frame.time_base = Fraction(1, VIDEO_TICKS_PER_S)
        return frame


class _Tone(MediaStreamTrack):  # type: ignore[misc]
    kind = "audio"

    def __init__(self, looks: Looks) -> None:
        super().__init__()
        # The tones are whole numbers of periods in a frame.
        step = 2 * math.pi * looks.tone_hz / SAMPLE_RATE
        wave = [int(12_000 * math.sin(step * at)) for at in range(FRAME_SAMPLES)]
        self._samples = array("h", wave).tobytes()
        self._silence = bytes(len(self._samples))
        self.silent = False
        self._pacing = _Pacing(FRAME_SAMPLES / SAMPLE_RATE)

    async def recv(self) -> AudioFrame:
        number = await self._pacing.next()
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(self._silence if self.silent else self._samples)
        frame.sample_rate = SAMPLE_RATE
        frame.pts = number * FRAME_SAMPLES
        frame.time_base = Fraction(1, SAMPLE_RATE)
        return frame


class _Pacing:
    """Frames when they are due."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._number = -1
        self._began_s = 0.0

    async def next(self) -> int:
        loop = asyncio.get_running_loop()
        self._number += 1
        if self._number == 0:
            self._began_s = loop.time()
        await asyncio.sleep(self._began_s + self._number * self._interval_s - loop.time())
        return self._number


class Loop:
    """An asyncio loop in a thread, called from trio."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio")
        self._thread.start()

    async def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run it there; cancelled here, it goes on there."""

        def run() -> T:
            return asyncio.run_coroutine_threadsafe(function(), self._loop).result(DEADLINE_S)

        return await trio.to_thread.run_sync(run, abandon_on_cancel=True)

    def close(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self._loop.close()


@contextmanager
def asyncio_loop() -> Iterator[Loop]:
    loop = Loop()
    try:
        yield loop
    finally:
        loop.close()


class Stack:
    """One peer connection and what comes out of it; all of it on the loop's thread."""

    def __init__(
        self, looks: Looks, *, audio_slots: int, video_slots: int, srtp_profile: str | None
    ) -> None:
        self.sees: Counter[Looks] = Counter()
        """Decoded frames, by whose picture is in them."""
        self.hears: Counter[Looks] = Counter()
        self.heights: Counter[int] = Counter()
        """All decoded frames, by their height."""
        self.longest_gap_s = 0.0
        """The longest time between two of them; whoever asks may set it back."""
        self.strange: list[object] = []
        """The latest that was decoded and is nobody's."""
        self._tasks: list[asyncio.Task[None]] = []
        # As balanced, its default, aiortc 1.14 leaves all videos but the first on a dead transport.
        bundled = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self._pc = RTCPeerConnection(bundled)
        self._pc.on("track", self._on_track)
        self._tone = _Tone(looks)
        own = [
            self._pc.addTransceiver(self._tone, direction="sendonly"),
            self._pc.addTransceiver(_Picture(looks), direction="sendonly"),
        ]
        for _ in range(audio_slots):
            self._pc.addTransceiver("audio", direction="recvonly")
        for _ in range(video_slots):
            self._pc.addTransceiver("video", direction="recvonly")
        self._own = own
        if srtp_profile is not None:
            for transceiver in self._pc.getTransceivers():
                transceiver.sender.transport._srtp_profiles = [
                    each for each in SRTP_PROFILES if each.openssl_profile.decode() == srtp_profile
                ]

    @property
    def state(self) -> str:
        return str(self._pc.connectionState)

    @property
    def silent(self) -> bool:
        """Whether it sends silence instead of its tone."""
        return self._tone.silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._tone.silent = silent

    async def offer(self) -> tuple[str, dict[str, str]]:
        """The SDP, and which of its sections are what."""
        await self._pc.setLocalDescription(await self._pc.createOffer())
        kinds = ("microphone", "camera")
        mids = {each.mid: kind for each, kind in zip(self._own, kinds, strict=True)}
        return self._pc.localDescription.sdp, mids

    async def accept(self, answer: str) -> None:
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def lost(self) -> int:
        """Packets that its receivers miss."""
        lost = 0
        for transceiver in self._pc.getTransceivers():
            for stats in (await transceiver.receiver.getStats()).values():
                if stats.type == "inbound-rtp":
                    lost += stats.packetsLost
        return lost

    async def close(self) -> None:
        await self._pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_track(self, track: MediaStreamTrack) -> None:
        watch = self._listen(track) if track.kind == "audio" else self._look(track)
        self._tasks.append(asyncio.ensure_future(watch))

    async def _look(self, track: MediaStreamTrack) -> None:
        clock = asyncio.get_running_loop().time
        before_s: float | None = None

        def whose(frame: VideoFrame) -> Looks | None:
            nonlocal before_s
            now_s = clock()
            self.heights[frame.height] += 1
            self.longest_gap_s = max(self.longest_gap_s, now_s - (before_s or now_s))
            before_s = now_s
            return _whose_picture(frame)

        await self._take(track, self.sees, whose)

    async def _listen(self, track: MediaStreamTrack) -> None:
        await self._take(track, self.hears, _whose_tone)

    async def _take(
        self,
        track: MediaStreamTrack,
        count: Counter[Looks],
        whose: Callable[[Any], Looks | None],
    ) -> None:
        try:
            while True:
                frame = await track.recv()
                found = whose(frame)
                if found is None:
                    self.strange = [*self.strange[-STRANGE_KEPT + 1 :], frame]
                else:
                    count[found] += 1
        except MediaStreamError:
            pass  # It ended.


def _whose_picture(frame: VideoFrame) -> Looks | None:
    u, v = (memoryview(plane)[plane.buffer_size // 2] for plane in frame.planes[1:])
    for looks in (RED, BLUE, GREEN):
        if abs(u - looks.u) < CHROMA_TOLERANCE and abs(v - looks.v) < CHROMA_TOLERANCE:
            return looks
    return None


def _whose_tone(frame: AudioFrame) -> Looks | None:
    """By how often the left channel passes zero; silence and fragments are nobody's."""
    left = array("h", bytes(frame.planes[0])[: 4 * frame.samples])[::2]
    crossings = sum((before < 0) != (after < 0) for before, after in pairwise(left))
    hertz = crossings * frame.sample_rate / frame.samples / 2
    for looks in (RED, BLUE, GREEN):
        if abs(hertz - looks.tone_hz) < TONE_TOLERANCE_HZ and max(left) > 2_000:
            return looks
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody in a meeting."""

    id: int
    stack: Stack
    tap: Tap
    signalling: Signalling

    async def until_meets(
        self, *everybody: Looks, frames: int = 8, within_s: float = DEADLINE_S
    ) -> None:
        """Until so many more frames and so much more sound of each of them were decoded."""
        sees, hears = self.stack.sees, self.stack.hears
        seen = {each: sees[each] + frames for each in everybody}
        heard = {each: hears[each] + frames for each in everybody}
        await until_true(
            lambda: all(
                sees[each] >= seen[each] and hears[each] >= heard[each] for each in everybody
            ),
            within_s=within_s,
        )

    async def until_hears(self, looks: Looks, frames: int) -> None:
        """The same for the sound alone."""
        heard = self.stack.hears[looks] + frames
        await until_true(lambda: self.stack.hears[looks] >= heard)


Tampering = Callable[[str], str]


@asynccontextmanager
async def participant(
    loop: Loop,
    mesh: Mesh,
    region: Region,
    looks: Looks,
    *,
    room: str,
    host: str = "127.0.0.1",
    audio_slots: int = 2,
    video_slots: int = 2,
    srtp_profile: str | None = None,
    tamper: Tampering = lambda offer: offer,
    connects: bool = True,
) -> AsyncIterator[Participant]:
    """Joins, and leaves in the end; its media passes a tap. `tamper` changes its offer."""

    async def make() -> Stack:
        return Stack(
            looks, audio_slots=audio_slots, video_slots=video_slots, srtp_profile=srtp_profile
        )

    stack = await loop.call(make)
    try:
        async with (
            mesh.websocket("/api/signal") as socket,
            tapping((host, mesh.bridges[region].media_port)) as tap,
            trio.open_nursery() as nursery,
        ):
            signalling = Signalling(socket)
            await signalling.say(type="join", room=room, name="Guest", region=region)
            sdp, mids = await loop.call(stack.offer)
            await signalling.say(type="offer", attempt=0, sdp=tamper(sdp), sources=mids)
            joined = await signalling.hear("joined")
            answer = (await signalling.hear("answer"))["sdp"]
            await loop.call(partial(stack.accept, through(answer, tap.address)))
            nursery.start_soon(signalling.keep_hearing)
            if connects:
                await until_true(lambda: stack.state == "connected")
            yield Participant(id=joined["you"]["id"], stack=stack, tap=tap, signalling=signalling)
            nursery.cancel_scope.cancel()
    finally:
        await loop.call(stack.close)


def through(answer: str, address: tuple[str, int]) -> str:
    """The answer, with that address as the only candidate.

    It stands in each section, not in the bundle's first alone (RFC 9143 §7.1.3), because
    aiortc 1.14 looks into the last one that shares the transport.
    """
    host, port = address
    lines = [line for line in answer.split("\r\n") if "candidate" not in line]
    candidate = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
    head, *sections = "\r\n".join(lines).split("\r\nm=")
    ending = f"\r\n{candidate}\r\na=end-of-candidates"
    return "\r\nm=".join([head, *(section.rstrip() + ending for section in sections)]) + "\r\n"
