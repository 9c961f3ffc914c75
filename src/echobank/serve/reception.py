"""Reception: a recording, or verdicts made elsewhere, becomes messages; each idempotency key is answered once.

The answer is stored with the messages in one transaction, so a client that repeats a request gets the same answer and
nothing is counted twice, also after the service was killed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, select

from echobank.errors import InputError
from echobank.machines.verdict import Verdict, plain
from echobank.names import printable
from echobank.serve.intake import enrol, insert_new, now_ms, take_messages
from echobank.serve.schema import clips, machines, receipts
from echobank.watch.events import Message, Opened, WindowMessage
from echobank.watch.rule import Judged, Rule, RuleState, advance


@dataclass(frozen=True)
class Parcel:
    """What was sent for one machine under one key.

    Attributes:
        name: Name of the machine.
        key: Idempotency key.
        digest: SHA-256 of what was sent; the same key with another is an error.
        heard: When it was heard, ISO 8601.
        verdicts: The verdicts.
        nuisances: Name of the acknowledged sound that each window is like, or empty.
        rule: When events open and close.
        revision: Revision of the bank that judged.
        clip: Row of `clips` of the sound that was kept.
    """

    name: str
    key: str
    digest: str
    heard: str
    verdicts: tuple[Verdict, ...]
    nuisances: tuple[str, ...]
    rule: Rule
    revision: int = 0
    clip: Mapping[str, Any] | None = None


_FOUND = (
    select(machines.c.id, machines.c.rule, machines.c.paused_until, machines.c.muted_until)
    .add_columns(receipts.c.digest, receipts.c.answer)
    .outerjoin(receipts, and_(receipts.c.machine == machines.c.id, receipts.c.key == bindparam("key")))
    .where(machines.c.name == bindparam("name"))
)
_RECEIPT = receipts.insert()


def settled(connection: Connection, name: str, key: str, digest: str) -> dict[str, Any] | None:
    """Return the answer that a key of a machine got before.

    Raises:
        InputError: The key came with something else.
    """
    row = connection.execute(_FOUND, {"name": name, "key": key}).first()
    return None if row is None else _answer_before(row, key, digest)


def settle(connection: Connection, parcel: Parcel) -> dict[str, Any]:
    """Store what was sent and return the answer; a machine that is not known yet is made. For the writer.

    Raises:
        InputError: As `settled`.
    """
    wanted = {"name": parcel.name, "key": parcel.key}
    row = connection.execute(_FOUND, wanted).first()
    if row is None:
        enrol(connection, parcel.name)
        row = connection.execute(_FOUND, wanted).one()
    before = _answer_before(row, parcel.key, parcel.digest)
    if before is not None:
        return before
    at = now_ms()
    rest = resting(row, at)
    state = RuleState.from_values(row.rule) if row.rule else RuleState()
    state, told = advance(parcel.rule, state, _windows(parcel, rest), parcel.name, _iso(at))
    told = _with_clip(told, parcel)
    if parcel.clip is not None:
        insert_new(connection, clips, [parcel.clip])
    facts = {"rule": state.to_values(), "threshold": parcel.rule.threshold, "revision": parcel.revision}
    take_messages(connection, told, row.id, revision=parcel.revision, facts=facts)
    answer = _answer(parcel, state, told)
    kept = {"machine": row.id, "key": parcel.key, "digest": parcel.digest}
    connection.execute(_RECEIPT, {**kept, "at": at, "answer": answer})
    return answer


def _answer_before(row: Row[Any], key: str, digest: str) -> dict[str, Any] | None:
    if row.digest is None:
        return None
    if row.digest != digest:
        raise InputError("this idempotency key was used for something else", value=key, hint="use a new key")
    return dict(row.answer)


def resting(machine: Any, at: int) -> str:
    """Return why a machine, a row of `machines`, does not alarm at a time; empty when it does."""
    if (machine.paused_until or 0) > at:
        return "paused"
    return "muted" if (machine.muted_until or 0) > at else ""


def _windows(parcel: Parcel, rest: str) -> list[Judged]:
    pairs = zip(parcel.verdicts, parcel.nuisances, strict=True)
    return [
        Judged(_printable(verdict), f"upload {parcel.key}|{number}", parcel.heard, rest, nuisance)
        for number, (verdict, nuisance) in enumerate(pairs)
    ]


def _with_clip(told: Sequence[Message], parcel: Parcel) -> list[Message]:
    if parcel.clip is None:
        return list(told)
    name = parcel.clip["id"]
    return [replace(one, clip=name) if isinstance(one, WindowMessage) else one for one in told]


def _answer(parcel: Parcel, state: RuleState, told: Sequence[Message]) -> dict[str, Any]:
    opened = [message.event for message in told if isinstance(message, Opened)]
    return {
        "machine": parcel.name,
        "key": parcel.key,
        "verdicts": [plain(_printable(verdict)) for verdict in parcel.verdicts],
        "threshold": parcel.rule.threshold,
        "anomalous": sum(verdict.decision or 0 for verdict in parcel.verdicts),
        "event": state.event.id if state.event else None,
        "opened": opened,
        "clip": parcel.clip["id"] if parcel.clip else None,
    }


def _printable(verdict: Verdict) -> Verdict:
    file, nearest, error = map(printable, (verdict.file, verdict.nearest, verdict.error))
    return replace(verdict, file=file, nearest=nearest, error=error)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
