"""The verdict on one window: the row of every table, line, message and page."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REMEMBERED = "in_bank"  # flag of a recording that the bank has: it is compared with itself
ODD_BAND, IMPULSES = "odd_band", "impulses"  # flags of what a score may miss


@dataclass(frozen=True)
class Oddity:
    """What a flag of a window stands for.

    Attributes:
        kind: The flag, `ODD_BAND` or `IMPULSES`.
        start: Where it begins in the recording, seconds.
        end: Where it ends.
        low_hz: Lower edge of its band.
        high_hz: Upper edge.
        db: How far it stands out, dB: above or, negative, below the rest of the window, or healthy sound where the
            whole window does; of impulses, the height of the typical one above the sound around it.
        p_value: Conformal p-value among the machine's own healthy windows.
        count: Impulses.
        rate_hz: Impulses per second, where they come at regular intervals.
    """

    kind: str
    start: float
    end: float
    low_hz: float
    high_hz: float
    db: float
    p_value: float
    count: int | None = None
    rate_hz: float | None = None

    def to_values(self) -> dict[str, Any]:
        """Return a plain mapping; what does not apply is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


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
        findings: What the flags `ODD_BAND` and `IMPULSES` stand for; no column of a table, but in all that is JSON.
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
    findings: tuple[Oddity, ...] = ()


COLUMNS = tuple(field.name for field in dataclasses.fields(Verdict) if field.name != "findings")


def row_of(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as the row of a table: a plain mapping, in the order of `COLUMNS`."""
    return {name: getattr(verdict, name) for name in COLUMNS}


def plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as a plain mapping: its row, and its findings where there are some."""
    found = [finding.to_values() for finding in verdict.findings]
    return row_of(verdict) | ({"findings": found} if found else {})


def from_plain(values: Mapping[str, Any]) -> Verdict:
    """Return the verdict that `plain` made a mapping of; keys that are not of a verdict are passed over."""
    found = tuple(Oddity(**finding) for finding in values.get("findings", ()))
    return Verdict(**{name: values[name] for name in COLUMNS if name in values}, findings=found)
