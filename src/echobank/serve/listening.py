"""Listening: the declared sources of the service, each in a thread of its own, with the engine of `watch` and `listen`.

What they hear reaches the database through the journal of each source, so a kill loses nothing and doubles nothing.
"""

import hashlib
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, select

from echobank.errors import EchobankError, InputError
from echobank.machines.archive import revision_of
from echobank.serve.database_sink import DatabaseSink
from echobank.serve.declared import FILE, DeclaredSource, load_sources, save_sources
from echobank.serve.intake import insert_new, note_troubles, now_ms
from echobank.serve.running_source import FAILED, RunningSource, WatchedFeed
from echobank.serve.schema import machines, messages, sources
from echobank.serve.source_sounds import FolderSounds, StreamSounds
from echobank.watch.clip_keeper import ClipSettings
from echobank.watch.engine import Watch, WatchSettings
from echobank.watch.event_clips import EventSounds
from echobank.watch.feeds.addresses import source_at
from echobank.watch.feeds.feed import Feed
from echobank.watch.feeds.folder_feed import FolderFeed
from echobank.watch.feeds.stream_feed import StreamFeed
from echobank.watch.rest import PAUSE_FILE, Rest, Span, parse_schedule
from echobank.watch.sinks.sink import ROWS

if TYPE_CHECKING:
    from echobank.serve.service import Service

_RING_SECONDS = 40.0  # more than what may wait for the encoder
_STOP_SECONDS = 3.0  # for all sources together
_TELL_EVERY = 10.0  # seconds between two messages of one source whose state stays
_CLIPS = "clips"


class Listening:
    """The declared sources.

    Args:
        service: The service.

    Raises:
        ConfigError: Something in `serve.yaml` is wrong.
    """

    def __init__(self, service: "Service") -> None:
        self._service, self._file = service, service.settings.folder / FILE
        self._gate = threading.RLock()
        self._told: dict[str, tuple[tuple[Any, ...], float]] = {}
        self._running: dict[str, RunningSource] = {}
        self._closed = False
        for declared in load_sources(self._file).values():
            self._running[declared.name] = self._make(declared)

    def start(self) -> None:
        """Begin to listen."""
        for source in self.sources:
            source.start()

    @property
    def sources(self) -> Sequence[RunningSource]:
        """The sources that there are."""
        with self._gate:
            return list(self._running.values())

    def of(self, machine: str) -> list[RunningSource]:
        """Return the sources of a machine."""
        return [source for source in self.sources if source.declared.machine == machine]

    def add(self, declared: DeclaredSource) -> RunningSource:
        """Declare a source, write it down, and begin with it.

        Raises:
            InputError: There is one of this name, or no such machine.
            OutputError: It cannot be written down.
        """
        with self._gate:
            if declared.name in self._running:
                raise InputError("there is a source of this name", value=declared.name, hint="remove it first")
            self._service.hosted(declared.machine)
            known = {name: source.declared for name, source in self._running.items()}
            save_sources(self._file, {**known, declared.name: declared})
            source = self._running[declared.name] = self._make(declared)
            source.start()
            return source

    def remove(self, name: str) -> DeclaredSource | None:
        """Withdraw a source, and return what it was; None where there is none of this name.

        Raises:
            OutputError: It cannot be written down; then it keeps running.
        """
        with self._gate:
            source = self._running.get(name)
            if source is None:
                return None
            save_sources(self._file, {it: other.declared for it, other in self._running.items() if it != name})
            del self._running[name]
        source.stop()
        source.join(_STOP_SECONDS)
        self._told.pop(name, None)
        with suppress(EchobankError):  # what cannot be stored now is only that it has gone
            self._service.writer.run(partial(self._withdraw, declared=source.declared))
        return source.declared

    def stop(self) -> None:
        """Ask all sources to stop; returns at once."""
        for source in self.sources:
            source.stop()

    def close(self) -> None:
        """Stop, and wait for what is under way; what hangs is left behind, with its journal whole."""
        self._closed = True
        self.stop()
        end = time.monotonic() + _STOP_SECONDS
        for source in self.sources:
            source.join(end - time.monotonic())

    def _make(self, declared: DeclaredSource) -> RunningSource:
        return RunningSource(declared, self._build, self._tell)

    def _build(self, declared: DeclaredSource) -> WatchedFeed:
        """Return the watch of a source.

        Raises:
            EchobankError: It cannot be begun now.
        """
        service, settings = self._service, self._service.settings
        hosted, state = service.hosted(declared.machine), self._state_of(declared)
        machine = service.encoders.as_party(hosted.machine, declared.name)
        feed: Feed
        clips: EventSounds | None = None
        number = service.numbers[hosted.name]
        if declared.watch:
            feed = FolderFeed(Path(declared.watch), declared.settle)
            clips = FolderSounds(service.store, service.writer, number)
        else:
            address = source_at(declared.listen, rate=declared.rate, channels=declared.channels)
            cut = ClipSettings(state / _CLIPS, most_bytes=0, least_free=0)
            listener = machine.listener
            ring = cut.before + settings.n * listener.hop + listener.seconds + _RING_SECONDS
            feed = StreamFeed(declared.name, address, listener, ring)
            clips = StreamSounds(feed, cut, settings.n, service.store, (hosted.name, number))
        sink = DatabaseSink(service.writer, hosted.name, ROWS, lambda: revision_of(hosted.in_force.bank))
        wanted = WatchSettings(
            k=settings.k,
            n=settings.n,
            hysteresis=settings.hysteresis,
            heartbeat=0.0,
            only_new=declared.only_new,
            silence_after=declared.silence_after,
        )
        keeping = clips if settings.keeps_clips else None
        watch = Watch(machine, hosted.bank, feed, state, [sink], wanted, clips=keeping, mutes=hosted.state)
        schedule = parse_schedule(declared.schedule) if declared.schedule else ()
        watch.resting = _MachineRest(state / PAUSE_FILE, schedule, service, number)
        return WatchedFeed(watch, feed)

    def _state_of(self, declared: DeclaredSource) -> Path:
        """Return the folder of the journal: another one where the name comes to mean another place."""
        identity = f"{declared.machine}|{declared.kind}|{declared.watch}"
        folder = f"{declared.name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
        return self._service.settings.folder / "sources" / folder

    def _tell(self, source: RunningSource) -> None:
        """Store how a source is when that has changed: as a row, a message, and a trouble of its machine."""
        declared, key = source.declared, source.status.key
        before, at = self._told.get(declared.name, ((), 0.0))
        early = before[:1] == key[:1] and time.monotonic() - at < _TELL_EVERY
        number = self._service.numbers.get(declared.machine)
        if key == before or early or number is None or self._closed:
            return
        self._told[declared.name] = key, time.monotonic()
        wrong = [f"{it.declared.name}: {text}" for it in self.of(declared.machine) for text in it.status.key[1]]
        change = partial(_note_source, number=number, source=source, wrong=wrong)
        with suppress(EchobankError):
            self._service.writer.submit(change).add_done_callback(partial(self._missed, name=declared.name))

    def _missed(self, change: Any, name: str) -> None:
        if change.exception():
            self._told.pop(name, None)

    def _withdraw(self, connection: Connection, declared: DeclaredSource) -> None:
        number = self._service.numbers.get(declared.machine)
        here = (sources.c.machine == number, sources.c.place == declared.name)
        connection.execute(delete(sources).where(*here))
        wrong = [f"{it.declared.name}: {text}" for it in self.of(declared.machine) for text in it.status.key[1]]
        if number is not None:
            note_troubles(connection, number, wrong, now_ms())


