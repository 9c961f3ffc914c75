"""Routes of events and their sound: what happened, and what users think of it."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from sqlalchemy import Connection, Row, select, update

from echobank.errors import InputError
from echobank.serve.clip_store import WITHOUT_SPEECH
from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of
from echobank.serve.hosted import HostedMachine
from echobank.serve.intake import now_ms
from echobank.serve.machine_routes import add_note, machine_row
from echobank.serve.schema import clips, events, machines
from echobank.watch.mutes import mute as mute_sound

router = APIRouter(route_class=GuardedRoute)
_KINDS = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "mp3": "audio/mpeg", "aiff": "audio/aiff"}


class Remark(BaseModel):
    """A remark of a user."""

    text: str = Field("", max_length=2000)


class NoFault(Remark):
    """What sound is taken as healthy."""

    clip: str | None = Field(None, max_length=64, description="a clip of its machine; the oddest of the event without")


class Mute(BaseModel):
    """How long the sound of an event does not alarm; without a time, until it changes."""

    seconds: float | None = Field(None, gt=0, le=366 * 86400)


@router.get("/api/events", openapi_extra=needs("read"), tags=["events"])
def list_events(
    request: Request,
    machine: str | None = None,
    still_open: bool = False,
    before: Annotated[int, Query(description="ms since 1970")] = 1 << 53,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """Events, the newest first."""
    with service_of(request).engine.connect() as connection:
        wanted = _with_names().where(events.c.opened < before)
        if machine is not None:
            wanted = wanted.where(events.c.machine == machine_row(connection, machine).id)
        if still_open:
            wanted = wanted.where(events.c.closed.is_(None))
        newest = wanted.order_by(events.c.opened.desc(), events.c.id).limit(limit)
        return [_event_values(row) for row in connection.execute(newest)]


@router.get("/api/events/{event}", openapi_extra=needs("read"), tags=["events"])
def show_event(event: str, request: Request) -> dict[str, Any]:
    """One event."""
    return _event_values(event_row(request, event))


@router.post("/api/events/{event}/acknowledge", openapi_extra=needs("curate"), tags=["events"])
def acknowledge(event: str, body: Remark, request: Request) -> dict[str, Any]:
    """Say that somebody has seen an event."""
    return _opine(request, event, "acknowledge", body.text, acknowledged=now_ms())


@router.post("/api/events/{event}/mute", openapi_extra=needs("curate"), tags=["events"])
def mute(event: str, body: Mute, request: Request) -> dict[str, Any]:
    """Mute the sound of an event for a time, or until it changes."""
    mute_sound(_host(request, event_row(request, event)).state, event, seconds=body.seconds)
    return _opine(request, event, "mute", "" if body.seconds is None else f"{body.seconds:g} s", muted=now_ms())


@router.post("/api/events/{event}/confirm", openapi_extra=needs("curate"), tags=["events"])
def confirm(event: str, body: Remark, request: Request) -> dict[str, Any]:
    """Say that an event was a fault."""
    return _opine(request, event, "confirm", body.text, opinion="fault")


@router.post("/api/events/{event}/no-fault", openapi_extra=needs("curate"), tags=["events"])
def no_fault(event: str, body: NoFault, request: Request) -> dict[str, Any]:
    """Take the sound of an event as healthy: it goes into the bank. `undo` brings the bank back, byte for byte."""
    service, row = service_of(request), event_row(request, event)
    if row.opinion == "no_fault":
        return _event_values(row)
    host, file = _host(request, row), clip_of(request, row, body.clip)
    if file is None:
        raise InputError("no sound of this event was kept", value=event)
    if WITHOUT_SPEECH in file.name:
        raise InputError("this sound lacks its band of speech, so the bank cannot learn from it", value=event)
    host.learn(file, f"clips/{file.name}", service.settings.folder)
    state = service.note_revision(host, "no fault")
    facts = {"opinion": "no_fault", "opinion_revision": state["revision"], "clip": body.clip or row.clip}
    return _opine(request, event, "no fault", body.text, **facts)


@router.post("/api/events/{event}/undo", openapi_extra=needs("curate"), tags=["events"])
def undo_opinion(event: str, request: Request) -> dict[str, Any]:
    """Undo the last judgement of an event, and its change of the bank."""
    row = event_row(request, event)
    if row.opinion == "no_fault":
        host = _host(request, row)
        host.undo(row.opinion_revision)
        service_of(request).note_revision(host, "undo")
    return _opine(request, event, "undo", "", opinion=None, opinion_revision=None)


@router.get("/api/clips/{clip}", openapi_extra=needs("audio"), tags=["events"])
def play(clip: str, request: Request) -> FileResponse:
    """The sound of a clip; parts of it by `Range`."""
    file = service_of(request).clip_file(clip)
    if file is None:
        raise MissingError("no such clip", value=clip)
    return FileResponse(file, media_type=_KINDS.get(file.suffix[1:], "application/octet-stream"))


def clip_of(request: Request, row: Row[Any], clip: str | None) -> Path | None:
    """Return where the sound of an event lies, or another clip of its machine; None where it was not kept.

    Raises:
        MissingError: No such clip of this machine.
    """
    service = service_of(request)
    if clip is not None:
        with service.engine.connect() as connection:
            here = (clips.c.id == clip, clips.c.machine == row.machine)
            if connection.execute(select(clips.c.id).where(*here)).first() is None:
                raise MissingError("no such clip of this machine", value=clip)
    return service.clip_file(clip or row.clip or "")


def _with_names() -> Any:
    return select(events, machines.c.name).join(machines, machines.c.id == events.c.machine)


def event_row(request: Request, event: str) -> Row[Any]:
    """Return the row of an event, with the name of its machine.

    Raises:
        MissingError: There is none of this id.
    """
    with service_of(request).engine.connect() as connection:
        row: Row[Any] | None = connection.execute(_with_names().where(events.c.id == event)).first()
    if row is None:
        raise MissingError("no such event", value=event)
    return row


def _host(request: Request, row: Row[Any]) -> HostedMachine:
    return service_of(request).hosted(row.name)


def _opine(request: Request, event: str, action: str, text: str, **facts: Any) -> dict[str, Any]:
    if "acknowledged" in facts:
        facts["acknowledged_by"] = request.state.holder.name
    if text and action != "mute":
        facts["note"] = text

    def change(connection: Connection) -> None:
        connection.execute(update(events).where(events.c.id == event).values(**facts))

    row = event_row(request, event)
    service_of(request).writer.run(change)
    add_note(request, row.name, action, text, event)
    return _event_values(event_row(request, event))


def _event_values(row: Row[Any]) -> dict[str, Any]:
    facts = dict(row._mapping)
    facts["machine"] = facts.pop("name")
    return facts
