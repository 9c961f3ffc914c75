"""Thinning: windows for 48 hours, minutes for 30 days, hours for ever.

The age of a window counts from its arrival, so that one that is delivered again within that time is always known, and
one that comes late is counted in its own hour.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, delete, select

from echobank.machines.trend.summaries import HOUR, MINUTES_FOR, WINDOWS_FOR, summary_of, together_with
from echobank.serve.schema import hours, messages, minutes, receipts, windows

MESSAGES_FOR, RECEIPTS_FOR = 48 * HOUR, 30 * 24 * HOUR


def thin(connection: Connection, now: int, *, at_once: int = 20_000) -> int:
    """Thin old rows, about `at_once` per table, and return the largest number thinned in one table.

    Args:
        connection: Where.
        now: Time in milliseconds.
        at_once: Bound of one transaction; call again while that many come back.
    """
    old = select(windows).where(windows.c.received < now - WINDOWS_FOR).order_by(windows.c.received).limit(at_once)
    rows = connection.execute(old).all()
    for table, length in ((minutes, HOUR // 60), (hours, HOUR)):
        _summarise(connection, table, length, rows)
    for begin in range(0, len(rows), 500):
        connection.execute(delete(windows).where(windows.c.id.in_([row.id for row in rows[begin : begin + 500]])))
    ended = [
        _drop(connection, table, column, now - age, at_once)
        for table, column, age in (
            (minutes, minutes.c.begins, MINUTES_FOR),
            (messages, messages.c.at, MESSAGES_FOR),
            (receipts, receipts.c.at, RECEIPTS_FOR),
        )
    ]
    return max(len(rows), *ended)


def _drop(connection: Connection, table: Table, column: Column[int], before: int, at_once: int) -> int:
    """Delete about `at_once` of the oldest rows of a table, and return their number."""
    oldest = select(column).where(column < before).order_by(column)
    last = connection.execute(oldest.offset(at_once - 1).limit(1)).scalar()
    end = column < before if last is None else column <= last
    return min(at_once, connection.execute(delete(table).where(end)).rowcount)


def _summarise(connection: Connection, table: Table, length: int, rows: Sequence[Row[Any]]) -> None:
    periods: dict[tuple[int, int, int], list[Row[Any]]] = defaultdict(list)
    for row in rows:
        periods[row.machine, row.heard // length * length, row.revision].append(row)
    for (machine, begins, revision), heard in periods.items():
        here = (table.c.machine == machine, table.c.begins == begins, table.c.revision == revision)
        summary, before = summary_of(heard), connection.execute(select(table).where(*here)).first()
        if before is None:
            key = {"machine": machine, "begins": begins, "revision": revision}
            connection.execute(table.insert().values(**key, **summary))
        else:
            connection.execute(table.update().where(*here).values(**together_with(before, summary)))
