"""What figures were measured on: processor, system, versions, and who else was using it."""

import os
import platform
import ssl
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.capacity import Machine
from benchmarks.peers.mediasoup_build import VERSION, WORKER

PACKAGES = ("trio", "pylibsrtp", "pyOpenSSL", "aioice")


def machine() -> dict[str, Any]:
    """As of now, for JSON."""
    return {
        **Machine.here().model_dump(),
        "distribution": _distribution(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "packages": {name: version(name) for name in PACKAGES},
        "janus": _said("janus", "--version"),
        "mediasoup": f"mediasoup {VERSION} with Debian's libraries" if WORKER.exists() else "",
        "gcc": _said("gcc", "--version"),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "load_average": os.getloadavg(),
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "unknown"


def _said(*command: str) -> str:
    """Its first line; nothing where there is no such program."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)
    except OSError:
        return ""
    lines = [line.strip() for line in (done.stdout or done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else ""
