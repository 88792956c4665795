"""Hands what the pump keeps from the media path to whom it belongs; knows no conference.

STUN goes by its user fragment or, for responses, its transaction; DTLS and RTCP by the
transport that owns the sender's address (RFC 7983). What belongs to nobody is counted.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import trio
from aioice import stun

from region.ice import local_ufrag_untrusted, parse_stun_untrusted
from region.kernel import DTLS, RTCP, STUN, Datagram, Pump
from relay.errors import MalformedError

TransactionId = bytes

GATHER_S = 0.01
"""RTCP that comes so soon behind other is left until then: to wake for each costs more than all
that is done for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StunArrival:
    """A parsed STUN message whose integrity nobody has checked yet."""

    message: stun.Message
    datagram: Datagram


StunHandler = Callable[[StunArrival], None]
DatagramHandler = Callable[[Datagram], None]


class Demux:
    """Owns no socket: reads from the pump, calls handlers, which must neither block nor raise."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._by_ufrag: dict[str, StunHandler] = {}
        self._by_transaction: dict[TransactionId, StunHandler] = {}
        self._by_transport: dict[int, DatagramHandler] = {}
        self.dropped: Counter[str] = Counter()
        self.on_news: Callable[[frozenset[int]], None] = lambda begun: None
        """Called with streams that have begun, or with none when the pump has other news."""

    def claim_ufrag(self, ufrag: str, handler: StunHandler) -> None:
        """Binding requests whose USERNAME begins with `ufrag` go to `handler` until released."""
        self._by_ufrag[ufrag] = handler

    def release_ufrag(self, ufrag: str) -> None:
        """Nobody answers to `ufrag` any more; unknown ones are no error."""
        self._by_ufrag.pop(ufrag, None)

    def expect_response(self, transaction: TransactionId, handler: StunHandler) -> None:
        """The response to this transaction goes to `handler`, once, unless forgotten before."""
        self._by_transaction[transaction] = handler

    def forget_response(self, transaction: TransactionId) -> None:
        """The transaction timed out."""
        self._by_transaction.pop(transaction, None)

    def claim_transport(self, transport: int, handler: DatagramHandler) -> None:
        """DTLS and (decrypted) RTCP of the pump's `transport` go to `handler`."""
        self._by_transport[transport] = handler

    def release_transport(self, transport: int) -> None:
        """Call when the transport is removed from the pump."""
        self._by_transport.pop(transport, None)

    async def run(self) -> None:
        """Dispatch until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._pump.wake_fd)
            while datagrams := self.dispatch():
                # A handshake has several flights, each of which would wait.
                if all(datagram.kind == RTCP for datagram in datagrams):
                    await trio.sleep(GATHER_S)
                else:
                    await trio.lowlevel.checkpoint()  # however much comes, others have their turn

    def dispatch(self) -> list[Datagram]:
        """Hand out what has arrived by now, reports too, for which nobody is woken; all of it."""
        datagrams = self._pump.drain()
        # Asked for behind that: whatever comes later wakes again.
        if (begun := self._pump.news()) is not None:
            self.on_news(begun)
        for datagram in datagrams:
            self._dispatch(datagram)
        return datagrams

    def _dispatch(self, datagram: Datagram) -> None:
        if datagram.kind == STUN:
            self._dispatch_stun(datagram)
            return
        handler = self._by_transport.get(datagram.transport)
        if handler is not None:
            handler(datagram)
        else:
            names = {DTLS: "dtls_unknown_address", RTCP: "rtcp_unknown_transport"}
            self.dropped[names[datagram.kind]] += 1

    def _dispatch_stun(self, datagram: Datagram) -> None:
        try:
            message = parse_stun_untrusted(datagram.data)
            if message.message_class is stun.Class.REQUEST:
                handler = self._by_ufrag.get(local_ufrag_untrusted(message))
            else:
                handler = self._by_transaction.pop(message.transaction_id, None)
        except MalformedError:
            self.dropped["stun_malformed"] += 1
            return
        if handler is None:
            self.dropped["stun_unknown"] += 1
            return
        handler(StunArrival(message=message, datagram=datagram))
