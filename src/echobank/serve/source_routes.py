"""Routes of the declared sources: what the service listens to and watches, and how that goes."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from echobank.serve.declared import declare
from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of
from echobank.serve.listening import source_values

router = APIRouter(route_class=GuardedRoute)


class NewSource(BaseModel):
    """A source; see `DeclaredSource`."""

    name: str = Field(max_length=64)
    machine: str = Field(max_length=200)
    listen: str = Field("", max_length=2000, description="mic, mic:NAME, rtsp://host/path or http://host/path")
    watch: str = Field("", max_length=2000, description="a folder on the machine of the service")
    rate: int = 0
    channels: int = 0
    settle: float = 2.0
    only_new: bool = False
    silence_after: float = 0.0
    schedule: str = Field("", max_length=500)


@router.get("/api/sources", openapi_extra=needs("read"), tags=["sources"])
def list_sources(request: Request) -> list[dict[str, Any]]:
    """All sources with their state, those in trouble first."""
    found = [source_values(source) for source in service_of(request).listening.sources]
    return sorted(found, key=lambda it: (not it["troubles"], it["name"]))


@router.post("/api/sources", openapi_extra=needs("admin"), tags=["sources"], status_code=201)
def add_source(body: NewSource, request: Request) -> dict[str, Any]:
    """Declare a source: it starts now, and with the service from now on."""
    values = body.model_dump(exclude_defaults=True)
    declared = declare(values.pop("name"), values, "the new source")
    return source_values(service_of(request).listening.add(declared))


@router.delete("/api/sources/{name}", openapi_extra=needs("admin"), tags=["sources"])
def remove_source(name: Annotated[str, Field(max_length=64)], request: Request) -> dict[str, str]:
    """Withdraw a source. What it heard stays."""
    if service_of(request).listening.remove(name) is None:
        raise MissingError("no source of this name", value=name)
    return {"removed": name}
