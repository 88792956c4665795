from collections.abc import Callable
from itertools import count

import pytest
from aioice import stun

from region.ice import IceCredentials, parse_stun_untrusted
from region.path import KEEP_ALIVE_S, MAX_ADDRESSES, PACING_S, PathChecker

LEFT = IceCredentials("left", "l" * 24)
RIGHT = IceCredentials("right", "r" * 24)


def address(number: int) -> bytes:
    return bytes(10) + b"\xff\xff" + bytes([192, 0, 2, number]) + b"\x27\x10"


A, B, NAT = address(1), address(2), address(99)


def numbers(prefix: bytes) -> Callable[[], bytes]:
    counter = count()
    return lambda: prefix + next(counter).to_bytes(8, "big")


def left(*addresses: bytes, controlling: bool = True, tie_breaker: int = 2) -> PathChecker:
    return PathChecker(LEFT, RIGHT, addresses, controlling, tie_breaker, numbers(b"left"))


def right(*addresses: bytes, controlling: bool = False, tie_breaker: int = 1) -> PathChecker:
    return PathChecker(RIGHT, LEFT, addresses, controlling, tie_breaker, numbers(b"rght"))


def polled(checker: PathChecker, until_s: float, since_s: float = 0.0) -> list[tuple[float, bytes]]:
    """When the checker, left alone, sends to whom."""
    sent = []
    now = since_s
    while now <= until_s:
        sent += [(round(now, 3), each.address) for each in checker.poll(now)]
        timer = checker.next_timer()
        if timer is None:
            break
        assert timer > now
        now = timer
    return sent


class Net:
    """Two checkers, one-way delays by destination, and addresses that swallow everything."""

    def __init__(self, one: PathChecker, other: PathChecker, *, source: dict[int, bytes]) -> None:
        self.ends = (one, other)
        self.source = source
        """What an end's datagrams come from, as the other sees them."""
        self.delays_s: dict[bytes, float] = {}
        self.dead: set[bytes] = set()
        self.now = 0.0
        self._seen: dict[bytes, bytes] = {}
        self._flying: list[tuple[float, int, bytes, bytes]] = []

    @property
    def selected(self) -> tuple[bytes | None, bytes | None]:
        return self.ends[0].selected, self.ends[1].selected

    def _send(self, end: int, to: bytes, data: bytes) -> None:
        if to not in self.dead:
            arrival_s = self.now + self.delays_s.get(to, 0.01)
            self._flying.append((arrival_s, 1 - end, to, data))

    def run(self, until_s: float) -> None:
        while self.now < until_s:
            for end, checker in enumerate(self.ends):
                for each in checker.poll(self.now):
                    self._send(end, each.address, each.data)
            due = [each for each in self._flying if each[0] <= self.now]
            self._flying = [each for each in self._flying if each[0] > self.now]
            for _, end, to, data in due:
                self._arrive(end, to, data)
            self.now = round(self.now + 0.005, 3)

    def _arrive(self, end: int, to: bytes, data: bytes) -> None:
        message = parse_stun_untrusted(data)
        if message.message_class is not stun.Class.REQUEST:
            # It comes from the very address that the request went to.
            self.ends[end].receive_response(message, self._seen[message.transaction_id], self.now)
            return
        source = self.source[1 - end]
        self._seen[message.transaction_id] = to
        reply = self.ends[end].receive_check(message, source, self.now)
        if reply.response is not None:
            self._send(end, source, reply.response)


def test_both_ends_select_each_other() -> None:
    net = Net(left(B), right(A), source={0: A, 1: B})
    net.run(1.0)
    assert net.selected == (B, A)
    assert net.ends[0].rtt_s[B] == pytest.approx(0.02, abs=0.011)


def test_a_peer_behind_nat_is_reached_where_its_checks_come_from() -> None:
    # What the right end was told of the left leads nowhere.
    net = Net(left(B), right(A), source={0: NAT, 1: B})
    net.dead = {A}
    net.run(1.0)
    assert net.selected == (B, NAT)


def test_the_faster_of_two_addresses_is_selected_in_the_end() -> None:
    fast = address(3)
    net = Net(left(B, fast), right(A), source={0: A, 1: B})
    net.delays_s = {B: 0.2, fast: 0.1}
    net.run(0.25)
    assert net.ends[0].selected == fast
    net = Net(left(B, fast), right(A), source={0: A, 1: B})
    net.delays_s = {B: 0.05, fast: 0.1}
    net.run(1.0)
    assert net.ends[0].selected == B


def test_a_dead_address_is_tried_again_until_it_lives() -> None:
    net = Net(left(B), right(A), source={0: A, 1: B})
    net.dead = {A, B}
    net.run(30.0)
    assert net.selected.count(None) == 2
    net.dead = set()
    net.run(32.5)
    assert net.selected == (B, A)


def test_requests_are_repeated_with_back_off_and_then_begun_anew() -> None:
    checker = left(B)
    sent = polled(checker, 5.1)
    assert sent == [(at, B) for at in (0.0, 0.5, 1.5, 3.5, 4.0, 5.0)]


