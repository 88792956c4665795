"""What a forwarded packet costs: one publisher to many receivers, against a bare loop.

    make bench, or python -m benchmarks.fanout --help

A real focus and a real bridge run in processes of their own; the receivers join as clients
do. The floor is `native.c`: the same wake-ups, datagrams and bytes, no cryptography, no
rewriting. Both are measured in turns, several times, and the medians compared.
"""

import contextlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
import trio
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.client import VP8, Client, Connection, LoadCertificate, Wish
from benchmarks.native import draining, floor_run
from benchmarks.peers.octomesh import mesh_process

REST_TARGET_MB = 80
RATIO_TARGET = 1.6
KEYFRAME = b"\x10\x00"
DELTA = b"\x10\x01"
SRTP_TAG_BYTES = 16
CSRC_BYTES = 4
RTP_HEADER_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One publisher's stream and its audience."""

    receivers: int
    packets_per_s: int
    payload_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One run's outcome."""

    cpu_us: float
    """CPU of the forwarding process per packet that arrived."""
    control_us: float
    """Of that, the process's main thread: in the bridge, Python's."""
    delivered: float
    """Share of the packets that should have arrived."""


def cpu_ns(pid: int) -> tuple[int, int]:
    """CPU that all threads, and the main one alone, have used by the scheduler's account."""
    used: dict[int, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended just now
            used[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return sum(used.values()), used[pid]


@contextlib.contextmanager
def bridge_process(directory: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A focus and one bridge on loopback: the focus's URL, and the bridge's process."""
    with mesh_process(directory) as (url, (pid,)):
        yield url, psutil.Process(pid)


async def measure_bridge(work: Work, url: str, bridge: psutil.Process, room: str) -> Cost:
    certificate = LoadCertificate()
    async with trio.open_nursery() as nursery:
        publisher: Connection = await nursery.start(
            Client(certificate, Wish(camera=1)).run, url, room, "publisher"
        )
        receivers: list[Connection] = []
        for index in range(work.receivers):
            client = Client(certificate, Wish(video_slots=1))
            receivers.append(await nursery.start(client.run, url, room, f"receiver {index}"))
        packets = _rtp(work, publisher.source_ssrcs["camera"], protect=publisher)
        cost = await _measured(
            work,
            bridge.pid,
            publisher.socket,
            publisher.bridge,
            packets,
            [each.socket for each in receivers],
        )
        nursery.cancel_scope.cancel()
    return cost


async def measure_floor(work: Work) -> Cost:
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(work.receivers):
            receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            receiver.bind(("127.0.0.1", 0))
            sockets.append(receiver)
        sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ports = [str(each.getsockname()[1]) for each in sockets]
        process, port = await trio.to_thread.run_sync(_start_floor, ports)
        to = ("127.0.0.1", port)
        try:
            return await _measured(work, process.pid, sender, to, _rtp(work, 1), sockets)
        finally:
            sender.sendto(b"x", to)
            process.wait(10)


async def _measured(
    work: Work,
    pid: int,
    sender: socket.socket,
    to: tuple[str, int],
    packets: Iterator[bytes],
    sockets: list[socket.socket],
) -> Cost:
    """Send for as long as the work says; the first half second, with its keyframe, not counted."""
    interval_s = 1 / work.packets_per_s
    with draining(sockets) as drained:
        next_s = trio.current_time()

        async def send(count: int) -> None:
            nonlocal next_s
            for _ in range(count):
                next_s += interval_s
                await trio.sleep_until(next_s)
                sender.sendto(next(packets), to)

        await send(work.packets_per_s // 2)
        await trio.sleep(0.2)
        next_s = trio.current_time()
        cpu_before, got_before = cpu_ns(pid), drained.datagrams
        count = int(work.packets_per_s * work.seconds)
        await send(count)
        await trio.sleep(0.05)  # the last ones are read within 5 ms
        cpu_after, got = cpu_ns(pid), drained.datagrams - got_before
    cpu, control = (after - before for after, before in zip(cpu_after, cpu_before, strict=True))
    return Cost(
        cpu_us=cpu / 1e3 / got,
        control_us=control / 1e3 / got,
        delivered=got / (count * work.receivers),
    )


def _rtp(work: Work, ssrc: int, protect: Connection | None = None) -> Iterator[bytes]:
    """RTP with a keyframe's mark now and then; for the floor, of the size that a bridge sends."""
    sequence = 0
    while True:
        mark = KEYFRAME if sequence % work.packets_per_s == 0 else DELTA
        payload = mark + bytes(work.payload_bytes - len(mark))
        header = struct.pack("!BBHII", 0x80, VP8, sequence % 65_536, sequence * 300, ssrc)
        packet = header + payload
        if protect is not None:
            yield protect.outbound.protect(packet)
        else:
            yield packet + bytes(CSRC_BYTES + SRTP_TAG_BYTES)
        sequence += 1


def _start_floor(destinations: list[str]) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fanout", "--as-floor", ",".join(destinations)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        return process, int(output.readline())


def _as_floor(ports: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        bound.bind(("::", 0))
        print(bound.getsockname()[1], flush=True)
        floor_run(bound, [int(port) for port in ports.split(",")])


async def _compare(work: Work, rounds: int) -> None:
    bridge_costs: list[Cost] = []
    floor_costs: list[Cost] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="octomesh-bench-") as directory,
        bridge_process(Path(directory)) as (url, bridge),
        Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress,
    ):
        await trio.sleep(1)
        rest_mb = bridge.memory_info().rss / 1e6
        task = progress.add_task("bridge and floor in turns", total=2 * rounds)
        for number in range(rounds):
            bridge_costs.append(await measure_bridge(work, url, bridge, f"bench-{number}"))
            progress.advance(task)
            floor_costs.append(await measure_floor(work))
            progress.advance(task)
            if not sys.stdout.isatty():
                print(
                    f"round {number + 1} of {rounds}: bridge {bridge_costs[-1].cpu_us:.2f} µs, "
                    f"floor {floor_costs[-1].cpu_us:.2f} µs per packet",
                    flush=True,
                )
        full_mb = bridge.memory_info().rss / 1e6
    _report(work, bridge_costs, floor_costs, rest_mb, full_mb)


def _report(
    work: Work, bridge: list[Cost], floor: list[Cost], rest_mb: float, full_mb: float
) -> None:
    bridge_us = statistics.median(each.cpu_us for each in bridge)
    floor_us = statistics.median(each.cpu_us for each in floor)
    ratio = bridge_us / floor_us
    delivered = min(each.delivered for each in bridge)
    print(
        f"1 publisher, {work.packets_per_s} packets/s of {work.payload_bytes} bytes, "
        f"{work.receivers} receivers, AES-128-GCM; medians of {len(bridge)} turns"
    )
    print(
        f"  bridge      {bridge_us:6.2f} µs of CPU per forwarded packet ({delivered:.2%} arrived)"
    )
    control_us = statistics.median(each.control_us for each in bridge)
    print(f"    of which  {control_us:6.2f} µs in Python (consent checks, reports, timers)")
    print(f"  floor       {floor_us:6.2f} µs")
    verdict = _verdict(ratio <= RATIO_TARGET)
    print(f"  ratio       {ratio:6.2f}      target ≤ {RATIO_TARGET}: {verdict}")
    print(
        f"  memory      {rest_mb:6.1f} MB at rest, {full_mb:.1f} MB after the runs; "
        f"target ≤ {REST_TARGET_MB} at rest: {_verdict(rest_mb <= REST_TARGET_MB)}"
    )


def _verdict(reached: bool) -> str:
    return "reached" if reached else "MISSED"


@click.command(help=__doc__)
@click.option("--receivers", default=50, show_default=True)
@click.option("--packets-per-s", default=300, show_default=True)
@click.option("--payload-bytes", default=1_150, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="of each turn")
@click.option("--rounds", default=9, show_default=True)
@click.option("--as-floor", hidden=True, default="")
def main(
    receivers: int,
    packets_per_s: int,
    payload_bytes: int,
    seconds: float,
    rounds: int,
    as_floor: str,
) -> None:
    if as_floor:
        _as_floor(as_floor)
        return
    work = Work(
        receivers=receivers,
        packets_per_s=packets_per_s,
        payload_bytes=payload_bytes,
        seconds=seconds,
    )
    trio.run(_compare, work, rounds)


if __name__ == "__main__":
    main()
