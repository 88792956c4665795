"""Bridges that the load generator can drive: what each has to offer to be compared with others.

`benchmarks.load.connection` has what all of them share: ICE, DTLS and SRTP. An adapter knows how
its servers are started and how clients speak to them: `octomesh.py`, `janus.py`,
`mediasoup.py`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from benchmarks.load.description import Wish
from benchmarks.load.traffic import Traffic
from relay.ids import SourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a bridge's processes run: on loopback, or in a network namespace with a link to us."""

    prefix: tuple[str, ...] = ()
    """Before a command, so that it runs there and as the very process that was started."""
    address: str = "127.0.0.1"
    """Where what listens there is reached."""
    local_address: str = "127.0.0.1"
    """By which address of ours clients reach it."""


LOOPBACK = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The camera of a member, as somebody watches it."""

    member: int
    """`Member.id`."""
    layer: int
    """Its encoding, from 0 for the lowest; a bridge may send a lower one where it is not sent."""


class Member(Protocol):
    """Somebody in a room, with what engine and others know them by."""

    @property
    def id(self) -> int:
        """By which others name it in `Picture.member`; unique in its room."""

    @property
    def clients(self) -> Sequence[int]:
        """Handles of its connections (`Traffic.add`); what it receives comes on these."""

    @property
    def senders(self) -> Mapping[SourceKind, Sequence[int]]:
        """Handles of what it sends (`Traffic.add`), the lowest encoding first."""

    async def watch(self, pictures: Sequence[Picture]) -> None:
        """Get these cameras from now on and no others, at most as many as it wished for slots.

        Returns when the bridge has been told. Voices come whoever is watched: of everybody, of the
        loudest, or at least of those who are watched, as the bridge does it.
        """


class Bridge(Protocol):
    """Servers that run, until the context that started them ends."""

    @property
    def pids(self) -> Sequence[int]:
        """The processes that move media, whose CPU and memory are counted, with all threads."""

    async def join(
        self,
        traffic: Traffic,
        room: str,
        name: str,
        wish: Wish,
        *,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Enter the room, made if it is new, and stay until cancelled; started when connected.

        Gives its connections to `traffic`, and takes them away and closes them at its end. What it
        sends is inactive, and silent, until somebody gives it a script.
        RemoteProtocolError, in words for a person, when the bridge does not take it or lets it go.
        """


class Peer(Protocol):
    """A kind of bridge, and a way to set it up."""

    @property
    def name(self) -> str:
        """For tables, such as `Janus, event_loops = 1`."""

    def start(self, directory: Path, place: Place = LOOPBACK) -> AbstractContextManager[Bridge]:
        """Start it there, with its files in `directory`; entered when it is ready.

        click.ClickException, with what its log says, when it does not start.
        """
