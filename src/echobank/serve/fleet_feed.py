"""Verdicts of a fleet to the service's database: windows, events and messages, as an upload would bring them.

A window is taken once. Which recordings a database has taken is noted beside the verdicts; what was committed and not
noted, because the program was killed between the two, is known by the ids of its messages.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from urllib.parse import quote

from sqlalchemy import Connection, select

from echobank.errors import InputError
from echobank.fleet.dataset import MadeBy, VectorDataset
from echobank.fleet.location import Location
from echobank.fleet.scoring import verdicts_in
from echobank.fleet.shards import Entry
from echobank.machines import archive
from echobank.machines.machine import Machine
from echobank.machines.verdict import Verdict
from echobank.serve.intake import enrol, now_ms, take_messages
from echobank.serve.reception import resting
from echobank.serve.schema import machines, messages
from echobank.serve.writer import Writer
from echobank.watch.engine import WatchSettings
from echobank.watch.events import Message
from echobank.watch.rule import Judged, Rule, RuleState, advance, make_rule, message_id

_IDS_AT_ONCE = 1000


class FleetFeed:
    """Feeds one database.

    Args:
        writer: Writes to it.
        address: Its address; what it has taken is noted by it.
        dataset: The embeddings that were scored, for the time of each recording.
        made: What made them.
        verdicts: Where the verdicts are.
    """

    def __init__(self, writer: Writer, address: str, dataset: VectorDataset, made: MadeBy, verdicts: Location) -> None:
        self._writer, self._dataset, self._made, self._verdicts = writer, dataset, made, verdicts
        self._notes = f"fed/{hashlib.sha256(address.encode()).hexdigest()[:16]}"

    def take(self, machine: Machine, name: str, days: Sequence[str]) -> int:
        """Feed the verdicts of some days of a machine, in order; returns how many windows and errors were new.

        Args:
            machine: The machine with the threshold in force.
            name: Its name in the dataset.
            days: The days.

        Raises:
            InputError: Verdicts or notes cannot be read.
            OutputError: The database does not answer, or a note cannot be written.
        """
        usual = WatchSettings()
        rule = make_rule(machine, usual.k, usual.n, usual.hysteresis)
        return sum(self._day(name, day, rule, archive.revision_of(machine.bank)) for day in sorted(days))

    def _day(self, name: str, day: str, rule: Rule, revision: int) -> int:
        note = f"{self._notes}/machine={quote(name, safe='')}/day={quote(day, safe='')}.json"
        known = self._noted(note)
        entries = [e for e in self._dataset.entries(self._made, name, day) if _mark(e) not in known]
        if not entries:
            return 0
        verdicts = verdicts_in(self._verdicts, name, day)
        entries.sort(key=lambda entry: (entry.item.modified, entry.recording))
        windows = [one for entry in entries for one in _windows(entry, day, verdicts.get(self._full(entry), []))]
        new = self._writer.run(partial(take_windows, name=name, rule=rule, windows=windows, revision=revision))
        marks = sorted({*known, *map(_mark, entries)})
        self._verdicts.write(note, json.dumps(marks, indent=0).encode())
        return new

    def _full(self, entry: Entry) -> str:
        return f"{self._made.source}{entry.recording}"

    def _noted(self, note: str) -> set[str]:
        try:
            return set(json.loads(self._verdicts.read(note)))
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError) as error:
            where = self._verdicts.show(note)
            raise InputError("cannot read which recordings the database has", where=where, hint="remove it") from error


def take_windows(connection: Connection, name: str, rule: Rule, windows: Sequence[Judged], revision: int) -> int:
    """Take windows of one machine, in order, and return how many were new; for the writer.

    Args:
        connection: Where.
        name: Name of the machine.
        rule: When events open and close.
        windows: The windows.
        revision: Revision of the bank that judged.
    """
    machine = enrol(connection, name)
    row = connection.execute(select(machines).where(machines.c.id == machine)).one()
    ids = [message_id(name, window.place, _kind(window.verdict)) for window in windows]
    known = set(_known(connection, ids))
    at = now_ms()
    rest = resting(row, at)
    state = RuleState.from_values(row.rule) if row.rule else RuleState()
    taken: list[Message] = []
    for number, window in zip(ids, windows, strict=True):
        if number not in known:
            judged = Judged(window.verdict, window.place, window.time, rest)
            state, messages_of = advance(rule, state, [judged], name, window.time)
            taken += messages_of
    facts = {"rule": state.to_values(), "threshold": rule.threshold, "revision": revision}
    take_messages(connection, taken, machine, revision=revision, facts=facts)
    return len(ids) - len(known)


def _known(connection: Connection, ids: Sequence[str]) -> Iterator[str]:
    for begin in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[begin : begin + _IDS_AT_ONCE]
        yield from connection.execute(select(messages.c.id).where(messages.c.id.in_(part))).scalars()


def _windows(entry: Entry, day: str, verdicts: Sequence[Verdict]) -> Iterator[Judged]:
    time = _time_of(entry, day)
    for number, verdict in enumerate(verdicts):
        yield Judged(verdict, f"fleet {_mark(entry)}|{number}", time)


def _time_of(entry: Entry, day: str) -> str:
    """Return when a recording, or the pack that it lies in, last changed; the day where that is not known."""
    if entry.item.modified:
        return _iso(datetime.fromtimestamp(entry.item.modified / 1e9, UTC))
    try:
        start = date.fromisoformat(day)
    except ValueError:
        return _iso(datetime.now(UTC))
    return _iso(datetime(start.year, start.month, start.day, tzinfo=UTC))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _mark(entry: Entry) -> str:
    """Return an identifier of a recording's sound: its name and the hash of its bytes, else its version."""
    return f"{entry.recording}|{entry.heard.sha256 or entry.item.version}"


def _kind(verdict: Verdict) -> str:
    return "error" if verdict.score is None else "score"
