"""The timeline of a session: which sample number belongs to which moment, and where sound is missing.

Sound that comes in bursts is not a gap: Ogg pages arrive a second apart. So gaps are judged by how far the samples lag
behind the clock in all, at best within some seconds (the lower envelope), not by the time between two arrivals. A clock
of a sound card that is a little off makes the lag grow slowly, which is followed and is not a gap either.
"""

from dataclasses import dataclass

_ENVELOPE = 5.0  # seconds whose smallest lag counts
_STEP = 0.5  # seconds that the lag must grow at once for a gap
_DRIFT = 5e-4  # the worst clock of a sound card, seconds per second


@dataclass
class Timeline:
    """Sample numbers of one session.

    Args:
        rate: Sample rate, Hz.
        begun: When sample 0 was heard, on a monotonic clock.
        position: Number of the next sample.
    """

    rate: int
    begun: float
    position: int = 0
    _usual: float = 0.0
    _least: float = float("inf")
    _since: float = 0.0

    def lag(self, now: float) -> float:
        """Return how many seconds the samples are behind the clock."""
        return now - self.begun - self.position / self.rate

    def resume(self, now: float, count: int) -> int:
        """Return how many samples are missing when `count` arrive after a loss; the position is moved past them."""
        missing = max(0, round((now - self.begun) * self.rate) - count - self.position)
        self.position += missing
        self._usual, self._least, self._since = self.lag(now) - count / self.rate, float("inf"), now
        return missing

    def arrived(self, now: float, count: int) -> None:
        """Take `count` samples."""
        self.position += count
        self._least = min(self._least, self.lag(now))

    def missing(self, now: float) -> int:
        """Return how many samples are missing in a stream that never stopped, asked after each arrival."""
        if now - self._since < _ENVELOPE or self._least == float("inf"):
            return 0
        step, took = self._least - self._usual, now - self._since
        self._least, self._since = float("inf"), now
        if step > _STEP:
            return round(step * self.rate)
        self._usual += min(step, _DRIFT * took)
        return 0

    def skip(self, count: int) -> None:
        """Leave a gap of this many samples."""
        self.position += count
