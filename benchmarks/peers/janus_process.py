"""Debian's Janus as a process: its configuration, how it is started, and how it ends.

It knows files and the command line of Janus 1.1, and of its API that it answers.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import click
import httpx

from benchmarks.peers import Place
from benchmarks.peers.child import child

PORT = 8088
READY_TIMEOUT_S = 20.0
POLL_S, ASK_TIMEOUT_S = 0.05, 1.0
LOG_TAIL_CHARACTERS = 4_000

_NEEDED = {"plugins": "libjanus_videoroom.so", "transports": "libjanus_http.so", "loggers": ""}


@contextlib.contextmanager
def janus_process(
    directory: Path, place: Place, event_loops: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Janus, ready, until the context ends; its files are in `directory`.

    What its packaged configuration says holds, but that nothing is loaded which is not needed here.
    `event_loops`: how many threads move all media; None is the default, one a connection.
    click.ClickException, with what its log says, when it does not start.
    """
    if shutil.which("janus") is None:
        raise click.ClickException("no janus: apt-get install janus")
    log = directory / "log"
    _configure(directory, place.address, event_loops)
    with contextlib.ExitStack() as until_the_end:
        output = until_the_end.enter_context(log.open("wb"))
        process = until_the_end.enter_context(
            child(
                place,
                ["janus", "--configs-folder", directory, "--disable-colors"],
                cwd=directory,  # where it leaves its core when it crashes, whatever our limit is
                stdout=output,
            )
        )
        _wait_until_ready(process, api_url(place), log)
        yield process


def api_url(place: Place) -> str:
    """Where its HTTP API is."""
    return f"http://{place.address}:{PORT}/janus"


def _configure(directory: Path, address: str, event_loops: int | None) -> None:
    """What is not said here has its default, and is commented out in what is packaged."""
    general = [f'interface = "{address}"']
    if event_loops is not None:
        general.append(f"event_loops = {event_loops}")
    sections = {"general": general}
    for folder, needed in _NEEDED.items():
        found = {path.name for path in Path("/usr/lib").glob(f"*/janus/{folder}/*.so")}
        sections[folder] = [f'disable = "{",".join(sorted(found - {needed}))}"']
    _write(directory / "janus.jcfg", sections)
    _write(directory / "janus.plugin.videoroom.jcfg", {"general": []})
    http = ["http = true", f"port = {PORT}", f'ip = "{address}"']
    _write(
        directory / "janus.transport.http.jcfg",
        {"general": http, "admin": ["admin_http = false"]},
    )


def _write(path: Path, sections: dict[str, list[str]]) -> None:
    """The format is libconfig's."""
    path.write_text(
        "".join(
            f"{name}: {{\n{''.join(f'    {line}{chr(10)}' for line in lines)}}}\n"
            for name, lines in sections.items()
        )
    )


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < end_s and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{url}/info", trust_env=False, timeout=ASK_TIMEOUT_S)
            if answer.status_code == httpx.codes.OK:
                return
        time.sleep(POLL_S)
    said = log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
    raise click.ClickException(f"Janus did not become ready:\n{said}")
