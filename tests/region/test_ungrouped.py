"""Where a path does not take a message of several packets they leave one by one."""

import socket
from collections.abc import Iterator

import pytest

from tests.network.namespaces import Host, Internet, internet
from tests.region.rig import Rig, running
from tests.region.together import receive_whole
from tests.region.viewing import (
    HEADER_BYTES,
    TAG_BYTES,
    TYPES,
    Camera,
    Viewer,
    arrive,
    whole_viewer,
)

SO_NO_CHECK = 11
"""Without checksums Linux sends no message of several datagrams."""
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
"""As the bridge has it: no datagram is fragmented."""
MTU = 1_300
MOST = MTU - 20 - 8 - TAG_BYTES - HEADER_BYTES
"""Bytes of payload with which a packet just fits."""


class Path:
    """A camera, and a viewer at the other end of whatever may refuse what is sent to it."""

    def __init__(self, rig: Rig, there: Host | None = None) -> None:
        self.rig = rig
        self.camera = Camera(rig)
        if there is None:
            peer = rig.peer(payload_types=TYPES)
        else:
            with there.entered():
                peer = rig.peer(payload_types=TYPES, host=there.address)
        receive_whole(peer)
        self.viewer = Viewer(rig, peer, [self.camera])
        self._arrived = 0

    def pass_on(self, sizes: list[int], *, keyframe: bool = False) -> None:
        """A frame of payloads of these sizes."""
        frame = self.camera.frame(sizes, keyframe=keyframe)
        arrive(self.rig, ((self.camera, each) for each in frame))
        self._arrived += len(sizes)

    def left(self, packets: int) -> list[list[int]]:
        """So many: sizes of payloads, by message."""
        messages = self.viewer.received(packets)
        return [[len(each) - HEADER_BYTES for each in message] for message in messages]

    def counted(self) -> dict[str, int]:
        """Of the messages that were refused, and what was lost."""
        self.rig.wait_for_datagrams(self._arrived)
        ungrouped = self.rig.pump.counters()["ungrouped"]
        return self.rig.dropped() | ({"ungrouped": ungrouped} if ungrouped else {})


@pytest.fixture
def path() -> Iterator[Path]:
    with running() as rig:
        yield Path(rig)


@pytest.fixture(scope="module")
def net() -> Iterator[Internet]:
    with internet() as net:
        yield net


@pytest.fixture(scope="module")
def here(net: Internet) -> Host:
    host = net.host("pump")
    host.narrow(MTU)
    return host


@pytest.fixture(scope="module")
def there(net: Internet) -> Host:
    return net.host("viewer")


@pytest.fixture
def narrow(here: Host, there: Host) -> Iterator[Path]:
    """By a link of MTU, with a pump that does not fragment."""
    with here.entered(), running(here.address) as rig:
        rig.set_option(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        yield Path(rig, there)


def test_what_the_path_does_not_take_together_leaves_one_by_one(path: Path) -> None:
    path.rig.set_option(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    path.pass_on([500, 490, 500, 300])
    # They have been padded and encrypted when they are refused.
    assert path.left(4) == [[500], [500], [500], [300]]
    path.pass_on([500, 490, 500, 300])
    assert path.left(4) == [[500], [490], [500], [300]]
    assert path.counted() == {"ungrouped": 1}


def test_another_address_may_take_them_together(path: Path) -> None:
    path.rig.set_option(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    path.pass_on([500, 500])
    assert path.left(2) == [[500], [500]]
    path.rig.set_option(socket.SOL_SOCKET, SO_NO_CHECK, 0)
    path.rig.pump.select_address(path.viewer.peer.transport, path.viewer.peer.address)
    path.pass_on([500, 500])
    assert path.left(2) == [[500, 500]]


def test_one_viewer_whose_path_refuses_them_is_no_reason_for_another(path: Path) -> None:
    path.rig.set_option(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    path.pass_on([500, 500])
    assert path.left(2) == [[500], [500]]
    path.rig.set_option(socket.SOL_SOCKET, SO_NO_CHECK, 0)
    other = whole_viewer(path.rig, path.camera)
    path.pass_on([500, 500], keyframe=True)
    assert path.left(2) == [[500], [500]]
    assert [len(each) for each in other.received(2)] == [2]


def test_what_fits_a_narrow_path_goes_together(narrow: Path) -> None:
    narrow.pass_on([MOST, MOST - 20, MOST, MOST])
    assert narrow.left(4) == [[MOST] * 4]
    assert narrow.counted() == {}


def test_of_packets_that_a_narrow_path_does_not_take_those_that_fit_arrive(narrow: Path) -> None:
    narrow.pass_on([MOST + 1, 600])
    assert narrow.left(1) == [[600]]
    narrow.pass_on([MOST, MOST - 5])
    assert narrow.left(2) == [[MOST], [MOST - 5]]
    assert narrow.counted() == {"ungrouped": 1, "send": 1}


def test_where_the_pump_may_fragment_what_is_too_long_arrives_one_by_one(narrow: Path) -> None:
    narrow.rig.set_option(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
    narrow.pass_on([MOST + 100, MOST + 90])
    assert narrow.left(2) == [[MOST + 100], [MOST + 90]]
    assert narrow.counted() == {"ungrouped": 1}


@pytest.fixture
def closed(narrow: Path, here: Host) -> Path:
    """It has taken nothing for a while."""
    here.pass_only("-p tcp")
    try:
        # Who gets it later on this host, where all goes by loopback, has waited long enough.
        with here.entered():
            witness = whole_viewer(narrow.rig, narrow.camera)
        narrow.pass_on([500, 500])
        assert [len(each) for each in witness.received(2)] == [2]
        assert narrow.counted()["send"] == 2
    finally:
        here.pass_all()
    return narrow


def test_nothing_counts_as_ungrouped_where_single_packets_are_refused_too(closed: Path) -> None:
    assert closed.counted() == {"send": 2}


def test_a_path_that_takes_nothing_for_a_while_takes_messages_afterwards(closed: Path) -> None:
    closed.pass_on([500, 500])
    assert closed.left(2) == [[500, 500]]
