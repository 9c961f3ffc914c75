"""Reception: a recording, or verdicts made elsewhere, becomes messages; each idempotency key is answered once.

The answer is stored with the messages in one transaction, so a client that repeats a request gets the same answer and
nothing is counted twice, also after the service was killed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, select

from echobank.errors import InputError
from echobank.machines.verdict import Verdict, plain
from echobank.names import printable
from echobank.serve.intake import MessageBatch, enrol, insert_new, now_ms, take_all
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


_KNOWN = (
    select(machines.c.id, machines.c.name, machines.c.rule, machines.c.paused_until, machines.c.muted_until)
    .add_columns(receipts.c.key, receipts.c.digest, receipts.c.answer)
    .outerjoin(
        receipts, and_(receipts.c.machine == machines.c.id, receipts.c.key.in_(bindparam("keys", expanding=True)))
    )
    .where(machines.c.name.in_(bindparam("names", expanding=True)))
)
_RECEIPT = receipts.insert()


@dataclass
class _Reached:
    """A machine as the parcels before have left it.

    Attributes:
        row: Its row of `machines`.
        state: State of its rule.
        answers: Key to the hash and the answer of what was sent with it.
    """

    row: Row[Any]
    state: RuleState
    answers: dict[str, tuple[str, dict[str, Any]]]


def settled(connection: Connection, name: str, key: str, digest: str) -> dict[str, Any] | None:
    """Return the answer that a key of a machine got before.

    Raises:
        InputError: The key came with something else.
    """
    known = _reached(connection, [name], [key])
    return _answer_before(known[name], key, digest) if name in known else None


def settle(connection: Connection, parcels: Sequence[Parcel]) -> list[dict[str, Any]]:
    """Store what was sent and return the answers; a machine that is not known yet is made. For the writer.

    Args:
        connection: Where.
        parcels: What was sent, in order; many cost little more than one.

    Raises:
        InputError: As `settled`.
    """
    names, keys = {parcel.name for parcel in parcels}, [parcel.key for parcel in parcels]
    known = _reached(connection, names, keys)
    if missing := names - known.keys():
        for name in sorted(missing):
            enrol(connection, name)
        known = _reached(connection, names, keys)
    at, heard, fresh, sounds = now_ms(), list[MessageBatch](), list[dict[str, Any]](), list[Mapping[str, Any]]()
    answers = []
    for parcel in parcels:
        machine = known[parcel.name]
        answer = _answer_before(machine, parcel.key, parcel.digest)
        if answer is None:
            told, answer = _advanced(machine, parcel, at)
            heard.append(told)
            kept = {"machine": told.machine, "key": parcel.key, "digest": parcel.digest}
            fresh.append({**kept, "at": at, "answer": answer})
            sounds += [parcel.clip] if parcel.clip is not None else []
        answers.append(answer)
    insert_new(connection, clips, sounds)
    if fresh:
        take_all(connection, heard)
        connection.execute(_RECEIPT, fresh)
    return answers


def _reached(connection: Connection, names: Collection[str], keys: Collection[str]) -> dict[str, _Reached]:
    """Return the machines that are known, by name, with the answers that some keys got before."""
    known: dict[str, _Reached] = {}
    for row in connection.execute(_KNOWN, {"names": list(names), "keys": list(keys)}):
        machine = known.get(row.name)
        if machine is None:
            state = RuleState.from_values(row.rule) if row.rule else RuleState()
            machine = known[row.name] = _Reached(row, state, {})
        if row.key is not None:
            machine.answers[row.key] = row.digest, row.answer
    return known


def _answer_before(machine: _Reached, key: str, digest: str) -> dict[str, Any] | None:
    if key not in machine.answers:
        return None
    known, answer = machine.answers[key]
    if known != digest:
        raise InputError("this idempotency key was used for something else", value=key, hint="use a new key")
    return answer


def _advanced(machine: _Reached, parcel: Parcel, at: int) -> tuple[MessageBatch, dict[str, Any]]:
    """Return what is to be stored of a parcel, and its answer; the machine is left as the next one finds it."""
    row, rest = machine.row, resting(machine.row, at)
    parcel = replace(parcel, verdicts=tuple(map(_printable, parcel.verdicts)))
    machine.state, told = advance(parcel.rule, machine.state, _windows(parcel, rest), parcel.name, _iso(at))
    told = _with_clip(told, parcel)
    facts = {"rule": machine.state.to_values(), "threshold": parcel.rule.threshold, "revision": parcel.revision}
    answer = _answer(parcel, machine.state, told)
    machine.answers[parcel.key] = parcel.digest, answer
    return MessageBatch(told, row.id, parcel.revision, facts), answer


def resting(machine: Any, at: int) -> str:
    """Return why a machine, a row of `machines`, does not alarm at a time; empty when it does."""
    if (machine.paused_until or 0) > at:
        return "paused"
    return "muted" if (machine.muted_until or 0) > at else ""


def _windows(parcel: Parcel, rest: str) -> list[Judged]:
    pairs = zip(parcel.verdicts, parcel.nuisances, strict=True)
    return [
        Judged(verdict, f"upload {parcel.key}|{number}", parcel.heard, rest, nuisance)
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
        "verdicts": [plain(verdict) for verdict in parcel.verdicts],
        "threshold": parcel.rule.threshold,
        "anomalous": sum(verdict.decision or 0 for verdict in parcel.verdicts),
        "event": state.event.id if state.event else None,
        "opened": opened,
        "clip": parcel.clip["id"] if parcel.clip else None,
    }


def _printable(verdict: Verdict) -> Verdict:
    sent = verdict.file, verdict.nearest, verdict.error
    file, nearest, error = called = tuple(map(printable, sent))
    return verdict if called == sent else replace(verdict, file=file, nearest=nearest, error=error)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
