"""People use a mesh of three regions for two minutes: nothing grows, nothing gets lost unnamed.

`make soak` has many more of them do so for half an hour, and sees leaks that are much smaller.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load.counts import Totals
from benchmarks.soak.look import Look, Usage, troubles
from benchmarks.soak.outcome import Outcome, Rest
from benchmarks.soak.run import Display, Terms, soak

QUIET = Display(line=lambda text: None, live=lambda share, text: None)
NOTHING = Totals(*(0 for _ in Totals._fields))
TOLD = dict.fromkeys(
    (
        *("datagrams_in", "tcp_frames_in", "tcp_connections", "packets_in", "packets_out"),
        *("consents", "handed_on", "rtcp_taken", "offered", "retransmitted", "probed"),
    ),
    0,
)


async def test_two_minutes_of_people_leave_nothing_behind(tmp_path: Path) -> None:
    outcome = await soak(Terms(minutes=2, people=8), tmp_path, QUIET)
    assert outcome.failures() == []
    assert outcome.done["joins"] > 3 * len(outcome.rests)
    assert outcome.rests[-1].load.packets > 0


def look(usage: Usage, told: Mapping[str, int] = TOLD) -> Look:
    return Look(at_s=0.0, usage={"frankfurt": usage}, told={"frankfurt": told})


def outcome_of(*rests: Rest, log: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        people=8,
        began=look(Usage(memory_bytes=0, descriptors=0, threads=0)),
        rests=rests,
        samples=(),
        done={},
        faults=(),
        troubles=log,
    )


def rest(
    joins: int = 0,
    *,
    memory_bytes: int = 50_000_000,
    descriptors: int = 20,
    threads: int = 2,
    load: Totals = NOTHING,
    unread: int = 0,
    unread_by_load: int = 0,
    **told: int,
) -> Rest:
    usage = Usage(memory_bytes=memory_bytes, descriptors=descriptors, threads=threads)
    return Rest(
        joins=joins,
        look=look(usage, {**TOLD, **told}),
        load=load,
        unread=unread,
        unread_by_load=unread_by_load,
    )


def test_a_soak_that_finds_nothing_passes() -> None:
    assert outcome_of(*(rest(joins) for joins in range(0, 700, 100))).failures() == []


@pytest.mark.parametrize(
    ("what", "grown"),
    [
        ("memory", [rest(at, memory_bytes=50_000_000 + 100_000 * at) for at in range(0, 700, 100)]),
        ("descriptors", [rest(at, descriptors=20 + at) for at in range(0, 700, 100)]),
        ("threads", [rest(at, threads=2 + at // 50) for at in range(0, 700, 100)]),
    ],
)
def test_what_grows_with_each_join_fails_by_name(what: str, grown: list[Rest]) -> None:
    (failure,) = outcome_of(*grown).failures()
    assert failure.startswith(f"frankfurt: {what}")


@pytest.mark.parametrize(
    ("people", "rounds", "joins", "leak_bytes"), [(8, 6, 12, 165_000), (30, 15, 100, 9_000)]
)
def test_a_leak_shows_from_so_much_a_join_on(
    people: int, rounds: int, joins: int, leak_bytes: int
) -> None:
    def failures(each_bytes: float) -> list[str]:
        at = range(joins, joins * (rounds + 2), joins)
        rests = [rest(it, memory_bytes=50_000_000 + round(each_bytes * it)) for it in at]
        return replace(outcome_of(*rests), people=people).failures()

    assert failures(leak_bytes)
    assert failures(0.9 * leak_bytes) == []


def test_a_drop_that_nobody_explains_fails() -> None:
    last = rest(datagrams_in=3, dropped_authentication=3)
    (failure,) = outcome_of(rest(), last).failures()
    assert "3 dropped as authentication" in failure


def test_drops_from_before_the_first_join_are_not_the_peoples() -> None:
    last = rest(dropped_dial_failed=1)
    outcome = outcome_of(rest(), last)
    began = look(last.look.usage["frankfurt"], last.look.told["frankfurt"])
    assert outcome.failures()
    assert replace(outcome, began=began).failures() == []


def test_packets_that_are_in_no_book_fail() -> None:
    (failure,) = outcome_of(rest(), rest(offered=2, packets_out=1, packets_in=0)).failures()[:1]
    assert "does not balance: frankfurt: packets to egresses" in failure


def test_gaps_fail_unless_the_machine_was_too_busy() -> None:
    gaps = NOTHING._replace(given_up=2)
    (failure,) = outcome_of(rest(), rest(load=gaps)).failures()
    assert "2 packets never came" in failure
    assert outcome_of(rest(), rest(load=gaps, unread=2)).failures() == [failure]
    assert outcome_of(rest(), rest(load=gaps, unread=2, unread_by_load=2)).failures() == []


@pytest.mark.parametrize("reason", ["overload", "queue_full"])
def test_what_a_bridge_does_not_read_on_a_calm_machine_fails(reason: str) -> None:
    sent = NOTHING._replace(sent_packets=int(reason == "overload"))
    last = rest(load=sent, datagrams_in=1, **{f"dropped_{reason}": 1})
    (failure,) = outcome_of(rest(), last).failures()
    assert f"1 dropped as {reason}" in failure
    assert outcome_of(rest(), replace(last, unread_by_load=1)).failures() == []


def test_what_a_bridge_cannot_send_on_a_calm_machine_fails() -> None:
    last = rest(offered=1, dropped_send=1)
    (failure,) = outcome_of(rest(), last).failures()
    assert "1 dropped as send" in failure


def test_a_moment_without_a_core_is_the_machines() -> None:
    sent = NOTHING._replace(sent_packets=1)
    last = rest(load=sent, datagrams_in=1, dropped_overload=1)
    began, stalled = (
        replace(it, usage={"frankfurt": replace(it.usage["frankfurt"], waited_s=waited_s)})
        for it, waited_s in ((last.look, 0.0), (replace(last.look, at_s=1.0), 0.4))
    )
    calm = outcome_of(rest(), last)
    assert replace(calm, samples=[began, began]).failures()
    assert replace(calm, samples=[began, stalled]).failures() == []


def test_pictures_that_jump_fail_on_any_machine() -> None:
    (failure,) = outcome_of(
        rest(), rest(load=NOTHING._replace(picture_jumps=1), unread_by_load=1)
    ).failures()
    assert "picture_jumps" in failure


def test_paths_are_not_lost_on_a_machine_that_has_time() -> None:
    calm = replace(outcome_of(rest(), rest()), paths_lost=1)
    (failure,) = calm.failures()
    assert "path did not answer" in failure
    assert replace(outcome_of(rest(), rest(unread_by_load=1)), paths_lost=1).failures() == []


def test_logs_are_free_of_errors_and_of_what_no_logger_wrote(tmp_path: Path) -> None:
    lines = [
        json.dumps({"at": "now", "level": "info", "event": "ready"}),
        json.dumps({"at": "now", "level": "error", "event": "it broke"}),
        "Traceback (most recent call last):",
    ]
    (tmp_path / "focus.log").write_text("\n".join(lines))
    found = troubles(tmp_path)
    assert found == [f"focus: {line}" for line in lines[1:]]
    assert outcome_of(rest(), rest(), log=tuple(found)).failures()
