"""What `make bench` measures, with few people and for moments: that it works, not what it gives.

No time is asserted. What was sent has come whole, figures are figures, and nothing is unaccounted
for.
"""

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
from click.testing import CliRunner

from benchmarks import bench, report
from benchmarks.cases import CASES
from benchmarks.cases.audience import PAYLOAD_BYTES, dosed, seated
from benchmarks.cases.cost import BURSTS, compare
from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target, versus
from benchmarks.cases.stage import loaded, started
from benchmarks.load.media import plain
from benchmarks.load.traffic import Manners
from benchmarks.peers import mediasoup_build
from benchmarks.peers.floor import Floor
from benchmarks.peers.octomesh import Octomesh, OctomeshBridge
from benchmarks.table import markdown, number

SHORTEST = Setting(rounds=1, seconds=0.3, janus=False, mediasoup=False, small=True)


def quietly(line: str) -> None:
    """Nobody looks."""


def numbers(value: Any) -> Iterator[float]:
    """All that are in it."""
    match value:
        case dict():
            for each in value.values():
                yield from numbers(each)
        case list() | tuple():
            for each in value:
                yield from numbers(each)
        case int() | float():
            yield value


def losses(value: Any) -> Iterator[float]:
    """All that were found, wherever in it they are."""
    match value:
        case dict():
            for key, each in value.items():
                if key in ("lost", "load_lost", "audio_lost", "load_late"):
                    yield each
                else:
                    yield from losses(each)
        case list() | tuple():
            for each in value:
                yield from losses(each)


@pytest.fixture(scope="module")
def cores() -> None:
    """What a bridge and its load need."""
    assert len(os.sched_getaffinity(0)) > 1, "the benchmarks need two cores"


@pytest.mark.parametrize("key", CASES)
async def test_a_case_gives_figures_and_loses_nothing(key: str, cores: None) -> None:
    outcome: Outcome = await CASES[key].run(SHORTEST, quietly)
    found = json.loads(json.dumps(outcome.raw))
    assert outcome.lines
    assert all(math.isfinite(line.ours) and line.ours >= 0 for line in outcome.lines)
    assert all(math.isfinite(each) for each in numbers(found))
    assert not any(losses(found))


async def test_memory_is_measured_as_often_as_there_are_rounds(cores: None) -> None:
    twice = dataclasses.replace(SHORTEST, rounds=2)
    outcome: Outcome = await CASES["memory"].run(twice, quietly)
    assert {name: len(turns) for name, turns in outcome.raw.items()} == {"octomesh": 2}


async def test_people_join_as_often_as_there_are_rounds(cores: None) -> None:
    twice = dataclasses.replace(SHORTEST, rounds=2)
    outcome: Outcome = await CASES["joins"].run(twice, quietly)
    assert [len(turn["connected_s"]) for turn in outcome.raw] == [4, 4]


async def test_peers_get_the_same_packets_and_each_passes_all_of_them_on(cores: None) -> None:
    floor, octomesh = await compare(BURSTS, [Floor(), Octomesh()], SHORTEST, quietly)
    for cost in (floor, octomesh):
        (turn,) = cost.turns
        assert turn.expected == turn.got > 0
        assert not turn.load_limited
    assert floor.turns[0].expected == pytest.approx(octomesh.turns[0].expected, rel=0.25)


async def test_what_a_bridge_counts_is_what_its_receivers_get(cores: None) -> None:
    with started([Octomesh()]) as (bridge,):
        assert isinstance(bridge, OctomeshBridge)
        async with loaded(Manners(feedback=False, nacks=False)) as (traffic, nursery):
            (audience,) = await seated(bridge, traffic, nursery, [3])
            audience.play(plain(300, PAYLOAD_BYTES), Random(1))
            audience.pause()
            before, totals = await bridge.counters(), traffic.engine.totals()
            sent = audience.sent
            dose = await dosed([audience], bridge.pids, 0.5)
            counted = await bridge.counters() - before
            after, went = traffic.engine.totals(), audience.sent - sent
    assert dose.got == dose.expected
    assert counted["packets_in"] == went
    assert counted["packets_out"] == dose.got
    assert not {name: n for name, n in counted.items() if name.startswith("dropped_")}
    for fault in ("undecryptable", "malformed", "unmarked", "duplicates", "unexpected"):
        assert getattr(after, fault) == getattr(totals, fault), fault


# Lines and tables


def test_a_line_is_reached_by_its_ratio_or_by_its_own_figure() -> None:
    floor = Target(bound=1.5, of_ratio=True)
    assert versus("cost", "w", "µs", [3.0, 2.8], "floor", [2.0, 2.0], floor).reached
    assert not versus("cost", "w", "µs", [3.2, 3.2], "floor", [2.0, 2.0], floor).reached
    assert Line(measure="m", work="w", ours=4, target=Target(bound=4)).reached
    assert not Line(measure="m", work="w", ours=3, target=Target(bound=4, at_least=True)).reached
    assert Line(measure="m", work="w", ours=3).reached is None


def test_a_figure_that_something_has_spoilt_reaches_nothing() -> None:
    assert not Line(measure="m", work="w", ours=1, target=Target(bound=4), valid=False).reached


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    line = versus("m", "w", "µs", [1.0, 10.0, 3.0], "floor", [1.0, 5.0, 1.0], None)
    assert (line.ours, line.theirs, line.ratio) == (3.0, 1.0, 2.0)


