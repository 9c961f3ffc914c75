"""Couriers: what was committed goes on to webhooks, MQTT brokers, telephones and mailboxes, by the sinks of `watch`.

One thread per place. It follows the numbers of `messages` and keeps the last one that was taken in a file, so a place
that was away, or a service that was killed, misses nothing of the last 48 hours and may get the last ones again, with
the same ids.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select
from sqlalchemy.exc import DBAPIError

from echobank.errors import ConfigError, EchobankError
from echobank.serve.intake import now_ms
from echobank.serve.latest import open_events
from echobank.serve.schema import events, machines, messages
from echobank.storage import write_json
from echobank.watch.events import Heartbeat, OpenEvent, message_from
from echobank.watch.sinks.sink import Sink

MOST_SINKS = 200  # machines that one place hears of; a broker gets one connection per machine
_LOOK_EVERY, _BEAT_EVERY = 0.5, 60.0  # seconds
_AT_ONCE = 200
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


@dataclass(frozen=True)
class Destination:
    """Where messages go.

    Attributes:
        name: A name for files and metrics; it contains no secret.
        make: Makes its sink of a machine.
        beats: Whether it wants to know every minute that the service is there.
    """

    name: str
    make: Callable[[str], Sink]
    beats: bool = False


class Courier:
    """Brings messages to one place.

    Args:
        engine: The database.
        place: The place.
        folder: Where it keeps how far it is.
        health_of: Verdict of the last checkup of a machine's bank, for heartbeats.

    Raises:
        ConfigError: The address is impossible.
        OutputError: The folder cannot be written.
    """

    def __init__(
        self, engine: Engine, place: Destination, folder: Path, health_of: Callable[[str], str] = lambda _: ""
    ) -> None:
        self._health_of = health_of
        self.name, self.trouble = place.name, ""
        self._engine, self._make, self._file = engine, place.make, folder / f"{place.name}.json"
        self._beats = place.beats
        self._make("echobank").close()  # an address that cannot be is said at the start
        self._sinks: dict[str, Sink | None] = {}
        folder.mkdir(exist_ok=True)
        self._taken = self._load()
        self._save()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"courier {place.name}")
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not delivered is delivered after the next start."""
        self._ended.set()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Number of messages not delivered yet, including those that the place does not want."""
        with self._engine.connect() as connection:
            later = select(func.count()).select_from(messages).where(messages.c.sequence > self._taken)
            return connection.execute(later).scalar() or 0

    def _run(self) -> None:
        wait, beat = _FIRST_WAIT, -_BEAT_EVERY
        while not self._ended.is_set():
            try:
                moved = self._deliver()
                if self._beats and time.monotonic() - beat >= _BEAT_EVERY:
                    beat = time.monotonic()
                    self._beat()
                self.trouble, wait = "", _FIRST_WAIT
            except (EchobankError, DBAPIError) as error:
                self.trouble = str(error) if isinstance(error, EchobankError) else "the database does not answer"
                self._ended.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            if not moved:
                self._ended.wait(_LOOK_EVERY)
        for sink in filter(None, self._sinks.values()):
            with suppress(EchobankError):
                sink.close()

    def _deliver(self) -> int:
        """Deliver what waits, and return how many messages it was.

        Raises:
            SinkError: The place did not take one; what was taken before is noted.
        """
        columns = (messages.c.sequence, messages.c.kind, messages.c.body, machines.c.name)
        joined = select(*columns).join(machines, machines.c.id == messages.c.machine)
        later = joined.where(messages.c.sequence > self._taken).order_by(messages.c.sequence).limit(_AT_ONCE)
        with self._engine.connect() as connection:
            rows = connection.execute(later).all()
        for machine, group in groupby(rows, key=lambda row: str(row.name)):
            if self._ended.is_set():
                break
            self._pass_on(machine, list(group))
        return len(rows)

    def _pass_on(self, machine: str, rows: list[Any]) -> None:
        sink = self._sink(machine)
        if sink is not None and (wanted := [row.body for row in rows if row.kind in sink.kinds]):
            sink.send([message_from(body) for body in wanted])
        self._taken = rows[-1].sequence
        self._save()

    def _beat(self) -> None:
        """Say that the service is there, to places that want to know, for every machine."""
        with self._engine.connect() as connection:
            beats = list(_heartbeats(connection))
        for beat in beats:
            sink = self._sink(beat.machine)
            if sink is not None:
                sink.send([replace(beat, health=self._health_of(beat.machine))])

    def _sink(self, machine: str) -> Sink | None:
        """Return the sink of a machine; None where the place can have none, or has too many."""
        if machine not in self._sinks:
            try:
                self._sinks[machine] = self._make(machine) if len(self._sinks) < MOST_SINKS else None
            except ConfigError:  # a name that a topic cannot have
                self._sinks[machine] = None
        return self._sinks[machine]

    def _load(self) -> int:
        """Return the number of the last message that was taken; a place that is new begins with what comes now."""
        try:
            return int(json.loads(self._file.read_text(encoding="utf-8"))["taken"])
        except (OSError, ValueError, KeyError, TypeError):
            with self._engine.connect() as connection:
                return connection.execute(select(func.max(messages.c.sequence))).scalar() or 0

    def _save(self) -> None:
        write_json(self._file, {"taken": self._taken})


def _heartbeats(connection: Connection) -> Iterator[Heartbeat]:
    """Yield the heartbeat of each machine."""
    now, still = now_ms(), open_events(connection)
    for row in connection.execute(select(machines)).all():
        event = None
        if still.get(row.id):
            here = (events.c.machine == row.id, events.c.closed.is_(None))
            first = connection.execute(select(events).where(*here).order_by(events.c.opened).limit(1)).first()
            event = None if first is None else _open_event(first)
        paused = "paused" if (row.paused_until or 0) > now else ""
        age = None if row.heard is None else max(0.0, (now - row.heard) / 1000)
        facts = {"machine": row.name, "time": _iso(now), "event": event, "paused": paused, "age": age}
        yield Heartbeat(id=uuid.uuid4().hex, files=0, **facts)


def _open_event(row: Row[Any]) -> OpenEvent:
    return OpenEvent(row.id, row.file, _iso(row.opened), row.peak or 0.0, row.windows or 0)


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
