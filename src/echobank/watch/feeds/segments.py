"""Segments: the samples of one open source, cut where sound is missing."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echobank.data.channels import Channel
from echobank.errors import AudioError
from echobank.watch.feeds.source import SoundSession, SoundSource, SourceError
from echobank.watch.feeds.track import Reception, Track

Float32 = NDArray[np.float32]

POLL = 0.25  # seconds between two looks at whether to stop


class Segments:
    """The segments of one open source.

    Args:
        source: What it is.
        session: The source, opened.
        channel: What is heard.
        reception: Where ring, conditions and troubles are kept.
        ahead: Seconds that a program that writes must be ahead of the clock to count as a replay.

    Raises:
        AudioError: The source lacks the channel.
    """

    def __init__(
        self, source: SoundSource, session: SoundSession, channel: Channel, reception: Reception, ahead: float
    ) -> None:
        if lack := channel.lack(session.form.channels, "source"):
            raise AudioError(lack, hint="--channels N says how many a microphone or raw samples have")
        self._source, self._session, self._channel = source, session, channel
        self._reception, self._ahead = reception, ahead
        self._held, self._resumed = b"", False
        self.over = False

    def begin(self) -> int | None:
        """Wait for the next segment and return the number of its first sample; None when there is none."""
        reception, form = self._reception, self._session.form
        self._held = self._held or self._read()
        if not self._held:
            return None
        now, count = reception.clock(), len(self._held) // form.frame
        track = reception.track
        if track is None or track.form != form:
            track = reception.new_track(form, now - count / form.rate if self._source.paced else now)
        elif not self._resumed and self._source.paced:
            missing = track.timeline.resume(now, count)
            self._note_gap(track, track.timeline.position - missing, missing)
        reception.conditions.over("lost")
        self._resumed = True
        return track.timeline.position

    def blocks(self) -> Iterator[Float32]:
        """Yield what the channel picks, float32[T] or float32[T, 2], until the next gap or the end; after `begin`.

        Conditions are those of the one channel, or of the near microphone.
        """
        reception, form = self._reception, self._session.form
        track = reception.track
        assert track is not None
        while data := self._held or self._read():
            self._held = b""
            now = reception.clock()
            if self._source.paced and (missing := track.timeline.missing(now)):
                self._note_gap(track, track.timeline.position, missing)
                track.timeline.skip(missing)
                self._held = data
                return
            samples = np.ascontiguousarray(self._channel.pick(form.decode(data)))
            if not np.isfinite(samples).all():
                when = track.moment(track.timeline.position)
                reception.conditions.happened("not_finite", when, len(samples) / form.rate)
                track.timeline.skip(len(samples))
                return
            track.ring.append(track.timeline.position, data)
            near = samples if samples.ndim == 1 else np.ascontiguousarray(samples[:, 0])
            track.inspection.take(track.timeline.position, near)
            track.timeline.arrived(now, len(samples))
            reception.heard_at, reception.trouble = now, ""
            reception.replay |= not self._source.paced and -track.timeline.lag(now) > self._ahead
            yield samples

    def _read(self) -> bytes:
        """Return some frames; none at the end, after a stall, or when asked to stop, and then it is over."""
        reception, last = self._reception, self._reception.clock()
        while not reception.closing.is_set() and not self.over:
            try:
                data = self._session.read(POLL)
            except SourceError as error:
                reception.trouble = str(error)
                break
            if data == b"":
                break
            if data:
                return data
            stall = self._source.stall
            if stall and reception.clock() - last > stall:
                reception.trouble = f"nothing came {self._source.title} for {stall:g} s"
                break
        self.over = True
        return b""

    def _note_gap(self, track: Track, first: int, missing: int) -> None:
        if missing:
            self._reception.conditions.happened("gap", track.moment(first), missing / track.form.rate)
