"""Moments as whole milliseconds since 1970, UTC, as they are stored."""

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def iso_of(moment: int) -> str:
    """Return a moment as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")


def to_ms(text: str, otherwise: int) -> int:
    """Return an ISO 8601 time in milliseconds since 1970; one that cannot be read, or has no zone, is `otherwise`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    return otherwise if moment.tzinfo is None else round(1000 * moment.timestamp())
