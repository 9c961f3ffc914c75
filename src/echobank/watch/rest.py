"""Rest: times in which a machine is heard and not alarmed, by a schedule, or because somebody paused it."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from echobank.errors import ConfigError, OutputError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?\s+)?(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.IGNORECASE)
_DAY = 24 * 60
PAUSE_FILE = "pause"  # in the state of the watch


@dataclass(frozen=True)
class Span:
    """Some hours of some days.

    Attributes:
        days: Days on which it begins, 0 is Monday.
        begin: Minute of the day at which it begins.
        end: Minute of the day at which it ends; at or before `begin` it is one of the next day.
    """

    days: frozenset[int]
    begin: int
    end: int

    def holds(self, when: datetime) -> bool:
        """Return whether a local time lies within."""
        day, minute = when.weekday(), when.hour * 60 + when.minute
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


def parse_schedule(text: str) -> tuple[Span, ...]:
    """Return the spans of a text such as "Mon-Fri 06:00-22:00, Sat 08:00-12:00"; no days are all days.

    Raises:
        ConfigError: It is none.
    """
    spans = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part.strip())
        first, last = (match[1] or "mon").lower() if match else "", (match[2] or "").lower() if match else ""
        last = last or (first if match and match[1] else "sun")
        if not match or first not in _DAYS or last not in _DAYS:
            raise ConfigError("not a schedule", value=part.strip(), hint="write Mon-Fri 06:00-22:00, Sat 08:00-12:00")
        begin, end = int(match[3]) * 60 + int(match[4]), int(match[5]) * 60 + int(match[6])
        if max(begin, end) > _DAY or int(match[4]) > 59 or int(match[6]) > 59:
            raise ConfigError("not a time of the day", value=part.strip(), hint="hours go from 00:00 to 24:00")
        start, count = _DAYS.index(first), (_DAYS.index(last) - _DAYS.index(first)) % 7 + 1
        spans.append(Span(frozenset((start + i) % 7 for i in range(count)), begin, end))
    return tuple(spans)


class Rest:
    """Says whether a machine rests.

    Args:
        file: While it exists the machine is paused; a command makes and removes it, and so may anybody.
        schedule: When it is listened to; empty is always.
        now: Returns the local time.
    """

    def __init__(self, file: Path, schedule: tuple[Span, ...] = (), now: Callable[[], datetime] = datetime.now) -> None:
        self._file, self._schedule, self._now = file, schedule, now

    @property
    def reason(self) -> str:
        """Why it rests: "paused", "schedule", or empty when it does not."""
        if self._file.exists():
            return "paused"
        now = self._now()
        return "" if not self._schedule or any(span.holds(now) for span in self._schedule) else "schedule"

    def pause(self) -> None:
        """Pause until `resume`, over restarts too.

        Raises:
            OutputError: The file cannot be made.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()
        except OSError as error:
            raise OutputError(f"cannot pause ({error.strerror})", where=self._file) from error

    def resume(self) -> None:
        """End a pause."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
