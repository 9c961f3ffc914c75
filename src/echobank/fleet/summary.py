"""The summary of a fleet: one line per machine, the worst first."""

import csv
import io
from collections.abc import Iterable
from dataclasses import fields

from echobank.fleet.location import Location
from echobank.fleet.scoring import Standing

FILE = "summary.csv"
COLUMNS = (*(field.name for field in fields(Standing)), "share")


def worst_first(standings: Iterable[Standing]) -> list[Standing]:
    """Return machines by their share of anomalous windows, then by their worst score over the threshold."""
    return sorted(standings, key=lambda one: (-one.share, -_excess(one), one.machine))


def write_summary(out: Location, standings: Iterable[Standing]) -> None:
    """Write the summary as CSV beside the verdicts.

    Raises:
        OutputError: It cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in worst_first(standings):
        writer.writerow([getattr(one, name) for name in COLUMNS])
    out.write(FILE, text.getvalue().encode("utf-8", "backslashreplace"))


def _excess(one: Standing) -> float:
    if one.worst_score is None or not one.threshold:
        return 0.0
    return one.worst_score / one.threshold
