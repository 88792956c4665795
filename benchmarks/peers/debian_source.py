"""A Debian package's source, from the mirrors that this machine has its packages from.

Apt checks whose it is, as it does with packages. What is configured for apt stays as it is.
"""

import re
import subprocess
from pathlib import Path

import click

_CONFIGURED = Path("/etc/apt")
LAST_WORDS_CHARACTERS = 1_000


def debian_source(package: str, directory: Path) -> Path:
    """What its authors published, unpacked into a folder there; without Debian's patches.

    click.ClickException, with what apt says, when it cannot be had.
    """
    for folder in ("sources", "lists/partial", "cache/archives/partial", package):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(_lists()):
        copy = directory / "sources" / f"{number}{path.suffix}"
        copy.write_text(of_sources(path.read_text()))
    apt = [
        "apt-get",
        *("-o", "Dir::Etc::sourcelist=/dev/null"),
        *("-o", f"Dir::Etc::sourceparts={directory / 'sources'}"),
        *("-o", f"Dir::State::lists={directory / 'lists'}"),
        *("-o", f"Dir::Cache={directory / 'cache'}"),
    ]
    _run([*apt, "update"], directory)
    _run([*apt, "source", "--download-only", package], directory)
    [archive] = directory.glob(f"{package}_*.orig.tar.*")
    unpacked = directory / package
    _run(["tar", "-xf", archive, "--strip-components=1", "-C", unpacked], directory)
    return unpacked


def of_sources(text: str) -> str:
    """A list of apt's, in either of its formats (sources.list(5)), of sources and not packages."""
    return re.sub(
        r"^(?:Types:.*|deb(?=\s))",
        lambda found: "Types: deb-src" if found[0].startswith("Types") else "deb-src",
        text,
        flags=re.MULTILINE,
    )


def _lists() -> list[Path]:
    parts = _CONFIGURED / "sources.list.d"
    found = [_CONFIGURED / "sources.list", *parts.glob("*.list"), *parts.glob("*.sources")]
    return [path for path in found if path.exists()]


def _run(command: list[str | Path], directory: Path) -> None:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise click.ClickException(f"no {command[0]}: Debian's sources need it") from error
    if done.returncode:
        said = (done.stderr or done.stdout)[-LAST_WORDS_CHARACTERS:]
        raise click.ClickException(f"a Debian source cannot be had:\n{said}")
