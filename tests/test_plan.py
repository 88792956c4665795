"""`octomesh plan`: what it prints for people and for machines, and what it is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import octomesh
from benchmarks.offices import parse_offices
from benchmarks.plan import Spare, Terms, make_plan
from benchmarks.traffic import Habits
from relay.errors import SettingsError
from tests.strategies.offices import CAPACITY

HABITS = Habits()
TERMS = Terms()
TABLE = """region,people,meetings at peak,size,remote share
frankfurt,620,48,5,25%
sao-paulo,240,20,4,
singapore,180,14,4.5,0.4
new-york,410,35,6,
sydney,60,5,4,50 %
nairobi,90,8,5,
"""
OFFICES = parse_offices(TABLE.encode(), "offices.csv")

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("--json", …)`: the command on TABLE, in a directory with CAPACITY's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "offices.csv").write_text(TABLE)
    CAPACITY.write(tmp_path / "capacity.json")

    def run(*options: str, columns: int = 80) -> Result:
        arguments = ["plan", "offices.csv", *options]
        return CliRunner().invoke(octomesh.cli, arguments, env={"COLUMNS": str(columns)})

    return run


def cells(line: str) -> list[str]:
    return line.replace("│", " ").split()


def test_the_plan_says_what_each_region_needs(run: Run) -> None:
    result = run("--capacity=capacity.json")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("6 regions, 1,600 people, 653 of them in meetings at once: ")
    plan = make_plan(OFFICES, HABITS, TERMS, CAPACITY)
    needed = plan.regions[0].processing
    assert needed
    row = next(cells(line) for line in lines if cells(line)[:2] == ["frankfurt", "620"])
    assert row[4:6] == [f"{needed.cores:.2f}", str(needed.bridges)]
    assert "measured on 2025-01-01 by profile meeting" in " ".join(result.output.split())


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_figure_is_cut_however_narrow_the_terminal(run: Run, columns: int) -> None:
    output = run("--capacity=capacity.json", columns=columns).output
    assert "…" not in output
    if columns >= 80:
        assert max(map(len, output.splitlines())) <= columns


def test_a_matrix_that_does_not_fit_becomes_a_list_of_the_same_figures(run: Run) -> None:
    wide, narrow = run(columns=80).output, run(columns=70).output
    assert "from \\ to" in wide
    assert "from \\ to" not in narrow
    row = [cells(line) for line in wide.splitlines() if cells(line)[:1] == ["nairobi"]][-1]
    pairs = [cells(line) for line in narrow.splitlines() if cells(line)[1:2] == ["nairobi"]]
    assert [from_it for *_, from_it in pairs] == row[1:]


def test_without_a_capacity_it_says_how_to_measure_one_and_names_no_cores(run: Run) -> None:
    result = run()
    text = " ".join(result.output.split())
    assert result.exit_code == 0
    assert "octomesh load --out DIR, then --capacity DIR/capacity.json" in text
    assert "Nominal ones of VP8 and Opus, not measured." in text
    assert "cores busy" not in text
    document = json.loads(run("--json").output)
    assert document["capacity"] is None
    assert {each["bridges"] for each in document["regions"]} == {None}


def test_machines_get_the_same_plan_with_units(run: Run) -> None:
    options = ("--capacity=capacity.json", "--headroom=0.5", "--spare=host", "--host-cores=2")
    document = json.loads(run("--json", *options).output)
    terms = Terms(headroom=0.5, spare=Spare.HOST, host_cores=2)
    plan = make_plan(OFFICES, HABITS, terms, CAPACITY)
    assert [each["bridges"] for each in document["regions"]] == [
        each.processing and each.processing.bridges for each in plan.regions
    ]
    assert document["assumptions"]["host_cores"] == 2
    assert len(document["trunks"]) == 30
    sent = sum(each["to_other_regions"]["bps"] for each in document["regions"])
    assert sent == pytest.approx(sum(each["bps"] for each in document["trunks"]), rel=1e-6)


def test_people_may_meet_otherwise_by_options(run: Run) -> None:
    options = ("--remote-share=0", "--pictures=4", "--voices=1", "--tiles=1")
    document = json.loads(run("--json", *options).output)
    habits = Habits(remote_share=0.0, pictures=4, voices=1, tiles=1.0)
    plan = make_plan(OFFICES, habits, TERMS, None)
    assert [each["to_people"]["bps"] for each in document["regions"]] == [
        round(each.to_people.bps) for each in plan.regions
    ]


def test_settings_of_the_plan_stand_in_the_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "octomesh.toml").write_text(
        '[plan]\ncapacity = "capacity.json"\nheadroom = 0.1\nhost-cores = 8\nspare = "bridge"\n'
    )
    arguments = ["--config", "octomesh.toml", "plan", "offices.csv", "--json"]
    document = json.loads(CliRunner().invoke(octomesh.cli, arguments).output)
    assumptions = document["assumptions"]
    assert (assumptions["headroom"], assumptions["host_cores"]) == (0.1, 8)
    assert (assumptions["spare"], document["capacity"]["profile"]) == ("bridge", "meeting")


def test_what_could_not_be_as_the_table_says_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "offices.csv").write_text(
        "region,people,meetings at peak,size,remote share\nlarge,1000,300,4,50%\nsmall,10,0,2,\n"
    )
    notes = json.loads(run("--json", "--capacity=capacity.json").output)["notes"]
    assert notes == [
        "large: 300 meetings of 4 are more than its 1,000 people; 250.0 of them are counted.",
        "large: 50% of its meetings' people should sit in other regions; there are people left "
        "for 1%.",
    ]
    text = " ".join(run("--capacity=capacity.json").output.split())
    assert "note large: 300 meetings of 4" in text


@pytest.mark.parametrize(
    "option", ["--headroom=1", "--tiles=2", "--pictures=10", "--voices=6", "--spare=region"]
)
def test_an_option_out_of_its_range_is_refused(run: Run, option: str) -> None:
    assert run(option).exit_code == 2


def test_a_wrong_table_is_what_an_operator_got_wrong(run: Run, tmp_path: Path) -> None:
    (tmp_path / "offices.csv").write_text("region\n")
    assert isinstance(run().exception, SettingsError)
