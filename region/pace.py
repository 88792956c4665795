"""How often a conference is looked at: the less happens in it, the more seldom. Pure."""

LOOK_S = 0.2
"""How often speakers are ranked, what arrives is measured, paths' reports are read and awaited
keyframes asked for; the pump wakes us for what should not wait so long."""
CALM_LOOK_S = 2.0
"""The same while nobody speaks, no path has anything to tell and nothing changes: what streams
cost may be measured anew, and the pump tells which of them begin, end, or are heard."""
REST_LOOK_S = 5.0
"""The same while nothing arrives either."""
LISTEN_S = 0.15
"""The soonest after counters were read that they are read again: there are many."""
LIVELY_S = 0.5
"""After something has changed more may, and soon; what a new stream costs is measured by then."""
FOLLOWED_S = 1.5
"""After a path has reported that does not carry all that is wanted: much may change on it."""
AWAKE_S = 10.0
"""After something has arrived or changed nothing is held any more, and no hold runs out."""


def is_over(period_s: float, since_s: float, now: float) -> bool:
    """Whether this time is over, as nearly as looks come: that one is late says nothing."""
    return now - since_s >= period_s - LOOK_S / 2


class Pace:
    """One conference's, which is lively, calm or at rest."""

    def __init__(self) -> None:
        self._looked_s = self._listened_s = float("-inf")
        self._lively_until_s = self._awake_until_s = float("-inf")

    def enliven(self, now: float) -> None:
        """Something has changed."""
        self._be_lively(now, LIVELY_S)

    def follow(self, now: float) -> None:
        """A path has reported on which not all is well."""
        self._be_lively(now, FOLLOWED_S)

    def _be_lively(self, now: float, seconds: float) -> None:
        self._lively_until_s = max(self._lively_until_s, now + seconds)
        self.keep_awake(now)

    def keep_awake(self, now: float) -> None:
        """Something arrives."""
        self._awake_until_s = now + AWAKE_S

    def is_lively(self, now: float) -> bool:
        """Whether anything has changed of late, or a path is followed."""
        return now < self._lively_until_s

    def is_due(self, now: float) -> bool:
        """Whether it is time to look, even if nothing is known to have happened."""
        pace_s = CALM_LOOK_S if now < self._awake_until_s else REST_LOOK_S
        return self.is_lively(now) or is_over(pace_s, self._looked_s, now)

    def look(self, now: float) -> bool:
        """It is looked at; whether its streams' counters are to be read with that."""
        self._looked_s = now
        if now - self._listened_s >= LISTEN_S:
            self._listened_s = now
            return True
        self.enliven(now)  # it may be due because a stream has changed, which the next look hears
        return False
