"""Where cases play: a network of their own, bridges in it, and one process's load upon them.

A bridge has a core to itself; the load, and what is beside a bridge, have the others.
"""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import trio

from benchmarks.cpu import cpu_ns, divided, pin
from benchmarks.load.description import Wish
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.peers import LOOPBACK, Bridge, Member, Peer
from benchmarks.peers.janus import Janus
from benchmarks.peers.namespace import ADDRESSES, private_network
from relay.errors import RemoteProtocolError

JOINS_AT_A_TIME = 8
JOIN_ATTEMPTS = 3
"""It is what a bridge does with those who are in that is measured here, and joining elsewhere."""
SETTLE_S = 0.5
"""From the last change until something is measured."""
CALM_LOOK_S, CALM_LOOKS, CALM = 1.0, 15, 0.9
DRAIN_S = 0.2
"""From the last packet until all are through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What happened while a bridge worked for so many seconds."""

    seconds: float
    cpu_ns: int
    """Of all threads of all its processes."""
    by_process_ns: tuple[int, ...]
    """The same, of each of them."""
    packets: int
    """That its receivers got."""
    given_up: int
    """That never came."""

    @property
    def us_per_packet(self) -> float:
        return self.cpu_ns / 1e3 / max(1, self.packets)

    @property
    def packets_per_s(self) -> float:
        return self.packets / self.seconds

    @property
    def cores(self) -> float:
        return self.cpu_ns / 1e9 / self.seconds

    @property
    def lost(self) -> float:
        return max(0, self.given_up) / max(1, self.packets + self.given_up)

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "cpu_ns": self.cpu_ns,
            "by_process_ns": self.by_process_ns,
            "packets": self.packets,
            "given_up": self.given_up,
            "us_per_packet": self.us_per_packet,
        }


@contextlib.contextmanager
def started(peers: Sequence[Peer]) -> Iterator[tuple[Bridge, ...]]:
    """Their servers, all in one network of their own, until the context ends.

    Without root, and without Janus, that is loopback. click.ClickException when it cannot be.
    """
    with contextlib.ExitStack() as until_the_end:
        cores = until_the_end.enter_context(divided())
        directory = Path(
            until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="octomesh-bench-"))
        )
        if os.geteuid() == 0 or any(isinstance(peer, Janus) for peer in peers):
            places = until_the_end.enter_context(private_network())
        else:
            places = (LOOPBACK,) * len(ADDRESSES)
        bridges = []
        for number, (peer, place) in enumerate(zip(peers, places, strict=False)):
            files = directory / str(number)
            files.mkdir()
            bridges.append(until_the_end.enter_context(peer.start(files, place)))
            pin(bridges[-1].pids, [cores.bridge])
        yield tuple(bridges)


@contextlib.asynccontextmanager
async def loaded(manners: Manners | None = None) -> AsyncIterator[tuple[Traffic, trio.Nursery]]:
    """An engine that runs, and a nursery for those whose media it moves."""
    async with trio.open_nursery() as outer:
        traffic = Traffic(manners)
        await outer.start(traffic.run)
        async with trio.open_nursery() as members:
            yield traffic, members
            members.cancel_scope.cancel()
        outer.cancel_scope.cancel()


async def join_all(
    bridge: Bridge,
    traffic: Traffic,
    nursery: trio.Nursery,
    wishes: Iterable[tuple[str, Wish]],
) -> list[Member]:
    """Everybody, each in a room; in their order."""
    wanted = list(wishes)
    members: dict[int, Member] = {}
    limit = trio.CapacityLimiter(JOINS_AT_A_TIME)

    async def join(number: int, room: str, wish: Wish) -> None:
        async with limit:
            for attempt in range(1, JOIN_ATTEMPTS + 1):
                try:
                    members[number] = await nursery.start(
                        bridge.join, traffic, room, f"person {number}", wish
                    )
                except RemoteProtocolError as error:
                    if attempt == JOIN_ATTEMPTS:
                        raise
                    click.echo(f"person {number} of {room} joins again: {error}", err=True)
                else:
                    return

    async with trio.open_nursery() as joining:
        for number, (room, wish) in enumerate(wanted):
            joining.start_soon(join, number, room, wish)
    return [members[number] for number in range(len(wanted))]


async def measured(traffic: Traffic, pids: Sequence[int], seconds: float) -> Span:
    """What the load gets and the processes use from now on."""
    totals, began_s = traffic.engine.totals(), trio.current_time()
    before_ns = [cpu_ns(pid) for pid in pids]
    await trio.sleep(seconds)
    after = traffic.engine.totals()
    used_ns = tuple(cpu_ns(pid) - before for pid, before in zip(pids, before_ns, strict=True))
    return Span(
        seconds=trio.current_time() - began_s,
        cpu_ns=sum(used_ns),
        by_process_ns=used_ns,
        packets=after.packets - totals.packets,
        given_up=after.given_up + after.missing - totals.given_up - totals.missing,
    )


async def calmed(traffic: Traffic, pids: Sequence[int]) -> Span:
    """Wait until what many joins leave behind is done: until a second takes no less than the last.

    The last second; there is an end to waiting.
    """
    span = await measured(traffic, pids, CALM_LOOK_S)
    for _ in range(CALM_LOOKS):
        before, span = span, await measured(traffic, pids, CALM_LOOK_S)
        if span.cores >= CALM * before.cores:
            break
    return span


class Drops(NamedTuple):
    """Datagrams for which sockets in this network had no room, so far."""

    load: int
    """This process's own: lost by the load, not by a bridge."""
    others: int
    """Bridges'."""


def drops() -> Drops:
    """As of now; of sockets that are still open."""
    own = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            target = str(link.readlink())
            if target.startswith("socket:["):
                own.add(target[len("socket:[") : -1])
    load = others = 0
    for family in ("udp", "udp6"):
        with Path(f"/proc/thread-self/net/{family}").open(encoding="ascii") as table:
            next(table)
            # proc(5): …, the 10th is the socket's inode, the last its drops.
            for row in map(str.split, table):
                if row[9] in own:
                    load += int(row[-1])
                else:
                    others += int(row[-1])
    return Drops(load, others)