def test_a_repeated_request_is_the_same_and_the_next_transaction_is_told() -> None:
    checker = left(B)
    times = (0.0, 0.5, 1.5, 3.5)
    checks = [each for now in times for each in checker.poll(now)]
    assert [each.transaction_id for each in checks[:3]] == [checks[0].transaction_id] * 3
    assert checks[0].data == checks[2].data
    assert checks[3].transaction_id != checks[0].transaction_id
    assert checker.abandoned() == [checks[0].transaction_id]
    assert checker.abandoned() == []


def test_checks_are_paced() -> None:
    checker = left(*(address(number) for number in range(1, 6)))
    sent = polled(checker, 0.3)
    assert [at for at, _ in sent] == pytest.approx([index * PACING_S for index in range(5)])
    assert len({to for _, to in sent}) == 5


def test_the_selected_address_is_kept_alive_and_dead_ones_are_left_alone() -> None:
    net = Net(left(B, address(3)), right(A), source={0: A, 1: B})
    net.dead = {address(3)}
    net.run(4.0)
    sent = polled(net.ends[0], 5.6, since_s=4.0)
    assert [to for _, to in sent] == [B, B]
    assert sent[0][0] == pytest.approx(2 * KEEP_ALIVE_S + 0.04, abs=0.04)


def test_a_selected_address_that_falls_silent_is_given_up() -> None:
    net = Net(left(B), right(A), source={0: A, 1: B})
    net.run(1.0)
    net.dead = {A, B}
    net.run(1.0 + KEEP_ALIVE_S + 3.5)
    assert net.ends[0].selected is None
    assert dict(net.ends[0].rtt_s) == {}


def test_after_a_reset_every_address_is_checked_at_once() -> None:
    net = Net(left(B, address(3)), right(A), source={0: A, 1: B})
    net.run(1.0)
    checker = net.ends[0]
    checker.reset()
    assert checker.selected is None
    sent = polled(checker, 1.1, since_s=1.0)
    assert sorted(to for _, to in sent) == [B, address(3)]


def answered(data: bytes, password: str, host: str = "192.0.2.1") -> stun.Message:
    request = parse_stun_untrusted(data)
    response = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.RESPONSE,
        transaction_id=request.transaction_id,
        attributes={"XOR-MAPPED-ADDRESS": (host, 1)},
    )
    response.add_message_integrity(password.encode())
    return parse_stun_untrusted(bytes(response))


def test_a_response_selects_only_if_it_is_authentic_and_from_where_the_check_went() -> None:
    checker = left(B)
    (sent,) = checker.poll(0.0)
    checker.receive_response(answered(sent.data, LEFT.password), B, 0.1)
    checker.receive_response(answered(sent.data, RIGHT.password), A, 0.1)
    assert checker.selected is None
    (stranger,) = right(B).poll(0.0)
    checker.receive_response(answered(stranger.data, RIGHT.password), B, 0.1)
    assert checker.selected is None
    checker.receive_response(answered(sent.data, RIGHT.password), B, 0.1)
    assert checker.selected == B
    assert checker.rtt_s[B] == pytest.approx(0.1)


def test_a_round_trip_longer_than_the_first_repetition_is_measured_from_the_first_send() -> None:
    checker = left(B)
    (first,) = checker.poll(0.0)
    checker.poll(0.5)
    checker.receive_response(answered(first.data, RIGHT.password), B, 0.7)
    assert checker.rtt_s[B] == pytest.approx(0.7)


@pytest.mark.parametrize("both_controlling", [True, False])
def test_two_ends_of_one_role_settle_it_by_their_tie_breakers(both_controlling: bool) -> None:
    one = left(B, controlling=both_controlling, tie_breaker=2)
    other = right(A, controlling=both_controlling, tie_breaker=1)
    net = Net(one, other, source={0: A, 1: B})
    net.run(2.0)
    assert (one.selected, other.selected) == (B, A)
    one.reset()
    other.reset()
    requests = [parse_stun_untrusted(each.poll(9.0)[0].data) for each in (one, other)]
    assert "ICE-CONTROLLING" in requests[0].attributes
    assert "ICE-CONTROLLED" in requests[1].attributes


def test_a_forged_check_teaches_no_address() -> None:
    checker = left()
    forged = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    forged.attributes["USERNAME"] = "left:right"
    forged.add_message_integrity(b"x" * 24)
    reply = checker.receive_check(parse_stun_untrusted(bytes(forged)), NAT, 0.0)
    assert not reply.valid
    assert checker.next_timer() is None


def test_learned_addresses_are_bounded_and_forgotten_with_the_path() -> None:
    checker = left(B)
    peer = right(A)
    for number in range(40):
        (sent,) = peer.poll(number * 10.0)
        reply = checker.receive_check(parse_stun_untrusted(sent.data), address(100 + number), 0.0)
        peer.reset()
        assert reply.valid
    tried = {to for _, to in polled(checker, 3.0)}
    assert len(tried) == MAX_ADDRESSES
    checker.reset()
    assert {to for _, to in polled(checker, 13.0, since_s=10.0)} == {B}
