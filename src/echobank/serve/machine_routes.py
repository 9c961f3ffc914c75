"""Routes of machines: what there is, scores by time, and what users change: rate, pause, undo."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Row, func, select, update

from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of
from echobank.serve.intake import now_ms
from echobank.serve.latest import last_windows, open_events
from echobank.serve.listening import source_values
from echobank.serve.schema import events, hours, machines, minutes, notes, revisions, troubles, windows

router = APIRouter(route_class=GuardedRoute)
_TABLES = {
    "windows": (windows, windows.c.heard),
    "minutes": (minutes, minutes.c.begins),
    "hours": (hours, hours.c.begins),
}


class NewRate(BaseModel):
    """A false-alarm rate."""

    rate: float = Field(gt=0, lt=1)


class Pause(BaseModel):
    """How long a machine is heard and does not alarm."""

    seconds: float = Field(gt=0, le=366 * 86400)


@router.get("/api/machines", openapi_extra=needs("read"), tags=["machines"])
def list_machines(request: Request) -> list[dict[str, Any]]:
    """All machines, those with open events first, then by p-value."""
    with service_of(request).engine.connect() as connection:
        last, still = last_windows(connection), open_events(connection)
        found = [
            _machine_values(row, last.get(row.id), still.get(row.id, 0)) for row in connection.execute(select(machines))
        ]
    heard = _sources(request)
    found = [{**machine, "sources": heard.get(machine["name"], [])} for machine in found]
    return sorted(found, key=_badness)


@router.get("/api/machines/{machine}", openapi_extra=needs("read"), tags=["machines"])
def show_machine(machine: str, request: Request) -> dict[str, Any]:
    """One machine with its troubles, the states of its bank, and what users did."""
    with service_of(request).engine.connect() as connection:
        row = machine_row(connection, machine)
        story = select(revisions).where(revisions.c.machine == row.id).order_by(revisions.c.revision.desc()).limit(50)
        wrong = select(troubles).where(troubles.c.machine == row.id, troubles.c.until.is_(None))
        latest = (notes.c.at.desc(), notes.c.id.desc())
        done = select(notes).where(notes.c.machine == row.id).order_by(*latest).limit(50)
        lists = {"revisions": story, "troubles": wrong, "notes": done}
        more = {name: [_without(it) for it in connection.execute(query)] for name, query in lists.items()}
        newest = select(windows).where(windows.c.machine == row.id).order_by(windows.c.heard.desc()).limit(1)
        still = select(func.count()).select_from(events).where(events.c.machine == row.id, events.c.closed.is_(None))
        last, count = connection.execute(newest).first(), connection.execute(still).scalar() or 0
        return {**_machine_values(row, last, count), **more, "sources": _sources(request).get(row.name, [])}


@router.get("/api/machines/{machine}/scores", openapi_extra=needs("read"), tags=["machines"])
def list_scores(
    machine: str,
    request: Request,
    step: Literal["windows", "minutes", "hours"] = "windows",
    since: Annotated[int, Query(description="ms since 1970")] = 0,
    until: Annotated[int, Query(description="ms since 1970")] = 1 << 53,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> list[dict[str, Any]]:
    """Scores from `since` to before `until`, the newest first."""
    table, when = _TABLES[step]
    with service_of(request).engine.connect() as connection:
        number = machine_row(connection, machine).id
        wanted = select(table).where(table.c.machine == number, when >= since, when < until)
        return [_without(row) for row in connection.execute(wanted.order_by(when.desc()).limit(limit))]


@router.post("/api/machines/{machine}/rate", openapi_extra=needs("curate"), tags=["machines"])
def set_rate(machine: str, body: NewRate, request: Request) -> dict[str, Any]:
    """Set the false-alarm rate of a bank; `undo` brings the old one back."""
    service = service_of(request)
    hosted = service.machines.get(machine)
    if hosted is None:
        raise MissingError("no machine of this name has a bank here", value=machine)
    hosted.set_rate(body.rate)
    add_note(request, machine, "rate", f"{body.rate:g}")
    return service.note_revision(hosted, "rate")


@router.post("/api/machines/{machine}/undo", openapi_extra=needs("curate"), tags=["machines"])
def undo(machine: str, request: Request) -> dict[str, Any]:
    """Bring back the bank before its last change."""
    service = service_of(request)
    hosted = service.machines.get(machine)
    if hosted is None:
        raise MissingError("no machine of this name has a bank here", value=machine)
    hosted.undo()
    add_note(request, machine, "undo", "")
    return service.note_revision(hosted, "undo")


@router.post("/api/machines/{machine}/pause", openapi_extra=needs("curate"), tags=["machines"])
def pause(machine: str, body: Pause, request: Request) -> dict[str, Any]:
    """Pause the alarms of a machine for a while; it is still heard."""
    until = now_ms() + round(1000 * body.seconds)
    _set(request, machine, paused_until=until)
    add_note(request, machine, "pause", f"{body.seconds:g} s")
    return {"paused_until": until}


@router.post("/api/machines/{machine}/resume", openapi_extra=needs("curate"), tags=["machines"])
def resume(machine: str, request: Request) -> dict[str, Any]:
    """End a pause."""
    _set(request, machine, paused_until=None)
    add_note(request, machine, "resume", "")
    return {"paused_until": None}


def machine_row(connection: Connection, name: str) -> Row[Any]:
    """Return the row of a machine.

    Raises:
        MissingError: There is none of this name.
    """
    row = connection.execute(select(machines).where(machines.c.name == name)).first()
    if row is None:
        raise MissingError("no machine of this name", value=name)
    return row


def add_note(request: Request, machine: str, action: str, text: str, event: str | None = None) -> None:
    """Store what a user did.

    Raises:
        MissingError: No machine of this name.
    """
    author = request.state.holder.name

    def change(connection: Connection) -> None:
        row = {"machine": machine_row(connection, machine).id, "event": event, "at": now_ms(), "author": author}
        connection.execute(notes.insert().values(**row, action=action, text=text))

    service_of(request).writer.run(change)


def _set(request: Request, machine: str, **facts: Any) -> None:
    def change(connection: Connection) -> None:
        number = machine_row(connection, machine).id
        connection.execute(update(machines).where(machines.c.id == number).values(**facts))

    service_of(request).writer.run(change)


def _sources(request: Request) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for source in service_of(request).listening.sources:
        found.setdefault(source.declared.machine, []).append(source_values(source))
    return found


def _badness(machine: dict[str, Any]) -> tuple[int, float, str]:
    """Return what sorts machines, the worst first; verdicts made elsewhere may have no p-value."""
    p_value = machine["last"]["p_value"] if machine["last"] else None
    return -machine["open_events"], 2.0 if p_value is None else p_value, machine["name"]


def _machine_values(row: Row[Any], last: Row[Any] | None, still_open: int) -> dict[str, Any]:
    facts = ("name", "revision", "threshold", "rate", "paused_until", "created", "heard")
    return {
        **{name: getattr(row, name) for name in facts},
        "has_bank": bool(row.bank),
        "open_events": still_open,
        "last": {name: getattr(last, name) for name in ("score", "p_value", "decision", "level_dbfs", "flags", "file")}
        if last and last.score is not None
        else None,
    }


def _without(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in ("machine", "received")}
