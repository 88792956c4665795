"""`capacity.json`: written, read, and refused in words."""

import json
from pathlib import Path

import pytest

from benchmarks.capacity import Capacity, Machine
from benchmarks.rates import Rate, Stream
from relay.errors import SettingsError
from tests.strategies.offices import CAPACITY


def test_a_capacity_is_read_as_it_was_written(tmp_path: Path) -> None:
    rate = Rate(packets_s=31.5, bps=2e5)
    written = CAPACITY.model_copy(
        update={"received": {Stream.P180: rate}, "sent": {Stream.VOICE: rate}}
    )
    written.write(tmp_path / "capacity.json")
    assert Capacity.read(tmp_path / "capacity.json") == written


def test_this_machine_can_be_written_down(tmp_path: Path) -> None:
    written = CAPACITY.model_copy(update={"machine": Machine.here()})
    written.write(tmp_path / "capacity.json")
    assert Capacity.read(tmp_path / "capacity.json").machine == Machine.here()


def changed(**changes: object) -> str:
    document = json.loads(CAPACITY.model_dump_json()) | changes
    return json.dumps({key: value for key, value in document.items() if value is not ...})


NOTHING_SENT = {"180p": {"packets_s": 0, "bps": 1}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", ", line 1, column 2: not JSON: "),
        ("[" * 100_000, ": not a capacity: it is nested too deeply"),
        ("[]", ': not a capacity: it has no "format": "octomesh-capacity"'),
        (changed(format="mesh"), ": not a capacity: it has no "),
        (changed(version=2), ": its version is 2; this octomesh reads version 1"),
        (changed(packets_out_per_core_s=0), ", packets_out_per_core_s: Input should be greater"),
        (changed(packets_out_per_core_s="9"), ", packets_out_per_core_s: Input should be a valid"),
        (changed(packets_out_per_core_s=float("nan")), ", packets_out_per_core_s: Input should be"),
        (changed(control_core_per_person=-0.1), ", control_core_per_person: Input should be"),
        (changed(measured_at="today"), ", measured_at: Input should be a valid datetime"),
        (changed(machine={"cores": 4}), ", machine.processor: Field required"),
        (changed(colour="red"), ", colour: Extra inputs are not permitted"),
        (changed(sent={"181p": {}}), ", sent.181p: Input should be '180p', '360p', '720p' or"),
        (changed(sent=NOTHING_SENT), ", sent.180p: a stream that was measured has more than 0"),
    ],
)
def test_what_is_wrong_in_a_capacity_is_one_line_that_says_where(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "capacity.json"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Capacity.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}{complaint}")
    assert "\n" not in message


def test_a_capacity_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        Capacity.read(tmp_path / "none.json")
    (tmp_path / "capacity.json").write_bytes(b'{"\xff')
    with pytest.raises(SettingsError, match=r"capacity\.json, byte 3: not UTF-8"):
        Capacity.read(tmp_path / "capacity.json")
