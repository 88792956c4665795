"""The replying half's types; the code is `replier.pyx`."""

from region.kernel.prober import Prober

class Replier(Prober):
    """Tells peers what is missing of what they send and when it came, and echoes their probes."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound, non-blocking UDP socket that outlives this."""

    def echo_probes(self, transport: int) -> None:
        """Answer the peer's probes (`relay.probe`) in the pump's thread, from now on.

        What the peer sent is handed on nevertheless, and so are its echoes, for what they tell of
        the path; nobody is woken for them.
        """
