"""Two of the load's connections meet: each side of ICE and DTLS that a bridge may want."""

import contextlib
from collections.abc import Iterator

import trio

from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import Wish
from relay.ids import MediaKind, SourceKind
from relay.payload import HeaderExtension

CERTIFICATE = LoadCertificate()
EVERYTHING = Wish(microphone=True, camera=3, as_browsers=True, rids=True)
DEADLINE_S = 5.0
RTP = bytes([0x80, 96]) + bytes(50)


@contextlib.contextmanager
def pair() -> Iterator[tuple[PeerConnection, PeerConnection]]:
    with (
        contextlib.closing(PeerConnection(CERTIFICATE)) as offerer,
        contextlib.closing(PeerConnection(CERTIFICATE)) as answerer,
    ):
        yield offerer, answerer


async def connect(offerer: PeerConnection, answerer: PeerConnection, wish: Wish) -> None:
    answer = answerer.answer(offerer.offer(wish))
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(offerer.accept, answer)
            nursery.start_soon(answerer.connect)


async def test_who_offers_and_who_answers_have_each_others_keys() -> None:
    with pair() as (offerer, answerer):
        await connect(offerer, answerer, EVERYTHING)
        for sender, receiver in ((offerer, answerer), (answerer, offerer)):
            sender.socket.send(sender.outbound.protect(RTP))
            while (data := receiver.socket.recv(2_048))[0] < 128:
                pass  # what is left of the handshake
            assert receiver.inbound.unprotect(data) == RTP


async def test_an_answer_repeats_the_offers_numbers() -> None:
    with pair() as (offerer, answerer):
        await connect(offerer, answerer, EVERYTHING)
        assert offerer.remote is not None
        assert offerer.remote.payload_of(MediaKind.VIDEO) == 96
        assert offerer.remote.rtx_payload_of(MediaKind.VIDEO) == 97
        assert offerer.remote.extensions[HeaderExtension.RID] == HeaderExtension.RID
        kinds = {source.kind: len(source.encodings) for source in offerer.sources}
        assert kinds == {SourceKind.MICROPHONE: 1, SourceKind.CAMERA: 3}


async def test_a_check_that_renews_consent_is_answered() -> None:
    with pair() as (offerer, answerer):
        await connect(offerer, answerer, Wish(microphone=True))
        offerer.renew_consent()
        with trio.fail_after(DEADLINE_S):
            while True:
                await trio.lowlevel.wait_readable(answerer.socket)
                check = answerer.socket.recv(2_048)
                if check[0] < 4:
                    break
        answerer.receive(check)
        with trio.fail_after(DEADLINE_S):
            await trio.lowlevel.wait_readable(offerer.socket)
            while (response := offerer.socket.recv(2_048))[0] >= 4 or response[8:20] != check[8:20]:
                await trio.lowlevel.wait_readable(offerer.socket)
