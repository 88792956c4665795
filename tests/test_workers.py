"""`octomesh region --workers`, the real thing under a real focus, and what it gives its workers."""

import json
import os
import random
import re
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

import octomesh
import octomesh_workers
from focus.tokens import mint_token
from octomesh_workers import WorkersSettings, flags, processes, usable_cores, wanted_ports
from region.settings import RegionSettings
from relay.errors import SettingsError
from relay.ids import Region
from relay.ports import LOOPBACK, WantedPort, check_free
from tests.running import POLL_S, Running, running
from web.certificate import CERTIFICATE_FILE

FRANKFURT = Region("frankfurt")
TOKEN = "a.one-time.secret"


def region_settings(**changes: Any) -> RegionSettings:
    return replace(
        RegionSettings(
            region=FRANKFURT,
            focus_url="https://meet.example.org",
            token=TOKEN,
            state_dir=Path("bridge"),
            media_port=10_000,
            relay_port=11_000,
            ops_port=12_000,
        ),
        **changes,
    )


# Settings


def test_each_worker_has_its_own_ports_and_its_own_directory() -> None:
    workers = WorkersSettings(count=3, region=region_settings()).workers
    assert list(workers) == ["worker-0", "worker-1", "worker-2"]
    assert [worker.media_port for worker in workers.values()] == [10_000, 10_001, 10_002]
    assert [worker.relay_port for worker in workers.values()] == [11_000, 11_001, 11_002]
    assert [worker.ops_port for worker in workers.values()] == [12_000, 12_001, 12_002]
    assert [worker.state_dir for worker in workers.values()] == [
        Path("bridge", name) for name in workers
    ]