def test_numbers_have_as_many_digits_as_they_are_worth() -> None:
    assert [number(each, "µs") for each in (0.0123, 0.5, 2.345, 23.45, 234.5, 2345.6, 3.0)] == [
        *("0.012 µs", "0.50 µs", "2.35 µs", "23.4 µs", "234 µs", "2,346 µs", "3 µs")
    ]


LINE = Line(measure="m", work="a|b", ours=4, target=Target(bound=5)).as_json()
MACHINE = {
    "commit": "c",
    "processor": "p",
    "cores": 2,
    "memory_bytes": 2**30,
    "system": "s",
    "distribution": "d",
    "python": "3",
    "openssl": "o",
    "janus": "",
    "mediasoup": "mediasoup 3",
    "load_average": [0.5],
}


def results_of_cost(**more: int) -> dict[str, Any]:
    """As `benchmarks.bench` keeps them."""
    case = {
        "title": "t",
        "measured_at": "2025-01-01T00:00:00",
        "seconds": 4.0,
        "took_s": 1.0,
        "machine": MACHINE,
        "lines": [LINE],
    }
    return {"cases": {"cost": {**case, **more}}}


def test_results_md_gets_its_figures_from_the_results_and_keeps_the_rest() -> None:
    results = results_of_cost(rounds=5)
    others = "<!-- end -->\nafter\n<!-- figures: joins -->\nkept\n<!-- end -->\n"
    text = f"before\n<!-- figures: cost -->\nold\n{others}"
    made = report.rendered(text, results)
    assert made.startswith("before\n<!-- figures: cost -->\n")
    assert "old" not in made
    assert "o, mediasoup 3; load average" in made
    assert markdown([LINE]) in made
    assert made.endswith(others)
    assert report.rendered(made, results) == made


def test_results_md_tells_of_rounds_only_where_there_were_some() -> None:
    text = "<!-- figures: cost -->\n<!-- end -->\n"
    made = report.rendered(text, results_of_cost(rounds=5))
    assert "benchmarks.bench cost --rounds 5 --seconds 4`, 2025-01-01" in made
    made = report.rendered(text, results_of_cost())
    assert "benchmarks.bench cost --seconds 4`, once, 2025-01-01" in made


# The runner


def test_a_run_leaves_each_case_with_the_machine_it_was_measured_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.Setting
    monkeypatch.setattr(
        bench, "Setting", lambda **options: run(**{**options, "small": True, "seconds": 1.0})
    )
    alone = ["--without", "janus", "--without", "mediasoup"]
    arguments = ["meeting", "memory", "--quick", *alone, "--out", str(tmp_path)]
    made = CliRunner().invoke(bench.main, arguments)
    assert made.exit_code == 0, made.output
    assert "at rest" in made.output
    results = json.loads((tmp_path / bench.RESULTS_FILE).read_text())
    assert list(results["cases"]) == ["meeting", "memory"]
    assert results["cases"]["memory"]["rounds"] == 1
    assert "rounds" not in results["cases"]["meeting"]
    assert all(case["machine"]["processor"] for case in results["cases"].values())


def test_a_case_that_fails_shows_no_figures_of_an_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = False

    async def run(setting: Setting, say: Say) -> Outcome:
        if fails:
            raise click.ClickException("the bridge did not start")
        return Outcome(lines=[Line(measure="how tall", work="w", ours=4)], raw=[])

    monkeypatch.setitem(bench.CASES, "memory", Case(key="memory", title="t", run=run))
    alone = ["--without", "janus", "--without", "mediasoup"]
    arguments = ["memory", *alone, "--out", str(tmp_path)]
    assert "how tall" in CliRunner().invoke(bench.main, arguments).output
    fails = True
    made = CliRunner().invoke(bench.main, arguments)
    assert made.exit_code == 1
    assert "memory: FAILED: the bridge did not start" in made.output
    assert "how tall" not in made.output


@pytest.mark.parametrize(
    "options", [("--rounds", "0"), ("--seconds", "0"), ("--seconds", "-1"), ("--rounds", "x")]
)
def test_no_turns_and_no_time_are_usage_errors(options: tuple[str, str]) -> None:
    made = CliRunner().invoke(bench.main, ["memory", *options])
    assert made.exit_code == click.UsageError.exit_code
    assert options[0] in made.output


@pytest.mark.parametrize("missing", ["janus", "gcc"])
def test_what_is_missing_is_said_in_one_line(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    which = shutil.which
    monkeypatch.setattr(
        "shutil.which", lambda name: None if name == missing else which(name) or f"/usr/bin/{name}"
    )
    made = CliRunner().invoke(bench.main, ["memory", "--out", str(tmp_path)])
    assert made.exit_code == click.ClickException.exit_code
    assert f"no {missing}" in made.output
    assert len(made.output.splitlines()) == 1


def test_janus_needs_root_and_can_be_let_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    made = CliRunner().invoke(bench.main, ["memory", "--out", str(tmp_path)])
    assert "root" in made.output
    assert "--without janus" in made.output


def test_mediasoup_that_cannot_be_built_can_be_let_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mediasoup_build, "WORKER", tmp_path / "worker")
    monkeypatch.setattr(mediasoup_build, "LIBRARIES", {})
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name: None if name == "npm" else f"/usr/bin/{name}")
    made = CliRunner().invoke(bench.main, ["memory", "--out", str(tmp_path)])
    assert made.exit_code == click.ClickException.exit_code
    assert "apt-get install npm" in made.output
    assert "--without mediasoup" in made.output
    assert len(made.output.splitlines()) == 1
