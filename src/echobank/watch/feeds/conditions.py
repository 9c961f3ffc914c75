"""Conditions of a source: gaps, losses, silence, a stuck signal, DC, clipping, with start, length and count.

Samples are looked at in blocks of half a second that do not depend on how the source cuts them. Silence is what a
dead cable or a muted device gives: samples that do not change, or the same block again and again.
"""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.data.audio import quality

Float32 = NDArray[np.float32]

BLOCK_SECONDS = 0.5
SOUND_BLOCKS = 2  # blocks with sound in a row that end a silence; a click of a reset does not


@dataclass(frozen=True)
class SoundCondition:
    """Something that was wrong with a source.

    Attributes:
        kind: "gap", "lost", "overrun", "silent", "stuck", "dc", "clipped", "level", "dropped", "not_finite".
        start: When it last began, ISO 8601, UTC.
        seconds: How long it lasted then, or lasts by now.
        count: How often it happened.
        total: Seconds that all of them lasted.
        now: Whether it lasts at this moment.
    """

    kind: str
    start: str
    seconds: float
    count: int = 1
    total: float = 0.0
    now: bool = False

    def to_values(self) -> dict[str, Any]:
        """Return the condition as plain values, seconds to the millisecond."""
        return asdict(replace(self, seconds=round(self.seconds, 3), total=round(self.total, 3)))

    def __str__(self) -> str:
        lasting = f" since {self.start}" if self.now else ""
        return f"{self.kind}{lasting} ({self.seconds:.1f} s, {self.count} so far)"


class Conditions:
    """Counts what is wrong. One thread writes, others take snapshots."""

    def __init__(self) -> None:
        self._known: dict[str, SoundCondition] = {}
        self._lock = threading.Lock()

    def happened(self, kind: str, start: datetime, seconds: float = 0.0, count: int = 1) -> None:
        """Note something that happened once."""
        with self._lock:
            old = self._known.get(kind)
            before, total = (old.count, old.total) if old else (0, 0.0)
            self._known[kind] = SoundCondition(kind, iso(start), seconds, before + count, total + seconds)

    def lasts(self, kind: str, start: datetime, seconds: float) -> None:
        """Note that a condition lasts for this many seconds more."""
        with self._lock:
            old = self._known.get(kind)
            if old is not None and old.now:
                self._known[kind] = replace(old, seconds=old.seconds + seconds, total=old.total + seconds)
            else:
                count, total = (old.count, old.total) if old else (0, 0.0)
                self._known[kind] = SoundCondition(kind, iso(start), seconds, count + 1, total + seconds, now=True)

    def over(self, kind: str) -> None:
        """Note that a condition is over."""
        with self._lock:
            old = self._known.get(kind)
            if old is not None and old.now:
                self._known[kind] = replace(old, now=False)

    def snapshot(self) -> tuple[SoundCondition, ...]:
        """Return every condition that there was, by kind."""
        with self._lock:
            return tuple(self._known[kind] for kind in sorted(self._known))


@dataclass
class Inspection:
    """Looks at the samples of one session.

    Args:
        rate: Their rate, Hz.
        start: When sample 0 was heard.
        conditions: Where what is found is noted.
        silence: Seconds that no sound was heard; 0 while there is sound.
    """

    rate: int
    start: datetime
    conditions: Conditions
    silence: float = 0.0
    _waiting: list[Float32] = field(default_factory=list)
    _first: int = 0
    _last: bytes = b""
    _sound: int = 0

    def take(self, first: int, samples: Float32) -> None:
        """Look at samples float32[T] that begin at a number; a number beyond the last one is a gap."""
        held = sum(map(len, self._waiting))
        if first != self._first + held:
            self.silence += (first - self._first - held) / self.rate
            self._waiting, self._first, self._last, self._sound = [], first, b"", 0
        self._waiting.append(samples)
        for block in self._blocks():
            self._look(block)
            self._first += len(block)

    def _blocks(self) -> Iterator[Float32]:
        size = round(BLOCK_SECONDS * self.rate)
        if sum(map(len, self._waiting)) < size:
            return
        held = np.concatenate(self._waiting)
        whole = len(held) // size
        self._waiting = [held[whole * size :]]
        for i in range(whole):
            yield held[i * size : (i + 1) * size]

    def _look(self, block: Float32) -> None:
        _, _, flags = quality(block, self.rate)
        digest = hashlib.sha256(block.tobytes()).digest()
        stuck = "silent" not in flags and digest == self._last
        self._last = digest
        found = {**dict.fromkeys(("silent", "dc", "clipped"), False), **dict.fromkeys(flags, True), "stuck": stuck}
        when = self.start + timedelta(seconds=self._first / self.rate)
        for kind in ("silent", "stuck", "dc", "clipped"):
            if found[kind]:
                self.conditions.lasts(kind, when, len(block) / self.rate)
            else:
                self.conditions.over(kind)
        if found["silent"] or stuck:
            self._sound, self.silence = 0, self.silence + len(block) / self.rate
        else:
            self._sound += 1
            if self._sound >= SOUND_BLOCKS:
                self.silence = 0.0


def iso(when: datetime) -> str:
    """Return a time as ISO 8601, UTC, to the millisecond."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")
