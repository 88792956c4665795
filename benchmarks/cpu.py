"""What processes use, by the scheduler's account and the system's, and on which cores they run."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click

PUMP_NAME = "run from region"
"""As trio names the thread that `Pump.run` has, as far as the system keeps names."""


class Thread(NamedTuple):
    """One of a process's."""

    number: int
    """The first one's is the process's."""
    name: str
    used_ns: int
    """CPU."""

    @property
    def is_pump(self) -> bool:
        """Whether it moves a bridge's packets."""
        return self.name.startswith(PUMP_NAME)


def threads(pid: int) -> Iterator[Thread]:
    """Those that it has now."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            used = int((task / "schedstat").read_text().split()[0])
            yield Thread(int(task.name), (task / "comm").read_text(), used)


def cpu_ns(pid: int) -> int:
    """CPU that all its threads have used."""
    return sum(thread.used_ns for thread in threads(pid))


def pump_ns(pid: int) -> int:
    """CPU that the packet pump of a bridge of ours has used; 0 of other processes."""
    return sum(thread.used_ns for thread in threads(pid) if thread.is_pump)


def waited_s(pid: int) -> float:
    """How long its threads have wanted a core and had none, all together."""
    waited_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended just now
            waited_ns += int((task / "schedstat").read_text().split()[1])
    return waited_ns / 1e9


def resident_bytes(pid: int) -> int:
    """Its memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def pin(pids: Iterable[int], cores: Iterable[int]) -> None:
    """All their threads run on these cores from now on, and those that they start."""
    allowed = set(cores)
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Who has which."""

    bridge: int
    load: Sequence[int]
    """The load's and the focus's."""


@contextlib.contextmanager
def divided() -> Iterator[Cores]:
    """Until the context ends this thread, and whatever it starts, leaves one core to bridges.

    click.ClickException where there is one core only.
    """
    all_of_them = os.sched_getaffinity(0)
    if len(all_of_them) < 2:
        raise click.ClickException("a bridge and its load need a core each: there is one only")
    bridge, *load = sorted(all_of_them)
    os.sched_setaffinity(0, load)
    try:
        yield Cores(bridge=bridge, load=load)
    finally:
        os.sched_setaffinity(0, all_of_them)
