"""How hypothesis looks for examples: the same ones each time, unless it is sent exploring.

How long one takes says something of the machine, and nothing of the code.
"""

import os

from hypothesis import HealthCheck, settings

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("repeatable", UNTIMED, derandomize=True)
settings.register_profile("exploring", UNTIMED)
settings.load_profile("exploring" if os.environ.get("EXPLORE") else "repeatable")
