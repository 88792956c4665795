"""Compiles and loads `native.c`; calls into it release the GIL."""

import ctypes
import subprocess
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
OUT = _HERE / "out"


@cache
def library() -> ctypes.CDLL:
    """`native.c`, compiled when it is newer than what was compiled of it."""
    OUT.mkdir(exist_ok=True)
    target = OUT / "native.so"
    source = _HERE / "native.c"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        command = ["gcc", "-O3", "-Wall", "-shared", "-fPIC", "-o", str(target), str(source)]
        subprocess.run(command, check=True)
    return ctypes.CDLL(str(target))
