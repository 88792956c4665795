"""The replying half's types; the code is `replier.pyx`."""

from region.kernel.prober import Prober

class Replier(Prober):
    """Tells senders what is missing of what they send, and when it came; in the pump's thread."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound, non-blocking UDP socket that outlives this."""
