"""The mesh that is measured ends with whoever measures it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks.peers import child
from benchmarks.peers.octomesh import mesh_process

ROOT = Path(__file__).parents[2]
GONE_S = 5.0
STARTS = """
import signal, sys
from pathlib import Path
from benchmarks.peers.octomesh import mesh_process
with mesh_process(Path(sys.argv[1]), workers=int(sys.argv[2])):
    print("ready", flush=True)
    signal.pause()
"""


@contextmanager
def bench(directory: Path, workers: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has started a mesh."""
    command = [sys.executable, "-c", STARTS, str(directory), str(workers)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("workers", "count"), [(1, 2), (2, 4)])
def test_no_process_of_a_mesh_outlives_a_bench_that_is_killed(
    tmp_path: Path, workers: int, count: int, number: signal.Signals
) -> None:
    with bench(tmp_path, workers) as process:
        mesh = psutil.Process(process.pid).children(recursive=True)
        assert len(mesh) == count
        process.send_signal(number)
        process.wait(GONE_S)
        _, living = psutil.wait_procs(mesh, timeout=GONE_S)
        for each in living:
            each.kill()
    assert not living


def test_a_bridge_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "STOP_TIMEOUT_S", 0.5)
    with mesh_process(tmp_path) as mesh:
        bridge = psutil.Process(mesh.pids[0])
        bridge.suspend()
    assert not bridge.is_running()
