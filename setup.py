"""Compiles the packet kernel and the load's engine; all else of the build is in pyproject.toml.

SANITIZE=address,undefined in the environment makes the kernel that `tests.fuzz.sanitized`
runs: slow, loud, and never to be put where the other one is.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

KERNEL = (
    *("pump", "receiver", "replier", "prober", "report", "sender", "outbox"),
    *("alerts", "tables", "connections", "transports"),
)
LOAD = ("roster", "counts", "packer", "player", "receiver", "reporter", "engine")
SANITIZE = os.environ.get("SANITIZE")

FLAGS = ["-fno-strict-aliasing", "-Wall", "-Wno-unused-function"]
if SANITIZE:
    FLAGS += [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    FLAGS += ["-fsanitize-coverage=trace-pc", "-g", "-O1", "-include", "tests/fuzz/sanitize.h"]
else:
    FLAGS += ["-O3"]

modules = [("region", "kernel", module) for module in KERNEL]
if not SANITIZE:
    modules += [("benchmarks", "load", module) for module in LOAD]

extensions = [
    Extension(
        ".".join(module),
        [f"{'/'.join(module)}.pyx"],
        extra_compile_args=FLAGS,
        extra_link_args=[f"-fsanitize={SANITIZE}"] if SANITIZE else [],
        depends=["tests/fuzz/sanitize.h"] if SANITIZE else [],
    )
    for module in modules
]

setup(
    ext_modules=cythonize(
        extensions, language_level=3, build_dir="build/sanitize/c" if SANITIZE else None
    )
)
