"""Load as a whole: connections in an engine, people on a real bridge, and the command."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from benchmarks.capacity import Capacity
from benchmarks.load import media
from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import Wish
from benchmarks.load.gathering import Gathering
from benchmarks.load.measuring import measure
from benchmarks.load.profiles import Meeting
from benchmarks.load.traffic import Carried, Manners, Traffic
from benchmarks.peers.octomesh import REGION, OctomeshBridge, mesh_process
from benchmarks.rates import Stream
from relay.ids import SourceKind
from tests.running import open_program, running

DEADLINE_S = 10.0
COMMAND_S = 60.0
POLL_S = 0.02
WISH = Wish(microphone=True, camera=2, as_browsers=True, rids=True)
CERTIFICATE = LoadCertificate()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a focus with one bridge."""
    with mesh_process(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh.url


# Two connections, one engine


async def carried(nursery: trio.Nursery, traffic: Traffic) -> tuple[Carried, Carried]:
    """Somebody who sends, and somebody who gets it, without a bridge between them."""
    sender, receiver = PeerConnection(CERTIFICATE), PeerConnection(CERTIFICATE)
    nursery.start_soon(partial(stay, sender, receiver))
    answer = receiver.answer(sender.offer(WISH))
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as connecting:
            connecting.start_soon(sender.accept, answer)
            connecting.start_soon(receiver.connect)
    await nursery.start(traffic.run)
    return traffic.add(sender), traffic.add(receiver)


async def stay(*connections: PeerConnection) -> None:
    with closing(connections[0]), closing(connections[1]):
        await trio.sleep_forever()


async def test_what_one_connection_sends_the_other_gets_whole(nursery: trio.Nursery) -> None:
    traffic = Traffic()
    sender, receiver = await carried(nursery, traffic)
    chance = Random(1)
    for layer, handle in enumerate(sender.senders[SourceKind.CAMERA]):
        traffic.play(handle, media.camera(layer, chance), chance)
    (microphone,) = sender.senders[SourceKind.MICROPHONE]
    traffic.play(microphone, media.microphone(chance, talking=0.5), chance)

    def come() -> int:
        return sum(each.packets for each in traffic.engine.streams(receiver.client))

    with trio.fail_after(DEADLINE_S):
        while come() < 100:  # noqa: ASYNC110 -- the engine rings no bell for counters
            await trio.sleep(POLL_S)
    totals = traffic.engine.totals()
    faults = (totals.missing, totals.given_up, totals.undecryptable, totals.unmarked)
    assert faults == (0, 0, 0, 0)
    by_sender = {each.sender: each.layer for each in traffic.engine.streams(receiver.client)}
    low, high = sender.senders[SourceKind.CAMERA]
    assert by_sender[low] == 0
    assert by_sender[high] == 1
    nursery.cancel_scope.cancel()


async def test_checks_of_the_other_side_are_answered_while_the_engine_reads(
    nursery: trio.Nursery,
) -> None:
    traffic = Traffic()
    sender, receiver = PeerConnection(CERTIFICATE), PeerConnection(CERTIFICATE)
    with closing(sender), closing(receiver):
        answer = receiver.answer(sender.offer(WISH))
        async with trio.open_nursery() as connecting:
            connecting.start_soon(sender.accept, answer)
            connecting.start_soon(receiver.connect)
        await nursery.start(traffic.run)
        clients = [traffic.add(each).client for each in (sender, receiver)]
        before = traffic.engine.client_stats(clients[1]).consents
        receiver.renew_consent()
        with trio.fail_after(DEADLINE_S):
            while traffic.engine.client_stats(clients[1]).consents == before:  # noqa: ASYNC110
                await trio.sleep(POLL_S)
        for client in clients:
            traffic.remove(client)
    nursery.cancel_scope.cancel()


# People on a bridge


async def test_people_in_a_meeting_get_what_they_ask_for_and_lose_nothing(
    url: str, nursery: trio.Nursery
) -> None:
    traffic = Traffic(Manners())
    await nursery.start(traffic.run)
    gathering = Gathering(OctomeshBridge(url), traffic, Meeting(people=4), room="garden")
    await nursery.start(gathering.run)
    assert not gathering.failed
    with trio.fail_after(COMMAND_S):
        while True:
            measured = await measure(traffic, [gathering], 1)
            if measured.layers.share(2, 2) == measured.layers.share(1, 1) == 1:
                break
    whole = (await measure(traffic, [gathering], 2)).whole
    assert whole.counted.packets > 100
    assert (whole.lost, whole.faults) == (0, {})
    assert all(person.first_packet_s is not None for person in gathering.people)
    nursery.cancel_scope.cancel()


async def octomesh_load(*options: str | Path) -> tuple[int, str]:
    """Its exit code and all that it says."""
    process = await open_program("load", *options)
    try:
        assert process.stdout is not None
        with trio.fail_after(COMMAND_S):
            said = b"".join([data async for data in process.stdout])
            return await process.wait(), said.decode()
    finally:
        process.kill()


async def test_the_command_says_how_it_went_and_writes_it_down(url: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    people = ("--people", "3", "--seconds", "2", "--joins-per-s", "50", "--region", REGION)
    code, said = await octomesh_load("--url", url, "--room", "hall", *people, "--out", out)
    assert code == 0, said
    assert "meeting: 3 of 3 people for 2 s" in said
    assert "packets/s" in said
    summary = json.loads((out / "summary.json").read_text())
    assert summary["joined"] == 3
    assert summary["failures"] == {}
    assert summary["packets_per_s"] > 0
    assert len(summary["each_second"]) == 2
    assert set(summary["delay_ms"]["pictures"]) == {"p50", "p95", "p99"}
    for name in ("delays.png", "rates.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    if summary["loss"] == 0 and not summary["overloaded"]:
        capacity = Capacity.read(out / "capacity.json")
        assert capacity.profile == "meeting"
        assert capacity.packets_out_per_core_s > 0
        assert Stream.P180 in capacity.received


async def test_an_interrupted_load_ends_at_once_and_without_many_words(
    url: str, nursery: trio.Nursery
) -> None:
    people = ("--people", "2", "--seconds", "600")
    async with running(nursery, "load", "--url", url, "--room", "short", *people) as load:
        with trio.fail_after(COMMAND_S):
            await load.until_says("measuring")
        load.process.send_signal(signal.SIGINT)
        assert await load.ended(within_s=DEADLINE_S) == 1
    assert load.output.splitlines()[-1] == "Aborted!"
    assert "Traceback" not in load.output


async def test_voices_alone_are_measured_too(url: str) -> None:
    profile = ("--profile", "audio", "--people", "3", "--seconds", "1")
    code, said = await octomesh_load("--url", url, "--room", "choir", *profile)
    assert code == 0, said
    assert "audio: 3 of 3 people for 1 s" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--url", "meet.example.org"), "a URL like https://meet.example.org"),
        (("--url", "http://127.0.0.1:1"), "no octomesh at http://127.0.0.1:1: "),
        (("--out", "/dev/null/out"), "--out /dev/null/out: Not a directory"),
    ],
)
async def test_what_cannot_work_is_one_line(options: tuple[str, ...], words: str) -> None:
    code, said = await octomesh_load("--room", "a", "--people", "2", *options)
    assert code == 1
    assert words in said
    assert len(said.splitlines()) == 1


async def test_an_unknown_region_is_one_line_with_those_that_there_are(url: str) -> None:
    code, said = await octomesh_load(
        *("--url", url, "--room", "a", "--people", "2", "--region", "atlantis")
    )
    assert (code, said) == (1, f"octomesh: --region atlantis: {url} has {REGION}\n")


async def test_a_room_that_nobody_can_be_in_is_one_line_with_the_reason(url: str) -> None:
    code, said = await octomesh_load("--url", url, "--room", "not a room!", "--people", "2")
    assert code == 1
    assert said.splitlines()[-1].startswith("octomesh: nobody could join: a room name has ")


@pytest.mark.parametrize("people", ["1", "501", "many"])
async def test_a_number_of_people_that_no_room_holds_is_a_usage_error(people: str) -> None:
    code, said = await octomesh_load("--room", "a", "--people", people)
    assert code == 2
    assert "--people" in said