class _MachineRest(Rest):
    """Rests when the machine is paused in the database too."""

    def __init__(self, file: Path, schedule: tuple[Span, ...], service: "Service", number: int) -> None:
        super().__init__(file, schedule)
        self._service, self._number, self._last = service, number, ""

    @property
    def reason(self) -> str:
        """Why it rests; as before while the database does not answer."""
        columns = (machines.c.paused_until, machines.c.muted_until)
        with suppress(Exception), self._service.engine.connect() as connection:
            row = connection.execute(select(*columns).where(machines.c.id == self._number)).one()
            now = now_ms()
            self._last = "paused" if (row[0] or 0) > now else "muted" if (row[1] or 0) > now else ""
        return self._last or super().reason


def source_values(source: RunningSource) -> dict[str, Any]:
    """Return a source as the API shows it: without passwords."""
    declared, status = source.declared, source.status
    return {
        "name": declared.name,
        "machine": declared.machine,
        "kind": declared.kind,
        "place": declared.place,
        "state": status.state,
        "troubles": list(status.troubles),
        "since": status.since,
        "starts": status.starts,
        "retry": status.retry if status.state == FAILED else None,
        "pieces": status.pieces,
        "silence": status.silence,
        "dropped": status.dropped,
        "conditions": list(status.conditions),
        "schedule": declared.schedule,
        "silence_after": declared.silence_after,
    }


def _note_source(connection: Connection, number: int, source: RunningSource, wrong: Sequence[str]) -> None:
    declared, (state, troubles), now = source.declared, source.status.key, now_ms()
    here = {"machine": number, "kind": declared.kind, "place": declared.name}
    facts = {"state": state, "trouble": "; ".join(troubles), "changed": now}
    connection.execute(delete(sources).where(*(sources.c[name] == value for name, value in here.items())))
    connection.execute(sources.insert().values(**here, **facts))
    note_troubles(connection, number, wrong, now)
    told_at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
    body: dict[str, Any] = {"id": uuid.uuid4().hex, "kind": "source", "machine": declared.machine, "time": told_at}
    body |= {"source": declared.name, "state": state, "troubles": list(troubles)}
    row = {"id": body["id"], "machine": number, "kind": "source", "at": now, "body": body}
    insert_new(connection, messages, [row])
