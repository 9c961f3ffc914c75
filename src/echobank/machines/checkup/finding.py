"""A finding of a checkup: one sentence, what it rests on, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from echobank.machines.trend.summaries import HOUR

GOOD, NOTE, WARNING = "good", "note", "warning"


@dataclass(frozen=True)
class CheckupFinding:
    """What a checkup found.

    Attributes:
        about: scores, machine, recording chain, coverage, feedback or data.
        kind: What it is, in one word for programs, such as gain or lost_band.
        level: good, note or warning.
        sentence: For people.
        evidence: What it rests on, one sentence each.
        next_step: What to do.
        since: When it began, milliseconds since 1970 ...
        low: ... at the earliest ...
        high: ... and at the latest.
        found: When the test found it.
        values: Figures, by name.
    """

    about: str
    kind: str
    level: str
    sentence: str
    evidence: tuple[str, ...] = ()
    next_step: str = ""
    since: int | None = None
    low: int | None = None
    high: int | None = None
    found: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)


def date_of(at: int) -> str:
    """Return the day of a time in milliseconds since 1970, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")


def between(low: int, high: int) -> str:
    """Return an interval of time for people, to the hour where it is shorter than two days."""
    if high - low < 48 * HOUR:
        first, last = (datetime.fromtimestamp(at / 1000, UTC) for at in (low, high))
        if low == high:
            return f"{first:%Y-%m-%d %H:%M} UTC"
        return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    return f"{date_of(low)} to {date_of(high)}"


def share(value: float) -> str:
    """Return a share as text, percent."""
    return f"{100 * value:.2g} %"