def test_a_mapped_port_is_the_first_workers_and_counts_up() -> None:
    advertise = ("203.0.113.7:31000", "[2001:db8::7]:32000", "198.51.100.7")
    workers = WorkersSettings(count=2, region=region_settings(advertise=advertise)).workers
    assert workers["worker-0"].advertise == advertise
    assert workers["worker-1"].advertise == (
        "203.0.113.7:31001",
        "[2001:db8::7]:32001",
        "198.51.100.7",
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"relay_port": 10_003},
            "4 workers need as many ports of each kind: "
            "--media-port 10000 to 10003 and --relay-port 10003 to 10006 overlap",
        ),
        (
            {"ops_port": 10_997},
            "4 workers need as many ports of each kind: "
            "--relay-port 11000 to 11003 and --ops-port 10997 to 11000 overlap",
        ),
        (
            {"ops_port": 65_533},
            "--ops-port 65533 to 65536, for 4 workers, goes beyond 65535",
        ),
    ],
)
def test_ports_that_do_not_suffice_are_told(changes: dict[str, int], complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        WorkersSettings(count=4, region=region_settings(**changes))
    assert str(caught.value) == complaint


def test_ports_that_just_suffice_are_taken() -> None:
    settings = region_settings(relay_port=10_004, ops_port=65_532)
    assert WorkersSettings(count=4, region=settings).workers["worker-3"].ops_port == 65_535


def test_a_mapped_port_that_would_leave_the_range_is_told() -> None:
    settings = region_settings(advertise=("203.0.113.7:65535",))
    with pytest.raises(SettingsError, match="65536 is not a port"):
        WorkersSettings(count=2, region=settings)


def test_usable_cores_are_those_that_this_process_may_run_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert usable_cores() == 3


EVERYTHING = RegionSettings(
    region=FRANKFURT,
    focus_url="https://meet.example.org",
    focus_ca=Path(__file__),
    state_dir=Path("elsewhere"),
    listen_host="0.0.0.0",
    media_port=1,
    relay_port=2,
    ops_host="::1",
    ops_port=3,
    advertise=("203.0.113.7:31000", "2001:db8::7"),
    advertise_interfaces=False,
    allow_loopback=True,
)


@pytest.mark.parametrize("told", [EVERYTHING, region_settings(token=None)])
def test_a_worker_understands_its_flags_as_we_meant_them(
    told: RegionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[object] = []
    monkeypatch.setattr(octomesh, "_serve", lambda _run, settings: served.append(settings))
    octomesh.cli(["region", *flags(told)], standalone_mode=False)
    assert served == [told]


def test_the_flags_are_tried_with_every_setting_that_there_is() -> None:
    default = region_settings(token=None)
    names = {field.name for field in fields(RegionSettings)} - {"region", "focus_url", "token"}
    assert [name for name in names if getattr(EVERYTHING, name) == getattr(default, name)] == []


def test_no_worker_gets_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTOMESH_REGION_TOKEN", TOKEN)
    for process in processes(WorkersSettings(count=2, region=region_settings())):
        assert TOKEN not in repr((process.command, process.environment()))


@pytest.mark.parametrize(
    ("ops_host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:12001/healthz"),
        ("::", "http://127.0.0.1:12001/healthz"),
        ("10.1.0.5", "http://10.1.0.5:12001/healthz"),
        ("::1", "http://[::1]:12001/healthz"),
        (LOOPBACK, "http://localhost:12001/healthz"),
    ],
)
def test_a_workers_health_is_asked_where_it_answers(ops_host: str, url: str) -> None:
    settings = WorkersSettings(count=2, region=region_settings(ops_host=ops_host))
    assert processes(settings)[1].health_url == url


# Real processes


@dataclass
class Site:
    """A focus that runs, and settings of two workers on free ports."""

    focus: Running
    focus_dir: Path
    settings: WorkersSettings

    def token(self, bridges: int) -> str:
        return mint_token(self.focus_dir, FRANKFURT, 600, bridges=bridges)

    def arguments(self) -> list[str]:
        return ["region", "--workers=2", *flags(self.settings.region)]

    async def bridges(self) -> set[str]:
        """Those that the focus counts as there."""
        tls = ssl.create_default_context(cafile=str(self.focus_dir / CERTIFICATE_FILE))
        url = f"{self.settings.region.focus_url}/api/mesh"
        async with httpx.AsyncClient(verify=tls, trust_env=False) as client:
            return {bridge["bridge"] for bridge in (await client.get(url)).json()["bridges"]}

    async def until_there(self, *bridges: str) -> None:
        while await self.bridges() != set(bridges):  # noqa: ASYNC110
            await trio.sleep(POLL_S)

    async def assert_ends(self, workers: Running, number: signal.Signals) -> None:
        """SIGTERM, SIGINT or SIGKILL, and nothing of it is left."""
        workers.children()
        workers.process.send_signal(number)
        code = await workers.ended(within_s=10)
        assert code == (-number if number is signal.SIGKILL else 0), workers.output
        while workers.survivors():  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        check_free(wanted_ports(self.settings))


def settings_on_free_ports(directory: Path) -> WorkersSettings:
    """Of two workers, their media ports ten above three ports for a focus."""
    while True:
        first = random.randrange(20_000, 30_000, 50)
        region = region_settings(
            focus_url=f"https://localhost:{first}",
            token=None,
            state_dir=directory,
            media_port=first + 10,
            relay_port=first + 20,
            ops_port=first + 30,
            allow_loopback=True,
        )
        settings = WorkersSettings(count=2, region=region)
        of_focus = [
            WantedPort(option="", kind=socket.SOCK_STREAM, port=first + each) for each in range(3)
        ]
        try:
            check_free([*of_focus, *wanted_ports(settings)])
        except SettingsError:
            continue
        return settings


@pytest.fixture
async def site(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Site]:
    settings = settings_on_free_ports(tmp_path / "bridges")
    first = settings.region.media_port - 10
    focus_dir = tmp_path / "focus"
    async with running(
        nursery,
        "focus",
        f"--state-dir={focus_dir}",
        f"--https-port={first}",
        f"--http-port={first + 1}",
        f"--ops-port={first + 2}",
    ) as focus:
        with trio.fail_after(30):
            await until_answers(f"http://127.0.0.1:{first + 2}/healthz")
        region = replace(settings.region, focus_ca=focus_dir / CERTIFICATE_FILE)
        yield Site(focus, focus_dir, replace(settings, region=region))


async def until_answers(url: str) -> int:
    """The status of the first answer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                return (await client.get(url)).status_code
            except httpx.TransportError:
                await trio.sleep(POLL_S)


async def test_workers_get_ready_heal_and_stop_without_a_trace(
    site: Site, nursery: trio.Nursery
) -> None:
    settings = site.settings.region
    environment = {"OCTOMESH_REGION_TOKEN": site.token(2)}
    with trio.fail_after(90):
        async with running(nursery, *site.arguments(), environment=environment) as workers:
            await workers.until_says("ready: 2 workers of frankfurt")
            for index in range(2):
                media_port = settings.media_port + index
                line = f"worker-{index} is ready: frankfurt-{index + 1}, media port {media_port}\n"
                assert line in workers.output
            await site.until_there("frankfurt-1", "frankfurt-2")

            victim = await workers.child(f"--media-port={settings.media_port + 1}")
            victim.kill()
            await workers.until_says("worker-1 was killed by SIGKILL; starting it again")
            reborn = await workers.child(f"--media-port={settings.media_port + 1}")
            assert reborn.pid != victim.pid
            await site.until_there("frankfurt-1", "frankfurt-2")
            health = f"http://127.0.0.1:{settings.ops_port + 1}/healthz"
            while await until_answers(health) != 200:  # noqa: ASYNC110
                await trio.sleep(POLL_S)

            await site.assert_ends(workers, signal.SIGTERM)
    assert "Traceback" not in workers.output
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", workers.output), "a token was shown"


async def test_every_line_of_a_workers_log_names_its_bridge(
    site: Site, nursery: trio.Nursery
) -> None:
    environment = {"OCTOMESH_REGION_TOKEN": site.token(2)}
    with trio.fail_after(60):
        async with running(nursery, *site.arguments(), environment=environment) as workers:
            await workers.until_says("ready: 2 workers of frankfurt")
            await site.assert_ends(workers, signal.SIGINT)
    lines = [json.loads(line) for line in workers.output.splitlines() if line.startswith("{")]
    by_workers = [line["bridge"] for line in lines if line["process"] == "bridge"]
    assert set(by_workers) == {"frankfurt-1", "frankfurt-2"}


async def test_a_token_for_too_few_is_one_line_and_another_for_the_rest_will_do(
    site: Site, nursery: trio.Nursery
) -> None:
    with trio.fail_after(90):
        async with running(nursery, *site.arguments()) as without:
            assert await without.ended(within_s=30) == 1
        assert without.output == (
            "octomesh: 2 of 2 workers are not enrolled yet: make a token with "
            "`octomesh token --region frankfurt --bridges 2` on the focus's host and give it by "
            "--token-file or OCTOMESH_REGION_TOKEN\n"
        )

        environment = {"OCTOMESH_REGION_TOKEN": site.token(1)}
        async with running(nursery, *site.arguments(), environment=environment) as first:
            assert await first.ended(within_s=30) == 1
        *_, last = first.output.splitlines()
        assert last == (
            "octomesh: worker-1: the focus refused to enrol this bridge: the token has been used; "
            "mint one for each bridge (1 of 2 workers lack a certificate)"
        )

        environment = {"OCTOMESH_REGION_TOKEN": site.token(1)}
        async with running(nursery, *site.arguments(), environment=environment) as second:
            await second.until_says("ready: 2 workers of frankfurt")
            assert "worker-0 is ready: frankfurt-1," in second.output
            assert "worker-1 is ready: frankfurt-2," in second.output


async def test_workers_with_certificates_need_neither_token_nor_focus_and_die_with_their_parent(
    site: Site, nursery: trio.Nursery
) -> None:
    settings = site.settings.region
    environment = {"OCTOMESH_REGION_TOKEN": site.token(2)}
    with trio.fail_after(90):
        async with running(nursery, *site.arguments(), environment=environment) as workers:
            await workers.until_says("ready: 2 workers of frankfurt")
            await site.assert_ends(workers, signal.SIGTERM)
        await site.focus.stop()
        async with running(nursery, *site.arguments()) as workers:
            for index in range(2):
                url = f"http://127.0.0.1:{settings.ops_port + index}/healthz"
                assert await until_answers(url) == 503
            await site.assert_ends(workers, signal.SIGKILL)


@pytest.mark.parametrize(
    ("kind", "offset", "line"),
    [
        (socket.SOCK_DGRAM, 11, r"UDP port \d+ \(worker-1's media\) .* by --media-port"),
        (socket.SOCK_STREAM, 20, r"TCP port \d+ \(worker-0's relay\) .* by --relay-port"),
        (socket.SOCK_STREAM, 31, r"TCP port \d+ \(worker-1's ops\) .* by --ops-port"),
    ],
)
async def test_a_port_in_use_is_one_line_that_names_the_worker_and_the_option(
    kind: socket.SocketKind, offset: int, line: str, tmp_path: Path
) -> None:
    settings = settings_on_free_ports(tmp_path / "bridges")
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", settings.region.media_port - 10 + offset))
        if kind is socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(SettingsError, match=line):
            await octomesh_workers.run(settings)
    assert not settings.region.state_dir.exists()
