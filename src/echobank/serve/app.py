"""The application: the routes, the guard around them, and the server that runs them."""

import signal
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

from echobank.serve import (
    checkup_routes,
    event_routes,
    evidence_routes,
    machine_routes,
    nursery_routes,
    overview_routes,
    package_routes,
    page_routes,
    service_routes,
    source_routes,
    upload_routes,
)
from echobank.serve.bank_health import BankHealth
from echobank.serve.evidence import EvidenceShelf
from echobank.serve.guard import Guard
from echobank.serve.nursery import Nursery
from echobank.serve.packages import PackageShelf
from echobank.serve.service import Service
from echobank.serve.short_way import ShortWay
from echobank.version import __version__

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SMALL = 1 << 20
_FORM = 4096  # bytes of a form around its file
_SHUTDOWN_SECONDS = 3
_ROUTES = (  # what devices ask most comes first: a request is compared with one route after the other
    *(upload_routes, service_routes, machine_routes, event_routes),
    *(overview_routes, checkup_routes, evidence_routes, nursery_routes, package_routes, page_routes, source_routes),
)


def make_app(service: Service) -> FastAPI:
    """Return the application of a service, without its guard."""
    app = FastAPI(title="echobank", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    app.state.evidence = EvidenceShelf()
    app.state.nursery = nursery = Nursery(service)
    app.state.packages = packages = PackageShelf(service.settings.folder / "packages")
    app.state.health = health = BankHealth(service)
    service.at_close += [nursery.close, packages.close, health.close]
    for routes in _ROUTES:
        app.include_router(routes.router)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    return app


def guarded(app: FastAPI, service: Service, hosts: frozenset[str], *, figures: bool) -> Guard:
    """Return the application inside its guard.

    Args:
        app: The application.
        service: Its service.
        hosts: Names that clients may use for it.
        figures: Whether any IP address will do; for a service beyond loopback, where a token is needed anyway.
    """
    large = service.settings.most_bytes + _FORM

    def limit(path: str) -> int:
        return large if path.endswith("/recordings") else _SMALL

    return Guard(ShortWay(app), hosts | LOOPBACK, figures, limit)


class Server(uvicorn.Server):
    """uvicorn that ends the streams when it is asked to stop, so that they do not hold it up."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: Any) -> None:
        """End streams, then stop."""
        self._service.stop()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = (
            True  # uvicorn's own handler would end the process by the signal before the service is closed
        )


def make_server(app: Any, service: Service, **options: Any) -> Server:
    """Return a server; `run()` returns after SIGTERM or SIGINT.

    Args:
        app: The guarded application.
        service: The service.
        options: As `uvicorn.Config`: host, port, ssl_certfile, ssl_keyfile, ...
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=1 << 16,
        proxy_headers=False,
        **options,
    )
    return Server(config, service)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """Return errors of the framework in the form of all other errors."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": str(getattr(error, "detail", error))}, status, getattr(error, "headers", None))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Return what is wrong with a request, without repeating its content."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    text = "; ".join(f"{'.'.join(str(part) for part in it['loc'])}: {it['msg']}" for it in found[:5])
    return JSONResponse({"error": text}, 422)
