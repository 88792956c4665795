"""A settings file: what it may hold, and one clear line where it does not."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import SettingsError
from relay.settings_file import Kind, parse_settings

TABLES = {
    "up": {"https_port": Kind.NUMBER, "regions": Kind.TEXT},
    "plan": {"headroom": Kind.SHARE},
    "region": {
        "advertise": Kind.TEXTS,
        "allow_loopback": Kind.SWITCH,
        "token_file": Kind.TEXT,
        "workers": Kind.COUNT,
    },
}


def test_values_come_by_table_with_dashes_or_underscores() -> None:
    text = """
        [up]
        https-port = 9443
        regions = "frankfurt"
        [region]
        advertise = ["203.0.113.7"]
        allow_loopback = true
    """
    assert parse_settings(text, TABLES) == {
        "up": {"https_port": 9443, "regions": "frankfurt"},
        "region": {"advertise": ["203.0.113.7"], "allow_loopback": True},
    }


@pytest.mark.parametrize(("written", "count"), [("4", 4), ('"auto"', "auto")])
def test_a_count_is_a_number_or_automatic(written: str, count: object) -> None:
    assert parse_settings(f"[region]\nworkers = {written}", TABLES) == {
        "region": {"workers": count}
    }


@pytest.mark.parametrize("written", ["0.25", "0"])
def test_a_share_is_any_number(written: str) -> None:
    settings = parse_settings(f"[plan]\nheadroom = {written}", TABLES)
    assert settings == {"plan": {"headroom": float(written)}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[plan]\nheadroom = "0.3"', r"^\[plan\] headroom is a number, not '0.3'$"),
        ("[plan]\nheadroom = true", r"is a number, not True$"),
        ("[up]\nhttps_prot = 1", r"^\[up\] has no https_prot; did you mean https-port\?$"),
        ("[up]\nzzz = 1", r"^\[up\] has no zzz; there are https-port, regions$"),
        ('[region]\ntoken = "x"', r"has no token; did you mean token-file\?$"),
        ("[upp]\n", r"^there is no table \[upp\]; did you mean up\?$"),
        ("up = 3", r"^up is a table"),
        ("https_port = 3", r"^there is no table \[https_port\]"),
        ('[up]\nhttps_port = "9443"', r"^\[up\] https_port is a whole number, not '9443'$"),
        ("[up]\nhttps_port = true", r"is a whole number, not True$"),
        ("[up]\nregions = 3", r"is a text in quotes, not 3$"),
        ('[region]\nadvertise = "::1"', r"is a list of texts in quotes, not '::1'$"),
        ("[region]\nadvertise = [1]", r"is a list of texts"),
        ('[region]\nworkers = "4"', r"workers is a whole number or \"auto\", not '4'$"),
        ("[region]\nworkers = true", r"is a whole number or \"auto\", not True$"),
        ("[region]\nallow_loopback = 1", r"is true or false, not 1$"),
        ("[up\n", r"^not TOML: .*line 1"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text: str, line: str) -> None:
    with pytest.raises(SettingsError, match=line) as caught:
        parse_settings(text, TABLES)
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_settings_or_a_settings_error(text: str) -> None:
    with suppress(SettingsError):
        assert set(parse_settings(text, TABLES)) <= set(TABLES)
