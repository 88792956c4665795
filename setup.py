"""Compiles the packet kernel; everything else about the build stands in pyproject.toml."""

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ("pump", "tables")

kernel = [
    Extension(
        f"region.kernel.{module}",
        [f"region/kernel/{module}.pyx"],
        extra_compile_args=["-O3", "-fno-strict-aliasing", "-Wall", "-Wno-unused-function"],
    )
    for module in MODULES
]

setup(ext_modules=cythonize(kernel, language_level=3))
