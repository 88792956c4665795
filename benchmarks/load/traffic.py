"""The media of all clients of the process: the engine's thread, and what it leaves to Python."""

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from benchmarks.load.connection import PeerConnection
from relay.ids import SourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A connection whose media the engine moves."""

    client: int
    """Its handle in the engine."""
    senders: Mapping[SourceKind, tuple[int, ...]]
    """Handles of what it sends, the lowest encoding first."""


class Traffic:
    """Who makes it runs it, in a nursery that outlives all connections given to it."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move media until cancelled."""
        raise NotImplementedError

    def add(self, connection: PeerConnection) -> Carried:
        """Move the media of a connection that is connected; also renews its consent."""
        raise NotImplementedError

    def renew(self, client: int) -> None:
        """The connection's description has changed (`PeerConnection.answer`): take its numbers."""
        raise NotImplementedError

    def remove(self, client: int) -> None:
        """Let go of the connection; its socket is the caller's again, to close."""
        raise NotImplementedError
