"""GStreamer's webrtcbin, a stack with no line of ours or of the others', and aiortc."""

import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from relay.ids import Region
from tests.interop.mesh import DEADLINE_S, FRANKFURT, SINGAPORE, Mesh, Signalling, until_true
from tests.interop.stack import (
    CHROMA_TOLERANCE,
    GREEN,
    RED,
    TONE_TOLERANCE_HZ,
    Looks,
    Loop,
    participant,
)

PEER = Path(__file__).with_name("gstreamer_peer.py")
PYTHON = "/usr/bin/python3"
"""Debian's, which GStreamer's bindings belong to."""
GREEN_ARGB = 0xFF1DDB00
"""`GREEN` as videotestsrc wants it."""
KINDS = ("microphone", "camera")
"""The first sections of its offer; the rest are slots."""
MANY = 40


class Gstreamer:
    """A running peer: what it has decoded."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self.decoded: dict[str, Any] = {}

    async def keep_hearing(self, *, task_status: trio.TaskStatus[str]) -> None:
        """Until the end; starts with its offer."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                assert "failed" not in message, message
                if "offer" in message:
                    task_status.started(message["offer"])
                else:
                    self.decoded = message

    async def answer(self, sdp: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"answer": sdp}).encode() + b"\n")

    async def until_meets(self, looks: Looks, count: int = MANY) -> None:
        """Until so many more pictures and sounds were decoded, and are of that participant."""
        before = self.decoded

        def more(what: str) -> bool:
            return bool(self.decoded.get(what, 0) >= before.get(what, 0) + count)

        await until_true(lambda: more("pictures") and more("sounds"), within_s=20)
        assert abs(self.decoded["u"] - looks.u) < CHROMA_TOLERANCE
        assert abs(self.decoded["v"] - looks.v) < CHROMA_TOLERANCE
        assert abs(self.decoded["hertz"] - looks.tone_hz) < TONE_TOLERANCE_HZ


@asynccontextmanager
async def gstreamer(mesh: Mesh, region: Region, *, room: str) -> AsyncIterator[Gstreamer]:
    """Joins, shows green and sounds its tone, and leaves in the end."""
    process = await trio.lowlevel.open_process(
        [PYTHON, str(PEER), str(GREEN_ARGB), str(GREEN.tone_hz)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    peer = Gstreamer(process)
    try:
        async with mesh.websocket("/api/signal") as socket, trio.open_nursery() as nursery:
            with trio.fail_after(DEADLINE_S):
                offer: str = await nursery.start(peer.keep_hearing)
            signalling = Signalling(socket)
            await signalling.say(type="join", room=room, name="GStreamer", region=region)
            mids = dict(zip(re.findall(r"a=mid:(\S+)", offer), KINDS, strict=False))
            await signalling.say(type="offer", attempt=0, sdp=offer, sources=mids)
            await peer.answer((await signalling.hear("answer"))["sdp"])
            nursery.start_soon(signalling.keep_hearing)
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    asked = subprocess.run([PYTHON, PEER], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        missing = asked.stderr.strip()
        pytest.fail(f"GStreamer lacks {missing}: make test installs it as root", pytrace=False)


async def test_gstreamer_and_aiortc_on_two_bridges_see_and_hear_each_other(
    mesh: Mesh, loop: Loop, room: str
) -> None:
    async with (
        participant(loop, mesh, SINGAPORE, RED, room=room) as anna,
        gstreamer(mesh, FRANKFURT, room=room) as peer,
    ):
        await peer.until_meets(RED)
        await anna.until_meets(GREEN, frames=MANY)
