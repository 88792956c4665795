"""What a bridge does when more is wanted than it carries: small pictures, until it can. Pure.

The kernel leaves out layers at once (`kernel/pressure.pxd`); this has their senders stop. They
begin again when no more is wanted than was carried before; and now and then to see whether more
can be carried after all, for a machine may have been busy with other things.
"""

SMALL_FROM = 2
"""The kernel's pressure at which only a source's lowest encoding is asked for."""
SUSTAINED_S = 1.2
"""For so long there is pressure at every look. A moment of it (everybody's keyframes at once) the
kernel gets over by itself: it eases by a step each half second."""
CARRIED_S = 3.0
"""What is wanted for so long without so much pressure can be carried."""
SLACK = 1.25
"""Times what was carried: what is wanted is told by measured rates, which waver."""
CALM_S = 0.5
"""Without pressure, before pictures are large again."""
TRIED_AFTER_S = 10.0
"""So long after the last pressure it is tried with more; twice as long after each vain try."""
MOST_S = 120.0
VAIN_S = 10.0
"""A try was vain when there is too much pressure again so soon."""


class Relief:
    """`small` is what is in force now."""

    def __init__(self) -> None:
        self.small = False
        self._carried_bps = 0
        self._rising_s: float | None = None
        """Since when more than that has been wanted, and carried."""
        self._rising_bps = 0
        """The least of it."""
        self._pressed_s: float | None = None
        """Since when there was so much pressure at each look."""
        self._calm_s: float | None = None
        """Since when there was none."""
        self._tried_after_s = TRIED_AFTER_S
        self._tried_s = float("-inf")

    def update(self, pressure: int, wanted_bps: int, now: float) -> bool:
        """Whether `small` has changed.

        `pressure` is the most since the last time, `wanted_bps` all that would be sent if
        pictures were as large as they are asked for.
        """
        was = self.small
        if pressure:
            self._calm_s = None
        elif self._calm_s is None:
            self._calm_s = now
        if pressure < SMALL_FROM:
            self._pressed_s = None
        elif self._pressed_s is None:
            self._pressed_s = now
        if self.small:
            self._lift(wanted_bps, now)
        else:
            self._learn(pressure, wanted_bps, now)
            if self._pressed_s is not None and now - self._pressed_s >= SUSTAINED_S:
                self.small = True
                vain = now - self._tried_s < VAIN_S
                self._tried_after_s = (
                    min(MOST_S, 2 * self._tried_after_s) if vain else TRIED_AFTER_S
                )
        return self.small is not was

    def is_settled(self, now: float) -> bool:
        """Whether there has been no pressure for a while: it may be told of it less often."""
        return self._calm_s is not None and now - self._calm_s >= CALM_S

    def _lift(self, wanted_bps: int, now: float) -> None:
        if self._calm_s is None:
            return
        calm_s = now - self._calm_s
        if calm_s >= CALM_S and wanted_bps <= SLACK * self._carried_bps:
            self.small = False
        elif calm_s >= self._tried_after_s:
            self.small = False
            self._tried_s = now

    def _learn(self, pressure: int, wanted_bps: int, now: float) -> None:
        """What can be carried, as it is carried."""
        if pressure >= SMALL_FROM or wanted_bps <= self._carried_bps:
            self._rising_s = None
            return
        if self._rising_s is None:
            self._rising_s, self._rising_bps = now, wanted_bps
        self._rising_bps = min(self._rising_bps, wanted_bps)
        if now - self._rising_s >= CARRIED_S:
            self._carried_bps = self._rising_bps
            self._rising_s = None
