"""Intake: what was heard becomes rows. Every id is taken once, so each step may be repeated.

Each function here is a change for the writer: it takes a connection and does nothing but talk to the database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, case, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from echobank.machines.verdict import row_of
from echobank.moments import now_ms as now_ms
from echobank.moments import to_ms as to_ms
from echobank.serve.schema import events, machines, messages, troubles, windows
from echobank.watch.events import (
    Closed,
    Failed,
    Heartbeat,
    Message,
    Opened,
    Scored,
    SilenceClosed,
    SilenceOpened,
    WindowMessage,
)

_ROWS_AT_ONCE = 400  # SQLite takes 32,766 values per statement


def enrol(connection: Connection, name: str, facts: Mapping[str, Any] | None = None) -> int:
    """Return the number of a machine, which is made or brought up to date.

    Args:
        connection: Where.
        name: Its name.
        facts: Columns of `machines`.
    """
    facts, wanted = facts or {}, select(machines.c.id).where(machines.c.name == name)
    known: int | None = connection.execute(wanted).scalar()
    if known is not None and not facts:
        return known
    insert_new(connection, machines, [{"name": name, "created": now_ms(), **facts}])
    if facts:
        connection.execute(update(machines).where(machines.c.name == name).values(**facts))
    return cast(int, connection.execute(wanted).scalar_one())


@dataclass(frozen=True)
class MessageBatch:
    """Messages of one machine that came together.

    Attributes:
        messages: The messages, in order.
        machine: Number of the machine.
        revision: Revision of the bank that judged.
        facts: Columns of `machines` that change with them.
    """

    messages: Sequence[Message]
    machine: int
    revision: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


def take_messages(
    connection: Connection,
    taken: Sequence[Message],
    machine: int,
    *,
    revision: int = 0,
    facts: Mapping[str, Any] | None = None,
) -> int:
    """Store messages of one machine and return how many were new; the arguments are the fields of `MessageBatch`."""
    return take_all(connection, [MessageBatch(taken, machine, revision, facts or {})])


def take_all(connection: Connection, heard: Sequence[MessageBatch]) -> int:
    """Store messages with as few statements as one of them needs; those that are there already change nothing.

    Args:
        connection: Where.
        heard: The messages, in the order in which they came.

    Returns:
        How many were new.
    """
    now = now_ms()
    told = [(one, message) for one in heard for message in one.messages]
    body = [_message_row(message, one.machine, now) for one, message in told if not isinstance(message, Heartbeat)]
    new = set(insert_new(connection, messages, body, returning="id"))
    fresh = [(one, message) for one, message in told if message.id in new]
    rows = [
        _window_row(message, one.machine, now, one.revision)
        for one, message in fresh
        if isinstance(message, Scored | Failed)
    ]
    insert_new(connection, windows, rows)
    for one, message in fresh:
        _follow(connection, message, one.machine, one.revision, now)
    for one, message in told:
        if isinstance(message, Heartbeat):
            note_troubles(connection, one.machine, message.troubles, to_ms(message.time, now))
    _bring_up_to_date(connection, heard, rows)
    return len(fresh)


def _bring_up_to_date(connection: Connection, heard: Sequence[MessageBatch], rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what is known of the machines: the facts that came last, and when a window was heard last."""
    facts: dict[int, dict[str, Any]] = {}
    for one in heard:
        facts.setdefault(one.machine, {}).update(one.facts)
    latest: dict[int, int] = {}
    for row in rows:
        latest[row["machine"]] = max(latest.get(row["machine"], row["heard"]), row["heard"])
    changes: dict[tuple[tuple[str, ...], bool], list[dict[str, Any]]] = {}
    for machine, known in facts.items():
        if known or machine in latest:
            change = {"number": machine, "at": latest.get(machine)}
            change |= {f"new_{name}": value for name, value in known.items()}
            changes.setdefault((tuple(known), machine in latest), []).append(change)
    for (names, was_heard), rows_of_change in changes.items():
        connection.execute(_machine_change(names, was_heard), rows_of_change)


