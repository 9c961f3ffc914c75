"""The track of a source: what is known of the session that is running, shared by the thread that reads and by readers.

A session begins with the first sample and lives on through losses and gaps; another sample format begins a new one.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from echobank.watch.feeds.conditions import Conditions, Inspection, iso
from echobank.watch.feeds.ring import Ring
from echobank.watch.feeds.samples import SampleFormat
from echobank.watch.feeds.timeline import Timeline


@dataclass(frozen=True)
class Track:
    """One session.

    Attributes:
        form: How its samples lie.
        start: When sample 0 was heard.
        timeline: Sample numbers and the clock.
        inspection: What is wrong with the samples.
        ring: The last seconds.
    """

    form: SampleFormat
    start: datetime
    timeline: Timeline
    inspection: Inspection
    ring: Ring

    @property
    def session(self) -> str:
        """Name of the session: its start, ISO 8601."""
        return iso(self.start)

    def moment(self, sample: int) -> datetime:
        """Return when a sample was heard."""
        return self.start + timedelta(seconds=sample / self.form.rate)


@dataclass
class Reception:
    """What the thread that reads a source and those that ask about it share.

    Attributes:
        ring_seconds: How much the ring keeps.
        clock: A monotonic clock, seconds.
        conditions: What was wrong so far.
        closing: Set when the reader is to stop.
        trouble: What is wrong at this moment, in words.
        heard_at: When the last samples came.
        track: The session; None before the first sample.
        replay: Whether a program writes faster than real time.
    """

    ring_seconds: float
    clock: Callable[[], float] = time.monotonic
    conditions: Conditions = field(default_factory=Conditions)
    closing: threading.Event = field(default_factory=threading.Event)
    trouble: str = ""
    heard_at: float = 0.0
    track: Track | None = None
    replay: bool = False

    @property
    def silence(self) -> float:
        """Seconds without sound: none came, or none that changes."""
        heard = self.track.inspection.silence if self.track else 0.0
        quiet = self.clock() - self.heard_at
        return heard + (quiet if quiet > 1.0 else 0.0)

    def new_track(self, form: SampleFormat, begun: float) -> Track:
        """Begin a session whose first sample was heard at a time of the clock."""
        start = datetime.now(UTC) - timedelta(seconds=max(0.0, self.clock() - begun))
        inspection = Inspection(form.rate, start, self.conditions, silence=self.silence)
        self.track = Track(form, start, Timeline(form.rate, begun), inspection, Ring(form, self.ring_seconds))
        return self.track
