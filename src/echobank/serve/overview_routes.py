"""Routes that the page reads: who asks, how all machines do, and the course of one."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from echobank.serve.course import course
from echobank.serve.guarded import GuardedRoute, needs, service_of
from echobank.serve.intake import now_ms
from echobank.serve.machine_routes import machine_row
from echobank.serve.overview import overview
from echobank.version import __version__

router = APIRouter(route_class=GuardedRoute)
_LATEST = 1 << 53


@router.get("/api/me", openapi_extra=needs("read"), tags=["service"])
def show_me(request: Request) -> dict[str, Any]:
    """The user of a request, and what it may do."""
    holder, service = request.state.holder, service_of(request)
    settings = service.settings
    return {
        "name": holder.name,
        "scopes": sorted(holder.scopes),
        "login": holder.token is not None,
        "version": __version__,
        "keeps_clips": settings.keeps_clips,
        "most_bytes": settings.most_bytes,
        "most_seconds": settings.limits.seconds,
        "now": now_ms(),
        "sequence": service.broadcast.last,  # a listener who begins here misses nothing of what is read later
    }


@router.get("/api/overview", openapi_extra=needs("read"), tags=["machines"])
def show_overview(request: Request) -> dict[str, Any]:
    """All machines with their last scores, open events and troubles, the worst first."""
    with service_of(request).engine.connect() as connection:
        return {"now": now_ms(), "machines": overview(connection)}


@router.get("/api/machines/{machine}/course", openapi_extra=needs("read"), tags=["machines"])
def show_course(
    machine: str,
    request: Request,
    since: Annotated[int, Query(ge=0, le=_LATEST, description="ms since 1970")],
    until: Annotated[int, Query(ge=0, le=_LATEST, description="ms since 1970")] = _LATEST,
    points: Annotated[int, Query(ge=10, le=5000)] = 600,
) -> dict[str, Any]:
    """Scores of any span of time in some hundred points: least, mean and largest score, least p-value, counts."""
    now = now_ms()
    with service_of(request).engine.connect() as connection:
        number = machine_row(connection, machine).id
        return course(connection, number, since, max(min(until, now + 3_600_000), since + 1), points, now)
