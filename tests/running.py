"""`octomesh …` as an operator runs it: a process, what it says, and the processes it starts."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import trio

PROGRAM = Path(__file__).resolve().parent.parent / "octomesh.py"
POLL_S = 0.05


class Running:
    """One run, and every child that it was seen to have."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.output = ""
        self.family: dict[int, psutil.Process] = {}
        self._read_all = trio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.output += data.decode()
        self._read_all.set()

    async def until_says(self, words: str) -> None:
        while words not in self.output:
            assert self.process.returncode is None, self.output
            self.children()
            await trio.sleep(POLL_S)

    def children(self) -> list[psutil.Process]:
        living = psutil.Process(self.process.pid).children()
        self.family |= {child.pid: child for child in living}
        return living

    async def child(self, word: str) -> psutil.Process:
        """Its child that has this word among its arguments, as soon as there is one."""
        while True:
            for child in self.children():
                try:
                    if word in child.cmdline():
                        return child
                except psutil.Error:
                    continue
            await trio.sleep(POLL_S)

    def survivors(self) -> list[psutil.Process]:
        return [child for child in self.family.values() if child.is_running()]

    async def ended(self, *, within_s: float) -> int:
        """Its exit code, when it has exited and all that it said is in `output`."""
        with trio.fail_after(within_s):
            code = await self.process.wait()
            await self._read_all.wait()
        return code

    async def stop(self) -> None:
        """By force, if it must be."""
        self.process.terminate()
        with trio.move_on_after(10, shield=True) as waiting:
            await self.process.wait()
        if waiting.cancelled_caught:
            self.process.kill()


async def open_program(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> trio.Process:
    """`octomesh` with these arguments, and all it says in one pipe; to be stopped by the caller."""
    return await trio.lowlevel.open_process(
        [sys.executable, PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )


@asynccontextmanager
async def running(
    nursery: trio.Nursery, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """The same, read all the while, and stopped at the end."""
    started = Running(await open_program(*arguments, environment=environment))
    nursery.start_soon(started.read)
    try:
        yield started
    finally:
        await started.stop()
