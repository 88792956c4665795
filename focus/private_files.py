"""Files of the state directory: written whole or not at all, readable by nobody else."""

import os
import secrets
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def make_private_directory(directory: Path) -> None:
    """Makes the directory where it is missing; one that exists keeps its permissions."""
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Replaces the file by `data`, durably: a crash leaves the old file or the new one."""
    make_private_directory(path.parent)
    temporary = _write_beside(path, data)
    os.replace(temporary, path)
    _sync_directory(path.parent)


def create_private(path: Path, data: bytes) -> bytes:
    """The file's content; `data` if there was no such file, also when two processes race."""
    make_private_directory(path.parent)
    if not path.exists():
        temporary = _write_beside(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass  # the other process was first
        finally:
            temporary.unlink()
        _sync_directory(path.parent)
    return path.read_bytes()


def _write_beside(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
