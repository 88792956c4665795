"""A short run of each fuzz target, and that none is missing; `make fuzz` is the long run."""

import ast
import subprocess
import sys
from collections.abc import Iterator

from tests.fuzz.engine import HOUSE, SEEDS
from tests.fuzz.targets import TARGETS

ROOMS = ("relay", "region", "focus", "web")
RUNS = 3_000
SECONDS = 10
MAX_SEEDS = 40


def parsers() -> Iterator[str]:
    """Every public `_untrusted` function of ours, as `module.name` or `module.Class.name`."""
    for path in (path for room in ROOMS for path in sorted((HOUSE / room).rglob("*.py"))):
        module = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            inner = node.body if isinstance(node, ast.ClassDef) else [node]
            owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            names = [each.name for each in inner if isinstance(each, ast.FunctionDef)]
            yield from (f"{module}.{owner}{name}" for name in names if _is_public_parser(name))


def _is_public_parser(name: str) -> bool:
    return name.endswith("_untrusted") and not name.startswith("_")


def test_every_parser_of_network_bytes_is_a_fuzz_target() -> None:
    covered = {parser for target in TARGETS.values() for parser in target.parsers}
    missing = set(parsers()) - covered
    assert not missing, f"add to tests/fuzz/targets.py: {', '.join(sorted(missing))}"


def test_every_target_has_a_few_seeds() -> None:
    seeds = {path.name: len(list(path.iterdir())) for path in SEEDS.iterdir()}
    assert seeds.keys() == {*TARGETS, "kernel"}
    assert all(0 < number <= MAX_SEEDS for number in seeds.values()), seeds


def test_a_short_fuzz_finds_nothing() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "all"]
    # The same chance each time: what is new today is the tree, and the long run takes any.
    command += ["--runs", str(RUNS), "--seconds", str(SECONDS), "--seed", "1"]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
