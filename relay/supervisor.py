"""Several processes as one: started in order, awaited until healthy, started again, stopped.

Knows of a process only its command, its log and where its health is told. A process that dies
while all are starting ends the start; one that dies later is started again after a pause, and
given up when it keeps failing. One that does not answer any more is killed, which comes to the
same; one that answers that it is not healthy is left alone: it may wait for another.
"""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import trio

from relay.child import Child, fate, stop_all
from relay.errors import SettingsError

START_S = 60.0
"""How long all may take until they are ready; a slow machine needs 10."""
POLL_S = 0.05
WATCH_S = 1.0
"""Between two looks at a process that runs."""
SILENCE_S = 10.0
"""A process that has not answered for so long will not again."""
RESTART_PAUSES_S = (0.5, 1.0)
"""Before the first and the second start anew; whoever fails again is given up."""
SETTLED_S = 30.0
"""Who lived this long failed for a new reason: the count of failures begins anew."""
STOP_GRACE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process to be kept."""

    name: str
    command: Sequence[str]
    environment: Callable[[], Mapping[str, str]]
    """Asked at each start: it may hold a secret that is good for one start."""
    log: Path | None
    """Where what it writes is kept; None: it goes where the supervisor's own does."""
    health_url: str
    """Answers 200 when the process does its work."""
    essential: bool
    """Whether all is over when this one is given up."""

    @property
    def where_it_tells(self) -> str:
        """Where to read more, for the end of a line about it."""
        return "(see above)" if self.log is None else f"({self.log})"


class Supervisor:
    """Owns its processes: whoever makes one awaits `stop`, whatever has happened."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` gets a line for the operator when something happens to a process."""
        self._say = say
        self._runs: dict[str, tuple[Process, Child]] = {}
        self._given_up: set[str] = set()

    async def launch(self, processes: Sequence[Process]) -> None:
        """Start these side by side; returns when all answer, healthy or not; raises as `until`."""
        for process in processes:
            self._run(process)
        await self._until_each(processes, lambda _: True)

    async def start(self, processes: Sequence[Process]) -> None:
        """Launch these; returns when all are healthy, raises as `until` does."""
        await self.launch(processes)
        await self._until_each(processes, lambda answer: answer.is_success)

    async def until(self, ask: Callable[[], Awaitable[str | None]]) -> None:
        """Ask for what is missing until that is None.

        SettingsError, with what is missing or the last words of the process that died.
        """
        missing: str | None = "nothing was asked"
        with trio.move_on_after(START_S):
            while missing := await ask():
                self._raise_if_one_died()
                await trio.sleep(POLL_S)
        if missing:
            raise SettingsError(f"not ready within {START_S:.0f} s: {missing}")

    async def keep(self) -> None:
        """Start again what dies, until cancelled; SettingsError when an essential is given up."""
        async with (
            httpx.AsyncClient(trust_env=False, timeout=2.0) as client,
            trio.open_nursery() as nursery,
        ):
            for process, _ in self._runs.values():
                nursery.start_soon(self._keep, process, client)

    async def stop(self) -> None:
        """Stop every process, by force after a grace; not to be cancelled."""
        await stop_all([child for _, child in self._runs.values()], grace_s=STOP_GRACE_S)

    async def _until_each(
        self, processes: Sequence[Process], suffices: Callable[[httpx.Response], bool]
    ) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
            for process in processes:

                async def ask(process: Process = process) -> str | None:
                    try:
                        answer = await client.get(process.health_url)
                    except httpx.TransportError:
                        return f"{process.name} does not answer"
                    return None if suffices(answer) else f"{process.name} is not healthy"

                await self.until(ask)

    def _run(self, process: Process) -> None:
        try:
            child = Child(
                process.name, process.command, log=process.log, environment=process.environment()
            )
        except OSError as error:
            raise SettingsError(f"{process.name} cannot be started: {error}") from None
        self._runs[process.name] = (process, child)

    def _raise_if_one_died(self) -> None:
        for process, child in self._runs.values():
            if (code := child.code) is not None:
                words = child.last_words().removeprefix("octomesh: ")
                if process.log is not None:
                    words = f": {words or 'without a word'}"
                raise SettingsError(f"{process.name} {fate(code)}{words} {process.where_it_tells}")

    async def _keep(self, process: Process, client: httpx.AsyncClient) -> None:
        failures = 0
        allowed_s = SILENCE_S  # it has been ready
        started_at_s = trio.current_time()
        while True:
            _, child = self._runs[process.name]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, process, child, client, allowed_s)
                code = await child.wait()
                nursery.cancel_scope.cancel()
            child.close()
            lived_s = trio.current_time() - started_at_s
            failures = 1 if lived_s >= SETTLED_S else failures + 1
            death = f"{process.name} {fate(code)}"
            if failures > len(RESTART_PAUSES_S):
                words = f": {child.last_words()}".removesuffix(": ")
                self._give_up(process, f"{death}, {failures} times in a row{words}")
                return
            pause_s = RESTART_PAUSES_S[failures - 1]
            self._say(f"{death}; starting it again in {pause_s} s")
            await trio.sleep(pause_s)
            self._run(process)
            started_at_s, allowed_s = trio.current_time(), START_S

    async def _watch(
        self, process: Process, child: Child, client: httpx.AsyncClient, allowed_s: float
    ) -> None:
        """Kill it when it has been silent for `allowed_s`; after its first answer, `SILENCE_S`."""
        silent_since_s = trio.current_time()
        while True:
            await trio.sleep(WATCH_S)
            asked_at_s = trio.current_time()
            try:
                await client.get(process.health_url)
            except httpx.TransportError:
                silent_s = trio.current_time() - silent_since_s
                if silent_s < allowed_s:
                    continue
                self._say(f"{process.name} has not answered for {silent_s:.0f} s; killing it")
                child.send(signal.SIGKILL)
                return
            # When it was asked: had we been held up ourselves, that would be no silence of its.
            silent_since_s, allowed_s = asked_at_s, SILENCE_S

    def _give_up(self, process: Process, why: str) -> None:
        self._given_up.add(process.name)
        if process.essential or len(self._given_up) == len(self._runs):
            raise SettingsError(f"{why} {process.where_it_tells}")
        self._say(f"{why}; given up, the others go on {process.where_it_tells}")
