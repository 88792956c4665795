"""Opens a trunk's UDP path: checks the peer's addresses, answers its checks, picks the best.

A full ICE agent (RFC 8445) with one component and one base, run at both ends; it knows no
socket and no trunk. Each end chooses the address that it sends to by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from aioice import stun

from region.ice import CheckAnswerer, CheckReply, IceCredentials

PACING_S = 0.05
"""RFC 8445 §14.2: Ta, the least time between two checks."""
FIRST_RETRANSMISSION_S = 0.5
"""RFC 8489 §6.2.1: RTO, doubled with each retransmission."""
MAX_SENDS = 3
"""RFC 8489 has 7 (Rc) and gives up after 39.5 s; a trunk rather tries anew after 3.5 s."""
KEEP_ALIVE_S = 2.5
"""How often the selected address is checked: well within any NAT's memory."""
MAX_ADDRESSES = 16
"""Addresses that are tried, told and learned ones together."""

_NEVER = float("inf")
_AT_ONCE = 0.0
# RFC 8445 §5.1.2.1: of a peer-reflexive candidate, the only kind that PRIORITY tells (§7.1.1).
_PRIORITY = 110 << 24 | 65_535 << 8 | 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A binding request that is to be sent now."""

    address: bytes
    transaction_id: bytes
    data: bytes


@dataclass(slots=True, kw_only=True)
class _Candidate:
    """An address of the peer and the transaction that is under way with it."""

    address: bytes
    learned: bool
    due_s: float = _AT_ONCE
    transaction_id: bytes | None = None
    data: bytes = b""
    started_s: float = 0.0
    sends: int = 0


class PathChecker:
    """One end of one path; addresses are packed as the kernel's, `now` is monotonic seconds."""

    def __init__(
        self,
        local: IceCredentials,
        remote: IceCredentials,
        addresses: Sequence[bytes],
        controlling: bool,
        tie_breaker: int,
        transaction_ids: Callable[[], bytes],
    ) -> None:
        """`transaction_ids` gives 12 fresh random bytes at each call."""
        self._answerer = CheckAnswerer(local, remote)
        self._username = f"{remote.ufrag}:{local.ufrag}"
        self._password = remote.password.encode()
        self._controlling = controlling
        self._tie_breaker = tie_breaker
        self._transaction_ids = transaction_ids
        self._candidates: dict[bytes, _Candidate] = {}
        for address in tuple(dict.fromkeys(addresses))[:MAX_ADDRESSES]:
            self._candidates[address] = _Candidate(address=address, learned=False)
        self._by_transaction: dict[bytes, _Candidate] = {}
        self._abandoned: list[bytes] = []
        self._rtt_s: dict[bytes, float] = {}
        self._paced_until_s = _AT_ONCE
        self.selected: bytes | None = None
        """Where to send, or None while no check has succeeded."""

    @property
    def rtt_s(self) -> Mapping[bytes, float]:
        """The last round trip of each address that has answered since the last reset."""
        return MappingProxyType(self._rtt_s)

    def poll(self, now: float) -> list[Check]:
        """The checks that are due, at most one each 50 ms; call again at `next_timer`."""
        while now >= self._paced_until_s:
            candidate = self._next_due()
            if candidate is None or candidate.due_s > now:
                break
            if candidate.transaction_id is not None and candidate.sends >= MAX_SENDS:
                self._give_up(candidate)
                continue
            self._paced_until_s = now + PACING_S
            return [self._check(candidate, now)]
        return []

    def next_timer(self) -> float | None:
        """When to poll next, in monotonic seconds; None while there is no address to check."""
        candidate = self._next_due()
        return None if candidate is None else max(candidate.due_s, self._paced_until_s)

    def abandoned(self) -> list[bytes]:
        """Transactions, since the last call, whose responses nobody waits for any more."""
        abandoned, self._abandoned = self._abandoned, []
        return abandoned

    def receive_check(self, message: stun.Message, address: bytes, now: float) -> CheckReply:
        """Answer the peer's check; an address that it came from is tried in return.

        `selected` in the reply is always None: only an answered check of our own selects.
        """
        theirs = "ICE-CONTROLLING" if self._controlling else "ICE-CONTROLLED"
        clash = theirs in message.attributes
        # RFC 8445 §7.3.1.1: the larger tie-breaker controls; the other end is told or gives way.
        we_control = clash and self._tie_breaker >= message.attributes[theirs]
        reply = self._answerer.answer(
            message, address, role_conflict=clash and we_control == self._controlling
        )
        if not reply.valid:
            return reply
        if clash:
            self._controlling = we_control
        # RFC 8445 §7.3.1.3 and §7.3.1.4: a peer-reflexive address, a triggered check.
        candidate = self._candidates.get(address)
        if candidate is None and len(self._candidates) < MAX_ADDRESSES:
            self._candidates[address] = _Candidate(address=address, learned=True, due_s=now)
        elif candidate and self.selected is None and candidate.transaction_id is None:
            candidate.due_s = now
        return reply

    def receive_response(self, message: stun.Message, address: bytes, now: float) -> None:
        """Take the response to one of our checks; what is not authentic or not ours is ignored."""
        candidate = self._by_transaction.get(message.transaction_id)
        # RFC 8445 §7.2.5.2.1: the response must come from where the check went.
        if candidate is None or candidate.address != address:
            return
        if not message.check_message_integrity(self._password):
            return  # RFC 8489 §9.1.4: as if it had never come
        if message.message_class is stun.Class.RESPONSE:
            # Of a repeated request it is unknown which one is answered: count from the first.
            self._rtt_s[address] = now - candidate.started_s
            self._end(candidate)
            self._select(candidate, now)
        elif message.message_class is stun.Class.ERROR:
            self._end(candidate)
            candidate.due_s = now + FIRST_RETRANSMISSION_S
            if message.error_code == 487:
                # RFC 8445 §7.2.5.1: take the other role and try again.
                self._controlling = not self._controlling

    def reset(self) -> None:
        """The path is down: forget what was found and check every address anew, at once."""
        last = self.selected
        self.selected = None
        self._rtt_s.clear()
        for candidate in tuple(self._candidates.values()):
            self._abandon(candidate)
            candidate.due_s = _AT_ONCE
            if candidate.learned and candidate.address != last:
                del self._candidates[candidate.address]

    def _next_due(self) -> _Candidate | None:
        waiting = [c for c in self._candidates.values() if c.due_s < _NEVER]
        return min(waiting, key=lambda candidate: candidate.due_s, default=None)

    def _check(self, candidate: _Candidate, now: float) -> Check:
        """Start a transaction or repeat its request."""
        if candidate.transaction_id is None:
            candidate.transaction_id = self._transaction_ids()
            candidate.data = self._request(candidate.transaction_id)
            candidate.started_s = now
            candidate.sends = 0
            self._by_transaction[candidate.transaction_id] = candidate
        candidate.due_s = now + FIRST_RETRANSMISSION_S * 2**candidate.sends
        candidate.sends += 1
        return Check(
            address=candidate.address,
            transaction_id=candidate.transaction_id,
            data=candidate.data,
        )

    def _request(self, transaction_id: bytes) -> bytes:
        role = "ICE-CONTROLLING" if self._controlling else "ICE-CONTROLLED"
        request = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.REQUEST,
            transaction_id=transaction_id,
            attributes={
                "USERNAME": self._username,
                "PRIORITY": _PRIORITY,
                role: self._tie_breaker,
            },
        )
        request.add_message_integrity(self._password)
        return bytes(request)

    def _select(self, candidate: _Candidate, now: float) -> None:
        """The first that answers, then any that answers faster."""
        chosen = self._candidates.get(self.selected) if self.selected else None
        if chosen is None or self._rtt_s[candidate.address] < self._rtt_s[chosen.address]:
            if chosen is not None and chosen is not candidate:
                self._abandon(chosen)
                chosen.due_s = _NEVER
            self.selected = candidate.address
        candidate.due_s = now + KEEP_ALIVE_S if self.selected == candidate.address else _NEVER

    def _give_up(self, candidate: _Candidate) -> None:
        """All sends of a transaction went unanswered."""
        if candidate.address == self.selected:
            self.reset()
            return
        self._abandon(candidate)
        candidate.due_s = _AT_ONCE if self.selected is None else _NEVER

    def _end(self, candidate: _Candidate) -> None:
        if candidate.transaction_id is not None:
            del self._by_transaction[candidate.transaction_id]
            candidate.transaction_id = None

    def _abandon(self, candidate: _Candidate) -> None:
        if candidate.transaction_id is not None:
            self._abandoned.append(candidate.transaction_id)
        self._end(candidate)
