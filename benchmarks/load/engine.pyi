"""The engine's types; the code is `engine.pyx`, and what it is made of stands before it."""

from typing import NamedTuple

from benchmarks.load.player import Player

STUN: int
"""A request; answers to our own checks are counted and no more."""
DTLS: int
RTCP: int
"""A compound with something that the engine does not know, decrypted."""

class Datagram(NamedTuple):
    """What the engine hands to Python."""

    kind: int
    client: int
    data: bytes

class Engine(Player):
    """Sends and receives, in a thread that `run` is."""

    def __init__(self, *, sweep_ms: float = 5) -> None:
        """`sweep_ms`: how often it looks at all sockets; delays do not depend on it."""

    @property
    def wake_fd(self) -> int:
        """An eventfd that is readable while `drain` has something."""

    def run(self) -> None:
        """Send and receive until `stop`; never holds the GIL."""

    def stop(self) -> None:
        """Make `run` return soon; may be called from any thread, more than once."""

    @property
    def cpu_s(self) -> float:
        """CPU that the thread has used so far."""

    def drain(self, limit: int = 256) -> list[Datagram]:
        """What has arrived for Python; also clears `wake_fd` when it leaves nothing."""
