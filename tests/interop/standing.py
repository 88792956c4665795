"""Keeps something running in a thread with a trio of its own, for longer than one test."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

import trio

T = TypeVar("T")

START_S = 30.0


@contextmanager
def standing(
    make: Callable[[], AbstractAsyncContextManager[T]], *, stop_s: float = 30.0
) -> Iterator[T]:
    """What `make` makes, entered and left in the thread; what it raises is raised here.

    It fails when that does not stop in `stop_s`.
    """
    made: queue.Queue[tuple[T, trio.lowlevel.TrioToken, trio.Event]] = queue.Queue(1)
    failures: list[BaseException] = []

    async def main() -> None:
        async with make() as thing:
            stop = trio.Event()
            made.put((thing, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="standing", daemon=True)
    thread.start()
    while made.empty() and thread.is_alive():
        thread.join(0.02)
    if failures:
        raise failures[0]
    thing, token, stop = made.get(timeout=START_S)
    try:
        yield thing
    finally:
        if thread.is_alive():
            token.run_sync_soon(stop.set)
        thread.join(stop_s)
    assert not thread.is_alive(), f"it does not stop within {stop_s:.0f} s"
    if failures:
        raise failures[0]
