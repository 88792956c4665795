"""What a bridge does when more arrives than it can carry: small pictures, until it can again. Pure.

The kernel leaves out layers at once (`kernel/pressure.pxd`); this has their senders stop.
"""

SMALL_FROM = 2
"""The kernel's pressure at which only a source's lowest encoding is asked for."""
SUSTAINED_S = 1.2
"""For so long there is pressure at every look. A moment of it (everybody's keyframes at once) the
kernel gets over by itself: it eases by a step each half second."""
LIFTED_AFTER_S = 2.0
"""Without pressure; twice as long each time that it comes back soon."""
MOST_S = 60.0
SOON_S = 10.0


class Relief:
    """`small` is what is in force now."""

    def __init__(self) -> None:
        self.small = False
        self._pressed_s: float | None = None
        """Since when there was so much pressure at each look."""
        self._until_s = 0.0
        self._lasts_s = LIFTED_AFTER_S
        self._lifted_s = float("-inf")

    def update(self, pressure: int, now: float) -> bool:
        """Take the most pressure since the last time; whether `small` has changed."""
        was = self.small
        if pressure < SMALL_FROM:
            self._pressed_s = None
        else:
            self._pressed_s = now if self._pressed_s is None else self._pressed_s
        if self._pressed_s is not None and now - self._pressed_s >= SUSTAINED_S:
            if not self.small:
                soon = now - self._lifted_s < SOON_S
                self._lasts_s = min(MOST_S, 2 * self._lasts_s) if soon else LIFTED_AFTER_S
            self.small = True
        if pressure:
            self._until_s = now + self._lasts_s
        elif self.small and now >= self._until_s:
            self.small = False
            self._lifted_s = now
        return self.small is not was
