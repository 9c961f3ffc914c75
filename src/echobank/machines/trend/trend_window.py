"""A window as a trend keeps it: the columns of the service's table `windows`, and the facts of its sound."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echobank.machines.verdict import Verdict, row_of


@dataclass(frozen=True, kw_only=True)
class TrendWindow:
    """One window of a machine; names and order are the columns of its table.

    Attributes:
        id: Unique, and the same again when the same window is judged again.
        heard: When it was recorded, milliseconds since 1970, UTC.
        received: When it was judged, as `heard`.
        revision: Revision of the bank that judged.
        file: As `Verdict`, and so on to `error`.
        quiet: Why it did not alarm.
        clip: Id of the clip of the event that was open.
        facts: Facts of its sound (`sound_facts.NAMES`), hundredths of a decibel; empty where they were not taken.
    """

    id: str
    heard: int
    received: int
    revision: int
    file: str
    start: float | None = None
    seconds: float | None = None
    score: float | None = None
    p_value: float | None = None
    percentile: float | None = None
    decision: int | None = None
    nearest: str = ""
    nearest_start: float | None = None
    level_dbfs: float | None = None
    flags: str = ""
    error: str = ""
    quiet: str | None = None
    clip: str | None = None
    facts: tuple[int, ...] = ()

    def to_values(self) -> dict[str, Any]:
        """Return the window as a plain mapping, in the order of `WINDOW_COLUMNS`."""
        return {name: getattr(self, name) for name in WINDOW_COLUMNS} | {"facts": list(self.facts)}


WINDOW_COLUMNS = tuple(field.name for field in dataclasses.fields(TrendWindow))


def window_from(values: Mapping[str, Any]) -> TrendWindow:
    """Return the window that `to_values` made a mapping of.

    Raises:
        TypeError: A key is missing, or not one of a window.
    """
    return TrendWindow(**{**values, "facts": tuple(values.get("facts") or ())})


def window_of_verdict(verdict: Verdict, **more: Any) -> TrendWindow:
    """Return the window of a verdict; takes the other attributes of `TrendWindow` as keywords."""
    return TrendWindow(**row_of(verdict), **more)
