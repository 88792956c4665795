"""People without browsers, on aiortc, beside those who have one: many fit on one machine.

They live in a thread with a trio of its own, because Playwright's loop runs in the test's.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pytest
import trio
from trio_websocket import open_websocket_url

from relay.ids import Region
from tests.e2e.mesh import Mesh
from tests.interop.mesh import LOOPBACK, Signalling, until_true
from tests.interop.stack import Looks, Loop, Stack, asyncio_loop, through
from tests.interop.standing import standing
from tests.patience import patient_s

T = TypeVar("T")

CONNECTS_WITHIN_S = patient_s(20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of the crowd, in a meeting."""

    name: str
    stack: Stack
    signalling: Signalling
    _leave: trio.Event = field(default_factory=trio.Event)
    _left: trio.Event = field(default_factory=trio.Event)


class Crowd:
    """Lets people of aiortc join and leave one mesh; called from the test's thread."""

    def __init__(self, mesh: Mesh, loop: Loop, nursery: trio.Nursery) -> None:
        self._mesh = mesh
        self._loop = loop
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()

    def join(
        self, name: str, looks: Looks, *, room: str, region: Region, slots: tuple[int, int] = (0, 0)
    ) -> Person:
        """Until they are connected; `slots` for voices and for pictures."""
        (person,) = self.join_all({name: (looks, region)}, room=room, slots=slots)
        return person

    def join_all(
        self,
        people: Mapping[str, tuple[Looks, Region]],
        *,
        room: str,
        slots: tuple[int, int] = (0, 0),
    ) -> list[Person]:
        """The same for several at once."""
        joined: dict[str, Person] = {}

        async def join(name: str, looks: Looks, region: Region) -> None:
            attend = partial(self._attend, name, looks, room=room, region=region, slots=slots)
            joined[name] = await self._nursery.start(attend)

        async def join_each() -> None:
            async with trio.open_nursery() as nursery:
                for name, (looks, region) in people.items():
                    nursery.start_soon(join, name, looks, region)

        self._call(join_each)
        return [joined[name] for name in people]

    def leave(self, person: Person) -> None:
        """Until they are gone."""

        async def leave() -> None:
            person._leave.set()
            await person._left.wait()

        self._call(leave)

    def say(self, person: Person, **message: Any) -> None:
        """A signalling message of theirs."""
        self._call(lambda: person.signalling.say(**message))

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        return trio.from_thread.run(function, trio_token=self._token)

    async def _attend(
        self,
        name: str,
        looks: Looks,
        *,
        room: str,
        region: Region,
        slots: tuple[int, int],
        task_status: trio.TaskStatus[Person],
    ) -> None:
        audio_slots, video_slots = slots

        async def make() -> Stack:
            return Stack(looks, audio_slots=audio_slots, video_slots=video_slots, srtp_profile=None)

        settings = self._mesh.settings
        media_port = settings.media_port + 10 * settings.regions.index(region)
        tls = ssl.create_default_context(cafile=str(self._mesh.certificate))
        url = f"{settings.url.replace('https', 'wss')}/api/signal"
        stack = await self._loop.call(make)
        person: Person | None = None
        try:
            async with (
                open_websocket_url(url, ssl_context=tls, disconnect_timeout=1) as socket,
                trio.open_nursery() as nursery,
            ):
                signalling = Signalling(socket)
                person = Person(name=name, stack=stack, signalling=signalling)
                await signalling.say(type="join", room=room, name=name, region=region)
                sdp, mids = await self._loop.call(stack.offer)
                await signalling.say(type="offer", attempt=0, sdp=sdp, sources=mids)
                answer = (await signalling.hear("answer"))["sdp"]
                bridge = ("127.0.0.1", media_port)
                await self._loop.call(partial(stack.accept, through(answer, bridge)))
                nursery.start_soon(signalling.keep_hearing)
                await until_true(lambda: stack.state == "connected", within_s=CONNECTS_WITHIN_S)
                task_status.started(person)
                await person._leave.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(5, shield=True):
                await self._loop.call(stack.close)
            if person is not None:
                person._left.set()


@asynccontextmanager
async def _gathering(mesh: Mesh) -> AsyncIterator[Crowd]:
    with asyncio_loop() as loop:
        async with trio.open_nursery() as nursery:
            yield Crowd(mesh, loop, nursery)
            nursery.cancel_scope.cancel()


@contextmanager
def gathering(mesh: Mesh) -> Iterator[Crowd]:
    """A crowd of nobody yet; in the end all leave."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        # aioice leaves out the loopback interface, which is the only one that every machine has.
        monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: list(LOOPBACK))
        with standing(lambda: _gathering(mesh)) as crowd:
            yield crowd
