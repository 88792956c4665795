"""How long tests wait for what is promised within some seconds.

A promise holds on a machine that does nothing else. Tests run on any: each waits several times as
long, prints what it took, and fails only when that does not suffice. `make demanding` waits as
long as is promised, no longer.
"""

import os

PATIENCE = float(os.environ.get("PATIENCE", "4"))


def patient_s(promised_s: float) -> float:
    """How long to wait for what is promised within that time."""
    return promised_s * PATIENCE


def patient_ms(promised_s: float) -> float:
    """The same for Playwright, whose timeouts are in milliseconds."""
    return 1000 * patient_s(promised_s)
