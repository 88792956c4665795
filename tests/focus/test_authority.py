import stat
from pathlib import Path

import pytest

from focus.authority import load_authority
from relay.errors import SettingsError
from relay.identity import make_request, verify_certificate_untrusted
from relay.ids import BridgeId, Region

NOW = 1_800_000_000.0


def test_the_authority_is_made_once_and_then_kept(tmp_path: Path) -> None:
    made = load_authority(tmp_path, NOW)
    again = load_authority(tmp_path, NOW + 1_000)
    assert made == again
    (kept,) = tmp_path.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_what_a_kept_authority_issued_is_believed(tmp_path: Path) -> None:
    first = load_authority(tmp_path, NOW)
    bridge, region = BridgeId("frankfurt-1"), Region("frankfurt")
    issued = load_authority(tmp_path, NOW).issue(make_request()[1], bridge, region, NOW, 60.0)
    assert verify_certificate_untrusted(issued, first.certificate_pem, NOW) == (bridge, region)


def test_a_damaged_authority_is_told_and_not_replaced(tmp_path: Path) -> None:
    load_authority(tmp_path, NOW)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-200])
    with pytest.raises(SettingsError):
        load_authority(tmp_path, NOW)
