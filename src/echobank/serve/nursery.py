"""The nursery: where machines are added. Healthy recordings come in, one fit at a time makes a bank of them.

What was sent stays in `DIR/training/<id>`, so that a fit that was interrupted starts over with the service, and
so that the nearest healthy sound of an event can be heard.
"""

import queue
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from echobank.errors import EchobankError, InputError
from echobank.machines import archive
from echobank.machines.fit import FitSettings, fit_heard, machine_config, make_listener
from echobank.machines.harvest import Harvest
from echobank.machines.health import describe_health, health
from echobank.machines.machine import Machine
from echobank.models.default import settle_encoder
from echobank.serve.decoder import kind_of
from echobank.serve.draft import (
    COLLECTING,
    DONE,
    FAILED,
    FITTING,
    UNDER_WAY,
    WAITING,
    Draft,
    FitReport,
    Take,
    read_draft,
)
from echobank.serve.intake import now_ms
from echobank.serve.service import Service
from echobank.storage import atomic_path

T = TypeVar("T")
_NAME = re.compile(r"\w(?:[\w .-]{0,62}\w)?")
_MOST_TAKES = 2000


class _StoppedError(EchobankError):
    """A fit was cancelled, or the service stops."""


class Nursery:
    """Holds drafts and fits them.

    Args:
        service: The service; a bank that was made is served by it.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._folder = service, service.settings.folder / "training"
        self._gate, self._stop = threading.RLock(), threading.Event()
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        found = (read_draft(path) for path in sorted(self._folder.glob("*")))
        self._drafts = {draft.id: draft for draft in found if draft is not None}
        for draft in self._drafts.values():
            if draft.state in UNDER_WAY:  # a fit that the end of the service cut off
                self._waiting.put(draft.id)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nursery")
        self._thread.start()

    def close(self) -> None:
        """Stop; a fit that is under way starts over with the next start."""
        self._ended.set()
        self._stop.set()
        self._waiting.put(None)
        self._thread.join()

    def drafts(self) -> list[Draft]:
        """Return all drafts, the newest first."""
        with self._gate:
            return sorted(self._drafts.values(), key=lambda draft: -draft.created)

    def draft(self, number: str) -> Draft:
        """Return a draft.

        Raises:
            InputError: There is none.
        """
        with self._gate:
            if number not in self._drafts:
                raise InputError("no such draft", value=number)
            return self._drafts[number]

    def begin(self, machine: str, seconds: float, hop: float, rate: float | None) -> Draft:
        """Begin a machine.

        Raises:
            InputError: An impossible name, one that is taken, or impossible windows.
            OutputError: The disk is full or gone.
        """
        if not _NAME.fullmatch(machine):
            hint = "use letters, digits, spaces, dots, hyphens and underscores"
            raise InputError("not a name for a machine", value=machine, hint=hint)
        if not 0 < hop <= seconds <= 600:
            raise InputError("hop must be above 0 and at most the window", value=f"{seconds:g}, {hop:g}")
        with self._gate:
            if self._taken(machine):
                raise InputError("a machine of this name is there already", value=machine, hint="take another name")
            draft = Draft(secrets.token_hex(8), machine, seconds, hop, rate, now_ms())
            (self._folder / draft.id / "sound").mkdir(parents=True)
            return self._put(draft)

    def add(self, number: str, sent: Path, sha256: str, called: str) -> Draft:
        """Keep a healthy recording; the same one again changes nothing.

        Args:
            number: The draft.
            sent: What was sent; it is moved away.
            sha256: Its hash.
            called: What the sender calls it.

        Raises:
            InputError: No such draft, one that is being fitted, or one that is full.
            AudioError: Not a recording.
            OutputError: The disk is full or gone.
        """
        self._open(number)
        wav = sent.with_name(f"{sent.name}.wav")
        service = self._service
        decoded = service.decoders[int(sha256[:8], 16) % len(service.decoders)].decode(sent, wav, 0)
        stem = re.sub(r"[^\w-]+", "_", Path(called.replace("\\", "/")).stem, flags=re.ASCII).strip("_")[:60]
        take = Take(sha256, f"{stem or 'recording'}-{sha256[:8]}.{kind_of(sent)}", sent.stat().st_size, decoded.seconds)
        with self._gate:
            draft = self._open(number)
            if any(one.sha256 == sha256 for one in draft.takes):
                return draft
            if len(draft.takes) >= _MOST_TAKES:
                raise InputError("too many recordings", value=_MOST_TAKES)
            with atomic_path(self.sound(draft, take)) as temporary:
                shutil.copyfile(sent, temporary)
            return self._put(replace(draft, takes=(*draft.takes, take)))

    def drop(self, number: str, sha256: str) -> Draft:
        """Take a recording out.

        Raises:
            InputError: No such draft or recording, or it is being fitted.
        """
        with self._gate:
            draft = self._open(number)
            take = draft.take(sha256)
            kept = self._put(draft.without(sha256))
            self.sound(draft, take).unlink(missing_ok=True)
            return kept

    def sound(self, draft: Draft, take: Take) -> Path:
        """Return the file of a recording."""
        return self._folder / draft.id / "sound" / take.file

    def start(self, number: str) -> Draft:
        """Have a draft fitted.

        Raises:
            InputError: No such draft, one without recordings, or one that is being fitted.
        """
        with self._gate:
            draft = self._open(number)
            if not draft.takes:
                raise InputError("there are no recordings yet", hint="add healthy sound of the machine")
            if draft.report is None and self._taken(draft.machine, but=number):
                raise InputError("a machine of this name is there already", value=draft.machine)
            self._waiting.put(number)
            return self._put(replace(draft, state=WAITING, done=0, total=len(draft.takes), error=""))

    def cancel(self, number: str) -> Draft:
        """Stop a fit; its recordings stay."""
        with self._gate:
            draft = self.draft(number)
            if draft.state == FITTING:
                self._stop.set()
            if draft.state in UNDER_WAY:
                draft = self._put(replace(draft, state=COLLECTING, done=0))
            return draft

    def remove(self, number: str) -> None:
        """Remove a draft; the recordings of a machine that was fitted stay, its bank refers to them.

        Raises:
            InputError: No such draft, or it is being fitted.
        """
        with self._gate:
            draft = self._open(number)
            del self._drafts[number]
            folder = self._folder / number
            if draft.report is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                (folder / "draft.json").unlink(missing_ok=True)

    def _taken(self, machine: str, but: str = "") -> bool:
        others = (draft for draft in self._drafts.values() if draft.id != but)
        there = (*self._service.machines, *(draft.machine for draft in others))
        bank = archive.bank_file(self._service.settings.banks / machine)
        return machine.casefold() in {name.casefold() for name in there} or bank.exists()

    def _open(self, number: str) -> Draft:
        draft = self.draft(number)
        if draft.state in UNDER_WAY:
            raise InputError("this machine is being fitted", value=draft.machine, hint="wait, or cancel it")
        return draft

    def _put(self, draft: Draft) -> Draft:
        draft.save(self._folder / draft.id)
        self._drafts[draft.id] = draft
        return draft

    def _run(self) -> None:
        while (number := self._waiting.get()) is not None and not self._ended.is_set():
            with self._gate:
                draft = self._drafts.get(number)
                if draft is None or draft.state not in UNDER_WAY:
                    continue  # it was cancelled while it waited
                self._stop.clear()
                self._drafts[number] = draft = replace(draft, state=FITTING, done=0, total=len(draft.takes))
            result = self._outcome(draft)
            if (self._ended.is_set() or self._service.stopping) and not isinstance(result, FitReport):
                return  # the file still says that it waits
            with self._gate, suppress(EchobankError):  # the disk is full; what it says is lost, not the bank
                now = self._drafts.get(number)
                if now is not None and (isinstance(result, FitReport) or now.state == FITTING):
                    self._put(_ended(now, result))

    def _outcome(self, draft: Draft) -> FitReport | str:
        """Return what a fit found, or why it failed."""
        try:
            return self._fit(draft)
        except EchobankError as error:
            return str(error).replace(str(self._folder / draft.id / "sound"), "").strip()
        except Exception as error:  # a bug must not end the thread; it is shown where the user looks
            return f"{type(error).__name__}: {error}"

    def _fit(self, draft: Draft) -> FitReport:
        settings = self._service.settings
        config, _ = settle_encoder(machine_config(None, [f"model.device={settings.device}"]), self._progress(draft.id))
        party = f"fit of {draft.id}"  # it takes turns at the encoder with everything that is heard meanwhile
        listener = self._service.encoders.turned(make_listener(config, draft.seconds, draft.hop), party)
        sounds = [(self.sound(draft, take), take.file) for take in sorted(draft.takes, key=lambda take: take.file)]
        wanted = FitSettings(draft.machine, draft.seconds, draft.hop, rate=draft.rate)
        roots = [str((self._folder / draft.id / "sound").resolve())]
        machine, harvest = fit_heard(config, listener, sounds, roots, wanted, self._progress(draft.id))
        with self._gate:
            if self._stop.is_set():
                raise _StoppedError("stopped")
            bank = settings.banks / draft.machine
            archive.put(bank, machine.bank, "fit", recordings=len(harvest.heard))
        if draft.machine in self._service.machines:
            self._service.note_revision(self._service.machines[draft.machine], "fit")
        else:
            self._service.adopt(bank)
        return _report(machine, harvest)

    def _progress(self, number: str) -> "_Counted":
        def heard(done: int, total: int) -> None:
            if self._stop.is_set():
                raise _StoppedError("stopped")
            with self._gate:
                self._drafts[number] = replace(self._drafts[number], done=done, total=total)

        return _Counted(heard)


class _Counted:
    """A `Progress` that reports how far it is."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell

    def __call__(self, items: Iterable[T], *, total: int, label: str) -> Iterable[T]:
        del label
        for done, item in enumerate(items):
            self._tell(done, total)
            yield item
        self._tell(total, total)


def _ended(draft: Draft, result: FitReport | str) -> Draft:
    if isinstance(result, FitReport):
        return replace(draft, state=DONE, done=draft.total, error="", report=result)
    return replace(draft, state=FAILED, error=result)


def _report(machine: Machine, harvest: Harvest) -> FitReport:
    found = health(machine.bank)
    said = (line for line in describe_health(found) if not line.startswith("odd among"))
    return FitReport(
        tuple(f"{line[0].upper()}{line[1:]}." for line in said),
        tuple((odd.file, odd.score, odd.deviations) for odd in found.odd),
        tuple((skip.name, skip.reason.rpartition("/")[2]) for skip in harvest.skipped),
        machine.notices,
    )
