import json
import os
import re
import stat
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus.tokens import MAX_BRIDGES_PER_TOKEN, TokenLedger, mint_token
from relay.errors import MalformedError, OctomeshError, RemoteProtocolError, SettingsError
from relay.ids import Region

FRANKFURT = Region("frankfurt")
NOW = 1_800_000_000.0


def test_a_token_makes_one_bridge_of_its_region_once(tmp_path: Path) -> None:
    token = mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW)
    ledger = TokenLedger(tmp_path)
    grant = ledger.check_untrusted(token, NOW)
    assert (grant.region, grant.bridge) == ("frankfurt", "frankfurt-1")
    ledger.spend(grant, NOW)
    with pytest.raises(RemoteProtocolError, match="has been used"):
        ledger.check_untrusted(token, NOW)


def test_a_token_for_several_makes_so_many_bridges_and_no_more(tmp_path: Path) -> None:
    token = mint_token(tmp_path, FRANKFURT, 60.0, bridges=3, now_s=NOW)
    made = []
    for _ in range(3):
        ledger = TokenLedger(tmp_path)  # as after a restart
        grant = ledger.check_untrusted(token, NOW)
        ledger.spend(grant, NOW)
        made.append(grant.bridge)
    assert made == ["frankfurt-1", "frankfurt-2", "frankfurt-3"]
    for each in (ledger, TokenLedger(tmp_path)):
        with pytest.raises(RemoteProtocolError, match="has been used for all 3 bridges"):
            each.check_untrusted(token, NOW)


@pytest.mark.parametrize("bridges", [-1, 0, MAX_BRIDGES_PER_TOKEN + 1])
def test_a_token_for_none_or_for_too_many_is_not_minted(tmp_path: Path, bridges: int) -> None:
    with pytest.raises(SettingsError, match="a token is for 1 to 1000 bridges"):
        mint_token(tmp_path, FRANKFURT, 60.0, bridges=bridges, now_s=NOW)


def test_a_ledger_of_before_tokens_had_a_count_is_understood(tmp_path: Path) -> None:
    token = mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW)
    jti = TokenLedger(tmp_path).check_untrusted(token, NOW).jti
    ledger = {"spent": {jti: NOW + 60}, "enrolled": {"frankfurt": 4}}
    (tmp_path / "enrolment.json").write_text(json.dumps(ledger))
    with pytest.raises(RemoteProtocolError, match="has been used"):
        TokenLedger(tmp_path).check_untrusted(token, NOW)
    other = mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW)
    assert TokenLedger(tmp_path).check_untrusted(other, NOW).bridge == "frankfurt-5"


def test_a_spent_token_stays_spent_over_a_restart_and_ids_go_on(tmp_path: Path) -> None:
    first, second = (mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW) for _ in range(2))
    ledger = TokenLedger(tmp_path)
    ledger.spend(ledger.check_untrusted(first, NOW), NOW)
    restarted = TokenLedger(tmp_path)
    with pytest.raises(RemoteProtocolError, match="has been used"):
        restarted.check_untrusted(first, NOW)
    assert restarted.check_untrusted(second, NOW).bridge == "frankfurt-2"


def test_checking_does_not_spend(tmp_path: Path) -> None:
    token = mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW)
    ledger = TokenLedger(tmp_path)
    assert ledger.check_untrusted(token, NOW) == ledger.check_untrusted(token, NOW)


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    token = mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW)
    ledger = TokenLedger(tmp_path)
    ledger.check_untrusted(token, NOW + 59)
    with pytest.raises(RemoteProtocolError, match="expired"):
        ledger.check_untrusted(token, NOW + 60)


def test_spent_tokens_are_forgotten_once_they_have_expired(tmp_path: Path) -> None:
    ledger = TokenLedger(tmp_path)
    for minute in range(20):
        now = NOW + 60 * minute
        token = mint_token(tmp_path, FRANKFURT, 60.0, now_s=now)
        ledger.spend(ledger.check_untrusted(token, now), now)
    assert (tmp_path / "enrolment.json").stat().st_size < 250


def test_a_token_of_another_mesh_is_refused(tmp_path: Path) -> None:
    token = mint_token(tmp_path / "theirs", FRANKFURT, 60.0, now_s=NOW)
    with pytest.raises(RemoteProtocolError, match="not minted by this mesh"):
        TokenLedger(tmp_path / "ours").check_untrusted(token, NOW)


def test_an_unsigned_token_is_refused(tmp_path: Path) -> None:
    claims = {"aud": "octomesh-enrolment", "jti": "x", "region": "frankfurt", "exp": NOW + 60}
    token = jwt.encode(claims, "", algorithm="none")
    with pytest.raises(OctomeshError):
        TokenLedger(tmp_path).check_untrusted(token, NOW)


def test_nobody_else_may_read_what_is_kept(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    token = mint_token(state_dir, FRANKFURT, 60.0, now_s=NOW)
    ledger = TokenLedger(state_dir)
    ledger.spend(ledger.check_untrusted(token, NOW), NOW)
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    files = list(state_dir.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_damaged_ledger_is_no_reason_to_trust_spent_tokens(tmp_path: Path) -> None:
    (tmp_path / "enrolment.json").write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        TokenLedger(tmp_path)


def test_the_ledger_knows_every_region_that_ever_enrolled(tmp_path: Path) -> None:
    assert TokenLedger(tmp_path).regions == frozenset()
    ledger = TokenLedger(tmp_path)
    grant = ledger.check_untrusted(mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW), NOW)
    assert ledger.regions == frozenset()
    ledger.spend(grant, NOW)
    assert TokenLedger(tmp_path).regions == {FRANKFURT}


def test_in_another_users_empty_directory_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    owner = re.escape(tmp_path.owner())
    with pytest.raises(SettingsError, match=f"holds no mesh yet and belongs to {owner}: run this"):
        mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW)
    assert list(tmp_path.iterdir()) == []


def test_another_user_who_can_read_the_secret_may_mint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = TokenLedger(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    ledger.check_untrusted(mint_token(tmp_path, FRANKFURT, 60.0, now_s=NOW), NOW)


@given(text=st.text(max_size=200) | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*", fullmatch=True))
def test_garbage_is_malformed_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    ledger = TokenLedger(tmp_path_factory.getbasetemp() / "garbage")
    with pytest.raises((MalformedError, RemoteProtocolError)):
        ledger.check_untrusted(text, NOW)
