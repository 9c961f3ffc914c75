"""The short way: posted verdicts that are in order are stored without the framework, which costs more than they do.

Devices send them by the thousand. Whatever is not in order is passed to the application with the same body, so that its
route describes what may be sent, and it alone says what is wrong with a request.
"""

import re

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from echobank.serve.guarded import answer_or_refusal, service_of
from echobank.serve.upload_routes import PostedVerdicts, take_verdicts

_PATH = re.compile(r"/api/machines/([^/]{1,200})/verdicts")


class _OutOfOrderError(Exception):
    """The body is for the application to refuse."""


class ShortWay:
    """Stores posted verdicts, and passes every other request on.

    Args:
        app: The application.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        machine = found[1]
        request, read = Request({**scope, "app": self._app}, receive), list[bytes]()

        async def store(request: Request) -> Response:
            if not request.headers.get("content-type", "").startswith("application/json"):
                raise _OutOfOrderError
            read.append(await request.body())
            try:
                body = PostedVerdicts.model_validate_json(read[0])
            except ValidationError:
                raise _OutOfOrderError from None
            key = request.headers.get("idempotency-key")
            return JSONResponse(await take_verdicts(service_of(request), machine, body, key))

        try:
            response = await answer_or_refusal(request, "upload", store)
        except _OutOfOrderError:
            await self._app(scope, _again(read, receive), send)
        except ClientDisconnect:
            return
        else:
            await response(scope, receive, send)


def _again(read: list[bytes], receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read already, if it was, and then what comes."""

    async def receiving() -> Message:
        return {"type": "http.request", "body": read.pop(), "more_body": False} if read else await receive()

    return receiving
