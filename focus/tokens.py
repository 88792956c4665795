"""Enrolment tokens: each lets a number of bridges of one region into the mesh, usually one.

A token is a JWT (RFC 7519, HS256) under a secret of the state directory, so it can be minted
while the focus runs or does not. What was spent of it is remembered on disk until it would have
expired, so that once means once over restarts. Times are Unix seconds.
"""

import json
import os
import pwd
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jwt

from focus.private_files import create_private, write_private
from relay.errors import MalformedError, RemoteProtocolError, SettingsError
from relay.ids import BridgeId, Region, region_of

_ALGORITHM = "HS256"
_AUDIENCE = "octomesh-enrolment"
_SECRET_FILE = "enrolment.key"
_LEDGER_FILE = "enrolment.json"
_SECRET_BYTES = 32
MAX_TOKEN_CHARS = 4_096
MAX_BRIDGES_PER_TOKEN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a good token allows: to be this bridge from now on."""

    jti: str
    nth: int
    """Of the bridges that this token makes, counted from 1."""
    bridge: BridgeId
    region: Region
    expires_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spending:
    """How many bridges a token has made, and when it may be forgotten."""

    bridges: int
    until_s: float


def mint_token(
    state_dir: Path,
    region: Region,
    ttl_s: float,
    *,
    bridges: int = 1,
    now_s: float | None = None,
) -> str:
    """A new token for so many bridges of `region`, good for `ttl_s`; needs no running focus.

    SettingsError where the directory is another user's and holds no mesh yet: the secret made
    there would be one that the focus cannot read.
    """
    if ttl_s <= 0:
        raise SettingsError(f"a token that is good for {ttl_s} s is good for nothing")
    if not 1 <= bridges <= MAX_BRIDGES_PER_TOKEN:
        raise SettingsError(f"a token is for 1 to {MAX_BRIDGES_PER_TOKEN} bridges, not {bridges}")
    _check_owner(state_dir)
    now = time.time() if now_s is None else now_s
    claims = {
        "aud": _AUDIENCE,
        "jti": secrets.token_urlsafe(16),
        "region": region_of(region),
        "bridges": bridges,
        "iat": int(now),
        "exp": int(now + ttl_s),
    }
    return jwt.encode(claims, _secret(state_dir), algorithm=_ALGORITHM)


class TokenLedger:
    """The focus's side of tokens: which are good, which are spent, how many bridges they made.

    One process at a time may have it for a state directory.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / _LEDGER_FILE
        self._secret = _secret(state_dir)
        self._spent: dict[str, _Spending] = {}
        self._enrolled: dict[str, int] = {}
        if self._path.exists():
            try:
                ledger = json.loads(self._path.read_bytes())
                self._spent = {str(jti): _spending(entry) for jti, entry in ledger["spent"].items()}
                self._enrolled = {str(name): int(n) for name, n in ledger["enrolled"].items()}
            except (ValueError, TypeError, KeyError, AttributeError):
                raise SettingsError(f"{self._path} is damaged: no token can be trusted") from None

    @property
    def regions(self) -> frozenset[Region]:
        """Every region that a bridge has ever enrolled for."""
        return frozenset(map(Region, self._enrolled))

    def check_untrusted(self, token: str, now: float) -> Grant:
        """What the token allows; it is not spent by this.

        MalformedError when it is no token, RemoteProtocolError when it is not ours, has
        expired or is spent.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise MalformedError("the token is too long")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={
                    "require": ["exp", "jti", "aud"],
                    # Against `now` below, not against PyJWT's own clock.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            region = region_of(str(claims["region"]))
            bridges = int(claims.get("bridges", 1))
            jti = str(claims["jti"])
            spent = self._spent.get(jti)
            grant = Grant(
                jti=jti,
                nth=1 if spent is None else spent.bridges + 1,
                bridge=BridgeId(f"{region}-{self._enrolled.get(region, 0) + 1}"),
                region=region,
                expires_s=float(claims["exp"]),
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAudienceError):
            raise RemoteProtocolError("the token was not minted by this mesh") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, KeyError):
            raise MalformedError("not an enrolment token") from None
        if not now < grant.expires_s:
            raise RemoteProtocolError("the token has expired; mint a new one")
        if grant.nth > bridges:
            raise RemoteProtocolError(
                "the token has been used; mint one for each bridge"
                if bridges == 1
                else f"the token has been used for all {bridges} bridges that it is for; "
                "mint another"
            )
        return grant

    def spend(self, grant: Grant, now: float) -> None:
        """Spends what was checked last for this bridge; on disk when this returns. May block."""
        spent = {jti: each for jti, each in self._spent.items() if each.until_s > now}
        spent[grant.jti] = _Spending(bridges=grant.nth, until_s=grant.expires_s)
        enrolled = {**self._enrolled, grant.region: self._enrolled.get(grant.region, 0) + 1}
        ledger = {
            "spent": {jti: asdict(each) for jti, each in spent.items()},
            "enrolled": enrolled,
        }
        write_private(self._path, json.dumps(ledger).encode())
        self._spent, self._enrolled = spent, enrolled


def _spending(entry: Any) -> _Spending:
    if isinstance(entry, float | int):  # written before a token could make several bridges
        return _Spending(bridges=1, until_s=float(entry))
    return _Spending(bridges=int(entry["bridges"]), until_s=float(entry["until_s"]))


def _check_owner(state_dir: Path) -> None:
    try:
        owner = state_dir.stat().st_uid
        if owner == os.geteuid() or (state_dir / _SECRET_FILE).exists():
            return
    except FileNotFoundError:
        return  # it will be ours
    except OSError as error:
        raise SettingsError(f"{state_dir}: {error.strerror}") from None
    raise SettingsError(
        f"{state_dir} holds no mesh yet and belongs to {_user(owner)}: "
        f"run this as that user, or start the focus first"
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _secret(state_dir: Path) -> bytes:
    path = state_dir / _SECRET_FILE
    try:
        secret = create_private(path, secrets.token_bytes(_SECRET_BYTES))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    if len(secret) != _SECRET_BYTES:
        raise SettingsError(f"{path} is damaged")
    return secret
