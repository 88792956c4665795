"""What processes use, by the scheduler's account and the system's."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """CPU that all its threads have used."""
    used = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended just now
            used += int((task / "schedstat").read_text().split()[0])
    return used


def waited_s(pid: int) -> float:
    """How long its threads have wanted a core and had none, all together."""
    waited_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended just now
            waited_ns += int((task / "schedstat").read_text().split()[1])
    return waited_ns / 1e9


def main_thread_ns(pid: int) -> int:
    """CPU of its first thread alone: in a bridge that is Python's."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def resident_bytes(pid: int) -> int:
    """Its memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def pin(pids: Iterable[int], cores: Sequence[int]) -> None:
    """All their threads run on these cores from now on, and those that they start."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cores)