_SHOWN = ("file", "start", "seconds", "nearest", "nearest_start")
_ODDER = (
    update(events)
    .where(events.c.machine == bindparam("number"), events.c.closed.is_(None), events.c.kind == "sound")
    .where(events.c.peak < bindparam("new_peak"), events.c.opinion.is_(None))  # an opinion is about what was shown
    .values(
        peak=bindparam("new_peak", type_=events.c.peak.type),
        clip=func.coalesce(bindparam("new_clip", type_=events.c.clip.type), events.c.clip),
        **{name: bindparam(f"new_{name}", type_=events.c[name].type) for name in _SHOWN},
    )
)


@cache
def _machine_change(names: tuple[str, ...], heard: bool) -> Any:
    """Return the statement that brings a machine up to date; made once, since making one costs more than running it."""
    values: dict[str, Any] = {name: bindparam(f"new_{name}", type_=machines.c[name].type) for name in names}
    if heard:
        at, known = bindparam("at", type_=machines.c.heard.type), machines.c.heard
        values["heard"] = case((known.is_(None) | (known < at), at), else_=known)
    return update(machines).where(machines.c.id == bindparam("number")).values(**values)


def note_troubles(connection: Connection, machine: int, present: Sequence[str], at: int) -> None:
    """Store which troubles a machine has at a time; those that it no longer has are over."""
    open_rows = select(troubles.c.id, troubles.c.text).where(troubles.c.machine == machine, troubles.c.until.is_(None))
    before = {row.text: row.id for row in connection.execute(open_rows)}
    for text, number in before.items():
        if text not in present:
            connection.execute(update(troubles).where(troubles.c.id == number).values(until=at))
    fresh = [{"machine": machine, "text": text, "since": at} for text in dict.fromkeys(present) if text not in before]
    if fresh:
        connection.execute(troubles.insert(), fresh)


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, returning: str = ""
) -> list[Any]:
    """Insert the rows whose key is new, and return one column of them."""
    statement = _insertion(table, connection.dialect.name, returning)
    kept: list[Any] = []
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        done = connection.execute(statement, [dict(row) for row in rows[begin : begin + _ROWS_AT_ONCE]])
        kept += done.scalars() if returning else ()
    return kept


@cache
def _insertion(table: Table, dialect: str, returning: str) -> Any:
    """Return the statement; values come as parameters, since one with values in it is compiled at every call."""
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(table).on_conflict_do_nothing()
    return insert.returning(table.c[returning]) if returning else insert


def _follow(connection: Connection, message: Message, machine: int, revision: int, now: int) -> None:
    """Open or close the event of a message; one that is open shows its oddest window."""
    at = to_ms(message.time, now)
    if isinstance(message, Scored) and message.verdict.decision and message.quiet is None:
        verdict = message.verdict
        shown = {"clip": message.clip, "peak": verdict.score, **{name: getattr(verdict, name) for name in _SHOWN}}
        connection.execute(_ODDER, {"number": machine, **{f"new_{name}": value for name, value in shown.items()}})
    elif isinstance(message, Opened):
        verdict = message.verdict
        facts = {"file": verdict.file, "start": verdict.start, "seconds": verdict.seconds, "clip": message.clip}
        nearest = {"nearest": verdict.nearest, "nearest_start": verdict.nearest_start, "peak": verdict.score}
        row = {"id": message.event, "machine": machine, "kind": "sound", "opened": at, "revision": revision}
        insert_new(connection, events, [{**row, **facts, **nearest, "threshold": message.threshold}])
    elif isinstance(message, SilenceOpened):
        row = {"id": message.event, "machine": machine, "kind": "no_sound", "opened": at, "file": message.where}
        insert_new(connection, events, [row])
    elif isinstance(message, Closed):
        story = {"closed": at, "peak": message.peak, "windows": message.windows}
        connection.execute(update(events).where(events.c.id == message.event).values(**story))
    elif isinstance(message, SilenceClosed):
        connection.execute(update(events).where(events.c.id == message.event).values(closed=at))


def _message_row(message: Message, machine: int, now: int) -> dict[str, Any]:
    return {"id": message.id, "machine": machine, "kind": message.kind, "at": now, "body": message.to_values()}


def _window_row(message: WindowMessage, machine: int, now: int, revision: int) -> dict[str, Any]:
    heard = {"heard": to_ms(message.file_time, now), "received": now, "revision": revision}
    more = {"quiet": message.quiet, "clip": message.clip}
    return {"id": message.id, "machine": machine, **heard, **row_of(message.verdict), **more}
