"""The receiving half's types; the code is `receiver.pyx`."""

from region.kernel.replier import Replier

class Receiver(Replier):
    """Opens, reads and hands on what arrives; all of it in the pump's thread."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound, non-blocking UDP socket that outlives this."""
