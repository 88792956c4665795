"""The rooms import what DESIGN's table allows, and cores stay free of the world."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools import Distribution, Extension

HOUSE = Path(__file__).resolve().parent.parent

ALLOWED = {
    "relay": {"relay"},
    "region": {"region", "relay"},
    "focus": {"focus", "relay"},
    "web": {"web", "focus", "relay"},
}
COMMAND_LINE = (
    *("octomesh", "octomesh_matrix", "octomesh_options", "octomesh_plan"),
    *("octomesh_up", "octomesh_workers"),
)
OURS = {*ALLOWED, *COMMAND_LINE, "benchmarks", "tests"}

CORES = [
    *("relay/codec.py", "relay/control.py", "relay/errors.py", "relay/framing.py", "relay/ids.py"),
    *("relay/identity.py", "relay/link.py", "relay/payload.py", "relay/probe.py"),
    *("relay/settings_file.py", "relay/trunk_messages.py"),
    *("region/advertised.py", "region/allocation.py", "region/conference.py", "region/dtls.py"),
    *("region/encodings.py", "region/gcc.py"),
    *("region/ice.py", "region/keyframes.py", "region/loss_bound.py", "region/offer.py"),
    *("region/path.py", "region/probing.py", "region/rate_control.py", "region/reports.py"),
    *("region/rtcp.py", "region/sdp.py", "region/settings.py", "region/speakers.py"),
    "region/wishes.py",
    *("focus/conference.py", "focus/core.py", "focus/events.py", "focus/notices.py"),
    *("focus/offers.py", "focus/placement.py", "focus/registry.py", "focus/routes.py"),
    *("focus/state.py", "focus/turn.py", "web/messages.py", "web/settings.py"),
    *("benchmarks/offices.py", "benchmarks/plan.py", "benchmarks/rates.py"),
    "benchmarks/traffic.py",
]
WORLD = {
    *("trio", "trio_websocket", "asyncio", "threading", "socket", "select", "subprocess"),
    *("time", "random", "secrets", "logging", "structlog", "httpx"),
}


def modules(room: str) -> list[Path]:
    return sorted((HOUSE / room).rglob("*.py")) + sorted((HOUSE / room).rglob("*.pyi"))


def imported(path: Path) -> Iterator[str]:
    """The first names of all modules that a file imports, wherever in it it does."""
    package = path.relative_to(HOUSE).parts[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0] if node.module and not node.level else package


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    assert modules(room)
    for path in modules(room):
        foreign = set(imported(path)) & OURS - ALLOWED[room]
        assert not foreign, f"{path.relative_to(HOUSE)} imports {', '.join(sorted(foreign))}"


def test_the_command_lines_other_files_leave_knowing_all_rooms_to_the_first() -> None:
    assert set(imported(HOUSE / "octomesh_up.py")) & OURS <= {"relay", "focus", "web"}
    assert set(imported(HOUSE / "octomesh_matrix.py")) & OURS <= {"relay"}
    assert set(imported(HOUSE / "octomesh_options.py")) & OURS <= {"relay", "focus"}
    assert set(imported(HOUSE / "octomesh_plan.py")) & OURS <= {"relay", "benchmarks"}
    assert set(imported(HOUSE / "octomesh_workers.py")) & OURS <= {"relay", "region"}


@pytest.mark.parametrize("core", CORES)
def test_a_core_is_sans_io(core: str) -> None:
    foreign = set(imported(HOUSE / core)) & WORLD
    assert not foreign, f"{core} is a core and imports {', '.join(sorted(foreign))}"


def test_only_the_kernel_and_the_loads_engine_are_not_python() -> None:
    compiled = {
        path.parent.relative_to(HOUSE).as_posix()
        for room in (*ALLOWED, "benchmarks")
        for suffix in ("pyx", "pxd", "h")
        for path in (HOUSE / room).rglob(f"*.{suffix}")
    }
    assert compiled == {"region/kernel", "benchmarks/load"}


@pytest.mark.filterwarnings("ignore:.*absent from the `packages`")
def test_what_is_compiled_by_way_of_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy, with C that Cython made: the build's own list of files, without compiling.
    shutil.copy(HOUSE / "pyproject.toml", tmp_path)
    for name in ("README.md", "LICENSE", *(f"{module}.py" for module in COMMAND_LINE)):
        shutil.copy(HOUSE / name, tmp_path)
    for room in (*ALLOWED, "benchmarks"):
        ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
        shutil.copytree(HOUSE / room, tmp_path / room, ignore=ignored)
    for made in ("region/kernel/pump.c", "benchmarks/load/engine.c"):
        (tmp_path / made).touch()
    monkeypatch.chdir(tmp_path)
    compiled = [
        Extension("region.kernel.pump", ["region/kernel/pump.c"]),
        Extension("benchmarks.load.engine", ["benchmarks/load/engine.c"]),
    ]
    distribution = Distribution({"script_name": "setup.py", "ext_modules": compiled})
    distribution.parse_config_files(["pyproject.toml"])
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    installed = {Path(name).name for *_, names in build.data_files for name in names}
    assert {"pump.pyi", "engine.pyi"} <= installed
    assert not [name for name in installed if name.endswith(".c")]


@pytest.mark.parametrize("room", ALLOWED)
def test_nothing_is_raised_in_an_except_star_block(room: str) -> None:
    """Python 3.11.2, Debian 12's, raises it as a group, which no `except` of its type catches."""
    for path in modules(room):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        handlers = [
            handler
            for node in ast.walk(tree)
            if isinstance(node, ast.TryStar)
            for handler in node.handlers
        ]
        raised = [
            node.lineno
            for handler in handlers
            for node in ast.walk(handler)
            if isinstance(node, ast.Raise) and node.exc is not None
        ]
        assert not raised, f"{path.relative_to(HOUSE)} raises in except* on line {raised[0]}"


def test_the_command_line_is_quick_because_it_imports_late() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import octomesh, sys; print(*sys.modules)"],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "click" in loaded
    assert not {"trio", "fastapi", "httpx", "pydantic", "cryptography", "rich"} & set(loaded)
