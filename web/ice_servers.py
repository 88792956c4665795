"""TURN servers for browsers that reach no bridge by themselves, and what opens them for a while.

draft-uberti-behave-turn-rest-00: name and password are made of the time and a secret that the
TURN servers know too (coturn's `use-auth-secret`). Tells the secret to nobody.
"""

import base64
import hmac
import re
from dataclasses import dataclass, field

from relay.ids import ParticipantId
from web.messages import IceServer

# RFC 7065 §3.1, with a host's name as RFC 1123 §2.1 has it; an address of IPv6 in brackets.
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]"
_TURN_URL = re.compile(rf"turns?:(?:{_HOST})(?::([0-9]{{1,5}}))?(?:\?transport=(?:udp|tcp))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnServers:
    """The TURN servers of a mesh, which all know the same secret."""

    urls: tuple[str, ...]
    secret: str = field(repr=False)
    ttl_s: int

    def for_participant(self, participant: ParticipantId, unix_s: float) -> IceServer:
        """What a browser needs to use them from `unix_s` on, for `ttl_s`."""
        username = f"{int(unix_s) + self.ttl_s}:{participant}"
        digest = hmac.digest(self.secret.encode(), username.encode(), "sha1")
        credential = base64.b64encode(digest).decode()
        return IceServer(urls=list(self.urls), username=username, credential=credential)


def check_turn_url(url: str) -> None:
    """ValueError with a reason to show, if `url` is no `turn:` or `turns:` URL (RFC 7065)."""
    if "@" in url:
        raise ValueError("a TURN URL has no user and no password in it")
    match = _TURN_URL.fullmatch(url)
    if match is None or not 0 < int(match[1] or 3478) < 65_536:
        raise ValueError(
            f"{url[:80]!r} is not like turn:turn.example.org:3478 or "
            "turns:turn.example.org:443?transport=tcp"
        )
