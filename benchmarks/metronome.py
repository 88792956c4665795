"""A process that does the same piece of Python work again and again, to judge a machine by."""

import contextlib
import select
import subprocess
import sys
from collections.abc import Iterator

HZ, ROUNDS = 50, 2_000


@contextlib.contextmanager
def metronome() -> Iterator[int]:
    """It ticks until the context ends; its process id."""
    command = [sys.executable, "-m", "benchmarks.metronome"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it ticks
    try:
        yield process.pid
    finally:
        assert process.stdin is not None
        process.stdin.close()  # which ends it
        process.wait()


def main() -> None:
    poll = select.poll()
    poll.register(sys.stdin, select.POLLHUP)
    print(flush=True)
    while not poll.poll(1000 / HZ):
        table: dict[int, int] = {}
        for number in range(ROUNDS):
            table[number % 100] = table.get(number % 100, 0) + number


if __name__ == "__main__":
    main()
