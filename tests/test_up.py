"""`octomesh up`, the real thing: it gets ready, heals, and leaves nothing behind."""

import random
import re
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio

from octomesh_up import UpSettings, mesh_gap, wanted_ports
from relay.errors import SettingsError
from relay.ids import Region
from relay.ports import check_free
from tests.patience import patient_s
from tests.running import POLL_S, Running, open_program
from web.certificate import CERTIFICATE_FILE

REGIONS = (Region("sao-paulo"), Region("frankfurt"), Region("singapore"))
READY_WITHIN_S = 5.0


def settings_on_free_ports(directory: Path) -> UpSettings:
    while True:
        first = random.randrange(20_000, 30_000, 50)
        settings = UpSettings(
            https_port=first,
            http_port=first + 1,
            ops_port=first + 2,
            media_port=first + 10,
            regions=REGIONS,
            state_dir=directory / "state",
        )
        try:
            check_free(wanted_ports(settings))
        except SettingsError:
            continue
        return settings


class Up(Running):
    """One run of `octomesh up`, and every process that it has had."""

    def __init__(self, settings: UpSettings, process: trio.Process) -> None:
        super().__init__(process)
        self.settings = settings

    def assert_nothing_is_left(self) -> None:
        assert self.survivors() == []
        check_free(wanted_ports(self.settings))

    async def get(self, url: str) -> httpx.Response:
        tls = ssl.create_default_context(cafile=str(self.settings.state_dir / CERTIFICATE_FILE))
        async with httpx.AsyncClient(verify=tls, trust_env=False) as client:
            return await client.get(url)

    async def lacks(self) -> str | None:
        try:
            return mesh_gap((await self.get(f"{self.settings.url}/api/mesh")).json(), REGIONS)
        except httpx.TransportError as error:
            return str(error) or "the focus is away"


class Starter:
    """Starts `octomesh up`, and reads what it says."""

    def __init__(self, settings: UpSettings, nursery: trio.Nursery) -> None:
        self.settings = settings
        self.nursery = nursery
        self.ups: list[Up] = []

    async def start(self) -> Up:
        process = await open_program(
            "up",
            f"--https-port={self.settings.https_port}",
            f"--http-port={self.settings.http_port}",
            f"--ops-port={self.settings.ops_port}",
            f"--media-port={self.settings.media_port}",
            f"--state-dir={self.settings.state_dir}",
        )
        up = Up(self.settings, process)
        self.ups.append(up)
        self.nursery.start_soon(up.read)
        return up


@pytest.fixture
async def starter(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Starter]:
    starter = Starter(settings_on_free_ports(tmp_path), nursery)
    yield starter
    for up in starter.ups:
        await up.stop()


async def test_up_gets_ready_heals_and_stops_without_a_trace(starter: Starter) -> None:
    settings = starter.settings
    with trio.fail_after(patient_s(90)):
        up = await starter.start()
        await up.until_says("Ctrl-C stops it")
        for url in (
            f"https://localhost:{settings.https_port}/",
            f"https://localhost:{settings.https_port}/mesh",
            f"http://localhost:{settings.http_port}/",
        ):
            assert url in up.output
            assert (await up.get(url)).status_code == 200
        assert await up.lacks() is None
        assert f"logs      {settings.logs}" in up.output
        victim = await up.child("--region=frankfurt")
        victim.kill()
        await up.until_says("frankfurt was killed by SIGKILL; starting it again")
        reborn = await up.child("--region=frankfurt")
        while reborn.pid == victim.pid or await up.lacks():
            await trio.sleep(POLL_S)
            reborn = await up.child("--region=frankfurt")

        up.children()
        up.process.send_signal(signal.SIGTERM)
        assert await up.ended(within_s=10) == 0, up.output
        up.assert_nothing_is_left()
        for name in ("focus", *REGIONS):
            log = (settings.logs / f"{name}.log").read_text()
            assert "Traceback" not in log, log
            assert not re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", log), "a token is in a log"


async def test_a_focus_that_is_killed_comes_back_and_no_bridge_minds(starter: Starter) -> None:
    with trio.fail_after(patient_s(90)):
        up = await starter.start()
        await up.until_says("Ctrl-C stops it")
        victim = await up.child("focus")
        bridges = {child.pid for child in up.children()} - {victim.pid}
        victim.kill()
        await up.until_says("focus was killed by SIGKILL; starting it again")
        while await up.lacks():  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        assert bridges < {child.pid for child in up.children()}
        assert up.output.count("starting it again") == 1


