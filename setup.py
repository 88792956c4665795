"""Compiles the packet kernel; everything else about the build stands in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

kernel = Extension(
    "region.kernel.pump",
    ["region/kernel/pump.pyx"],
    extra_compile_args=["-O3", "-fno-strict-aliasing", "-Wall", "-Wno-unused-function"],
)

setup(ext_modules=cythonize([kernel], language_level=3))
