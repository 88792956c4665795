import stat
from pathlib import Path

import pytest

from relay.errors import SettingsError
from web.mesh_key import KEY_FILE, MeshKey


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    MeshKey(tmp_path)
    made = (tmp_path / KEY_FILE).read_text()
    assert len(made.strip()) >= 32
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert MeshKey(tmp_path).is_shown_by(f"Bearer {made.strip()}")
    assert (tmp_path / KEY_FILE).read_text() == made


def test_an_operator_may_choose_the_key(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("correct-horse-battery\n")
    assert MeshKey(tmp_path).is_shown_by("bearer correct-horse-battery")
    assert not MeshKey(tmp_path).is_shown_by("bearer correct-horse")


@pytest.mark.parametrize("content", [b"", b"short", b"with blanks in it, alas", b"\xff" * 32])
def test_a_key_that_protects_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(SettingsError, match="mesh-key is damaged"):
        MeshKey(tmp_path)
