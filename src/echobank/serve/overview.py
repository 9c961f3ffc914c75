"""The overview: how every machine does at this moment, in a number of questions that does not grow with the history."""

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from echobank.serve.schema import events, machines, sources, troubles, windows

_RECENT = 40  # scores that show where a machine comes from
_LAST = ("score", "p_value", "decision", "level_dbfs", "flags", "file", "quiet")
_FACTS = ("name", "revision", "threshold", "rate", "paused_until", "muted_until", "created", "heard")


def overview(connection: Connection) -> list[dict[str, Any]]:
    """Return all machines with their last scores, open events, troubles and sources; the worst first."""
    open_events = select(events.c.machine, func.count(), func.min(events.c.opened)).where(events.c.closed.is_(None))
    still = {row[0]: row[1:] for row in connection.execute(open_events.group_by(events.c.machine))}
    wrong, fed = defaultdict(list), defaultdict(list)
    for row in connection.execute(select(troubles).where(troubles.c.until.is_(None)).order_by(troubles.c.id)):
        wrong[row.machine].append(row.text)
    for row in connection.execute(select(sources).order_by(sources.c.id)):
        fed[row.machine].append({"kind": row.kind, "place": row.place, "state": row.state, "trouble": row.trouble})
    newest = select(windows).where(windows.c.machine == bindparam("number")).order_by(windows.c.heard.desc())
    told = []
    for row in connection.execute(select(machines)).all():
        recent = connection.execute(newest.limit(_RECENT), {"number": row.id}).all()
        scored = [one for one in recent if one.score is not None]
        count, since = still.get(row.id, (0, None))
        told.append(
            {
                **{name: getattr(row, name) for name in _FACTS},
                "has_bank": bool(row.bank),
                "open_events": count,
                "open_since": since,
                "troubles": wrong[row.id],
                "sources": fed[row.id],
                "last": {name: getattr(scored[0], name) for name in _LAST} if scored else None,
                "recent": [one.score for one in reversed(scored)],
            }
        )
    return sorted(told, key=_badness)


def _badness(machine: dict[str, Any]) -> tuple[int, float, str]:
    last = machine["last"]
    p_value = last["p_value"] if last and last["p_value"] is not None else 2.0
    return -machine["open_events"], p_value, machine["name"]
