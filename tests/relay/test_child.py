"""Child processes: their end, their last words, and that none outlives its parent."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import trio

from relay.child import Child, fate, stop_all

READY = "print('ready', flush=True)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}; signal.pause()"


class Nest:
    """Starts children that run Python text, and stops them at the end of a test."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "child.log"
        self.children: list[Child] = []

    def child(self, text: str) -> Child:
        child = Child("child", [sys.executable, "-c", text], log=self.log, environment={})
        self.children.append(child)
        return child

    async def ready(self) -> None:
        with trio.fail_after(10):
            while "ready" not in self.log.read_text():  # noqa: ASYNC110
                await trio.sleep(0.02)


@pytest.fixture
async def nest(tmp_path: Path) -> AsyncIterator[Nest]:
    nest = Nest(tmp_path)
    yield nest
    await stop_all(nest.children, grace_s=0)


async def test_waiting_gives_the_exit_code(nest: Nest) -> None:
    assert await nest.child("raise SystemExit(3)").wait() == 3
    assert fate(3) == "exited with 3"


async def test_waiting_gives_the_signal_that_killed(nest: Nest) -> None:
    child = nest.child("import signal; signal.pause()")
    assert child.code is None
    child.send(signal.SIGKILL)
    assert fate(await child.wait()) == "was killed by SIGKILL"


async def test_without_a_log_it_writes_where_we_do_and_has_no_last_words(
    nest: Nest, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "import sys; print('out'); print('err', file=sys.stderr)"
    child = Child("child", [sys.executable, "-c", text], log=None, environment={})
    nest.children.append(child)
    assert await child.wait() == 0
    assert capfd.readouterr() == ("out\n", "err\n")
    assert child.last_words() == ""


async def test_a_child_that_listens_stops_by_sigterm(nest: Nest) -> None:
    child = nest.child(f"{READY}; import signal; signal.pause()")
    await nest.ready()
    await stop_all([child], grace_s=10)
    assert child.code == -signal.SIGTERM


async def test_a_child_that_does_not_listen_is_killed_after_the_grace(nest: Nest) -> None:
    child = nest.child(DEAF)
    await nest.ready()
    with trio.CancelScope() as scope:
        scope.cancel()  # Stopping does not let itself be cancelled.
        await stop_all([child], grace_s=0.1)
    assert child.code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("octomesh: no\n", "octomesh: no"),
        ("  | ValueError: no\n  +------\n\n", "ValueError: no"),
        (
            '{"at": "1", "level": "error", "event": "no"}',
            '{"at": "1", "level": "error", "event": "no"}',
        ),
        ('ValueError: no\n{"at": "1", "level": "info", "event": "bye"}\n', "ValueError: no"),
        ("", ""),
    ],
)
async def test_its_last_words_tell_of_trouble(nest: Nest, written: str, words: str) -> None:
    await nest.child("print('ValueError: of the run before')").wait()
    child = nest.child(f"print({written!r}, end='')")
    await child.wait()
    assert child.last_words() == words


PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
print(child.pid, flush=True)
signal.pause()
"""
CHILD = """
import signal, sys
from relay.child import die_with_parent
die_with_parent(int(sys.argv[1]))
print("ready", flush=True)
signal.pause()
"""


def test_a_child_dies_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        child.wait(timeout=5)


def test_a_child_whose_parent_has_gone_before_it_asked_does_not_run() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, "1"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
