"""Processes that are started, awaited, started again and given up."""

import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
import trio

from relay import supervisor
from relay.errors import SettingsError
from relay.supervisor import Process, Supervisor

HEALTHY = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""
DYING = "raise SystemExit('octomesh: I cannot')"


class Stage:
    """A supervisor, what it said, and processes for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.heard = trio.Event()
        self.starts = 0
        self.supervisor = Supervisor(self.say)

    def say(self, line: str) -> None:
        self.said.append(line)
        self.heard.set()
        self.heard = trio.Event()

    async def hear(self, words: str) -> None:
        while not any(words in line for line in self.said):
            await self.heard.wait()

    def process(self, name: str, text: str, *, essential: bool = False) -> Process:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]

        def environment() -> dict[str, str]:
            self.starts += 1
            return {}

        return Process(
            name=name,
            command=[sys.executable, "-c", text, str(port)],
            environment=environment,
            log=self.directory / f"{name}.log",
            health_url=f"http://127.0.0.1:{port}/healthz",
            essential=essential,
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.supervisor.stop()


def children_with(name: str) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and name in "".join(child.cmdline())
    ]


async def test_start_returns_when_all_are_healthy_and_stop_leaves_none(stage: Stage) -> None:
    await stage.supervisor.start(
        [stage.process(name, f"'{name}'{HEALTHY}") for name in ("a1", "b1")]
    )
    assert len(children_with("'a1'")) == len(children_with("'b1'")) == 1
    await stage.supervisor.stop()
    assert children_with("'a1'") + children_with("'b1'") == []


async def test_launch_returns_when_all_answer_whatever_they_say(stage: Stage) -> None:
    process = stage.process("a", HEALTHY.replace("200", "503"))
    await stage.supervisor.launch([process])
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(process.health_url)).status_code == 503


async def test_of_one_that_logs_where_we_do_the_words_are_not_repeated(stage: Stage) -> None:
    process = replace(stage.process("frankfurt", DYING), log=None)
    with pytest.raises(SettingsError, match=r"^frankfurt exited with 1 \(see above\)$"):
        await stage.supervisor.launch([process])


async def test_one_that_dies_at_the_start_ends_it_with_its_last_words(stage: Stage) -> None:
    with pytest.raises(SettingsError, match=r"^frankfurt exited with 1: I cannot \(.*\.log\)$"):
        await stage.supervisor.start(
            [stage.process("focus", HEALTHY), stage.process("frankfurt", DYING)]
        )


async def test_a_command_that_is_not_there_is_the_operators_error(stage: Stage) -> None:
    process = stage.process("frankfurt", "")
    missing = Process(
        name="frankfurt",
        command=["/nowhere/octomesh"],
        environment=dict,
        log=process.log,
        health_url=process.health_url,
        essential=False,
    )
    with pytest.raises(SettingsError, match=r"^frankfurt cannot be started: .*/nowhere/octomesh"):
        await stage.supervisor.start([missing])


async def test_what_never_gets_ready_is_told(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    async def ask() -> str | None:
        return "no trunk from frankfurt to singapore"

    with pytest.raises(SettingsError, match=r"^not ready within 60 s: no trunk from frankfurt"):
        await stage.supervisor.until(ask)


async def test_one_that_is_killed_later_is_started_again(
    stage: Stage, nursery: trio.Nursery
) -> None:
    await stage.supervisor.start([stage.process("a", f"'a2'{HEALTHY}")])
    nursery.start_soon(stage.supervisor.keep)
    (victim,) = children_with("'a2'")
    victim.send_signal(signal.SIGKILL)
    await stage.hear("a was killed by SIGKILL; starting it again in 0.5 s")
    with trio.fail_after(10):
        while victim.pid in {child.pid for child in children_with("'a2'")} or stage.starts < 2:  # noqa: ASYNC110
            await trio.sleep(0.02)
    assert len(children_with("'a2'")) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that silence takes no test's time."""
    monkeypatch.setattr(supervisor, "WATCH_S", 0.05)
    monkeypatch.setattr(supervisor, "SILENCE_S", 0.5)


async def test_one_that_freezes_is_killed_and_started_again(
    stage: Stage, nursery: trio.Nursery, impatient: None
) -> None:
    await stage.supervisor.start([stage.process("a", f"'a5'{HEALTHY}")])
    nursery.start_soon(stage.supervisor.keep)
    (victim,) = children_with("'a5'")
    victim.suspend()
    with trio.fail_after(15):
        await stage.hear("a has not answered for")
        await stage.hear("a was killed by SIGKILL; starting it again in 0.5 s")
        while stage.starts < 2:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_one_that_answers_that_it_is_not_healthy_is_left_alone(
    stage: Stage, nursery: trio.Nursery, impatient: None
) -> None:
    mark = stage.directory / "sick"
    sick = HEALTHY.replace("200", f"503 if __import__('os').path.exists({str(mark)!r}) else 200")
    process = stage.process("a", f"'a6'{sick}")
    await stage.supervisor.start([process])
    mark.touch()
    with trio.move_on_after(4 * supervisor.SILENCE_S):
        await stage.supervisor.keep()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(process.health_url)).status_code == 503
    assert (stage.said, stage.starts) == ([], 1)


@pytest.fixture
def doomed(stage: Stage) -> Callable[[bool], Process]:
    """A process that is healthy once, and dies at each later start."""
    mark = stage.directory / "ran"
    once = f"import os\nif os.path.exists({str(mark)!r}): {DYING}\nopen({str(mark)!r}, 'w')\n'd'"
    return lambda essential: stage.process("doomed", once + HEALTHY, essential=essential)


async def test_one_that_fails_three_times_in_a_row_is_given_up_and_the_others_go_on(
    stage: Stage, nursery: trio.Nursery, doomed: Callable[[bool], Process]
) -> None:
    await stage.supervisor.start([stage.process("a", f"'a3'{HEALTHY}"), doomed(False)])
    nursery.start_soon(stage.supervisor.keep)
    children_with("'d'")[0].kill()
    await stage.hear("doomed exited with 1, 3 times in a row: octomesh: I cannot; given up")
    assert len(children_with("'a3'")) == 1


@pytest.mark.parametrize("essential", [True, False])
async def test_all_is_over_when_the_essential_or_the_last_one_is_given_up(
    stage: Stage, doomed: Callable[[bool], Process], essential: bool
) -> None:
    others = [stage.process("a", f"'a4'{HEALTHY}")] if essential else []
    await stage.supervisor.start([*others, doomed(essential)])
    children_with("'d'")[0].kill()
    with pytest.raises(BaseExceptionGroup) as caught:
        await stage.supervisor.keep()
    assert caught.group_contains(SettingsError, match="3 times in a row: octomesh: I cannot")
