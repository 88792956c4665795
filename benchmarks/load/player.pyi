"""The player's types; the code is `player.pyx`."""

from benchmarks.load.counts import Counts

class Player(Counts):
    """Senders that play scripts."""

    def play(self, sender: int, script: int, phase_us: int = 0) -> None:
        """Play a script again and again from now on, from so far into its cycle."""

    def set_active(self, sender: int, active: bool) -> None:
        """Whether its person sends it; it begins, and goes on, with a keyframe. At first not."""

    def set_wanted(self, sender: int, wanted: bool) -> None:
        """Whether the bridge wants it; what nobody wants is not sent, as browsers do it."""

    def pace(self, client: int, rate_bps: int) -> None:
        """How fast its pictures leave, all senders together, in bursts of 40 ms as libwebrtc has.

        0, as at first, lets each frame go at once.
        """

    def silence(self, client: int) -> None:
        """It says nothing more by itself, no media and no RTCP, and goes on listening.

        As the connection of somebody does who has left, if nobody closes its socket.
        """
