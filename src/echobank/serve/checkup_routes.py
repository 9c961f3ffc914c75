"""The route of a machine's checkup."""

from typing import Any

from fastapi import APIRouter, Request

from echobank.serve.bank_health import BankHealth
from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of

router = APIRouter(route_class=GuardedRoute)


@router.get("/api/machines/{machine}/checkup", openapi_extra=needs("read"), tags=["machines"])
def show_checkup(machine: str, request: Request) -> dict[str, Any]:
    """Whether the bank of a machine is still good, since when not, and what to do: findings, warnings first."""
    if machine not in service_of(request).machines:
        raise MissingError("no machine of this name has a bank here", value=machine)
    health: BankHealth = request.app.state.health
    return health.checkup(machine)
