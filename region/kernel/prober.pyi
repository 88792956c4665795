"""The probing half's types; the code is `prober.pyx`."""

from region.kernel.report import PathReport
from region.kernel.sender import Sender

class Prober(Sender):
    """Sends padding to transports whose receivers report what arrives."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound, non-blocking UDP socket that outlives this."""

    def probe(self, transport: int, rate_bps: int, duration_s: float, cluster: int) -> None:
        """Send padding at this rate for so long, beyond whatever media goes there.

        Five packets at least. `cluster`, 1 to 65,535, is what the transport's path report calls
        it. Nothing happens where no feedback was agreed, or no video has been sent that could
        be sent again.
        """

    def path_reports(self, now_s: float) -> dict[int, PathReport]:
        """What was learned of each numbered path since this was called last, by transport.

        None of a path on which all is quiet: nothing was heard, and nothing left that was not
        answered, or not for a second. And none twice within 0.15 s, but for over-use, which is
        news (`Pump.news`) when there was none for a second.
        """
