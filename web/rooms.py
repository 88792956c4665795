"""Room names as they stand in a URL: `/<room>` is a room unless the path means something else."""

from relay.ids import ConferenceId, conference_of

RESERVED = frozenset({"api", "static", "mesh", "healthz", "metrics", "favicon.ico", "robots.txt"})


def room_of(text: str) -> ConferenceId:
    """The conference that a room name means; ValueError with a reason to show when it is none."""
    conference = conference_of(text)
    if conference in RESERVED:
        raise ValueError(f"{conference} is not a room name: that page is something else")
    return conference
