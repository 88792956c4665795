"""Shows libFuzzer which parts of the sanitized kernel ran (`sanitize.h` counts them)."""

import ctypes
from pathlib import Path
from typing import Any

import atheris

from region.kernel import pump, sender, tables, transports

_COUNTERS = 1 << 14
_kept: list[object] = []


def give_to_libfuzzer() -> None:
    """Once, between `atheris.Setup` and `atheris.Fuzz`."""
    (core,) = Path(atheris.__file__).parent.glob("core_with_libfuzzer.*.so")
    libfuzzer = ctypes.CDLL(str(core))
    for module in (pump, sender, tables, transports):
        counters = (ctypes.c_ubyte * _COUNTERS).in_dll(
            ctypes.CDLL(module.__file__), "octomesh_coverage"
        )
        libfuzzer.__sanitizer_cov_8bit_counters_init(*_ends(counters))
        # It insists on a table of as many (address, flags), and reads it to print symbols only.
        addresses = (ctypes.c_size_t * (2 * _COUNTERS))()
        _kept.append(addresses)
        libfuzzer.__sanitizer_cov_pcs_init(*_ends(addresses))


def _ends(array: "ctypes.Array[Any]") -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
    start = ctypes.addressof(array)
    return ctypes.c_void_p(start), ctypes.c_void_p(start + ctypes.sizeof(array))
