"""A small internet in network namespaces: hosts whose links can be slow, lossy, cut or renumbered.

It has no link to the machine's own interfaces, so nothing leaves it and nothing outside is touched.
Hosts are on one Ethernet, a bridge in a namespace of its own; each link's far end, where traffic
for the host queues, is there. Needs root, as network namespaces do.
"""

import ctypes
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = "octomesh"
NETWORK = "198.18.0"
"""RFC 2544: for tests of network devices; nobody on the real internet has these."""
LINK = "eth0"
QUEUE_S, QUEUE_BYTES = 0.3, 20_000
"""What a slow link's buffer holds, whichever is more: about what access routers have."""
BURST_BYTES = 3_000
"""Two packets: a slow link is slow from the third on."""

_CLONE_NEWNET = 0x40000000
_LEFTOVER = re.compile(rf"{PREFIX}-(\d+)-")


class NotAllowedError(Exception):
    """Whoever runs this may not make network namespaces."""


class Host:
    """A namespace with loopback and one link, `LINK`; made and removed by its `Internet`."""

    def __init__(self, internet: str, name: str, number: int) -> None:
        self.namespace = f"{PREFIX}-{os.getpid()}-{name}"
        self._internet = internet
        self._far_end = f"to-{number}"
        self._numbers = iter(range(number, 255, 40))
        self.address = ""
        _ip("netns", "add", self.namespace)
        self._ip("link", "set", "lo", "up")
        _ip(
            *("-n", internet, "link", "add", self._far_end, "type", "veth"),
            *("peer", "name", LINK, "netns", self.namespace),
        )
        _ip("-n", internet, "link", "set", self._far_end, "master", "ethernet", "up")
        # An IPv6 address of its own making would come a second later: Chromium sees its network
        # change then, and gives up the page that it loads.
        self._ip("link", "set", LINK, "addrgenmode", "none")
        self._ip("link", "set", LINK, "up")
        with self.entered():
            # A second address stays when the first one goes.
            Path("/proc/sys/net/ipv4/conf/all/promote_secondaries").write_text("1")
        self.renumber()

    def command(self, *command: str | Path) -> list[str]:
        """What runs that command here."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]

    def wrapper(self, program: str, directory: Path) -> Path:
        """A program that is `program`, run here; for those who want to start it themselves."""
        path = directory / f"{self.namespace}-{Path(program).name}"
        path.write_text(f'#!/bin/sh\nexec {" ".join(self.command(program))} "$@"\n')
        path.chmod(0o755)
        return path

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are here; so are processes that it starts."""
        with (
            Path("/proc/thread-self/ns/net").open() as home,
            Path(f"/run/netns/{self.namespace}").open() as here,
        ):
            _setns(here.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def renumber(self, *, overlapping: bool = False) -> str:
        """Another address instead of the one it has; the link stays up.

        `overlapping`: the old one goes when the new one is there, as from one network to another.
        Else there is a moment without any, as when a lease is not renewed.
        """
        old, self.address = self.address, f"{NETWORK}.{next(self._numbers)}"
        changes = [("add", self.address), ("del", old)]
        for change, address in changes if overlapping else reversed(changes):
            if address:
                self._ip("address", change, f"{address}/24", "dev", LINK)
        return self.address

    def limit_downlink(self, rate_bps: int | None) -> None:
        """What comes to this host comes no faster, from now on; None is as fast as it can."""
        queue = ("tc", "-n", self._internet, "qdisc")
        if rate_bps is None:
            _run(*queue, "del", "dev", self._far_end, "root")
            return
        _run(
            *(*queue, "replace", "dev", self._far_end, "root", "handle", "1:", "tbf"),
            *("rate", f"{rate_bps}bit", "burst", str(BURST_BYTES)),
            *("limit", str(max(QUEUE_BYTES, int(rate_bps / 8 * QUEUE_S)))),
        )

    def narrow(self, mtu_bytes: int) -> None:
        """No larger packet leaves on its link, from now on."""
        self._ip("link", "set", LINK, "mtu", str(mtu_bytes))

    def pass_only(self, *rules: str) -> None:
        """Nothing else leaves on its link, from now on: like `-p tcp -d 198.18.0.10`."""
        chain = self.command("iptables", "--wait")
        _run(*chain, "-F", "OUTPUT")
        _run(*chain, "-A", "OUTPUT", "-o", "lo", "-j", "ACCEPT")
        for rule in rules:
            _run(*chain, "-A", "OUTPUT", *rule.split(), "-j", "ACCEPT")
        _run(*chain, "-P", "OUTPUT", "DROP")

    def pass_all(self) -> None:
        """The end of `pass_only`."""
        _run(*self.command("iptables", "--wait", "-P", "OUTPUT", "ACCEPT"))

    def lose(self, share: float) -> None:
        """That share of what comes to this host is lost, from now on."""
        chain = self.command("iptables", "--wait")
        _run(*chain, "-F", "INPUT")
        if share > 0:
            chance = ("-m", "statistic", "--mode", "random", "--probability", str(share))
            _run(*chain, "-A", "INPUT", "-i", LINK, *chance, "-j", "DROP")

    def remove(self) -> None:
        """Its link goes with it; what runs here goes on without one."""
        _ip("netns", "del", self.namespace)

    def _ip(self, *command: str) -> None:
        _ip("-n", self.namespace, *command)


class Internet:
    """An Ethernet for hosts; made by `internet`."""

    def __init__(self) -> None:
        self.namespace = f"{PREFIX}-{os.getpid()}-internet"
        self.hosts: list[Host] = []
        _ip("netns", "add", self.namespace)
        _ip("-n", self.namespace, "link", "add", "ethernet", "type", "bridge")
        _ip("-n", self.namespace, "link", "set", "ethernet", "up")

    def host(self, name: str) -> Host:
        """One more, until the internet ends."""
        self.hosts.append(Host(self.namespace, name, 10 + len(self.hosts)))
        return self.hosts[-1]

    def close(self) -> None:
        for host in self.hosts:
            host.remove()
        _ip("netns", "del", self.namespace)


@contextmanager
def internet() -> Iterator[Internet]:
    """An internet without hosts, one a process; whoever starts programs on it ends them first.

    NotAllowedError without root. What dead processes left behind goes first.
    """
    if os.geteuid() != 0:
        raise NotAllowedError("network namespaces need root: run it by sudo, as CI runs it as root")
    remove_leftovers()
    net = Internet()
    try:
        yield net
    finally:
        net.close()


def remove_leftovers() -> None:
    """Namespaces that a process made here which is no more."""
    for line in _run("ip", "netns", "list").splitlines():
        found = _LEFTOVER.match(line)
        if found is not None and not Path(f"/proc/{found[1]}").exists():
            _ip("netns", "del", line.split()[0])


class Service:
    """A program of somebody else's that runs on a host; it dies with us."""

    def __init__(self, host: Host, command: Sequence[str | Path], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                host.command("setpriv", "--pdeathsig", "KILL", *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """All that it wrote; fails when it has ended."""
        text = self._log.read_text(errors="replace")
        assert self._process.poll() is None, text
        return text

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


def _setns(fd: int) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(*command: str) -> None:
    _run("ip", *command)


def _run(*command: str) -> str:
    # Where the kernel runs under a sanitizer others' programs do not.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=10, check=False, env=environment
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout
