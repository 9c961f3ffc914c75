"""Route of packages: a device asks for a newer one, and gets nothing where it has the newest."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from echobank.edge.assembly import RATES_HZ
from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of
from echobank.serve.packages import PackageShelf

router = APIRouter(route_class=GuardedRoute)
_CACHED = {"Cache-Control": "private, no-cache"}


@router.get("/api/machines/{machine}/package", openapi_extra=needs("read"), tags=["machines"])
def fetch_package(
    machine: str,
    request: Request,
    rate: Annotated[
        int | None, Query(ge=RATES_HZ[0], le=RATES_HZ[1], description="of the device's recorder, Hz")
    ] = None,
) -> Response:
    """The machine as a package for a device, a ZIP archive with an ETag; 304 where `If-None-Match` names it."""
    hosted = service_of(request).machines.get(machine)
    if hosted is None:
        raise MissingError("no machine of this name has a bank here", value=machine)
    shelf: PackageShelf = request.app.state.packages
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    tag = f'"{shelf.tag(hosted.bank, rate)}"'
    if tag in known:
        return Response(status_code=304, headers={"ETag": tag, **_CACHED})
    made = shelf.package(hosted.bank, rate)
    headers = {"ETag": f'"{made.tag}"', **_CACHED}
    return FileResponse(made.file, media_type="application/zip", filename=f"{machine}.edge.zip", headers=headers)
