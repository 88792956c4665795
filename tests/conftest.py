"""How hypothesis looks for examples: the same ones each time, unless it is sent exploring."""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True)
settings.load_profile("default" if os.environ.get("EXPLORE") else "repeatable")
