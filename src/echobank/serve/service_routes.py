"""Routes of the service itself: health, metrics, the stream of messages, logins and tokens."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field
from sqlalchemy import select, text

from echobank.serve.access import LOGIN_FOR, NotAllowedError, drop_token, make_token
from echobank.serve.broadcast import Announcement
from echobank.serve.exposition import exposition
from echobank.serve.guarded import COOKIE, OPEN, GuardedRoute, MissingError, needs, service_of
from echobank.serve.intake import now_ms
from echobank.serve.schema import tokens
from echobank.version import __version__

router = APIRouter(route_class=GuardedRoute)


class Login(BaseModel):
    """A token, to be exchanged for a cookie."""

    token: str = Field(max_length=200)


class NewToken(BaseModel):
    """A token that is to be made."""

    name: str = Field(min_length=1, max_length=200)
    scopes: list[str]


@router.get("/healthz", openapi_extra=needs(OPEN), tags=["service"])
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


@router.get("/readyz", openapi_extra=needs("read"), tags=["service"])
def readyz(request: Request) -> JSONResponse:
    """The service can do its work: database, writer and queue."""
    service = service_of(request)
    with service.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    ready = not service.stopping
    facts = {"version": __version__, "queue": service.scoring.depth, "changes": service.writer.depth}
    return JSONResponse({"ready": ready, **facts}, 200 if ready else 503)


@router.get("/metrics", openapi_extra=needs("read"), tags=["service"])
def metrics(request: Request) -> PlainTextResponse:
    """Figures for Prometheus."""
    body, kind = exposition(service_of(request))
    return PlainTextResponse(body, media_type=kind)


@router.get("/api/stream", openapi_extra=needs("read"), tags=["service"])
async def stream(
    request: Request,
    after: Annotated[int | None, Query(ge=0, le=1 << 53)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Messages as they are committed, as server-sent events. `Last-Event-ID`, or `after`, brings what was missed."""
    known = after
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal():
        known = min(int(last_event_id), 1 << 53)
    follow = service_of(request).broadcast.follow(known)
    return StreamingResponse(_lines(follow), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.post("/api/login", openapi_extra=needs(OPEN), tags=["service"])
async def login(body: Login, request: Request, response: Response) -> dict[str, Any]:
    """Exchange a token for a cookie, for the page: streams and players of browsers send no headers."""
    service = service_of(request)
    client = request.client.host if request.client else ""
    holder = await asyncio.to_thread(service.access.holder, body.token, client)
    if holder.token is None:
        raise NotAllowedError(401, "a token is needed")
    ends = now_ms() + LOGIN_FOR
    make = partial(make_token, name=holder.name, scopes=holder.scopes, ends=ends, parent=holder.token)
    cookie = await service.writer.made(make)
    # Behind a proxy the request comes as http; where the page came from, the browser says itself.
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    response.set_cookie(COOKIE, cookie, max_age=LOGIN_FOR // 1000, httponly=True, samesite="strict", secure=secure)
    return {"name": holder.name, "scopes": sorted(holder.scopes)}


@router.post("/api/logout", openapi_extra=needs("read"), tags=["service"])
def logout(request: Request, response: Response) -> dict[str, str]:
    """End a login."""
    number = request.state.holder.token
    if number is not None and request.cookies.get(COOKIE):
        service_of(request).writer.run(partial(drop_token, number=number))
        service_of(request).access.forget()
    response.delete_cookie(COOKIE)
    return {"status": "ok"}


@router.get("/api/tokens", openapi_extra=needs("admin"), tags=["service"])
def list_tokens(request: Request) -> list[dict[str, Any]]:
    """Tokens without their secrets."""
    columns = (tokens.c.id, tokens.c.name, tokens.c.scopes, tokens.c.created)
    with service_of(request).engine.connect() as connection:
        wanted = select(*columns).where(tokens.c.parent.is_(None)).order_by(tokens.c.id)
        return [dict(row._mapping) for row in connection.execute(wanted)]


@router.post("/api/tokens", openapi_extra=needs("admin"), tags=["service"])
def add_token(body: NewToken, request: Request) -> dict[str, str]:
    """Make a token; it is shown this once."""
    make = partial(make_token, name=body.name, scopes=body.scopes)
    token = service_of(request).writer.run(make)
    service_of(request).access.forget()
    return {"name": body.name, "token": token}


@router.delete("/api/tokens/{number}", openapi_extra=needs("admin"), tags=["service"])
def withdraw_token(number: int, request: Request) -> dict[str, int]:
    """Withdraw a token and its logins."""
    if not service_of(request).writer.run(partial(drop_token, number=min(number, 1 << 53))):
        raise MissingError("no such token", value=number)
    service_of(request).access.forget()
    return {"withdrawn": number}


@router.get("/openapi.json", openapi_extra=needs("read"), include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """The description of the API."""
    described: dict[str, Any] = request.app.openapi()
    return described


async def _lines(announcements: AsyncIterator[Announcement | None]) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    async for it in announcements:
        if it is None:
            yield ": still here\n\n"
        else:
            yield f"id: {it.sequence}\nevent: {it.kind}\ndata: {json.dumps(it.body)}\n\n"
