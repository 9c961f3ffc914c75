"""Guarded routes: each names the scope that it needs, and asks before it reads anything of the request."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import DataError

from echobank.errors import AudioError, EchobankError, OutputError
from echobank.serve.access import EVERYBODY, SCOPES, Holder, NotAllowedError
from echobank.serve.guard import SlowError, TooLargeError
from echobank.serve.service import Service
from echobank.serve.writer import BusyError, FullError

COOKIE = "echobank"
OPEN = "open"  # the scope of what needs no token
_RETRY_SECONDS = 1


class MissingError(EchobankError):
    """There is nothing of this name."""


class GuardedRoute(APIRoute):
    """A route with `openapi_extra={"x-scope": ...}`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that asks first."""
        handle, scope = super().get_route_handler(), (self.openapi_extra or {}).get("x-scope")
        if scope not in (*SCOPES, OPEN):
            raise TypeError(f"{self.path} names no scope")

        async def guarded(request: Request) -> Response:
            return await answer_or_refusal(request, scope, handle)

        return guarded


async def answer_or_refusal(
    request: Request, scope: str, handle: Callable[[Request], Coroutine[Any, Any, Response]]
) -> Response:
    """Return the answer to a request whose token allows it, and otherwise, or where it fails, what is wrong."""
    try:
        request.state.holder = holder_of(request, scope)
        return await handle(request)
    except EchobankError as error:
        return refusal(error)
    except (DataError, UnicodeError, OverflowError):  # a zero byte, half a surrogate pair, a giant number
        return JSONResponse({"error": "a value that no database can hold"}, 422)


def needs(scope: str) -> dict[str, str]:
    """Return the `openapi_extra` of a route that needs a scope."""
    return {"x-scope": scope}


def holder_of(request: Request, scope: str) -> Holder:
    """Return the holder of the request's token.

    Raises:
        NotAllowedError: It may not.
    """
    if scope == OPEN:
        return EVERYBODY
    holder = service_of(request).access.holder(token_of(request), request.client.host if request.client else "")
    if not holder.may(scope):
        raise NotAllowedError(403, f"the token does not allow {scope}")
    return holder


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    service: Service = request.app.state.service
    return service


def token_of(request: Request) -> str:
    """Return the token of a request: of its header, or of the cookie of a login."""
    bearer = re.fullmatch(r"bearer +(\S+)", request.headers.get("authorization", ""), re.IGNORECASE)
    return bearer[1] if bearer else request.cookies.get(COOKIE, "")


def refusal(error: EchobankError) -> JSONResponse:
    """Return the answer that says what is wrong."""
    status, headers = 400, dict[str, str]()
    if isinstance(error, NotAllowedError):
        status = error.status
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        headers |= {"Retry-After": "60"} if status == 429 else {}
    elif isinstance(error, MissingError):
        status = 404
    elif isinstance(error, TooLargeError):
        status = 413
    elif isinstance(error, SlowError):
        status, headers = 408, {"Connection": "close"}
    elif isinstance(error, BusyError):
        status, headers = 503, {"Retry-After": str(_RETRY_SECONDS)}
    elif isinstance(error, FullError):
        status = 507
    elif isinstance(error, AudioError):
        status = 422
    elif isinstance(error, OutputError):
        status, headers = 503, {"Retry-After": "10"}
    text = "; ".join(filter(None, (error.what + (f": {error.value}" if error.value is not None else ""), error.hint)))
    return JSONResponse({"error": text}, status, headers)
