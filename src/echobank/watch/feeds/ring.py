"""The ring: the last seconds of a source in its own sample format, by absolute sample number."""

import threading
from collections import deque
from dataclasses import dataclass

from echobank.watch.feeds.samples import SampleFormat


@dataclass(frozen=True)
class SampleRun:
    """Samples that follow each other without a gap.

    Attributes:
        first: Number of the first sample in the session.
        data: Whole frames, as the source delivered them.
    """

    first: int
    data: bytes


class Ring:
    """Keeps the last bytes of a source; what is older is forgotten. One thread writes, others read.

    Args:
        form: How the samples lie.
        seconds: How much is kept.
    """

    def __init__(self, form: SampleFormat, seconds: float) -> None:
        self.form = form
        self._most = max(1, round(seconds * form.rate)) * form.frame
        self._pieces: deque[SampleRun] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def append(self, first: int, data: bytes) -> None:
        """Add whole frames that begin at a sample number; a number beyond the last one leaves a gap."""
        with self._lock:
            self._pieces.append(SampleRun(first, data))
            self._bytes += len(data)
            while self._bytes - len(self._pieces[0].data) >= self._most:
                self._bytes -= len(self._pieces.popleft().data)

    @property
    def end(self) -> int:
        """Number of the sample after the last one."""
        with self._lock:
            return self._end(self._pieces[-1]) if self._pieces else 0

    def read(self, first: int, end: int) -> list[SampleRun]:
        """Return what is kept of the samples from `first` to before `end`, one piece per stretch without a gap."""
        frame = self.form.frame
        found: list[SampleRun] = []
        with self._lock:
            kept = list(self._pieces)
        for piece in kept:
            begin, stop = max(first, piece.first), min(end, self._end(piece))
            if begin >= stop:
                continue
            data = piece.data[(begin - piece.first) * frame : (stop - piece.first) * frame]
            if found and self._end(found[-1]) == begin:
                found[-1] = SampleRun(found[-1].first, found[-1].data + data)
            else:
                found.append(SampleRun(begin, data))
        return found

    def _end(self, piece: SampleRun) -> int:
        return piece.first + len(piece.data) // self.form.frame
