import base64
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.errors import SettingsError
from relay.ids import ParticipantId
from tests.web.peers import settings_in
from web.ice_servers import TurnServers, check_turn_url

SERVERS = TurnServers(
    urls=("turn:t.example.org", "turns:t.example.org:443?transport=tcp"),
    secret="north",
    ttl_s=3_600,
)


def test_the_name_is_when_it_ends_and_whose_it_is_and_the_password_vouches_for_it() -> None:
    granted = SERVERS.for_participant(ParticipantId(7), 1_900_000_000.9)
    assert granted.urls == ["turn:t.example.org", "turns:t.example.org:443?transport=tcp"]
    assert granted.username == "1900003600:7"
    digest = hmac.new(b"north", b"1900003600:7", hashlib.sha1).digest()
    assert base64.b64decode(granted.credential) == digest


def test_a_password_is_the_one_that_openssl_computes() -> None:
    # printf 1900003600:7 | openssl dgst -sha1 -hmac north -binary | base64
    granted = SERVERS.for_participant(ParticipantId(7), 1_900_000_000.0)
    assert granted.credential == "vzTI1u/52dQyiV3HMnDgTAh44ao="


def test_neither_secret_nor_password_is_shown_by_accident() -> None:
    granted = SERVERS.for_participant(ParticipantId(7), 0.0)
    assert "north" not in repr(SERVERS)
    assert granted.credential not in repr(granted)


@pytest.mark.parametrize(
    "url",
    [
        "turn:turn.example.org",
        "turn:turn.example.org:3478",
        "turn:192.0.2.9:3478?transport=udp",
        "turns:turn.example.org:443?transport=tcp",
        "turns:[2001:db8::9]:5349",
        "turn:t",
    ],
)
def test_turn_urls_are_as_the_rfc_has_them(url: str) -> None:
    check_turn_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "turn.example.org",
        "turn:",
        "turn://turn.example.org",
        "stun:turn.example.org",
        "https://turn.example.org",
        "turn:turn.example.org:0",
        "turn:turn.example.org:65536",
        "turn:turn.example.org:port",
        "turn:turn.example.org?transport=sctp",
        "turn:turn.example.org?transport=udp&x=1",
        "turn:turn.example.org/path",
        "turn:2001:db8::9",
        "turn:a b",
        "turn:x\n",
        "turn:-x",
    ],
)
def test_other_urls_are_refused_with_an_example_of_a_right_one(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not like turn:turn\.example\.org:3478 or turns:"):
        check_turn_url(url)


def test_a_url_with_a_password_in_it_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="no user and no password") as caught:
        check_turn_url("turn:ana:pass@turn.example.org")
    assert "ana" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"turn_urls": ("turn:t",)}, "--turn-urls without a secret"),
        ({"turn_secret": "north"}, "a TURN secret without --turn-urls"),
        ({"turn_urls": ("turn:t", "t"), "turn_secret": "north"}, "--turn-urls: 't' is not like"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_the_secret(
    tmp_path: Path, given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        replace(settings_in(tmp_path), **given)
    assert str(caught.value).startswith(complaint)
    assert "north" not in str(caught.value)


def test_settings_do_not_show_the_secret(tmp_path: Path) -> None:
    settings = replace(settings_in(tmp_path), turn_urls=("turn:t",), turn_secret="north")
    assert settings.turn is not None
    assert "north" not in repr(settings)
    assert settings_in(tmp_path).turn is None
