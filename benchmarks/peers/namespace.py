"""A network of our own, for bridges that ignore loopback: nothing leaves it or is left of it.

One network namespace (namespaces(7)) for the bridge and its load, whose link leads nowhere. What
is sent to its addresses takes the way that loopback has, so a bridge on either pays the same.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks.peers import Place

ADDRESSES = tuple(f"198.18.0.{number}" for number in range(1, 9))
"""RFC 2544: for benchmarks of network devices; nobody on the real internet has them."""

_CLONE_NEWNET = 0x40000000
_OURS = Path("/proc/thread-self/ns/net")
_LINKS = f"""\
link set lo up
link add eth0 type veth peer name nowhere
link set nowhere addrgenmode none up
link set eth0 addrgenmode none up
{chr(10).join(f"address add {address}/32 dev eth0" for address in ADDRESSES)}
"""


@contextmanager
def private_network() -> Iterator[tuple[Place, ...]]:
    """A new network, with loopback and some addresses: what this thread opens and starts is there.

    Each place is an address, for bridges that run side by side. Threads that it starts are there
    as well, and what is open goes on working afterwards; the network ends with the last process
    and socket in it. click.ClickException without root.
    """
    with _OURS.open() as home:
        try:
            _call("unshare", _CLONE_NEWNET)
        except PermissionError as error:
            raise click.ClickException(f"a network namespace needs root: {error}") from error
        try:
            made = subprocess.run(
                ["ip", "-batch", "-"], input=_LINKS, capture_output=True, text=True, check=False
            )
            if made.returncode != 0:
                raise click.ClickException(f"no network namespace: {made.stderr.strip()}")
            yield tuple(Place(address=each, local_address=each) for each in ADDRESSES)
        finally:
            _call("setns", home.fileno(), _CLONE_NEWNET)


def _call(name: str, *arguments: int) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc[name](*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
