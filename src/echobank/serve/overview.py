"""The overview: how every machine does at this moment, in a number of questions that does not grow with the history."""

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from echobank.serve.latest import last_windows
from echobank.serve.schema import events, machines, sources, troubles, windows

_RECENT = 40  # scores that show where a machine comes from
_LAST = ("score", "p_value", "decision", "level_dbfs", "flags", "file", "quiet")
_FACTS = ("name", "revision", "threshold", "rate", "paused_until", "muted_until", "created", "heard")
_OF_MACHINE = select(windows).where(windows.c.machine == bindparam("number")).order_by(windows.c.heard.desc())
_SCORES = _OF_MACHINE.with_only_columns(windows.c.score).limit(_RECENT)
_LAST_HEARD = _OF_MACHINE.where(windows.c.score.is_not(None)).limit(1)


def overview(connection: Connection) -> list[dict[str, Any]]:
    """Return all machines with their last scores, open events, troubles and sources; the worst first."""
    open_events = select(events.c.machine, func.count(), func.min(events.c.opened)).where(events.c.closed.is_(None))
    still = {row[0]: row[1:] for row in connection.execute(open_events.group_by(events.c.machine))}
    wrong, fed = defaultdict(list), defaultdict(list)
    for row in connection.execute(select(troubles).where(troubles.c.until.is_(None)).order_by(troubles.c.id)):
        wrong[row.machine].append(row.text)
    for row in connection.execute(select(sources).order_by(sources.c.id)):
        fed[row.machine].append({"kind": row.kind, "place": row.place, "state": row.state, "trouble": row.trouble})
    newest, told = last_windows(connection), []
    for row in connection.execute(select(machines)).all():
        scores = [one.score for one in connection.execute(_SCORES, {"number": row.id}) if one.score is not None]
        last = newest.get(row.id) if scores else None
        if last is not None and last.score is None:  # an error came after what was heard
            last = connection.execute(_LAST_HEARD, {"number": row.id}).first()
        count, since = still.get(row.id, (0, None))
        told.append(
            {
                **{name: getattr(row, name) for name in _FACTS},
                "has_bank": bool(row.bank),
                "open_events": count,
                "open_since": since,
                "troubles": wrong[row.id],
                "sources": fed[row.id],
                "last": None if last is None else {name: getattr(last, name) for name in _LAST},
                "recent": scores[::-1],
            }
        )
    return sorted(told, key=_badness)


def _badness(machine: dict[str, Any]) -> tuple[int, float, str]:
    last = machine["last"]
    p_value = last["p_value"] if last and last["p_value"] is not None else 2.0
    return -machine["open_events"], p_value, machine["name"]
