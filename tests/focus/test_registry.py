from focus.registry import Bridge, ConnectionId, Registry
from relay.control import Heartbeat
from relay.ids import BridgeId, Region

BEAT = Heartbeat(participants=0, cpu=0.1, packets_per_s=0.0, trunks=())


def bridge(name: str = "frankfurt-1", connection: int = 1) -> Bridge:
    return Bridge(
        bridge=BridgeId(name),
        region=Region(name.rpartition("-")[0]),
        connection=ConnectionId(connection),
        media_addresses=(),
        relay_addresses=(),
        ping_password="p" * 22,
        up_since_s=0.0,
    )


def ticked(registry: Registry, start_s: float, end_s: float) -> Registry:
    now = start_s
    while now <= end_s:
        registry = registry.aged(now)
        now += 0.25
    return registry


def test_a_bridge_is_silent_after_three_missed_heartbeats_and_not_before() -> None:
    registry = Registry().aged(0.0).with_bridge(bridge())
    assert ticked(registry, 0.0, 3.0).silent() == ()
    (silent,) = ticked(registry, 0.0, 3.25).silent()
    assert silent.bridge == "frankfurt-1"


def test_a_heartbeat_starts_the_count_anew() -> None:
    registry = ticked(Registry().aged(0.0).with_bridge(bridge()), 0.0, 2.75)
    registry = registry.with_heartbeat(BridgeId("frankfurt-1"), BEAT)
    assert ticked(registry, 2.75, 5.75).silent() == ()
    assert ticked(registry, 2.75, 6.0).silent() != ()


def test_a_focus_that_was_held_up_declares_nobody_lost_before_it_has_read_its_sockets() -> None:
    registry = Registry().aged(0.0).with_bridge(bridge()).aged(1_000.0)
    assert registry.silent() == ()


def test_a_second_connection_replaces_the_first() -> None:
    registry = Registry().with_bridge(bridge(connection=1)).with_bridge(bridge(connection=2))
    assert not registry.is_current(BridgeId("frankfurt-1"), ConnectionId(1))
    assert registry.is_current(BridgeId("frankfurt-1"), ConnectionId(2))


def test_a_region_stays_known_when_its_bridges_are_lost() -> None:
    registry = Registry().with_bridge(bridge()).without(BridgeId("frankfurt-1"))
    assert not registry.bridges
    assert registry.known_regions == {"frankfurt"}


def test_peers_of_a_bridge_are_all_others() -> None:
    registry = Registry()
    for name in ("frankfurt-1", "singapore-1", "sao-paulo-1"):
        registry = registry.with_bridge(bridge(name))
    peers = registry.peers_of(BridgeId("singapore-1"))
    assert [peer.bridge for peer in peers] == ["frankfurt-1", "sao-paulo-1"]
