"""What can be seen of a running mesh from outside: its processes, and what they tell."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.cpu import waited_s
from octomesh_up import UpSettings, processes

ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has at the moment."""

    memory_bytes: int
    """Its own: anonymous memory, without files that are mapped."""
    descriptors: int
    threads: int
    waited_s: float = 0.0
    """What its threads have waited for a core, all together."""

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """As /proc has it."""
        status = Path(f"/proc/{pid}/status").read_text()
        return cls(
            memory_bytes=_status(status, "RssAnon") * 1024,
            descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
            threads=_status(status, "Threads"),
            waited_s=waited_s(pid),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything, as nearly at one time as asking allows."""

    at_s: float
    """`trio.current_time`."""
    usage: Mapping[str, Usage]
    """By process: `focus`, and each bridge's name."""
    told: Mapping[str, Mapping[str, int]]
    """By process, what has no labels, and drops as `dropped_…`; without prefix and suffix."""

    def bridges(self) -> list[Mapping[str, int]]:
        """What each bridge told."""
        return [told for name, told in self.told.items() if name != "focus"]


class Observer:
    """Looks at a mesh that `octomesh_up.run` has started in this process."""

    def __init__(self, settings: UpSettings, client: httpx.AsyncClient) -> None:
        self._client = client
        wanted = {each.name: each for each in processes(settings)}
        self._addresses = {
            name: each.health_url.replace("/healthz", "/metrics") for name, each in wanted.items()
        }
        self.pids = {
            name: pid for name, each in wanted.items() for pid in _children(each.command[3:])
        }
        """Those that ran when this was made, by name."""

    async def look(self) -> Look:
        """httpx.TransportError and FileNotFoundError when a process does not live or answer."""
        # First: what asks for the rest is a connection that closes when it likes.
        usage = {name: Usage.of(pid) for name, pid in self.pids.items()}
        told: dict[str, Mapping[str, int]] = {}

        async def ask(name: str, url: str) -> None:
            answer = await self._client.get(url, timeout=ANSWER_TIMEOUT_S)
            told[name] = _told(answer.raise_for_status().text)

        async with trio.open_nursery() as nursery:
            for name, url in self._addresses.items():
                nursery.start_soon(ask, name, url)
        return Look(
            at_s=trio.current_time(),
            usage=usage,
            told={name: told[name] for name in self._addresses},
        )


def paths_lost(logs: Path) -> int:
    """How often a trunk's path did not answer, as bridges' logs tell."""
    return sum(
        log.read_text(errors="replace").count('"reason": "the path does not answer"')
        for log in logs.glob("*.log")
    )


def troubles(logs: Path) -> list[str]:
    """Lines of the processes' logs that tell of a fault, or are none of the logs' own form."""
    found = []
    for log in sorted(logs.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if not re.match(r'^\{.*"level": "(?:debug|info|warning)"', line) or "Traceback" in line:
                found.append(f"{log.stem}: {line[:300]}")
    return found


def _told(text: str) -> dict[str, int]:
    told: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("octomesh_").removesuffix("_total")
            if name == "dropped":
                told[f"dropped_{sample.labels['reason']}"] = int(sample.value)
            elif name == "focus_participants":
                told[name] = told.get(name, 0) + int(sample.value)
            elif not sample.labels:
                told[name] = int(sample.value)
    return told


def _status(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def _children(arguments: Sequence[str]) -> list[int]:
    """Of this process, with these arguments."""
    wanted = b"\0".join(each.encode() for each in arguments)
    pids = [
        int(pid)
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    return [pid for pid in pids if wanted in Path(f"/proc/{pid}/cmdline").read_bytes()]
