"""mediasoup's worker, compiled from what npm has of it: once, and then it is there.

Version 3.12.16 is the last whose channel speaks JSON. Its own build downloads the libraries; here
they are Debian's, which are as old, all but libsrtp. Debian has that upon NSS, with which a packet
costs a tenth more, and mediasoup upon OpenSSL: it is compiled too, as mediasoup has it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.peers.debian_source import debian_source

VERSION = "3.12.16"
WORKER = Path(__file__).parent.parent / "out" / f"mediasoup-{VERSION}" / "mediasoup-worker"

PROGRAMS = {"g++": "g++", "make": "make", "npm": "npm", "pkg-config": "pkgconf"}
LIBRARIES = {
    "libuv": "libuv1-dev",
    "openssl": "libssl-dev",
    "usrsctp": "libusrsctp-dev",
    "nlohmann_json": "nlohmann-json3-dev",
    "absl_flat_hash_map": "libabsl-dev",
    "absl_strings": "libabsl-dev",
}
"""By the names that pkg-config has for them: the Debian packages."""

# As mediasoup's Makefile has meson do it: --buildtype release -Db_ndebug=true -Db_pie=true.
OPTIMISED = ("-O3", "-DNDEBUG", "-fPIE")
FLAGS = ("-std=c++17", f"-DMS_{sys.byteorder.upper()}_ENDIAN", "-DMS_EXECUTABLE", *OPTIMISED)
INCLUDED = ("include", "deps/libwebrtc", "deps/libwebrtc/libwebrtc")

LAST_WORDS_CHARACTERS = 2_000
LINES_EACH = 10
"""Where there is no bar: so many files from one line to the next."""

_TARBALL_SHA256 = "80a1e21a749a0f6cb6111ea6d3ce0693efea2373a549f9694d01c1b9440b6ed5"


def build() -> None:
    """See that the worker is there; some minutes of all cores where it is not.

    click.ClickException, in words for a person, when it cannot be built.
    """
    if WORKER.exists():
        return
    _check()
    click.echo(f"mediasoup {VERSION} is compiled, once, for the comparison with it")
    WORKER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="octomesh-mediasoup-") as folder:
        made = _compiled(Path(folder))
        part = WORKER.with_suffix(".part")
        shutil.copy(made, part)
        part.rename(WORKER)


def _compiled(folder: Path) -> Path:
    """The worker, with all that it is made of in that folder."""
    source = _fetch(folder)
    srtp = _compile_srtp(folder)
    files = sources(
        (source / "meson.build").read_text(), (source / "deps/libwebrtc/meson.build").read_text()
    )
    flags = [
        *FLAGS,
        *(f"-I{source / included}" for included in INCLUDED),
        *(f"-I{srtp / included}" for included in ("include", "crypto/include")),
        *_said(folder, "pkg-config", "--cflags", *LIBRARIES).split(),
    ]
    objects = [f"{number}.o" for number in range(len(files))]

    def compiled(file: str, made: str) -> str:
        _said(folder, "g++", *flags, "-c", str(source / file), "-o", made)
        return file

    with _progress(len(files)) as step, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for file in pool.map(compiled, files, objects):
            step(file)
    libraries = _said(folder, "pkg-config", "--libs", *LIBRARIES).split()
    made = [*objects, str(srtp / "libsrtp2.a"), *libraries]
    _said(folder, "g++", "-pie", "-pthread", "-o", WORKER.name, *made)
    return folder / WORKER.name


def sources(worker: str, libwebrtc: str) -> list[str]:
    """What the executable is made of, by the two meson.build; paths from the worker's folder."""
    return [
        *_listed(worker, "common_sources"),
        "src/main.cpp",
        *(f"deps/libwebrtc/{file}" for file in _listed(libwebrtc, "libwebrtc_sources")),
    ]


def _listed(text: str, name: str) -> list[str]:
    found = re.search(rf"^{name} = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise click.ClickException(f"mediasoup's meson.build has no {name}")
    return re.findall(r"'([^']+)'", found[1])


def _check() -> None:
    """ClickException that names the Debian packages that are missing."""
    missing = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if "pkgconf" not in missing:
        exists = ("pkg-config", "--exists")
        missing += [
            package
            for name, package in LIBRARIES.items()
            if subprocess.run([*exists, name], check=False).returncode
        ]
    if missing:
        packages = " ".join(dict.fromkeys(missing))
        raise click.ClickException(
            f"mediasoup cannot be built: apt-get install {packages}, or bench --without mediasoup"
        )


def _fetch(folder: Path) -> Path:
    """The worker's folder of the package."""
    _said(folder, "npm", "pack", "--silent", f"mediasoup@{VERSION}")
    archive = folder / f"mediasoup-{VERSION}.tgz"
    if hashlib.sha256(archive.read_bytes()).hexdigest() != _TARBALL_SHA256:
        raise click.ClickException(f"what npm has of mediasoup {VERSION} is not what it was")
    _said(folder, "tar", "-xzf", archive.name)
    return folder / "package" / "worker"


def _compile_srtp(folder: Path) -> Path:
    """Its folder, with the library in it."""
    source = debian_source("libsrtp2", folder)
    flags = " ".join(("-funroll-loops", *OPTIMISED))
    _said(source, "./configure", "--enable-openssl", f"CFLAGS={flags}")
    _said(source, "make", "libsrtp2.a")
    return source


def _said(within: Path, *command: str) -> str:
    """What it prints; ClickException, with its last words, when it fails."""
    done = subprocess.run(command, cwd=within, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout)[-LAST_WORDS_CHARACTERS:]
        raise click.ClickException(
            f"mediasoup cannot be built, {command[0]} failed; bench --without mediasoup does "
            f"without it:\n{said}"
        )
    return done.stdout


@contextmanager
def _progress(files: int) -> Iterator[Callable[[str], None]]:
    """To be told each file that is compiled: a bar in a terminal, lines elsewhere."""
    columns: Sequence[TextColumn | BarColumn | MofNCompleteColumn | TimeElapsedColumn] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("mediasoup", total=files)
        done = 0

        def step(file: str) -> None:
            nonlocal done
            done += 1
            progress.update(task, completed=done, description=Path(file).name)
            if progress.disable and (done % LINES_EACH == 0 or done == files):
                click.echo(f"mediasoup: {done} of {files} files compiled")

        yield step
