"""The guard around the application: it checks host, origin and size of requests, and sets headers of answers."""

import asyncio
import ipaddress
import json
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from echobank.errors import EchobankError

_PATIENCE, _SLOWEST = 30.0, 1024  # seconds for any body, and bytes per second of a long one
_SAFE = {"GET", "HEAD", "OPTIONS"}
_POLICY = (
    "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class TooLargeError(EchobankError):
    """A body is longer than the service accepts."""


class SlowError(EchobankError):
    """A body comes so slowly that it keeps others out."""


class Guard:
    """Refuses what must not reach the application.

    Args:
        app: The application.
        hosts: Host names that the service answers to; None for any IP address besides.
        figures: Whether any IP address will do.
        limit: Path to the most bytes of a body.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], figures: bool, limit: Callable[[str], int]) -> None:
        self._app, self._hosts, self._figures, self._limit = app, hosts, figures, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        most = self._limit(scope["path"])
        refused = self._refusal(scope["method"], headers, most)
        if not scope["path"].isprintable():
            refused = refused or (404, "no such path")

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _HEADERS if pair[0] not in present)]
            await send(message)

        if refused:
            await _answer(dressed, *refused)
            return
        await self._app(scope, _counted(receive, most), dressed)

    def _refusal(self, method: str, headers: dict[str, str], most: int) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._known(host):
            return 421, "the service does not answer to this host name; allow it with --host"
        if method not in _SAFE:
            origin = headers.get("origin")
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "a request from another site"
            if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
                return 403, "a request from another site"
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal():
            return 400, "an impossible content-length"
        return (413, f"more than {most} bytes") if len(length) > 18 or int(length) > most else None

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._figures


def _counted(receive: Receive, most: int) -> Receive:
    """Return a `receive` that refuses a body that is too long, or so slow that it only holds a place."""
    taken, begun, more = 0, time.monotonic(), True

    async def counting() -> Message:
        nonlocal taken, more
        if not more:  # all is there; what comes is that the client is gone, after whatever time
            return await receive()
        try:
            async with asyncio.timeout(begun + _PATIENCE + taken / _SLOWEST - time.monotonic()):
                message = await receive()
        except TimeoutError:
            raise SlowError(f"the body comes more slowly than {_SLOWEST} bytes per second") from None
        more = bool(message.get("more_body", False))
        taken += len(message.get("body", b""))
        if taken > most:
            raise TooLargeError(f"more than {most} bytes")
        return message

    return counting


async def _answer(send: Send, status: int, what: str) -> None:
    body = json.dumps({"error": what}).encode()
    kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, _length(body)]})
    await send({"type": "http.response.body", "body": body})


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode()
