"""One target under libFuzzer, in a process of its own; `python -m tests.fuzz` starts it.

Its stdout is progress, one line at a time; libFuzzer and Python talk on stderr. It ends with
0 when it has done its executions or its time, by then without a finding.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris

HOUSE = Path(__file__).resolve().parents[2]
SEEDS = HOUSE / "tests" / "fuzz" / "corpus"
WORK = HOUSE / "build" / "fuzz"
PROGRESS_S = 5.0
MAX_INPUT_S = 20
"""An input that takes longer is a finding; generous, as CI's machines are busy."""
MAX_RSS_MB = 3_072

Run = Callable[[bytes], int]
"""Executes an input; how many executions that was."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", type=Path)
    options = parser.parse_args()
    run, max_bytes = _kernel() if options.target == "kernel" else _parser(options.target)
    if options.input is not None:
        run(options.input.read_bytes())
        print(f"{options.target}: nothing found in {options.input}", flush=True)
        return
    found = WORK / "corpus" / options.target
    found.mkdir(parents=True, exist_ok=True)
    findings = WORK / "findings"
    findings.mkdir(exist_ok=True)
    arguments = [
        "octomesh-fuzz",
        f"-max_len={max_bytes}",
        f"-seed={options.seed}",
        "-detect_leaks=0",  # the kernel's tests see to that; a fuzzer would after each input
        f"-timeout={MAX_INPUT_S}",
        f"-rss_limit_mb={MAX_RSS_MB}",
        f"-artifact_prefix={findings}/{options.target}-",
        str(found),
        str(SEEDS / options.target),
    ]
    until = _Until(options.target, run, options.runs, options.seconds)
    atheris.Setup(arguments, until.execute)
    if options.target == "kernel":
        from tests.fuzz import coverage

        coverage.give_to_libfuzzer()
    atheris.Fuzz()


def _parser(name: str) -> tuple[Run, int]:
    ours = ["relay", "region", "focus", "web", "tests.region.twcc", "tests.region.sent"]
    with atheris.instrument_imports(include=[*ours, "aioice"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]

    def run(data: bytes) -> int:
        target.run(data)
        return 1

    return run, target.max_bytes


def _kernel() -> tuple[Run, int]:
    from tests.fuzz import sanitized

    sanitized.use()
    from tests.fuzz.kernel import MAX_SCRIPT_BYTES, Harness

    return Harness().execute, MAX_SCRIPT_BYTES


class _Until:
    """Counts executions, says how it goes, and ends the process when there were enough."""

    def __init__(self, name: str, run: Run, runs: int, seconds: float) -> None:
        self._name = name
        self._run = run
        self._runs = runs
        self._done = 0
        self._began_s = time.monotonic()
        self._end_s = self._began_s + seconds
        self._next_line_s = self._began_s + PROGRESS_S

    def execute(self, data: bytes) -> None:
        self._done += self._run(data)
        now = time.monotonic()
        ended = self._done >= self._runs or now >= self._end_s
        if ended or now >= self._next_line_s:
            self._next_line_s = now + PROGRESS_S
            rate = self._done / max(now - self._began_s, 1e-6)
            state = "done" if ended else "so far"
            print(f"{self._name}: {self._done} executions {state}, {rate:.0f}/s", flush=True)
        if ended:
            os._exit(0)  # libFuzzer has no other way out of a callback.


if __name__ == "__main__":
    sys.path[:0] = [str(HOUSE)]
    main()
