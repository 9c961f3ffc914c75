"""A source that a test plays: it is opened, delivers what is asked for, stalls and is lost."""

import queue

from echobank.watch.feeds.samples import SampleFormat
from echobank.watch.feeds.source import SourceError


class Clock:
    """A clock that moves with the samples, and when a source is lost."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Played:
    """A live source; the script is a list of steps: bytes, ("stall", seconds), ("lost", seconds), "end"."""

    title, lasting, paced, stall = "from a test", True, True, 3.0
    overruns = 0

    def __init__(self, clock, form=None):
        self.form, self._clock = form or SampleFormat(16_000), clock
        self._steps = queue.SimpleQueue()
        self._open = False

    def play(self, *steps):
        for step in steps:
            self._steps.put(step)

    def open(self, stop):
        self._open = True
        return self

    def read(self, seconds):
        try:
            step = self._steps.get(timeout=0.01)
        except queue.Empty:
            return None
        if isinstance(step, bytes):
            self._clock.now += len(step) / self.form.frame / self.form.rate
            return step
        kind, seconds = step
        self._clock.now += seconds
        if kind == "lost":
            raise SourceError("unplugged")
        return None

    def close(self):
        self._open = False
