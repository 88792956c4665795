"""A child process that dies with its parent, and can be awaited in trio.

Knows nothing of what the child does; who starts it decides about starting it again.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import trio

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 16_384
_QUIET = re.compile(r'^\{.*"level": "(?:debug|info)"')
"""A line of `relay.logs` that tells of no trouble."""


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process with SIGKILL when its parent, `parent_pid`, is gone.

    prctl(2): PR_SET_PDEATHSIG watches the parent's *thread*, so the parent starts its children
    from its main thread. Exits at once when the parent has gone before we asked.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:
        sys.exit(1)


class Child:
    """One run of one command; to be made in the main thread, and stopped by `stop_all`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path | None,
        environment: Mapping[str, str],
    ) -> None:
        """Start it; what it writes is appended to `log`, or with None goes where ours does.

        OSError when it cannot be started.
        """
        self.name = name
        self.log = log
        with ExitStack() as stack:
            output = None if log is None else stack.enter_context(log.open("ab"))
            self._log_start = 0 if output is None else output.tell()
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we stop it.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Until it has exited: its exit code, or minus the signal that killed it."""
        while (code := self.code) is None:
            await trio.lowlevel.wait_readable(self._pidfd)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has exited."""
        if self.code is None:
            self._process.send_signal(number)

    def close(self) -> None:
        """Release what watching it took, once it has exited."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def last_words(self) -> str:
        """The last line of this run's log that tells of trouble, or ''.

        Without a traceback's ornaments; log lines below the level of a warning do not count.
        """
        if self.log is None:
            return ""
        with self.log.open("rb") as written:
            written.seek(0, os.SEEK_END)
            written.seek(max(self._log_start, written.tell() - _TAIL_BYTES))
            lines = written.read().decode(errors="replace").splitlines()
        for line in reversed(lines):
            words = line.strip(" \t|+-")
            if words and not _QUIET.search(words):
                return words
        return ""


def fate(code: int) -> str:
    """An exit code as `Child.wait` gives it, in words."""
    if code >= 0:
        return f"exited with {code}"
    return f"was killed by {signal.Signals(-code).name}"


async def stop_all(children: Iterable[Child], *, grace_s: float) -> None:
    """SIGTERM to all, SIGKILL to those that are still there after `grace_s` seconds.

    Shielded from cancellation: returns when every one has exited.
    """
    remaining = list(children)
    for child in remaining:
        child.send(signal.SIGTERM)
    with trio.move_on_after(grace_s, shield=True):
        for child in remaining:
            await child.wait()
    for child in remaining:
        child.send(signal.SIGKILL)
    # What has got SIGKILL is gone in milliseconds, unless it is stuck in the kernel.
    with trio.move_on_after(1.0, shield=True):
        for child in remaining:
            await child.wait()
    for child in remaining:
        child.close()
