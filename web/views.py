"""The focus's state as JSON, for browsers and the mesh page; figures are the bridges'."""

from typing import Any

from focus.codecs import LAST_RESORT
from focus.conference import Conference, Member
from focus.registry import Bridge
from focus.state import State
from relay.control import TrunkReport
from web.translation import source_to_browser

Json = dict[str, Any]


def regions_json(state: State) -> list[Json]:
    """Where a browser may measure its round trip to: regions that have live bridges."""
    regions: dict[str, list[Json]] = {}
    for name, bridge in sorted(state.registry.bridges.items()):
        regions.setdefault(bridge.region, []).append(
            {
                "bridge": name,
                "addresses": [
                    {"host": address.host, "port": address.port}
                    for address in bridge.media_addresses
                ],
                "ping_password": bridge.ping_password,
            }
        )
    return [{"region": region, "bridges": regions[region]} for region in sorted(regions)]


def settings_json(state: State, *, turn: bool) -> Json:
    """What a browser has to know before it joins; `turn` is whether it will be given servers."""
    codecs = dict.fromkeys((*state.codecs, LAST_RESORT))
    return {
        "turn": turn,
        "last_n": state.last_n,
        "codecs": [codec.value for codec in codecs],
    }


def mesh_json(state: State, now: float, *, names: bool) -> Json:
    """Bridges, their trunks as each end reports them, and who sits where.

    Without `names` a conference is as many seats on their bridges, in the order of joining.
    """
    show = _conference if names else _conference_without_names
    taken = state.seats_taken()
    bridges = [bridge for _, bridge in sorted(state.registry.bridges.items())]
    live = state.registry.bridges.keys()
    return {
        "bridges": [_bridge(bridge, taken[bridge.bridge], now) for bridge in bridges],
        "links": [
            _link(bridge, trunk)
            for bridge in bridges
            if bridge.heartbeat is not None
            for trunk in bridge.heartbeat.trunks
            if trunk.peer in live
        ],
        "names": names,
        # By name they would tell a little of their names.
        "conferences": [
            show(conference)
            for conference in sorted(
                state.conferences.values(), key=lambda it: it.conference if names else ""
            )
        ],
    }


def _conference(conference: Conference) -> Json:
    return {
        "conference": conference.conference,
        "participants": [
            {
                "id": member.participant,
                "name": member.name,
                **_seat(member),
                "sources": [
                    source_to_browser(member.participant, source).model_dump()
                    for source in member.sources
                ],
            }
            for member in conference.members.values()
        ],
    }


def _conference_without_names(conference: Conference) -> Json:
    return {
        "conference": None,
        "participants": [_seat(member) for member in conference.members.values()],
    }


def _seat(member: Member) -> Json:
    return {
        "region": member.seat.region if member.seat else None,
        "bridge": member.seat.bridge if member.seat else None,
    }


def _bridge(bridge: Bridge, participants: int, now: float) -> Json:
    heartbeat = bridge.heartbeat
    return {
        "bridge": bridge.bridge,
        "region": bridge.region,
        "participants": participants,
        "cpu": heartbeat.cpu if heartbeat else None,
        "packets_per_s": heartbeat.packets_per_s if heartbeat else None,
        "media_addresses": [str(address) for address in bridge.media_addresses],
        "up_s": round(now - bridge.up_since_s, 1),
    }


def _link(bridge: Bridge, trunk: TrunkReport) -> Json:
    return {
        "from": bridge.bridge,
        "to": trunk.peer,
        "up": trunk.up,
        "rtt_ms": trunk.rtt_ms,
        "rtt_min_ms": trunk.rtt_min_ms,
        "rtt_p50_ms": trunk.rtt_p50_ms,
        "rtt_p95_ms": trunk.rtt_p95_ms,
        "jitter_ms": trunk.jitter_ms,
        "loss": trunk.loss,
        "sources_out": trunk.sources_out,
        "sources_in": trunk.sources_in,
        "sent_bps": trunk.sent_bps,
        "received_bps": trunk.received_bps,
    }
