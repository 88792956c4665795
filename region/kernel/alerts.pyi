"""What wakes Python and what it finds then; the code is `alerts.pyx`."""

from region.kernel.tables import Tables

ALIVE_S: float
"""An encoding without packets for longer has stopped: at 7.5 pictures a second it has had seven."""

class Alerts(Tables):
    """What should not wait for the next look, and what is looked for."""

    def news(self) -> frozenset[int] | None:
        """What has happened since the last call that should not wait for a look.

        Streams that have begun, after a second without a packet or more, or whose sound is heard
        after nothing but silence; of very many at once not all. Empty when no stream has begun,
        but a path is over-used, or one that was ample seems to be so no more; when a picture has
        begun, ended or changed its codec, of which `changed_streams` has not told; when an egress
        waits for a keyframe of which `awaiting` has not told; or when the pump falls behind. Paths,
        pictures and egresses are gone through each 0.2 s while datagrams arrive, but for 0.25 s
        after each `changed_streams`, with which Python looks for all of it. None when nothing of
        that is so.
        """

    def changed_streams(self, now_s: float) -> frozenset[int]:
        """Streams that have become perceptible, or are no more, since they were named last.

        Perceptible is a picture of which a packet came within the last second, and sound that
        is not silent besides; of sound that begins to be heard `news` has told already. A picture
        that comes by another payload type is named, too. At most 1,024; the others are named by
        the next call.
        """

    def awaiting(self) -> list[int]:
        """Egresses that have a path and wait for a keyframe, of another stream or another layer."""
