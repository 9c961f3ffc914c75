"""Routes for adding a machine: healthy recordings in, a fit with progress, and what it found."""

import asyncio
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from echobank.names import printable
from echobank.serve.draft import Draft
from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of
from echobank.serve.nursery import Nursery
from echobank.serve.upload_routes import store_body

router = APIRouter(route_class=GuardedRoute)


class NewMachine(BaseModel):
    """A machine that is to be added."""

    machine: str = Field(min_length=1, max_length=64)
    window: float = Field(10.0, gt=0, le=600, description="length of a window, seconds")
    hop: float | None = Field(None, gt=0, le=600, description="distance of windows; half a window without one")
    rate: float | None = Field(None, gt=0, lt=1, description="false-alarm rate; the usual one without")


@router.get("/api/fits", openapi_extra=needs("admin"), tags=["add a machine"])
def list_drafts(request: Request) -> list[dict[str, Any]]:
    """Machines that are being added, and those that were, the newest first."""
    return [draft.to_values() for draft in nursery_of(request).drafts()]


@router.post("/api/fits", openapi_extra=needs("admin"), tags=["add a machine"])
def begin_draft(body: NewMachine, request: Request) -> dict[str, Any]:
    """Begin to add a machine."""
    hop = body.window / 2 if body.hop is None else body.hop
    return nursery_of(request).begin(body.machine.strip(), body.window, hop, body.rate).to_values()


@router.get("/api/fits/{draft}", openapi_extra=needs("admin"), tags=["add a machine"])
def show_draft(draft: str, request: Request) -> dict[str, Any]:
    """A machine that is being added: its recordings, how far the fit is, and what it found."""
    return _draft(request, draft).to_values()


@router.delete("/api/fits/{draft}", openapi_extra=needs("admin"), tags=["add a machine"])
def remove_draft(draft: str, request: Request) -> dict[str, str]:
    """Forget a draft. A machine that was fitted stays, and so do its recordings."""
    _draft(request, draft)
    nursery_of(request).remove(draft)
    return {"removed": draft}


@router.post("/api/fits/{draft}/recordings", openapi_extra=needs("admin"), tags=["add a machine"])
async def add_recording(
    draft: str, request: Request, file: Annotated[str, Query(max_length=300, description="what it is called")] = ""
) -> dict[str, Any]:
    """Add a healthy recording: WAV, FLAC, Ogg or MP3, as the body or as the first file of a form."""
    service, nursery = service_of(request), nursery_of(request)
    _draft(request, draft)
    with service.slot(), service.incoming() as path:
        service.require_space(int(request.headers.get("content-length", "0")))
        digest, named = await store_body(request, path, service)
        work = partial(nursery.add, draft, path, digest, printable(file or named))
        added = await asyncio.get_running_loop().run_in_executor(service.uploads, work)
        return added.to_values()


@router.delete("/api/fits/{draft}/recordings/{sha256}", openapi_extra=needs("admin"), tags=["add a machine"])
def drop_recording(draft: str, sha256: str, request: Request) -> dict[str, Any]:
    """Take a recording out again."""
    _draft(request, draft)
    return nursery_of(request).drop(draft, sha256).to_values()


@router.get("/api/fits/{draft}/recordings/{sha256}", openapi_extra=needs("admin"), tags=["add a machine"])
def play_recording(draft: str, sha256: str, request: Request) -> FileResponse:
    """Hear a recording."""
    found = _draft(request, draft)
    file = nursery_of(request).sound(found, found.take(sha256))
    if not file.is_file():
        raise MissingError("the recording is not there any more", value=sha256)
    return FileResponse(file, media_type=f"audio/{'mpeg' if file.suffix == '.mp3' else file.suffix[1:]}")


@router.post("/api/fits/{draft}/start", openapi_extra=needs("admin"), tags=["add a machine"])
def start_fit(draft: str, request: Request) -> dict[str, Any]:
    """Fit the machine; ask for the draft to see how far it is."""
    _draft(request, draft)
    return nursery_of(request).start(draft).to_values()


@router.post("/api/fits/{draft}/cancel", openapi_extra=needs("admin"), tags=["add a machine"])
def cancel_fit(draft: str, request: Request) -> dict[str, Any]:
    """Stop a fit; the recordings stay."""
    _draft(request, draft)
    return nursery_of(request).cancel(draft).to_values()


def nursery_of(request: Request) -> Nursery:
    """Return where machines are added."""
    nursery: Nursery = request.app.state.nursery
    return nursery


def _draft(request: Request, number: str) -> Draft:
    for draft in nursery_of(request).drafts():
        if draft.id == number:
            return draft
    raise MissingError("no such draft", value=number)
