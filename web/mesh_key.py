"""The operator key: who shows it is told the names of rooms and people on the mesh page.

Made on first run, kept in the focus's state directory. It opens nothing else.
"""

import re
import secrets
from pathlib import Path

from focus.private_files import create_private
from relay.errors import SettingsError

KEY_FILE = "mesh-key"
_KEY_BYTES = 24
_KEY = re.compile(rb"[!-~]{16,256}")


class MeshKey:
    """The key of a state directory; SettingsError when its file is damaged or cannot be read."""

    def __init__(self, state_dir: Path) -> None:
        path = state_dir / KEY_FILE
        fresh = secrets.token_urlsafe(_KEY_BYTES).encode() + b"\n"
        try:
            self._key = create_private(path, fresh).strip()
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from None
        if not _KEY.fullmatch(self._key):
            raise SettingsError(f"{path} is damaged; without it a new key is made")

    def is_shown_by(self, authorization: str) -> bool:
        """Whether an `Authorization` header is `Bearer <key>` (RFC 6750 §2.1)."""
        scheme, _, credentials = authorization.partition(" ")
        # In constant time: how much of a guess is right must not show.
        same = secrets.compare_digest(credentials.strip().encode(), self._key)
        return same and scheme.lower() == "bearer"
