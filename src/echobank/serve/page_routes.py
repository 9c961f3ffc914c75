"""Routes of the page: files of the package, the same for everybody; what they show needs a token as everywhere."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from echobank.serve.guarded import OPEN, GuardedRoute, MissingError, needs

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)
_FOLDER = Path(__file__).with_name("page")
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        body: Its bytes.
        kind: Media type.
        tag: Changes with its bytes, so that a browser asks whether it has the newest.
    """

    body: bytes
    kind: str
    tag: str


@router.get("/", openapi_extra=needs(OPEN))
def index(request: Request) -> Response:
    """The page."""
    return _sent(request, "index.html")


@router.get("/docs", openapi_extra=needs(OPEN))
def docs(request: Request) -> Response:
    """The description of the API for people."""
    return _sent(request, "docs.html")


@router.get("/page/{name:path}", openapi_extra=needs(OPEN))
def page_file(name: str, request: Request) -> Response:
    """A file of the page."""
    return _sent(request, name)


@cache
def page_files() -> dict[str, PageFile]:
    """Return the files of the page by name; nothing else is ever read."""
    files = {}
    for path in sorted(_FOLDER.rglob("*")):
        if path.is_file() and path.suffix in _KINDS:
            body = path.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            files[path.relative_to(_FOLDER).as_posix()] = PageFile(body, _KINDS[path.suffix], tag)
    return files


def _sent(request: Request, name: str) -> Response:
    file = page_files().get(name)
    if file is None:
        raise MissingError("no such file", value=name)
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.kind, headers=headers)
