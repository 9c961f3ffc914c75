"""The service: what the routes work with; it is opened once, and closed so that nothing is lost."""

import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from prometheus_client import Histogram
from sqlalchemy import select

from echobank.errors import AudioError, ConfigError, EchobankError, InputError
from echobank.machines import archive
from echobank.serve.access import Access
from echobank.serve.broadcast import Broadcast
from echobank.serve.clip_store import ClipStore
from echobank.serve.courier import Courier, Destination
from echobank.serve.database import embedded, open_database
from echobank.serve.decoder import Decoder
from echobank.serve.encoder_turns import SharedEncoders
from echobank.serve.hosted import HostedMachine
from echobank.serve.intake import enrol, insert_new, now_ms
from echobank.serve.listening import Listening
from echobank.serve.premises import ServiceSettings, find_banks, mutes_of
from echobank.serve.reception import Parcel, settle, settled
from echobank.serve.schema import machines, revisions
from echobank.serve.scoring_queue import ScoringQueue
from echobank.serve.thinning import thin
from echobank.serve.writer import BusyError, FullError, Writer

_THIN_EVERY = 60.0


class Service:
    """Database, machines and workers.

    Raises:
        InputError: Another service uses the folder, or there are no banks.
        OutputError: The folder cannot be written.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings, self.stopping = settings, False
        self.clips, self._incoming = settings.folder / "clips", settings.folder / "incoming"
        self._lock = _hold(settings.folder)
        try:
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._incoming.mkdir()
            self.encoders = SharedEncoders(settings.device)
            self.listening = Listening(self)
            self.engine = open_database(settings.database or embedded(settings.folder))
            self.machines = {machine.name: machine for machine in self._open_machines()}
        except BaseException:
            self._lock.release()
            raise
        self.couriers: list[Courier] = []
        self.broadcast = Broadcast(self.engine)
        self.writer = Writer(self.engine, witness=self.broadcast.catch_up)
        self.store = ClipStore(settings, self.writer)
        self.access = Access(self.engine, settings.required)
        self.scoring = ScoringQueue(settings.depth)
        self.decoders = [Decoder(settings.limits) for _ in range(2)]
        self.uploads = ThreadPoolExecutor(16, thread_name_prefix="upload")
        self._slots, self.dropped = threading.BoundedSemaphore(settings.depth), 0
        self.latency = Histogram("echobank_upload_seconds", "Time until a recording is answered", registry=None)
        self._ended = threading.Event()
        self.health_of: Callable[[str], str] = lambda _: ""  # of the bank of a machine, for heartbeats
        self.at_close: list[Callable[[], None]] = []  # what else has to end, before the writer does
        self._thinner = threading.Thread(target=self._keep_thin, name="thinning")
        self._thinner.start()
        try:
            self.numbers = {name: self._enrol(machine) for name, machine in self.machines.items()}
        except BaseException:
            self.close()
            raise
        self.listening.start()

    def stop(self) -> None:
        """Start to shut down: streams close, sources stop, nothing more is accepted; `close` waits for the end."""
        self.stopping = True
        self.broadcast.close()
        self.encoders.turns.close()
        self.listening.stop()

    def send_to(self, places: Sequence[Destination]) -> None:
        """Have what is committed sent on to some places.

        Raises:
            ConfigError: An address is impossible.
            OutputError: The folder cannot be written.
        """
        for place in places:
            self.couriers.append(
                Courier(self.engine, place, self.settings.folder / "places", lambda name: self.health_of(name))
            )

    def close(self) -> None:
        """Finish what is in progress and release everything; a second call does nothing."""
        if self._ended.is_set():
            return
        self.stop()
        self._ended.set()
        for end in self.at_close:
            end()
        self.listening.close()
        self.scoring.close()
        self.uploads.shutdown()
        for decoder in self.decoders:
            decoder.close()
        self._thinner.join()
        self.writer.close()
        for courier in self.couriers:
            courier.close()
        self.engine.dispose()
        self._lock.release()

    def hosted(self, name: str) -> HostedMachine:
        """Return a machine that has a bank here.

        Raises:
            InputError: There is none of this name.
        """
        if name not in self.machines:
            raise InputError("no machine of this name has a bank here", value=name)
        return self.machines[name]

    def adopt(self, bank: Path) -> HostedMachine:
        """Start to serve a bank that was made while the service runs.

        Raises:
            BankError: It cannot be used.
            WeightsError: The weights of its encoder are not there.
        """
        machine = self._open(bank)
        self.numbers[machine.name] = self._enrol(machine)
        self.machines[machine.name] = machine
        return machine

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the places for recordings under way.

        Raises:
            BusyError: All are taken.
        """
        if self.stopping or not self._slots.acquire(blocking=False):
            self.dropped += 1
            raise BusyError("too many recordings are under way", value=self.settings.depth, hint="try again")
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """Provide a name for an upload, and remove all files of that name at the end."""
        path = self._incoming / secrets.token_hex(16)
        try:
            yield path
        finally:
            for left in self._incoming.glob(f"{path.name}*"):
                left.unlink(missing_ok=True)

    def require_space(self, size: int) -> None:
        """Check that the disk has room for this many bytes; the quota is checked when they are stored.

        Raises:
            FullError: It has not.
        """
        self.store.require_floor(size)

    def receive(self, name: str, sent: Path, called: str, key: str, digest: str, heard: str) -> dict[str, Any]:
        """Judge a recording, store what came of it, and return the answer.

        Args:
            name: The machine.
            sent: The recording, as it was sent.
            called: What the verdicts call it; never used as a path.
            key: Idempotency key.
            digest: SHA-256 of the recording.
            heard: When it was heard, ISO 8601.

        Raises:
            InputError: No such machine, or the key was used for something else.
            AudioError: The recording cannot be used.
            BusyError: Too much is under way.
            FullError: The disk is full.
        """
        machine, number = self.hosted(name), self.numbers[name]
        with self.engine.connect() as connection:
            before = settled(connection, name, key, digest)
        if before is not None:
            return before
        self.store.require(sent.stat().st_size)
        wav = sent.with_name(f"{sent.name}.wav")
        decoder = self.decoders[int(digest[:8], 16) % len(self.decoders)]
        decoded = decoder.decode(sent, wav, machine.in_force.listener.channel)
        judgement = self.scoring.submit(machine, wav, called, decoded.sha256).result()
        if judgement.heard.error:
            raise AudioError(judgement.heard.error.removeprefix(f"{wav}: "))
        odd = any(verdict.decision for verdict in judgement.verdicts)
        kept = odd and self.settings.keeps_clips
        clip = self.store.keep(sent, number, digest, decoded.seconds, wav) if kept else None
        parcel = Parcel(
            name=name,
            key=key,
            digest=digest,
            heard=heard,
            verdicts=judgement.verdicts,
            nuisances=judgement.nuisances,
            rule=judgement.rule,
            revision=judgement.revision,
            clip=clip,
        )
        answer = self.writer.submit_item(settle, parcel).result()
        if odd and answer["event"]:
            with suppress(EchobankError):  # the event is stored; only muting it until it changes would miss this sound
                machine.remember(answer["event"], judgement)
        return answer

    def note_revision(self, machine: HostedMachine, action: str) -> dict[str, Any]:
        """Store the state of a bank after a change, and return it."""
        number, judged = self.numbers[machine.name], machine.machine
        row = {"revision": archive.revision_of(judged.bank), "threshold": judged.threshold, "rate": judged.rate}
        more = {"machine": number, "at": now_ms(), "action": action, "rows": len(judged.bank)}
        self.writer.run(partial(insert_new, table=revisions, rows=[{**row, **more}]))
        self.writer.run(partial(enrol, name=machine.name, facts=row))
        return {**row, "rows": len(judged.bank)}

    def clip_file(self, clip: str) -> Path | None:
        """Return the file of a clip's sound, or None."""
        with self.engine.connect() as connection:
            return self.store.file_of(connection, clip)

    def _open_machines(self) -> Iterator[HostedMachine]:
        seen = set[str]()
        for bank in find_banks(self.settings.banks):
            machine = self._open(bank)
            if machine.name in seen:
                raise ConfigError("two banks of one name", value=machine.name, where=self.settings.banks)
            seen.add(machine.name)
            yield machine

    def _open(self, bank: Path) -> HostedMachine:
        settings = self.settings
        state = mutes_of(settings.folder, bank)
        return HostedMachine(bank, state, settings.k, settings.n, settings.hysteresis, self.encoders)

    def _enrol(self, machine: HostedMachine) -> int:
        judged = machine.machine
        revision = archive.revision_of(judged.bank)
        facts = {"bank": str(machine.bank), "revision": revision, "threshold": judged.threshold, "rate": judged.rate}
        try:
            number = self.writer.run(partial(enrol, name=machine.name, facts=facts))
        except FullError:  # what is known can be read all the same
            with self.engine.connect() as connection:
                known: int | None = connection.execute(
                    select(machines.c.id).where(machines.c.name == machine.name)
                ).scalar()
            if known is None:
                raise
            return known
        row = {"machine": number, "revision": revision, "at": now_ms(), "action": "opened", "rows": len(judged.bank)}
        state = {"threshold": judged.threshold, "rate": judged.rate}
        with suppress(FullError):
            self.writer.run(partial(insert_new, table=revisions, rows=[{**row, **state}]))
        return number

    def _keep_thin(self) -> None:
        while not self._ended.wait(_THIN_EVERY):
            with suppress(EchobankError, OSError):  # a full disk; the next round tries again
                self.store.tidy()
            with suppress(EchobankError):
                while self.writer.run(partial(thin, now=now_ms(), at_once=2000)) == 2000 and not self._ended.is_set():
                    pass


def _hold(folder: Path) -> FileLock:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError("another service is running with this folder", where=folder) from error
    except OSError as error:
        raise InputError(f"the folder cannot be used ({error.strerror})", where=folder) from error
    return lock
