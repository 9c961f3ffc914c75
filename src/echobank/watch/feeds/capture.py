"""Capture: a thread that reads a source, keeps its last seconds, and cuts windows; a lost source is found again.

Windows never span a gap: the resampler and the cutter start over behind it. When scoring falls behind, whole windows
are dropped and counted, the newest is kept; a program that writes faster than real time is made to wait instead.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from echobank.data.audio import Stream, quality
from echobank.data.channels import Channel, ChannelName
from echobank.data.sound_facts import paired, sound_facts
from echobank.data.windows import Window, cut_stream
from echobank.errors import EchobankError
from echobank.watch.feeds.conditions import iso
from echobank.watch.feeds.segments import POLL, Segments
from echobank.watch.feeds.source import SoundSession, SoundSource
from echobank.watch.feeds.track import Reception, Track

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds between two tries
_WELL = 10.0  # seconds of sound after which the next loss is the first one again
_BACKLOG = 30.0  # seconds of sound that may wait for the encoder
_BACKLOG_BYTES = 64 << 20
_AHEAD = 10.0  # seconds


@dataclass(frozen=True)
class Cutting:
    """How windows are cut.

    Attributes:
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        sample_rate: Rate of the encoder, Hz.
        channel: What is heard: a channel, from 0, or "w1" (`Channel`).
        with_source: Whether the encoder hears the source.
        with_facts: Whether the facts of the sound are wanted, with those of a second channel where there is one.
    """

    seconds: float
    hop: float
    sample_rate: int
    channel: ChannelName = 0
    with_source: bool = False
    with_facts: bool = False

    @property
    def backlog(self) -> int:
        """How many windows may wait."""
        size = self.seconds * self.sample_rate * 4
        return max(2, min(round(_BACKLOG / self.hop), round(_BACKLOG_BYTES / size)))

    @property
    def ahead(self) -> float:
        """Seconds that a program must be ahead of the clock to count as a replay; less than what fills the backlog."""
        return min(_AHEAD, (self.seconds + self.backlog * self.hop) / 2)


@dataclass(frozen=True)
class LiveWindow:
    """A window of a session.

    Attributes:
        session: The session, its start as ISO 8601.
        sample: Number of its first sample, at the rate of the source.
        end: Number of the sample after it.
        time: When it began, ISO 8601.
        window: The window; `start` counts from the start of the session.
    """

    session: str
    sample: int
    end: int
    time: str
    window: Window


class Capture:
    """Listens to one source until it is closed or the source ends.

    Args:
        source: What is listened to.
        cutting: How windows are cut.
        ring_seconds: How much is kept in the source's own format.
        clock: A monotonic clock, seconds.
    """

    def __init__(
        self,
        source: SoundSource,
        cutting: Cutting,
        ring_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source, self.cutting = source, cutting
        self.reception = Reception(ring_seconds, clock)
        self.finished, self.dropped, self.heard = False, 0, 0
        self.failure: BaseException | None = None
        self._room = threading.Condition()
        self._waiting: deque[LiveWindow] = deque()
        self._taken = 0
        self._thread = threading.Thread(target=self._run, name=f"echobank {source.title}", daemon=True)

    def begin(self) -> None:
        """Start to listen, unless that is done."""
        if self._thread.ident is None:
            self.reception.heard_at = self.reception.clock()
            self._thread.start()

    def close(self) -> None:
        """Stop listening and wait until whatever serves the source is gone."""
        self.reception.closing.set()
        with self._room:
            self._room.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def take(self, most: int) -> list[LiveWindow]:
        """Return the oldest windows that wait, of one session; they wait on until `done` is called."""
        with self._room:
            found = [self._waiting[i] for i in range(min(most, len(self._waiting)))]
            found = [window for window in found if window.session == found[0].session]
            self._taken = len(found)
            return found

    def done(self, windows: Sequence[LiveWindow]) -> None:
        """Forget windows that are dealt with."""
        with self._room:
            for window in windows:
                if self._waiting and self._waiting[0] is window:
                    self._waiting.popleft()
            self._taken = 0
            self._room.notify_all()

    def _run(self) -> None:
        try:
            self._listen()
        except BaseException as error:  # a bug must not look like a silent microphone
            self.failure = error
        finally:
            self.finished = True

    def _listen(self) -> None:
        reception, wait = self.reception, _FIRST_WAIT
        lost = reception.clock()
        while not reception.closing.is_set():
            opened = reception.clock()
            try:
                self._hear(self.source.open(reception.closing.is_set))
            except EchobankError as error:
                reception.trouble = str(error)
            if not self.source.lasting or reception.closing.is_set():
                return
            if reception.heard_at > opened:
                lost = reception.heard_at
                wait = _FIRST_WAIT if lost - opened > _WELL else wait
            reception.closing.wait(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, _LONGEST_WAIT)
            now = reception.clock()
            reception.conditions.lasts("lost", datetime.now(UTC), now - lost)
            lost = now

    def _hear(self, session: SoundSession) -> None:
        """Listen to an open source until it is lost or ends."""
        try:
            channel = Channel.of(self.cutting.channel)
            segments = Segments(self.source, session, channel, self.reception, self.cutting.ahead)
            while not segments.over:
                self._cut(segments)
        finally:
            session.close()
            if session.overruns:
                self.reception.conditions.happened("overrun", datetime.now(UTC), count=session.overruns)

    def _cut(self, segments: Segments) -> None:
        """Cut windows until the next gap."""
        first = segments.begin()
        track = self.reception.track
        if first is None or track is None:
            return
        cutting = self.cutting
        stream = Stream(track.form.rate, track.form.channels, segments.blocks())
        windows = cut_stream(
            stream,
            seconds=cutting.seconds,
            hop=cutting.hop,
            sample_rate=cutting.sample_rate,
            channel=cutting.channel,
            source=cutting.with_source,
            facts=cutting.with_facts,
        )
        for count, window in enumerate(windows):
            whole = not self.source.lasting and not first and not count  # one short window is scored like a short file
            if whole or window.seconds >= cutting.seconds / 2:
                self._put(self._live(first, window))

    def _live(self, first: int, window: Window) -> LiveWindow:
        track, at = self.reception.track, self.cutting.sample_rate
        assert track is not None
        rate = track.form.rate
        begin = round(window.start * at)
        sample, end = first + round(begin * rate / at), first + round((begin + len(window.samples)) * rate / at)
        start = first / rate + window.start
        window = self._with_other(track, window, sample, end)
        return LiveWindow(track.session, sample, end, iso(track.moment(sample)), replace(window, start=start))

    def _with_other(self, track: Track, window: Window, sample: int, end: int) -> Window:
        """Return a window with the facts of a second channel, from the ring, where it has one."""
        form = track.form
        if window.facts is None or form.channels < 2:
            return window
        runs = track.ring.read(sample, end)
        if not runs:
            return window
        other = form.decode(runs[-1].data)[:, Channel.of(self.cutting.channel).beside(form.channels)]
        level = quality(other, form.rate)[1]
        return replace(window, facts=paired(window.facts, sound_facts(other, form.rate), level))

    def _put(self, live: LiveWindow) -> None:
        reception, closing = self.reception, self.reception.closing
        with self._room:
            while reception.replay and len(self._waiting) >= self.cutting.backlog and not closing.is_set():
                self._room.wait(POLL)
            if len(self._waiting) >= self.cutting.backlog and not closing.is_set():
                self._drop()
            self._waiting.append(live)
            self.heard += 1

    def _drop(self) -> None:
        """Drop everything that waits and is not under way."""
        count = len(self._waiting) - self._taken
        oldest = datetime.fromisoformat(self._waiting[self._taken].time) if count else datetime.now(UTC)
        for _ in range(count):
            self._waiting.pop()
        self.dropped += count
        self.reception.conditions.happened("dropped", oldest, count * self.cutting.hop, count)
