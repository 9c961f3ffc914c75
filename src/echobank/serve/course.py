"""The course of a machine: its scores over any span of time in a few hundred points, of windows and of summaries."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Table, func, select

from echobank.machines.trend.summaries import HOUR, MINUTES_FOR, WINDOWS_FOR
from echobank.serve.schema import hours, minutes, revisions, windows


@dataclass(frozen=True)
class Point:
    """What was heard in a stretch of time.

    Attributes:
        at: Where it begins, ms.
        windows: How many windows were scored.
        low: Least score.
        mean: Mean score.
        high: Largest score.
        p_value: Least p-value.
        anomalous: How many windows were anomalous.
        revision: Newest bank revision that judged.
    """

    at: int
    windows: int
    low: float
    mean: float
    high: float
    p_value: float | None
    anomalous: int
    revision: int

    def joined(self, other: "Point") -> "Point":
        """Return both stretches as one."""
        both = self.windows + other.windows
        known = [value for value in (self.p_value, other.p_value) if value is not None]
        return Point(
            self.at,
            both,
            min(self.low, other.low),
            (self.mean * self.windows + other.mean * other.windows) / max(both, 1),
            max(self.high, other.high),
            min(known) if known else None,
            self.anomalous + other.anomalous,
            max(self.revision, other.revision),
        )


def course(connection: Connection, machine: int, since: int, until: int, points: int, now: int) -> dict[str, Any]:
    """Return the scores of a span, and the thresholds that were in force.

    Args:
        connection: Where.
        machine: Number of the machine.
        since: Beginning, ms.
        until: End, ms; exclusive.
        points: At most about this many points.
        now: Time, ms.
    """
    width = max((until - since) // points, 1)
    found = _of_windows(connection, machine, since, until, width)
    if since < now - WINDOWS_FOR:
        table, length = (minutes, HOUR // 60) if since >= now - MINUTES_FOR and width < HOUR else (hours, HOUR)
        width = -(-width // length) * length
        found = _merged([*_of_windows(connection, machine, since, until, width)])
        found = _merged([*found, *_of_summaries(connection, table, machine, since, until, width)])
    revised = select(revisions).where(revisions.c.machine == machine).order_by(revisions.c.revision)
    steps = [
        {"revision": row.revision, "at": row.at, "action": row.action, "threshold": row.threshold}
        for row in connection.execute(revised)
    ]
    return {"width": width, "points": [asdict(point) for point in found], "thresholds": steps}


def _of_windows(connection: Connection, machine: int, since: int, until: int, width: int) -> list[Point]:
    begins = windows.c.heard // width
    columns = windows.c
    figures = (
        func.count(),
        func.min(columns.score),
        func.avg(columns.score),
        func.max(columns.score),
        func.min(columns.p_value),
        func.coalesce(func.sum(columns.decision), 0),
        func.max(columns.revision),
    )
    wanted = select(begins.label("begins"), *figures).where(
        columns.machine == machine, columns.heard >= since, columns.heard < until, columns.score.is_not(None)
    )
    rows = connection.execute(wanted.group_by("begins").order_by("begins"))
    return [_point(row, width) for row in rows]


def _of_summaries(
    connection: Connection, table: Table, machine: int, since: int, until: int, width: int
) -> list[Point]:
    begins = table.c.begins // width
    count = func.sum(table.c.windows)
    figures = (
        count,
        func.min(table.c.score[("quantiles", 0)].as_float()),
        func.sum(table.c.score["sum"].as_float()) / count,
        func.max(table.c.score[("quantiles", 6)].as_float()),
        func.min(table.c.p_value[("quantiles", 0)].as_float()),
        func.sum(table.c.anomalous),
        func.max(table.c.revision),
    )
    wanted = select(begins.label("begins"), *figures).where(
        table.c.machine == machine, table.c.begins >= since - width, table.c.begins < until, table.c.windows > 0
    )
    rows = connection.execute(wanted.group_by("begins").order_by("begins"))
    return [_point(row, width) for row in rows]


def _point(row: Any, width: int) -> Point:
    begins, count, low, mean, high, p_value, anomalous, revision = row
    return Point(int(begins) * width, int(count), low, float(mean), high, p_value, int(anomalous), int(revision))


def _merged(points: list[Point]) -> list[Point]:
    found: dict[int, Point] = {}
    for point in points:
        found[point.at] = found[point.at].joined(point) if point.at in found else point
    return [found[at] for at in sorted(found)]
