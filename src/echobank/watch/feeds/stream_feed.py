"""A microphone, standard input or a network stream as a feed: windows that a capture has cut, embedded in batches."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from echobank.machines.listener import Listener
from echobank.models.encoder import hears_source
from echobank.watch.feeds.capture import Capture, Cutting, LiveWindow
from echobank.watch.feeds.feed import Arrival
from echobank.watch.feeds.source import SoundSource

_BATCH = 8  # windows
_TURN = 8  # batches, then other sources have theirs
_BATCH_SECONDS = 2.0  # longest that a batch may take: a stop and the other sources must not wait long


class StreamFeed:
    """Sound that comes without end.

    Args:
        name: Name of the source; verdicts and ids are made with it.
        source: Where it comes from.
        listener: Cuts and embeds it.
        ring_seconds: How much is kept in the source's own format.
    """

    def __init__(self, name: str, source: SoundSource, listener: Listener, ring_seconds: float = 10.0) -> None:
        self.name = name
        rate = listener.encoder.facts.sample_rate
        wanted = {"with_source": hears_source(listener.encoder), "with_facts": listener.facts}
        cutting = Cutting(listener.seconds, listener.hop, rate, listener.channel, **wanted)
        self.capture = Capture(source, cutting, ring_seconds)
        self._each = 0.0
        self.batch: tuple[LiveWindow, ...] = ()  # the windows of the arrival that was yielded last

    @property
    def identity(self) -> Mapping[str, str]:
        """The name of the source."""
        return {"source": self.name}

    @property
    def title(self) -> str:
        """The source in a sentence."""
        return self.capture.source.title

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong at this moment."""
        lasting = [
            f"{self.name}: {condition}" for condition in self.capture.reception.conditions.snapshot() if condition.now
        ]
        return (*filter(None, [self.capture.reception.trouble]), *lasting)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Nothing: what was lost is among the conditions."""
        return ()

    @property
    def conditions(self) -> tuple[dict[str, Any], ...]:
        """Everything that was wrong, for heartbeats."""
        return tuple(condition.to_values() for condition in self.capture.reception.conditions.snapshot())

    @property
    def idle(self) -> bool:
        """Whether the source has ended and every window is dealt with."""
        return self.capture.finished and not self.capture.take(1)

    @property
    def ended(self) -> bool:
        """Whether the source has ended for good."""
        return self.capture.finished

    @property
    def rest(self) -> float:
        """No rest is needed: a look costs nothing."""
        return 0.0

    @property
    def silence(self) -> float:
        """Seconds without sound."""
        return self.capture.reception.silence

    def arrivals(self, listener: Listener, seen: Mapping[str, str]) -> Iterator[Arrival]:
        """Yield the windows that wait, some at a time, oldest first."""
        self.capture.begin()
        if self.capture.failure is not None:
            raise self.capture.failure
        for _ in range(_TURN):
            batch = self.capture.take(self._most())
            if not batch:
                return
            done = [live for live in batch if _seen(live, seen.get(self.name, ""))]
            if done:  # written down in a step that was broken off before it could say so
                self.capture.done(done)
                continue
            begun = time.monotonic()
            heard = listener.hear_windows(Path(self.name), [live.window for live in batch])
            self._each = (time.monotonic() - begun) / len(batch)
            self.batch = tuple(batch)
            places = tuple(f"{self.name}|{live.session}|{live.sample}" for live in batch)
            times = tuple(live.time for live in batch)
            if heard.error:
                places, times = places[:1], times[:1]
            yield Arrival(self.name, f"{batch[-1].session}|{batch[-1].sample}", heard, places, times)
            self.capture.done(batch)

    def note_levels(self, far: Sequence[bool]) -> None:
        """Note which windows of the last arrival have a level far outside the bank's range."""
        reception = self.capture.reception
        for live, outside in zip(self.batch, far, strict=True):
            if outside:
                reception.conditions.lasts("level", datetime.fromisoformat(live.time), self.capture.cutting.hop)
            else:
                reception.conditions.over("level")

    def present(self) -> dict[str, str]:
        """Return nothing: a stream has no past."""
        return {}

    def remembered(self, seen: Mapping[str, str]) -> dict[str, str] | None:
        """Return everything: it is one entry per source."""
        return dict(seen)

    def close(self) -> None:
        """Stop listening."""
        self.capture.close()

    def _most(self) -> int:
        if not self._each:
            return 1
        return max(1, min(_BATCH, int(_BATCH_SECONDS / self._each)))


def _seen(window: LiveWindow, stamp: str) -> bool:
    session, _, sample = stamp.rpartition("|")
    return session == window.session and sample.isdecimal() and window.sample <= int(sample)