async def test_nothing_outlives_an_up_that_is_killed_and_the_next_is_ready_in_5_s(
    starter: Starter,
) -> None:
    with trio.fail_after(patient_s(90)):
        first = await starter.start()
        await first.until_says("Ctrl-C stops it")
        family = first.children()
        assert len(family) == 1 + len(REGIONS)
        first.process.kill()
        await first.process.wait()
        while any(child.is_running() for child in family):  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        first.assert_nothing_is_left()

        started_at_s = trio.current_time()
        second = await starter.start()
        await second.until_says("Ctrl-C stops it")
        ready_s = trio.current_time() - started_at_s
        print(f"ready after {ready_s:.1f} s")
        assert ready_s < patient_s(READY_WITHIN_S)
        second.process.send_signal(signal.SIGINT)
        assert await second.ended(within_s=10) == 0
        second.assert_nothing_is_left()


@pytest.mark.parametrize("name", ["focus", "--region=singapore"])
async def test_one_that_dies_at_the_start_is_one_line_and_ends_all(
    starter: Starter, name: str
) -> None:
    with trio.fail_after(patient_s(60)):
        up = await starter.start()
        (await up.child(name)).kill()
        assert await up.ended(within_s=30) == 1
    word = name.removeprefix("--region=")
    *_, last = up.output.splitlines()
    assert last.startswith(f"octomesh: {word} was killed by SIGKILL: ")
    assert "Traceback" not in up.output
    up.assert_nothing_is_left()


async def test_interrupting_it_while_it_starts_stops_it_cleanly(starter: Starter) -> None:
    with trio.fail_after(patient_s(60)):
        up = await starter.start()
        await up.child("--region=singapore")
        up.process.send_signal(signal.SIGINT)
        assert await up.ended(within_s=10) == 0
    up.assert_nothing_is_left()


async def test_a_second_up_on_the_same_state_is_refused(starter: Starter) -> None:
    with trio.fail_after(patient_s(60)):
        first = await starter.start()
        await first.child("focus")
        starter.settings = settings_on_free_ports(starter.settings.state_dir.parent)
        second = await starter.start()
        assert await second.ended(within_s=30) == 1
        assert second.output == (
            f"octomesh: another octomesh up runs on {starter.settings.state_dir}; "
            "choose another by --state-dir\n"
        )
        assert first.process.returncode is None


@pytest.mark.parametrize(
    ("kind", "offset", "option"),
    [
        (socket.SOCK_STREAM, 0, "--https-port"),
        (socket.SOCK_STREAM, 1, "--http-port"),
        (socket.SOCK_STREAM, 2, "--ops-port"),
        (socket.SOCK_DGRAM, 20, "--media-port"),
        (socket.SOCK_STREAM, 20, "--media-port"),
        (socket.SOCK_STREAM, 31, "--media-port"),
    ],
)
async def test_a_port_in_use_is_one_line_that_names_the_option(
    starter: Starter, kind: socket.SocketKind, offset: int, option: str
) -> None:
    port = starter.settings.https_port + offset
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", port))
        if kind is socket.SOCK_STREAM:
            other.listen()
        up = await starter.start()
        assert await up.ended(within_s=30) == 1
    assert re.fullmatch(
        rf"octomesh: (TCP|UDP) port {port}( \(.*\))? is in use; choose another by {option}\n",
        up.output,
    )
    assert not starter.settings.state_dir.exists()


def mesh_of(*regions: str, down: tuple[int, int] | None = None) -> dict[str, object]:
    pairs = [(a, b) for a in range(len(regions)) for b in range(len(regions)) if a != b]
    return {
        "bridges": [{"bridge": f"b{i}", "region": region} for i, region in enumerate(regions)],
        "links": [{"from": f"b{a}", "to": f"b{b}", "up": (a, b) != down} for a, b in pairs],
    }


def test_a_mesh_is_whole_with_a_bridge_for_each_region_and_every_trunk() -> None:
    eu, us = Region("eu"), Region("us")
    assert mesh_gap(mesh_of("eu", "us", "eu"), (eu, us, eu)) is None
    assert mesh_gap(mesh_of("eu", "us"), (eu, us, eu)) == "no bridge of eu has joined the mesh"
    assert mesh_gap(mesh_of("eu", "us", down=(1, 0)), (eu, us)) == "no trunk from us to eu yet"
    assert mesh_gap({"bridges": [], "links": []}, (eu,)) == "no bridge of eu has joined the mesh"
