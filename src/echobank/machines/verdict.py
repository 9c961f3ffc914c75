"""The verdict on one window: the row of every table, line, message and page."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REMEMBERED = "in_bank"  # flag of a recording that the bank has: it is compared with itself


@dataclass(frozen=True)
class Verdict:
    """One window of one recording, judged. Field names are the columns of every table, line and message.

    Attributes:
        file: The recording, as it was given.
        start: Where the window begins, seconds.
        seconds: Its length.
        score: Anomaly score; larger is more anomalous.
        p_value: Conformal p-value among the machine's own healthy windows.
        percentile: Share of the machine's own healthy windows that score less, percent.
        decision: 1 is anomalous at the threshold in force.
        nearest: The nearest healthy recording.
        nearest_start: Where its window begins, seconds.
        level_dbfs: RMS level, dB of full scale.
        flags: Quality flags, joined by "+"; "in_bank" says that the recording is compared with itself.
        error: Why the recording could not be scored; then every number is None.
    """

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


COLUMNS = tuple(field.name for field in dataclasses.fields(Verdict))


def plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as a plain mapping, in the order of `COLUMNS`."""
    return {name: getattr(verdict, name) for name in COLUMNS}


def from_plain(values: Mapping[str, Any]) -> Verdict:
    """Return the verdict that `plain` made a mapping of."""
    return Verdict(**values)
