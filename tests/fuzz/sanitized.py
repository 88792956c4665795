"""The kernel built with AddressSanitizer and UndefinedBehaviorSanitizer, and how to run with it.

`python -m tests.fuzz.sanitized -m pytest …` builds it beside the tree (never over the kernel
that the tree runs with) and starts Python under the sanitizers. In that Python,
`-p tests.fuzz.sanitized` or `use()` puts it in the place of the other.
"""

import os
import platform
import subprocess
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import pytest

HOUSE = Path(__file__).resolve().parents[2]
BUILD = HOUSE / "build" / "sanitize"
LIBRARY = BUILD / "lib"
SUPPRESSIONS = HOUSE / "tests" / "fuzz" / "leaks.txt"
_PACKAGE = "region.kernel"
_UNDER_SANITIZERS = "OCTOMESH_UNDER_SANITIZERS"


class _Finder(MetaPathFinder):
    """Finds the kernel's compiled modules in LIBRARY, and nothing else."""

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != _PACKAGE or not any((LIBRARY / "region/kernel").glob(f"{name}.*.so")):
            return None
        return PathFinder.find_spec(fullname, [str(LIBRARY / "region" / "kernel")])


def build() -> None:
    """Compile what has changed; CalledProcessError, with the compiler's words on stderr."""
    command = [sys.executable, "setup.py", "--quiet", "build_ext"]
    command += ["--build-lib", str(LIBRARY), "--build-temp", str(BUILD / "temp")]
    environment = os.environ | {"SANITIZE": "address,undefined"}
    subprocess.run(command, cwd=HOUSE, env=environment, check=True, stdout=subprocess.DEVNULL)


def environment() -> dict[str, str]:
    """What Python needs to run under the sanitizers."""
    # libasan must be the first; it looks for the C++ runtime when it starts, and atheris's comes
    # later.
    libraries = [_library(name) for name in ("libasan.so", "libubsan.so", "libstdc++.so")]
    asan = {"detect_leaks": 1, "strict_string_checks": 1, "detect_stack_use_after_return": 1}
    ubsan = {"print_stacktrace": 1, "halt_on_error": 1}
    return {
        "LD_PRELOAD": ":".join(libraries),
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in asan.items()),
        "LSAN_OPTIONS": f"suppressions={SUPPRESSIONS}:print_suppressions=0",
        "UBSAN_OPTIONS": ":".join(f"{name}={value}" for name, value in ubsan.items()),
        _UNDER_SANITIZERS: "1",
    }


def use() -> None:
    """Import the sanitized kernel from now on; RuntimeError where that cannot be."""
    if _UNDER_SANITIZERS not in os.environ:
        raise RuntimeError("start Python by `python -m tests.fuzz.sanitized`")
    if f"{_PACKAGE}.pump" in sys.modules:
        raise RuntimeError("the kernel is imported already")
    sys.meta_path.insert(0, _Finder())
    from region.kernel import pump

    if LIBRARY not in Path(pump.__file__ or "").parents:
        raise RuntimeError(f"the kernel came from {pump.__file__}")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """As a pytest plugin: for this run, before a conftest imports the kernel."""
    use()


def _library(name: str) -> str:
    command = [os.environ.get("CC", "gcc"), f"-print-file-name={name}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(found).is_absolute():
        sys.exit(f"octomesh: no {name} for {platform.machine()}: it comes with gcc")
    return str(Path(found).resolve())


if __name__ == "__main__":
    build()
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], os.environ | environment())
