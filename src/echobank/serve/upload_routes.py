"""Routes of devices: a recording to be judged, and verdicts that were made elsewhere."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from echobank.errors import AudioError, InputError
from echobank.machines.archive import revision_of
from echobank.machines.verdict import Verdict
from echobank.names import printable
from echobank.serve.guarded import GuardedRoute, MissingError, needs, service_of
from echobank.serve.intake import to_ms
from echobank.serve.reception import Parcel, settle
from echobank.serve.service import Service
from echobank.serve.writer import FullError
from echobank.watch.rule import Rule

router = APIRouter(route_class=GuardedRoute)
_BLOCK = 1 << 20
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_FULL = (28, 122)  # ENOSPC, EDQUOT
_FINITE = ConfigDict(allow_inf_nan=False)  # JSON has no others, and a threshold that is not a number judges nothing


class PostedVerdict(BaseModel):
    """A verdict that was made elsewhere; the fields of `Verdict`."""

    model_config = _FINITE
    file: str = Field(max_length=1000)
    start: float | None = None
    seconds: float | None = None
    score: float | None = None
    p_value: float | None = Field(None, ge=0, le=1)
    percentile: float | None = None
    decision: int | None = Field(None, ge=0, le=1)
    nearest: str = Field("", max_length=1000)
    nearest_start: float | None = None
    level_dbfs: float | None = None
    flags: str = Field("", max_length=200)
    error: str = Field("", max_length=1000)


class PostedVerdicts(BaseModel):
    """Verdicts on one recording, and the score above which a window is anomalous."""

    model_config = _FINITE
    threshold: float | None = None
    heard: str | None = Field(None, max_length=40, description="when it was recorded, ISO 8601 with a zone")
    verdicts: list[PostedVerdict] = Field(min_length=1, max_length=10_000)


@router.post("/api/machines/{machine}/recordings", openapi_extra=needs("upload"), tags=["upload"])
async def upload(
    machine: str,
    request: Request,
    file: Annotated[str, Query(max_length=300, description="what the verdicts call the recording")] = "",
    heard: Annotated[str, Query(max_length=40, description="when it was recorded, ISO 8601 with a zone")] = "",
    idempotency_key: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Judge a recording: WAV, FLAC, Ogg or MP3, as the body or as the first file of a form.

    The answer has a verdict per window. Repeat a request with the same `Idempotency-Key` as often as needed; without
    one, the hash of the recording is the key.
    """
    service = service_of(request)
    if machine not in service.machines:
        raise MissingError("no machine of this name has a bank here", value=machine)
    at = _when(heard)
    with service.slot(), service.latency.time(), service.incoming() as path:
        service.require_space(int(request.headers.get("content-length", "0")))
        digest, named = await store_body(request, path, service)
        key = _key(idempotency_key or digest)
        called = printable(file or named or f"{digest[:12]}")
        loop = asyncio.get_running_loop()
        work = partial(service.receive, machine, path, called, key, digest, at)
        # A client that goes away cancels nothing: what has begun is finished, and its repetition finds the answer.
        return await asyncio.shield(loop.run_in_executor(service.uploads, work))


@router.post("/api/machines/{machine}/verdicts", openapi_extra=needs("upload"), tags=["upload"])
async def post_verdicts(
    machine: Annotated[str, Field(min_length=1, max_length=200)],
    body: PostedVerdicts,
    request: Request,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Store verdicts that were made elsewhere; events open and close by the same rule as here.

    A machine that is not known yet is made where the request has a threshold.
    """
    return await take_verdicts(service_of(request), machine, body, idempotency_key)


async def take_verdicts(service: Service, machine: str, body: PostedVerdicts, key: str | None) -> dict[str, Any]:
    """Store verdicts that were made elsewhere and return the answer.

    Args:
        service: The service.
        machine: Name of the machine.
        body: What was sent.
        key: Idempotency key; the hash of what was sent where there is none.

    Raises:
        MissingError: The machine is not known, and there is no threshold.
        InputError: An impossible key or time, or a key that was used for something else.
        BusyError: Too much is under way.
        FullError: The disk is full.
    """
    service.require_space(0)
    digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
    hosted = service.machines.get(machine)
    threshold = body.threshold if body.threshold is not None else hosted.in_force.threshold if hosted else None
    if threshold is None:
        raise MissingError("no machine of this name has a bank here", value=machine)
    verdicts = tuple(Verdict(**dict(verdict)) for verdict in body.verdicts)
    parcel = Parcel(
        name=printable(machine),
        key=_key(key or digest),
        digest=digest,
        heard=_when(body.heard or ""),
        verdicts=verdicts,
        nuisances=("",) * len(verdicts),
        rule=Rule(service.settings.k, service.settings.n, threshold, threshold),
        revision=revision_of(hosted.in_force.bank) if hosted else 0,
    )
    return await service.writer.stored(settle, parcel)


async def store_body(request: Request, path: Path, service: Service) -> tuple[str, str]:
    """Write what is sent to a file, and return its hash and the name that a form gives it.

    Raises:
        AudioError: Nothing was sent, or the request was cut off.
        FullError: The disk is full.
    """
    try:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            async with request.form(max_files=1, max_fields=8) as form:
                for value in form.values():
                    if isinstance(value, UploadFile):
                        named = Path((value.filename or "").replace("\\", "/")).name[:300]
                        return await run_in_threadpool(_copy, cast(Any, value.file), path), named
            raise AudioError("the form has no file")
        digest = hashlib.sha256()
        with path.open("wb") as target:
            async for block in request.stream():
                digest.update(block)
                target.write(block)
        if not path.stat().st_size:
            raise AudioError("the body is empty")
        return digest.hexdigest(), ""
    except ClientDisconnect as error:
        raise AudioError("the request was cut off") from error
    except OSError as error:
        if error.errno in _FULL:
            raise FullError("the disk of the service is full", hint="free space; what is there can be read") from error
        raise


def _copy(source: Any, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise InputError("an idempotency key is 1 to 200 printable ASCII characters without spaces")
    return text


def _when(text: str) -> str:
    if not text:
        return datetime.now(UTC).isoformat(timespec="milliseconds")
    if to_ms(text, -1) < 0:
        raise InputError("not a time with a zone", value=text, hint="write 2026-01-31T12:00:00+00:00")
    return text
