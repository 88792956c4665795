"""Which bridge a guest gets who names no region, and over which addresses they reach it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.guest import MEETS_WITHIN_S, Guest, meet
from tests.e2e.mesh import FRANKFURT, REGIONS, SINGAPORE, Mesh

NOWHERE = {"host": "192.0.2.1", "port": 9}
"""RFC 5737: nobody has this address."""

# Answers lose every candidate but those of this one address.
ONLY = """
spy.answered = ({type, sdp}) => {
  const far = line => line.startsWith("a=candidate:") && line.split(" ")[4] !== "ADDRESS";
  const kept = sdp.split("\\r\\n").filter(line => !far(line));
  return {type, sdp: kept.join("\\r\\n")};
};
"""


def reported(guest: Guest) -> dict[str, float]:
    """The round trips that the guest's `join` told the focus."""
    (join,) = (frame for frame in map(json.loads, guest.said) if frame["type"] == "join")
    rtts_ms: dict[str, float] = join["rtts_ms"]
    return rtts_ms


def test_without_a_region_the_round_trip_to_each_is_measured_reported_and_heeded(
    mesh: Mesh, invite: Callable[..., Guest], room: str
) -> None:
    guest = invite("Ana")
    guest.enter(mesh, room)
    guest.until_connected()
    session = guest.session()
    rtts_ms = session["rtts_ms"]
    print(f"measured {rtts_ms}, seated on {session['you']['region']}")
    assert set(rtts_ms) == set(REGIONS)
    # Browsers measure in whole milliseconds, and on one machine that may be none.
    assert all(0 <= rtt_ms < 500 for rtt_ms in rtts_ms.values())
    assert reported(guest) == rtts_ms
    # Within a millisecond, as exactly as browsers measure, any is as near.
    assert rtts_ms[session["you"]["region"]] <= min(rtts_ms.values()) + 1


@pytest.mark.parametrize("near", [FRANKFURT, SINGAPORE])
def test_the_only_region_that_answers_is_the_nearest(
    mesh: Mesh, invite: Callable[..., Guest], room: str, near: str
) -> None:
    def cut_off(route: Route) -> None:
        regions: list[dict[str, Any]] = route.fetch().json()
        for region in regions:
            if region["region"] != near:
                region["bridges"] = [
                    bridge | {"addresses": [NOWHERE]} for bridge in region["bridges"]
                ]
        route.fulfill(json=regions)

    guest = invite("Ana")
    guest.page.route("**/api/regions", cut_off)
    guest.enter(mesh, room)
    guest.until_connected()
    assert guest.session()["rtts_ms"].keys() == {near}
    assert guest.region == near


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_a_bridge_is_reached_over_either_internet_protocol(
    mesh: Mesh, invite: Callable[..., Guest], room: str, address: str
) -> None:
    ana, ben = invite("Ana"), invite("Ben")
    ana.context.add_init_script(ONLY.replace("ADDRESS", address))
    ana.enter(mesh, room, FRANKFURT)
    ben.enter(mesh, room, SINGAPORE)
    meet([ana, ben], within_s=MEETS_WITHIN_S)
    assert ana.bridge_address() == address
    expect(ana.tile("Ben", video="on")).to_have_count(1)
