"""Fuzzes one target or all: `python -m tests.fuzz all --runs 1000000 --seconds 600`.

A target ends when it has made its executions or used up its seconds. Findings stand in
build/fuzz/findings, and what libFuzzer said in build/fuzz/log;
`python -m tests.fuzz TARGET --input FILE` does one again.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import sanitized
from tests.fuzz.engine import HOUSE, SEEDS, WORK

KERNEL = "kernel"
LOG_LINES = 8


def main() -> int:
    names = sorted(path.name for path in SEEDS.iterdir())
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=["all", *names])
    parser.add_argument("--runs", type=int, default=1_000_000, help="executions of each target")
    parser.add_argument("--seconds", type=float, default=3_600.0, help="at most, each target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer's chance; 0 for any")
    parser.add_argument("--input", type=Path, help="run this file alone")
    options = parser.parse_args()
    chosen = names if options.target == "all" else [options.target]
    if KERNEL in chosen:
        sanitized.build()
        chosen.sort(key=KERNEL.__ne__)  # the longest first
    (WORK / "log").mkdir(parents=True, exist_ok=True)
    arguments = ["--runs", str(options.runs), "--seconds", str(options.seconds)]
    arguments += ["--seed", str(options.seed)]
    if options.input is not None:
        arguments += ["--input", str(options.input.resolve())]
    with ThreadPoolExecutor(options.jobs) as pool:
        passed = list(pool.map(lambda name: _fuzz(name, arguments), chosen))
    failed = [name for name, ok in zip(chosen, passed, strict=True) if not ok]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} targets without a finding", flush=True)
    return 1 if failed else 0


def _fuzz(name: str, arguments: list[str]) -> bool:
    """Whether the target came to its end without a finding."""
    log = WORK / "log" / name
    environment = os.environ | (sanitized.environment() if name == KERNEL else {})
    command = [sys.executable, "-m", "tests.fuzz.engine", name, *arguments]
    with log.open("wb") as errors:
        status = subprocess.run(command, cwd=HOUSE, env=environment, stderr=errors).returncode
    if status:
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        print(f"{name}: A FINDING (status {status}); the end of {log}:", *lines, sep="\n  ")
        sys.stdout.flush()
    return not status


if __name__ == "__main__":
    sys.exit(main())
