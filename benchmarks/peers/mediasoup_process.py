"""mediasoup's worker as a process: how it is started, with the descriptors it wants, and ended.

It knows the command line of the worker of mediasoup 3.12, and of its channel the first message.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from benchmarks.peers import Place
from benchmarks.peers.child import child
from benchmarks.peers.mediasoup_build import VERSION, WORKER
from benchmarks.peers.mediasoup_channel import READ_BYTES, Inbox

READY_TIMEOUT_S = 20.0
LOG_TAIL_CHARACTERS = 4_000

_DESCRIPTORS = 'exec "$@" 3<&0 4>&0 5<&1 6>&1 </dev/null >&2'
"""It reads 3 and 5 and writes 4 and 6: its channel, and one for payloads that nobody uses."""


@contextlib.contextmanager
def worker_process(
    directory: Path, place: Place
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket, Callable[[str], None]]]:
    """The worker, ready, until the context ends; our end of its channel; and what writes its log.

    Its settings are its defaults. click.ClickException, with what its log says, when it does not
    start or has not been built.
    """
    if not WORKER.exists():
        raise click.ClickException(
            "mediasoup's worker is not built: make bench does it, and bench --without mediasoup "
            "does without it"
        )
    with contextlib.ExitStack() as until_the_end:
        log = until_the_end.enter_context((directory / "log").open("w", buffering=1))
        ends = [socket.socketpair() for _ in range(2)]
        for ours, theirs in ends:
            until_the_end.enter_context(ours)
            until_the_end.enter_context(theirs)
        (channel, channel_end), (_, payload_end) = ends
        process = until_the_end.enter_context(
            child(
                place,
                ["sh", "-c", _DESCRIPTORS, "sh", WORKER],
                cwd=directory,
                env={**os.environ, "MEDIASOUP_VERSION": VERSION},
                stdin=channel_end.fileno(),
                stdout=payload_end.fileno(),
                stderr=log,
            )
        )
        channel_end.close()
        payload_end.close()

        def write(line: str) -> None:
            log.write(f"{line}\n")

        if not _is_ready(channel, write):
            said = (directory / "log").read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
            raise click.ClickException(f"mediasoup's worker did not become ready:\n{said}")
        yield process, channel, write


def _is_ready(channel: socket.socket, write: Callable[[str], None]) -> bool:
    """Wait until it says that it runs; what it says before that goes into its log."""
    inbox = Inbox()
    end_s = time.monotonic() + READY_TIMEOUT_S
    with contextlib.suppress(TimeoutError, ConnectionError):
        while (left_s := end_s - time.monotonic()) > 0:
            channel.settimeout(left_s)
            data = channel.recv(READ_BYTES)
            if not data:
                return False
            for text in inbox.receive(data):
                if '"running"' in text:
                    return True
                write(text)
    return False
