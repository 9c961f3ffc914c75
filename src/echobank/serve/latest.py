"""The latest of all machines: one query each for the last windows and for what is open, however many rows there are."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select

from echobank.serve.schema import events, machines, troubles, windows


def last_windows(connection: Connection) -> dict[int, Row[Any]]:
    """Return the last window of each machine by its number; of a machine without windows, nothing."""
    other = windows.alias()
    newest = select(other.c.id).where(other.c.machine == machines.c.id).order_by(other.c.heard.desc()).limit(1)
    found = machines.join(windows, windows.c.id == newest.correlate(machines).scalar_subquery())
    rows = connection.execute(select(windows).select_from(found))
    return {row.machine: row for row in rows}


def open_events(connection: Connection) -> dict[int, int]:
    """Return how many events of each machine are open; none where it has none."""
    return _counted(connection, events, events.c.closed.is_(None))


def open_troubles(connection: Connection) -> dict[int, int]:
    """Return how many troubles of each machine are not over; none where it has none."""
    return _counted(connection, troubles, troubles.c.until.is_(None))


def _counted(connection: Connection, table: Table, which: ColumnElement[bool]) -> dict[int, int]:
    counted = select(table.c.machine, func.count()).where(which).group_by(table.c.machine)
    return {row[0]: row[1] for row in connection.execute(counted)}
