"""Routes of what shows an event: sentences, spectrograms, and the two sounds; and a message that tests the alarm."""

import secrets
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from echobank.machines.explain import Explanation
from echobank.serve.clip_store import WITHOUT_SPEECH
from echobank.serve.event_routes import clip_of, event_row
from echobank.serve.evidence import EvidenceShelf, explanation_values, pictures, wav
from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of
from echobank.serve.intake import take_messages
from echobank.serve.machine_routes import add_note, machine_row
from echobank.watch.events import TrialAlarm

router = APIRouter(route_class=GuardedRoute)
Clip = Annotated[str | None, Query(max_length=64, description="a clip of its machine; the oddest of the event without")]


@router.get("/api/events/{event}/explanation", openapi_extra=needs("read"), tags=["events"])
def show_explanation(event: str, request: Request, clip: Clip = None) -> dict[str, Any]:
    """Why the oddest window of an event got its score, by the bank that is in force."""
    found, explanation = _explained(event, clip, request)
    return {"clip": found.name.partition(".")[0], **explanation_values(explanation, cut=WITHOUT_SPEECH in found.name)}


@router.get("/api/events/{event}/spectrograms", openapi_extra=needs("audio"), tags=["events"])
def show_spectrograms(event: str, request: Request, clip: Clip = None) -> dict[str, Any]:
    """Spectrograms of the oddest window and of the nearest healthy sound: bytes per column and mel bin, base64."""
    return pictures(_explained(event, clip, request)[1])


@router.get("/api/events/{event}/sounds/{which}", openapi_extra=needs("audio"), tags=["events"])
def play_sound(event: str, which: Literal["odd", "healthy"], request: Request, clip: Clip = None) -> Response:
    """The oddest window of an event, or the nearest healthy sound, as WAV; both louder by the same factor."""
    sound = wav(_explained(event, clip, request)[1], which)
    if sound is None:
        raise MissingError("the nearest healthy recording is not where it was")
    return Response(sound, media_type="audio/wav")


@router.post("/api/machines/{machine}/test-alarm", openapi_extra=needs("curate"), tags=["machines"])
def send_test_alarm(machine: str, request: Request) -> dict[str, str]:
    """Send a message of kind `test` the way that alarms go; it opens no event."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    message = TrialAlarm(id=secrets.token_hex(16), machine=machine, time=now)
    service_of(request).writer.run(partial(_announce, message=message))
    add_note(request, machine, "test alarm", "")
    return {"id": message.id}


def _announce(connection: Connection, message: TrialAlarm) -> None:
    take_messages(connection, [message], machine_row(connection, message.machine).id)


def _explained(event: str, clip: str | None, request: Request) -> tuple[Path, Explanation]:
    service, row = service_of(request), event_row(request, event)
    file = clip_of(request, row, clip)
    if file is None:
        raise MissingError("no sound of this event was kept", value=event)
    shelf: EvidenceShelf = request.app.state.evidence
    return file, shelf.explanation(service.hosted(row.name), file)
